package lease

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

var sample = Record{Promised: Ballot{7, "b/2"}, Accepted: Ballot{5, "a/1"},
	Register: Register{Holder: "a", Epoch: 3, InSync: []string{"a", "b"}, TTL: 3000, Forced: "a <burned> disk"}}

func openFiles(t *testing.T, dir string) *Files {
	t.Helper()
	f, err := OpenFiles(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFilesKeepRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "voter")
	if _, err := OpenFiles(dir, false); err == nil {
		t.Fatal("a folder that is gone became a new one")
	}
	f := openFiles(t, dir)
	if _, err := OpenFiles(dir, true); !errs.Is(err, errs.Conflict) {
		t.Errorf("opened twice: %v", err)
	}
	for _, r := range []Record{{Promised: Ballot{1, "a/1"}}, sample} {
		if err := f.Save(t.Context(), "booking/wuzhizhou", r); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".new-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openFiles(t, dir)
	defer f.Close()
	all, err := f.Load(t.Context())
	if r := all["booking/wuzhizhou"]; err != nil || len(all) != 1 || !r.Register.Equal(sample.Register) || r.Promised != sample.Promised {
		t.Errorf("%+v, %v", all, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	f := openFiles(t, dir)
	defer f.Close()
	good := sample.Marshal()
	path := filepath.Join(dir, "shard"+fileType)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context()); err == nil {
			t.Fatalf("a flipped bit in byte %d went unnoticed", i)
		}
		if err := os.WriteFile(path, good[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context()); err == nil {
			t.Fatalf("cut after byte %d it went unnoticed", i)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(sample.Marshal())
	f.Add(Record{}.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err == nil && !bytes.Equal(r.Marshal(), data) {
			t.Fatalf("%q is also written %q", data, r.Marshal())
		}
	})
}

func TestAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lease")
	for life := uint64(1); life <= 3; life++ {
		c, err := Alone(t.Context(), dir, "house")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Alone(t.Context(), dir, "house"); !errs.Is(err, errs.Conflict) {
			t.Errorf("two alone: %v", err)
		}
		h, err := c.Acquire(t.Context(), "shard")
		if err != nil || h.Epoch() != life || !h.Valid() || !slices.Equal(h.InSync(), []string{"house"}) {
			t.Fatalf("life %d: epoch %d, %v", life, h.Epoch(), err)
		}
		if err := h.SetInSync(t.Context(), "house"); err != nil {
			t.Error(err)
		}
		if life == 2 {
			if err := h.Release(t.Context()); err != nil || h.Valid() {
				t.Errorf("released: %v", err)
			}
			<-h.Lost()
		}
		if err := c.Close(); err != nil { // in the first life without release, as after a crash
			t.Error(err)
		}
	}
}

// TestMain runs a voter in a process of its own where it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("LEASE_VOTER") == "" {
		os.Exit(m.Run())
	}
	if err := serveVoter(os.Getenv("LEASE_VOTER"), os.Getenv("LEASE_STOP")); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// stopper stops the process for good before or after a write, having said so.
type stopper struct {
	*Files
	at string
}

func (s stopper) Save(ctx context.Context, lease string, r Record) error {
	stop := r.Accepted.N > 0
	if s.at == "before" && stop {
		fmt.Println("stopped")
		select {}
	}
	err := s.Files.Save(ctx, lease, r)
	if s.at == "after" && stop && err == nil {
		fmt.Println("stopped")
		select {}
	}
	return err
}

func serveVoter(dir, stop string) error {
	if stop == "full" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
			return err
		}
	}
	files, err := OpenFiles(dir, true)
	if err != nil {
		return err
	}
	v, err := OpenVoter(context.Background(), VoterOptions{Store: stopper{files, stop}})
	if err != nil {
		return err
	}
	var keys [2]*gm.PrivateKey
	for i := range keys {
		if keys[i], err = gm.NewPrivateKey(scalar(i)); err != nil {
			return err
		}
	}
	pub, err := gm.PublicKeyOf(keys[1].Public())
	if err != nil {
		return err
	}
	server := httptest.NewServer(NewHandler(v, "v", keys[0], Keys{"a": pub}))
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent ends
	return err
}

