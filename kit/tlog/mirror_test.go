package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// drain takes steps until there is nothing new, and holds the entries to what the log was given.
func drain(t *testing.T, m *Mirror) (steps int, notes []uint64) {
	t.Helper()
	for {
		s, err := m.Next(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			return steps, notes
		}
		steps++
		for i, e := range s.Entries {
			if want := fmt.Sprintf("entry %d", int(s.From)+i); string(e) != want {
				t.Fatalf("entry %d is %q, want %q", int(s.From)+i, e, want)
			}
		}
		for _, n := range s.Notes {
			notes = append(notes, n.Checkpoint.Size)
		}
	}
}

func TestAMirrorFollows(t *testing.T) {
	s := serve(t)
	m := s.mirror(t, Seen{})
	for _, n := range []int{1, 2, 300, 5000, 256, 17} {
		s.grow(t, n)
	}
	steps, notes := drain(t, m)
	if want := "[1 3 303 5303 5559 5576]"; fmt.Sprint(notes) != want || steps < 2 || m.seen.Size() != 5576 {
		t.Fatalf("notes %v in %d steps, %d entries", notes, steps, m.seen.Size())
	}
	s.grow(t, 9)
	if steps, notes = drain(t, m); steps != 1 || len(notes) != 1 || m.seen.Size() != 5585 {
		t.Errorf("%d steps, notes %v", steps, notes)
	}
}

// A mirror that is stopped in the midst of a long way goes on from there, and still knows the note it had seen.
func TestAMirrorGoesOn(t *testing.T) {
	s := serve(t)
	s.grow(t, stepEntries+500)
	m := s.mirror(t, Seen{})
	step, err := m.Next(t.Context(), 0)
	if err != nil || len(step.Entries) != stepEntries || len(step.Notes) != 0 {
		t.Fatalf("%+v, %v", step, err)
	}
	text, err := step.Seen.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	seen, err := ParseSeen(text)
	if err != nil || seen.Size() != stepEntries || seen.Note().Checkpoint.Size != stepEntries+500 {
		t.Fatalf("%+v, %v", seen, err)
	}
	if _, notes := drain(t, s.mirror(t, seen)); len(notes) != 1 {
		t.Error(notes)
	}
	s.another(s.fork(t, stepEntries+100, stepEntries+600))
	_, err = s.mirror(t, seen).Next(t.Context(), 0)
	wantCode(t, err, CodeForked)
}

func wantCode(t *testing.T, err error, code string) *errs.Error {
	t.Helper()
	if err == nil || errs.As(err).Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return errs.As(err)
}

func TestALogThatLiesIsNamed(t *testing.T) {
	// changed has one byte of the answers below a path be another; -1 is the first of every hash.
	changed := func(prefix string, at int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			rec := httptest.NewRecorder()
			truth.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			if strings.HasPrefix(r.URL.Path, prefix) {
				for i := range body {
					if i == at || at < 0 && i%32 == 0 {
						body[i] ^= 1
					}
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(body)
		}
	}
	answer := func(path, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			if r.URL.Path == path {
				_, _ = w.Write([]byte(body))
				return
			}
			truth.ServeHTTP(w, r)
		}
	}
	for name, c := range map[string]struct {
		lie   func(t *testing.T, s *served) // after the mirror has seen 300 entries
		code  string
		says  string
		proof bool // whether the error has both notes
	}{
		"forked":        {func(t *testing.T, s *served) { s.another(s.fork(t, 200, 400)) }, CodeForked, "first 300 entries", true},
		"forked, equal": {func(t *testing.T, s *served) { s.another(s.fork(t, 200, 300)) }, CodeForked, "first 300 entries", true},
		"shrunk":        {func(t *testing.T, s *served) { s.another(s.fork(t, 299, 299)) }, CodeShrunk, "had 300 entries, and has 299", true},
		"an entry": {func(t *testing.T, s *served) {
			s.grow(t, 100)
			s.tell(changed("/tile/entries/001.p/144", (2+9)*(320-256)))
		}, CodeStrange, "bundle", false},
		"an entry's byte": {func(t *testing.T, s *served) {
			s.grow(t, 100)
			s.tell(changed("/tile/entries/", (2+9)*(320-256)+8))
		}, CodeRewritten, "entry 320", false},
		"tiles": {func(t *testing.T, s *served) {
			s.grow(t, stepEntries+1000)
			s.tell(changed("/tile/0/", -1))
		}, CodeStrange, "tile", false},
		"wrong key": {func(t *testing.T, s *served) {
			s.operator, _ = signer(t, "operator")
			s.grow(t, 1)
		}, receipt.CodeSigner, "this key of operator", false},
		"a signature": {func(t *testing.T, s *served) {
			s.grow(t, 1)
			s.tell(func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
				if r.URL.Path != "/notes" {
					truth.ServeHTTP(w, r)
					return
				}
				n, err := s.log.Note(r.Context(), 301)
				if err != nil {
					t.Error(err)
				}
				n.Signatures[0].R[7] ^= 1
				text, _ := n.Marshal() // it can be written, whatever its numbers
				_, _ = fmt.Fprintf(w, "%d\n%s", len(text), text)
			})
		}, receipt.CodeSignature, "operator", false},
		"nonsense":    {func(t *testing.T, s *served) { s.tell(answer("/notes", "12\nnonsense")) }, CodeStrange, "length", false},
		"a huge size": {func(t *testing.T, s *served) { s.tell(answer("/notes", "99999999999999999999\n")) }, CodeStrange, "length", false},
		"endless": {func(t *testing.T, s *served) {
			s.tell(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				for r.Context().Err() == nil {
					if _, err := w.Write(bytes.Repeat([]byte("1"), 1<<16)); err != nil {
						return
					}
				}
			})
		}, CodeStrange, "longer than", false},
		"old notes": {func(t *testing.T, s *served) {
			s.tell(func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
				r.URL.RawQuery = ""
				truth.ServeHTTP(w, r)
			})
		}, CodeStrange, "do not grow", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			m := s.mirror(t, Seen{})
			s.grow(t, 300)
			drain(t, m)
			before := m.Seen()
			c.lie(t, s)
			_, err := m.Next(t.Context(), 0)
			e := wantCode(t, err, c.code)
			if !strings.Contains(e.Error(), c.says) {
				t.Errorf("%q does not say %q", e.Error(), c.says)
			}
			var both *Contradiction
			if errors.As(err, &both) != c.proof {
				t.Errorf("the proof of it: %v", both)
			}
			if m.seen.Size() != before.Size() || m.seen.note != before.note {
				t.Error("what was refused was remembered")
			}
		})
	}
}

