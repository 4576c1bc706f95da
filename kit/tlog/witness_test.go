package tlog

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func clock() time.Time { return time.Unix(1_750_000_100, 0) }

// witness opens a witness of the served log, and returns what its signatures are verified with.
func witness(t *testing.T, s *served, dir string) (*Witness, *receipt.Trust) {
	t.Helper()
	sign, key := signer(t, "witness")
	key.Role = receipt.Witness
	w, err := OpenWitness(WitnessOptions{Dir: dir, Create: true, Signer: sign, Trust: s.trust, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	trust, err := receipt.NewTrust([]receipt.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	return w, trust
}

// The same witness answers beside the log and over HTTP alike.
func TestAWitnessCosignsOneHistory(t *testing.T) {
	for _, how := range []string{"local", "http"} {
		t.Run(how, func(t *testing.T) {
			s := serve(t)
			w, trust := witness(t, s, t.TempDir())
			var cosigner Cosigner = w
			if how == "http" {
				server := httptest.NewServer(w.Handler())
				defer server.Close()
				var err error
				if cosigner, err = NewWitnessClient(server.URL, trust, &http.Transport{DisableKeepAlives: true}); err != nil {
					t.Fatal(err)
				}
			}
			note := func(l *Log, size uint64) *receipt.Note {
				n, err := l.Note(t.Context(), size)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			for i, n := range []int{3, 1, 300, 20} {
				s.grow(t, n)
				n := note(s.log, s.log.Last().Size)
				sig, err := s.log.Ask(t.Context(), cosigner, n, uint64(i)) // mostly the wrong size, which it then tells
				if err != nil {
					t.Fatal(err)
				}
				if _, err := trust.VerifySignature(n.Checkpoint, sig); err != nil {
					t.Fatal(err)
				}
			}
			if c, ok := w.Last(origin); !ok || c != s.log.Last() {
				t.Error("it does not remember what it has cosigned")
			}
			if _, err := s.log.Ask(t.Context(), cosigner, note(s.log, 324), 324); err != nil {
				t.Error("the same again:", err)
			}

			_, err := s.log.Ask(t.Context(), cosigner, note(s.log, 304), 4)
			if k := knownOf(err); k == nil || k.Size != 324 || !errs.Is(err, errs.Conflict) {
				t.Errorf("an older checkpoint: %v", err)
			}
			fork := s.fork(t, 10, 324)
			_, err = fork.Ask(t.Context(), cosigner, note(fork, 324), 324)
			wantCode(t, err, CodeForked)
			fork = s.fork(t, 10, 400)
			_, err = fork.Ask(t.Context(), cosigner, note(fork, 400), 324)
			wantCode(t, err, CodeProof)
			short := s.fork(t, 5, 5)
			_, err = short.Ask(t.Context(), cosigner, note(short, 5), 5)
			wantCode(t, err, CodeShrunk)

			if _, err = cosigner.Cosign(t.Context(), 325, nil, note(s.log, 324)); !errs.Is(err, errs.Invalid) {
				t.Errorf("an old size beyond: %v", err)
			}
			s.operator, _ = signer(t, "operator")
			s.grow(t, 1)
			proof, err := s.log.Consistency(t.Context(), 324, 325)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = cosigner.Cosign(t.Context(), 324, proof, note(s.log, 325)); !errs.Is(err, errs.Forbidden) {
				t.Errorf("another key: %v", err)
			}
			n := *note(s.log, 325)
			n.Checkpoint.Origin = "other.hainan.example"
			if _, err = cosigner.Cosign(t.Context(), 0, nil, &n); !errs.Is(err, errs.NotFound) {
				t.Errorf("an unknown log: %v", err)
			}
		})
	}
}

func TestWhatAWitnessReads(t *testing.T) {
	s := serve(t)
	w, _ := witness(t, s, t.TempDir())
	s.grow(t, 1)
	n, err := s.log.Note(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := n.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for body, status := range map[string]int{
		"old 0\n\n" + string(text) + "\n": 400,
		"":                                400,
		"old 0\n\n":                       400,
		"old 00\n\n" + string(text):       400,
		"old x\n\n" + string(text):        400,
		"old 0\nx\n\n" + string(text):     400,
		"old 0\n" + strings.Repeat(n.Checkpoint.Root.String()+"\n", 64) + "\n" + string(text): 400,
		"old 2\n\n" + string(text): 400,
		"old 0\n\n" + strings.Replace(string(text), origin, "x"+origin[1:], 1): 404,
		strings.Repeat("x", maxAdd+1):                                          413,
	} {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest("POST", "/add-checkpoint", strings.NewReader(body)))
		if rec.Code != status {
			t.Errorf("%.40q: %d %s, want %d", body, rec.Code, rec.Body, status)
		}
	}
	ask := func(body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest("POST", "/add-checkpoint", strings.NewReader(body)))
		return rec
	}
	if rec := ask("old 0\n\n" + string(text)); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), "— witness ") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask("old 0\n\n" + string(text)); rec.Code != 409 || rec.Body.String() != "1\n" || rec.Header().Get("Content-Type") != sizeType {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := ask("old 1\n" + n.Checkpoint.Root.String() + "\n\n" + string(text)); rec.Code != 422 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A witness that lies, or is another, is not believed.
func TestWitnessesAreNotBelieved(t *testing.T) {
	s := serve(t)
	s.grow(t, 2)
	n, err := s.log.Note(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	_, trust := witness(t, s, t.TempDir())
	other, _ := signer(t, "witness")
	forged, err := other.Cosign(n.Checkpoint, clock())
	if err != nil {
		t.Fatal(err)
	}
	lines, err := signatureLines(n.Checkpoint, forged)
	if err != nil {
		t.Fatal(err)
	}
	for what, answer := range map[string]http.HandlerFunc{
		"another key": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(lines) },
		"nonsense":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("nonsense\n")) },
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"too much":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), maxNote+1)) },
		"a size that is none": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", sizeType)
			w.WriteHeader(409)
			_, _ = w.Write([]byte("050\n"))
		},
	} {
		server := httptest.NewServer(answer)
		c, err := NewWitnessClient(server.URL, trust, &http.Transport{DisableKeepAlives: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Cosign(t.Context(), 0, nil, n)
		if errs.As(err).Code != CodeStrange || errs.As(err).Field != "add-checkpoint" {
			t.Errorf("%s: %v", what, err)
		}
		server.Close()
	}
}

// A power cut leaves any beginning of the last line; everything else that is not as it was refuses the memory.
func TestMemoryAfterACrash(t *testing.T) {
	dir := t.TempDir()
	m, err := openMemory(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	first := receipt.Checkpoint{Origin: origin, Size: 1, Root: merkle.LeafHash([]byte("1"))}
	second := receipt.Checkpoint{Origin: origin, Size: 20, Root: merkle.LeafHash([]byte("2"))}
	for _, c := range []receipt.Checkpoint{{Origin: "b", Size: 7}, first, second} {
		if err := m.remember(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, memoryName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reopen := func(content []byte) (map[string]receipt.Checkpoint, error) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := openMemory(dir, false)
		if err != nil {
			return nil, err
		}
		return m.known, m.close()
	}
	last := len(whole) - len(memoryLine(second))
	for cut := last; cut <= len(whole); cut++ {
		want := first
		if cut == len(whole) {
			want = second
		}
		known, err := reopen(whole[:cut])
		if err != nil || known[origin] != want || known["b"].Size != 7 {
			t.Fatalf("cut at %d: %v, %v", cut, known, err)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if known, err := reopen(bad); err == nil && (i < len(whole)-1 || known[origin] != first) {
			t.Fatalf("byte %d is another, and it was not noticed", i)
		} else if err != nil && errs.As(err).Code != CodeForgot {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := openMemory(dir, false); err == nil || errs.As(err).Code != CodeForgot {
		t.Errorf("a memory that is gone: %v", err)
	}
}

func TestMemoryIsOfOneWitnessAndStaysSmall(t *testing.T) {
	dir := t.TempDir()
	m, err := openMemory(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if _, err := openMemory(dir, true); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second witness: %v", err)
	}
	m.size = memoryLimit - 10 // as if many lines stood there
	if err := m.remember(receipt.Checkpoint{Origin: origin, Size: 9}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, memoryName)); err != nil || info.Size() > 1000 || m.size != info.Size() {
		t.Error(info.Size(), err)
	}
}

// dying is a key whose holder is killed while it signs.
type dying struct{ crypto.Signer }

func (d dying) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	select {} // it does not come back
}

// A witness that is killed between remembering and signing signs no other history afterwards.
func TestKilledWhileSigning(t *testing.T) {
	dir := os.Getenv("TLOG_WITNESS_DIR")
	s := serve(t)
	if dir != "" {
		der, err := os.ReadFile(filepath.Join(dir, "operator"))
		if err != nil {
			t.Fatal(err)
		}
		key, err := gm.ParsePKCS8(der)
		if err != nil {
			t.Fatal(err)
		}
		s.believe(t, key)
		s.grow(t, 5)
		sign, err := receipt.NewSigner("witness", dying{key})
		if err != nil {
			t.Fatal(err)
		}
		w, err := OpenWitness(WitnessOptions{Dir: filepath.Join(dir, "w"), Create: true, Signer: sign, Trust: s.trust, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.log.Note(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Cosign(t.Context(), 0, nil, n)
		t.Fatal("it lives, and answered", err)
	}
	dir = t.TempDir()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "operator"), key.PKCS8(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileSigning$")
	cmd.Env = append(os.Environ(), "TLOG_WITNESS_DIR="+dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the witness was not killed: %v %s", err, out)
	}
	s.believe(t, key)
	s.grow(t, 5)
	w, _ := witness(t, s, filepath.Join(dir, "w"))
	fork := s.fork(t, 2, 5)
	n, err := fork.Note(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fork.Ask(t.Context(), w, n, 0)
	wantCode(t, err, CodeForked)
	if n, err = s.log.Note(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.Ask(t.Context(), w, n, 0); err != nil {
		t.Error("what it has remembered it signs:", err)
	}
}

// believe has the log's operator be the holder of key.
func (s *served) believe(t *testing.T, key *gm.PrivateKey) {
	t.Helper()
	var err error
	if s.operator, err = receipt.NewSigner("operator", key); err != nil {
		t.Fatal(err)
	}
	s.trust, err = receipt.NewTrust([]receipt.Key{{Name: "operator", Origin: origin, Role: receipt.Operator, Public: key.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
}

// Many ask at once, for two histories: one of them is cosigned.
func TestManyAskAtOnce(t *testing.T) {
	s := serve(t)
	s.grow(t, 50)
	w, _ := witness(t, s, t.TempDir())
	logs := []*Log{s.log, s.fork(t, 3, 50)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	signed := map[int]int{}
	for i := range 20 {
		wg.Go(func() {
			n, err := logs[i%2].Note(t.Context(), 50)
			if err == nil {
				_, err = logs[i%2].Ask(t.Context(), w, n, 0)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				signed[i%2]++
			} else if errs.As(err).Code != CodeForked {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(signed) != 1 {
		t.Errorf("signatures by history: %v", signed)
	}
}

func FuzzParseAdd(f *testing.F) {
	f.Add([]byte("old 0\n\nx"))
	f.Add(append([]byte("old 1\nGrIdg1XPoX+OYRlIMegajyK+yMco/vt0ftA161CCqis=\n\n"), signedText(f)...))
	f.Fuzz(func(t *testing.T, body []byte) {
		older, proof, n, err := parseAdd(body)
		if err != nil {
			return
		}
		if again, err := appendAdd(older, proof, n); err != nil || !bytes.Equal(again, body) {
			t.Error(fmt.Sprintf("%q", again), err)
		}
	})
}