func scalar(i int) []byte { return append(make([]byte, 31), byte(i+1)) }

// child is a voter in a process of its own.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	peer  *Remote
}

func startVoter(t *testing.T, dir, stop string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LEASE_VOTER="+dir, "LEASE_STOP="+stop)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	var keys [2]*gm.PrivateKey
	for i := range keys {
		if keys[i], err = gm.NewPrivateKey(scalar(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.peer = NewRemote("v", c.line(t), public(t, keys[0]), keys[1], &http.Client{})
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("the voter said nothing: %v", c.lines.Err())
	}
	if strings.HasPrefix(c.lines.Text(), "failed") {
		t.Fatal(c.lines.Text())
	}
	return c.lines.Text()
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may be dead
	_ = c.cmd.Wait()
}

// A voter is killed between deciding and answering: what it had written stands, though nobody was told, and what it had
// not is gone.
func TestKilledBetweenDecisionAndAnswer(t *testing.T) {
	for _, stop := range []string{"before", "after"} {
		dir := t.TempDir()
		c := startVoter(t, dir, stop)
		if a, err := c.peer.Ask(t.Context(), prepare(4, "a/1")); err != nil || !a.OK {
			t.Fatalf("%+v, %v", a, err)
		}
		answered := make(chan error, 1)
		go func() {
			_, err := c.peer.Ask(context.Background(), accept(4, "a/1", 1, 1))
			answered <- err
		}()
		if line := c.line(t); line != "stopped" {
			t.Fatal(line)
		}
		c.kill()
		if err := <-answered; !errs.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v", stop, err)
		}
		c = startVoter(t, dir, "")
		a, err := c.peer.Ask(t.Context(), look("a/2"))
		if err != nil || a.Promised != (Ballot{4, "a/1"}) {
			t.Fatalf("%s: %+v, %v", stop, a, err)
		}
		if kept := a.Accepted.N == 4 && a.Held > 0 && !a.OK; kept != (stop == "after") {
			t.Errorf("%s: %+v", stop, a)
		}
		if a, err := c.peer.Ask(t.Context(), prepare(3, "a/2")); err != nil || a.OK {
			t.Errorf("%s: the promise is forgotten: %+v, %v", stop, a, err)
		}
	}
}

// A voter is killed at random moments while somebody writes to it. Nothing that it answered is forgotten.
func TestKilledAtRandom(t *testing.T) {
	dir := t.TempDir()
	n := uint64(0)
	for round := range 10 {
		c := startVoter(t, dir, "")
		for answers := 0; ; answers++ {
			if answers == 2*round+1 {
				go c.cmd.Process.Kill() // it hits one of the next
			}
			if _, err := c.peer.Ask(t.Context(), accept(n+1, "a/1", n+1, 1)); err != nil {
				break
			}
			n++
		}
		c.kill()
		f := openFiles(t, dir)
		all, err := f.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := all["shard"].Register.Epoch; got < n || got > n+1 {
			t.Fatalf("epoch %d was answered, %d is kept", n, got)
		} else {
			n = got
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// No byte can be written: the voter refuses, and what it says is what was.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	c := startVoter(t, dir, "")
	for _, r := range []Request{prepare(4, "a/1"), accept(4, "a/1", 1, 1)} {
		if _, err := c.peer.Ask(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	c.kill()
	c = startVoter(t, dir, "full")
	if a, err := c.peer.Ask(t.Context(), prepare(5, "a/1")); !errs.Is(err, errs.Full) {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.peer.Ask(t.Context(), accept(4, "a/1", 1, 2)); err != nil || !a.OK || a.Promised.N != 4 {
		t.Errorf("a renewal needs no disk: %+v, %v", a, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