func TestAwayIsNoLie(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   errs.Kind
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://elsewhere.example/", 302) }, errs.Unavailable},
		"broken":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, errs.Unavailable},
		"slow":     {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, errs.Timeout},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("1"))
			_ = http.NewResponseController(w).Flush() // the client reads one byte, and no other
			<-r.Context().Done()
		}, errs.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			client, err := NewClient(server.URL, &http.Transport{DisableKeepAlives: true})
			if err != nil {
				t.Fatal(err)
			}
			client.timeout = 100 * time.Millisecond
			if _, err := client.Notes(t.Context(), 0, 0); !errs.Is(err, c.kind) || errs.As(err).Field != "notes" {
				t.Errorf("got %v, want %v at notes", err, c.kind)
			}
		})
	}
}

// Follow sits a server out that is away, waits for news without asking often, and ends with its context.
func TestFollow(t *testing.T) {
	s := serve(t)
	s.grow(t, 3)
	down := make(chan struct{}, 1)
	s.tell(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(502) })
	m := s.mirror(t, Seen{})
	m.Away = func(error) {
		s.tell(nil)
		down <- struct{}{}
	}
	ctx, end := context.WithCancel(t.Context())
	steps, done := make(chan int), make(chan error)
	go func() {
		done <- m.Follow(ctx, func(s *Step) error { steps <- len(s.Entries); return nil })
	}()
	<-down
	if n := <-steps; n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
	s.grow(t, 2) // it waits for these, or asks right after
	if n := <-steps; n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, address := range []string{"", "gov.example", "ftp://gov.example", "http://", "http://a/?b", "http://u:p@a/", "http://a/#b"} {
		if _, err := NewClient(address, nil); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// signedText is a note as it is served.
func signedText(t testing.TB) []byte {
	t.Helper()
	s, _ := signer(t, "operator")
	c := receipt.Checkpoint{Origin: origin, Size: 3}
	sig, err := s.Cosign(c, time.Unix(1_750_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	text, err := (&receipt.Note{Checkpoint: c, Signatures: []receipt.Signature{sig}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func FuzzParseNotes(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("3\nabc"))
	text := signedText(f)
	f.Add(fmt.Appendf(nil, "%d\n%s%d\n%s", len(text), text, len(text), text))
	f.Fuzz(func(t *testing.T, body []byte) {
		notes, err := ParseNotes(body)
		if err != nil {
			return
		}
		var again []byte
		for _, n := range notes {
			text, err := n.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			again = fmt.Appendf(again, "%d\n%s", len(text), text)
		}
		if !bytes.Equal(again, body) {
			t.Error("two ways to write the same notes")
		}
	})
}

func FuzzParseSeen(f *testing.F) {
	f.Add([]byte("size 0\n"))
	f.Add([]byte("size 1\nGrIdg1XPoX+OYRlIMegajyK+yMco/vt0ftA161CCqis=\n"))
	f.Add(append([]byte("size 0\n\n"), signedText(f)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseSeen(data); err == nil {
			if again, err := s.Marshal(); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%q, %v", again, err)
			}
		}
	})
}
