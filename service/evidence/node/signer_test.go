package node

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/receipt"
)

// vault is `qiong signer` in a process of its own, with the only copy of a private key.
type vault struct {
	t              testing.TB
	dir, socket    string
	record, logged string
	cmd            *exec.Cmd
}

func newVault(t testing.TB, names ...string) *vault {
	t.Helper()
	dir := t.TempDir()
	v := &vault{t: t, dir: filepath.Join(dir, "keys"), socket: filepath.Join(dir, "s"), record: filepath.Join(dir, "record"), logged: filepath.Join(dir, "log")}
	ring, err := keys.Open(v.dir, keys.Options{CreateMaster: true})
	for _, name := range names {
		if err == nil {
			_, err = ring.Signer(name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kill)
	v.start()
	return v
}

func (v *vault) start() {
	v.t.Helper()
	v.cmd = exec.Command(os.Args[0], "--lang", "en", "signer", "--keys", v.dir, "--listen", v.socket, "--record", v.record)
	v.cmd.Env = append(os.Environ(), programEnv+"=1")
	logged, err := os.OpenFile(v.logged, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer logged.Close()
	v.cmd.Stderr = logged
	out, err := v.cmd.StdoutPipe()
	if err == nil {
		err = v.cmd.Start()
	}
	if err != nil {
		v.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "signer at "+v.socket) {
		text, _ := os.ReadFile(v.logged)
		v.t.Fatalf("the signer said %q, %v: %s", line, err, text)
	}
}

func (v *vault) kill() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill() // it may have ended
		_ = v.cmd.Wait()         // it was killed
		v.cmd = nil
	}
}

// signed is how many signatures are on record.
func (v *vault) signed() int {
	v.t.Helper()
	files, err := filepath.Glob(filepath.Join(v.record, "*.ndjson"))
	if err != nil {
		v.t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			v.t.Fatal(err)
		}
		n += strings.Count(string(text), "\n")
	}
	return n
}

// An agency's key lies in a signer alone. While that is killed the council goes on ordering, the node says what it waits
// for, and when the signer is back it cosigns what it owes: each checkpoint once, and the same as the others'.
func TestAKeyThatASignerHas(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	v := newVault(t, "customs.cosigning")
	l := newLabWith(t, map[string][]string{"customs": {"--signer", v.socket, "--signer-key", "customs.cosigning"}}, four...)
	customs, others := l.seats[1], []*seat{l.seats[0], l.seats[2], l.seats[3]}
	ring, err := keys.Open(filepath.Join(customs.dir, keysFolder), keys.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Signer(cosigning); !errs.Is(err, errs.Conflict) {
		t.Fatalf("the home has a private key: %v", err)
	}
	l.start()
	size := l.place(ctx, l.seats, "a-1")
	l.verified(ctx, filepath.Join(l.dir, "trust.pem"), l.cosigned(ctx, size, l.seats...), customs, four)

	v.kill()
	size = l.place(ctx, others, "b-1")
	l.cosigned(ctx, size, others...)
	until(ctx, t, "customs saying what it waits for", func() (bool, error) {
		s, err := customs.client.Status(ctx)
		return err == nil && s.Waits != nil && strings.Contains(s.Waits.EN, v.socket) && s.CosignedSize < size, err
	})
	if out := must(t, "status", customs.url); !strings.Contains(out, "customs waits to cosign: the signer at "+v.socket+" does not answer") {
		t.Errorf("status says\n%s", out)
	}
	if log := customs.tail(); !strings.Contains(log, "couldn't cosign") || !strings.Contains(log, v.socket) {
		t.Errorf("the node logged\n%s", log)
	}
	v.start()
	l.verified(ctx, filepath.Join(l.dir, "trust.pem"), l.cosigned(ctx, size, l.seats...), customs, four)

	first := l.notes(ctx, customs)
	r := rand.New(rand.NewPCG(5, 0))
	for i := range 6 {
		v.kill()
		size = l.place(ctx, l.seats, fmt.Sprintf("c-%d", i))
		v.start()
		<-time.After(time.Duration(r.IntN(30)) * time.Millisecond) // the moment of the kill is the test
	}
	l.cosigned(ctx, size, l.seats...)
	until(ctx, t, "customs waiting for nothing", func() (bool, error) {
		s, err := customs.client.Status(ctx)
		return err == nil && s.Waits == nil, err
	})
	now := l.notes(ctx, customs)
	for size, s := range first {
		if now[size] != s {
			t.Errorf("the checkpoint %d bears another signature than before", size)
		}
	}
	if n := v.signed(); n < len(now) || n > len(now)+12 { // what a kill has taken on its way is signed again
		t.Errorf("%d signatures are on record, and the log bears %d", n, len(now))
	}
}

// notes returns the signatures of a seat by the size of their checkpoints.
func (l *lab) notes(ctx context.Context, s *seat) map[uint64]receipt.Signature {
	l.t.Helper()
	all := map[uint64]receipt.Signature{}
	for after := uint64(0); ; {
		notes, err := s.log.Notes(ctx, after, 0)
		if err != nil {
			l.t.Fatal(err)
		}
		if len(notes) == 0 {
			return all
		}
		for _, n := range notes {
			if len(n.Signatures) != 1 {
				l.t.Fatalf("%d signatures of %s", len(n.Signatures), s.name)
			}
			after = n.Checkpoint.Size
			all[after] = n.Signatures[0]
		}
	}
}

// A key is rotated from the ring to a signer; without one the home says what is missing.
func TestRotatingToASigner(t *testing.T) {
	v := newVault(t, "cosigning")
	h := newHome(t, "tax")
	refused(t, "--signer-key goes with --signer", "key", "--home", h.dir, "--rotate", "--signer-key", "cosigning")
	refused(t, "has no key other", "key", "--home", h.dir, "--rotate", "--signer", v.socket, "--signer-key", "other")
	must(t, "key", "--home", h.dir, "--rotate", "--signer", v.socket)
	again, err := OpenHome(h.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(h *Home, pem string) error {
		pub, err := gm.ParsePublicKeyPEM([]byte(pem))
		if err != nil {
			t.Fatal(err)
		}
		key, err := h.Signer(pub)
		if err != nil {
			return err
		}
		_, err = gm.Sign(key, []byte(gm.DefaultID), []byte("m"))
		return err
	}
	for _, pem := range []string{h.Public().Cosigning, again.Public().Cosigning} {
		if err := sign(again, pem); err != nil {
			t.Error(err)
		}
	}
	if n := v.signed(); n != 1 {
		t.Errorf("the signer has signed %d times", n)
	}
	elsewhere, err := openHome(h.dir, "", filepath.Join(t.TempDir(), "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(elsewhere, again.Public().Cosigning); !errs.Is(err, errs.Unavailable) {
		t.Errorf("where nobody listens: %v", err)
	}
}
