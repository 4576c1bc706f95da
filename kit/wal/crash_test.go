package wal_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/internal/powercut"
	"github.com/qiongdev/qiong/kit/wal"
)

// childDir names, in the environment, the folder in which a child of the test writes a log until it is killed.
const childDir = "QIONG_WAL_TEST_DIR"

// childAcks is after how many acknowledgements it kills itself; never where there is no number.
const childAcks = "QIONG_WAL_TEST_ACKS"

// child writes batches, rotates and trims now and then, and says on standard output which were acknowledged.
func child(dir string) error {
	left, _ := strconv.Atoi(os.Getenv(childAcks))
	l, err := wal.Open(dir, wal.Options{Unfenced: true, SegmentBytes: 16 << 10})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for {
		b := l.Batch()
		var last uint64
		for range 1 + r.IntN(8) {
			last = b.Append([]byte(record(b)))
		}
		said := fmt.Appendf(nil, "acknowledged %020d\n", last)
		l.Commit(b, func(err error) {
			if err != nil {
				said = []byte("failed: " + err.Error() + "\n")
			}
			_, _ = os.Stdout.Write(said) // nobody hears it after the kill
			if left--; left == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		})
		if last%30 == 0 {
			if err := l.Rotate(); err != nil {
				return err
			}
		}
		if last%40 == 0 {
			if err := keep(l, l.Durable()); err != nil {
				return err
			}
		}
	}
}

// record says its own number, so that whoever reads it sees that it is the one.
func record(b *wal.Batch) string {
	n := uint64(b.Len())
	return fmt.Sprintf("batch record %d %s", n, strings.Repeat("x", int(n*37%300)))
}

// keep makes a snapshot and drops what is before it, where the last durable record ends a batch, as it does.
func keep(l *wal.Log, last uint64) error {
	if last == 0 {
		return nil
	}
	if err := l.Snapshot(last, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "state up to %d", last)
		return err
	}); err != nil {
		return err
	}
	return l.Retain(last)
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println(child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// acknowledged holds that a folder opens, and has every record up to last.
func acknowledged(t *testing.T, dir string, last uint64, fs wal.FS) {
	t.Helper()
	l, err := wal.Open(dir, wal.Options{Unfenced: true, SegmentBytes: 16 << 10, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from, body, err := l.Restore()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	state, err := bufio.NewReader(body).ReadString('\n')
	if from > 0 && state != fmt.Sprintf("state up to %d", from) {
		t.Fatalf("the snapshot up to %d says %q, %v", from, state, err)
	}
	next := from + 1
	for r, err := range l.Read(from) {
		if err != nil {
			t.Fatal(err)
		}
		if r.LSN != next || !strings.HasPrefix(string(r.Data), "batch record ") {
			t.Fatalf("record %d where %d belongs", r.LSN, next)
		}
		next++
	}
	if next <= last {
		t.Fatalf("%d was acknowledged, and %d is the last", last, next-1)
	}
	if lsn, err := l.Write(t.Context(), []byte("batch record again")); err != nil || lsn != next {
		t.Fatal(lsn, err)
	}
}

// unsynced leaves syncs out, where nothing is to be proven of them.
type unsynced struct{ wal.FS }

type unsyncedFile struct{ wal.File }

func (unsynced) SyncDir(string) error { return nil }
func (unsyncedFile) Sync() error      { return nil }
func (unsyncedFile) Datasync() error  { return nil }

func (u unsynced) Open(name string, flag int) (wal.File, error) {
	f, err := u.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// TestKill kills a child that writes, again and again in the same folder.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	r := rand.New(rand.NewPCG(1, 1))
	for range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var last uint64
		lines := bufio.NewScanner(out)
		for left := 1 + r.IntN(200); lines.Scan(); left-- {
			n, err := strconv.ParseUint(strings.TrimPrefix(lines.Text(), "acknowledged "), 10, 64)
			if err != nil {
				t.Fatal(lines.Text())
			}
			last = n
			if left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || last == 0 {
			t.Fatalf("the child ended by itself after %d: %v", last, err)
		}
		acknowledged(t, dir, last, wal.OS())
	}
}

// said is an acknowledgement in a trace.
var said = regexp.MustCompile(`acknowledged (\d{20})\n`)

// TestPowerCut traces a child's system calls, rebuilds what the disk may have held at many moments, and opens that.
func TestPowerCut(t *testing.T) {
	if out, err := exec.Command("strace", append(powercut.Strace, "-o", "/dev/null", "true")...).CombinedOutput(); err != nil {
		t.Skipf("the power-cut test needs strace (apt-get install strace) and leave to trace: %v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil { // its name is the caller's to keep
		t.Fatal(err)
	}
	calls := traced(t, dir)
	answers := powercut.Answers(calls, said)
	if len(answers) < 100 {
		t.Fatalf("the trace shows %d acknowledgements", len(answers))
	}
	disk, err := powercut.Replay(dir, calls)
	if err != nil {
		t.Fatal(err)
	}
	promised := func(cut int) (last uint64) {
		for _, a := range answers {
			if a.Begin < cut {
				last, _ = strconv.ParseUint(a.ID, 10, 64)
			}
		}
		return last
	}
	for _, cut := range cuts(calls, answers) {
		for _, loss := range powercut.Losses {
			for seed := range uint64(2) {
				left := t.TempDir()
				if err := disk.Cut(cut, loss, seed, left); err != nil {
					t.Fatal(err)
				}
				t.Run(fmt.Sprintf("before line %d losing %s, seed %d", cut, loss, seed), func(t *testing.T) {
					acknowledged(t, left, promised(cut), unsynced{wal.OS()})
				})
			}
		}
	}
}

// cuts draws moments: anywhere, right after acknowledgements, and around what begins and ends files.
func cuts(calls []powercut.Call, answers []powercut.Answer) (all []int) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 15 {
		all = append(all, calls[r.IntN(len(calls))].Begin, answers[r.IntN(len(answers))].Begin+1)
	}
	for _, c := range calls {
		if (strings.HasPrefix(c.Name, "rename") || strings.HasPrefix(c.Name, "unlink") || c.Name == "ftruncate") && r.IntN(10) == 0 {
			all = append(all, c.Begin, c.Begin+1, c.Begin+2)
		}
	}
	return all
}

// traced runs a child under strace until it has acknowledged enough.
func traced(t *testing.T, dir string) []powercut.Call {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", append(append([]string{"-o", file}, powercut.Strace...), os.Args[0])...)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childAcks+"=200")
	if out, err := cmd.Output(); err == nil || !strings.HasSuffix(string(out), "\n") || strings.Contains(string(out), "failed") {
		t.Fatalf("the child was not killed: %.200s", out)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := powercut.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}
