package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/ledger"
	"github.com/qiongdev/qiong/tool/signer"
)

// The test binary is also the program: one process a node, as in the real thing.
const programEnv = "QIONG_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		house.Main(services, []*qiong.Tool{signer.Tool})
	}
	os.Exit(m.Run())
}

func openSQLite(path string) (sqldb.DB, error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// services have the commands where the real program has them.
var services = []*qiong.Service{{Name: "evidence", Commands: Commands(openSQLite)}}

// run runs `qiong evidence …` in this process.
func run(args ...string) (out string, err error) {
	var stdout, stderr bytes.Buffer
	code := house.Execute(context.Background(), services, nil, &qiong.Console{In: strings.NewReader(""), Out: &stdout, Err: &stderr},
		append([]string{"--lang", "en", "evidence"}, args...), nil)
	if code != 0 {
		return stdout.String(), fmt.Errorf("exit %d: %s", code, &stderr)
	}
	return stdout.String(), nil
}

func must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := run(args...)
	if err != nil {
		t.Fatalf("evidence %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// refused runs a command that must fail with these words.
func refused(t testing.TB, words string, args ...string) {
	t.Helper()
	out, err := run(args...)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("evidence %s: %q, %v; want an error with %q", strings.Join(args, " "), out, err, words)
	}
}

// lab is a council of agencies in processes, and a gateway.
type lab struct {
	t       testing.TB
	dir     string
	gateway *gm.PrivateKey
	seats   []*seat
	reader  *reader
}

// seat is an agency.
type seat struct {
	t         testing.TB
	name, dir string
	url       string
	args      []string // of its node
	cmd       *exec.Cmd
	stdin     io.Closer
	client    *Client
	log       *tlog.Client
}

var four = []string{"clearing", "customs", "forex", "tax"}

func newLab(t testing.TB, agencies ...string) *lab {
	t.Helper()
	return newLabWith(t, nil, agencies...)
}

// newLabWith is newLab with further flags for the keys of an agency.
func newLabWith(t testing.TB, flags map[string][]string, agencies ...string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), reader: &reader{seen: map[string]int{}}}
	var err error
	if l.gateway, err = gm.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.dir, "house.pem"), string(l.gateway.PublicKey().PEM()))
	args := []string{"init", "--chain", "hainan-trade", "--gateway", "house=" + filepath.Join(l.dir, "house.pem"), "--out", l.dir}
	for _, name := range agencies {
		args = append(args, l.seat(name, name, flags[name]...).public())
	}
	must(t, args...)
	return l
}

// seat makes an agency's home in a folder.
func (l *lab) seat(name, folder string, flags ...string) *seat {
	l.t.Helper()
	s := &seat{t: l.t, name: name, dir: filepath.Join(l.dir, folder), url: "http://" + freePort(l.t)}
	must(l.t, append([]string{"key", "--agency", name, "--home", s.dir, "--p2p", freePort(l.t), "--http", s.url}, flags...)...)
	s.client = NewClient(s.url, lang.EN)
	var err error
	if s.log, err = tlog.NewClient(s.url, nil); err != nil {
		l.t.Fatal(err)
	}
	s.args = []string{"--genesis", filepath.Join(l.dir, "genesis.json")}
	l.seats = append(l.seats, s)
	return s
}

func (s *seat) public() string { return filepath.Join(s.dir, publicFile) }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ports counts through those below what the kernel gives to connections, which would take them between two starts.
var ports atomic.Int64

// freePort returns an address that was free a moment ago, and that no other test gets.
func freePort(t testing.TB) string {
	t.Helper()
	for range 10000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+(int64(os.Getpid())*101+ports.Add(1))%12000)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (l *lab) start() {
	for _, s := range l.seats {
		s.start()
	}
}

// start starts the agency's node and waits for its line.
func (s *seat) start() {
	s.t.Helper()
	args := append([]string{"--lang", "en", "evidence", "node", "--with-parent", "--home", s.dir}, s.args...)
	program := os.Args[0]
	if other := os.Getenv("TEST_PROGRAM"); other != "" { // measuring the real one
		program = other
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	logged, err := os.OpenFile(s.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer logged.Close()
	cmd.Stderr = logged
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.stdin = cmd, stdin
	s.t.Cleanup(func() { s.end(syscall.SIGKILL) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "node of "+s.name+" at "+s.url+"\n" {
		s.t.Fatalf("the node of %s said %q, %v: %s", s.name, line, err, s.tail())
	}
}

// tail is the end of what the node logged.
func (s *seat) tail() string {
	data, _ := os.ReadFile(s.dir + ".log")
	return string(data[max(0, len(data)-3000):])
}

// end ends the node by a signal and waits for it.
func (s *seat) end(signal syscall.Signal) (err error) {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(signal) // it may be gone
	err = s.cmd.Wait()
	s.cmd = nil
	return err
}

// submission returns a record to be sent.
func submission(id string) ledger.Submission {
	return ledger.Submission{ID: id, Type: "approval.case.decided/1", Commitment: receipt.Commit([]byte(id)), Time: beijing.At(time.Now())}
}

func batch(t testing.TB, gateway string, key crypto.Signer, ids ...string) []byte {
	t.Helper()
	var b ledger.Batch
	for _, id := range ids {
		b.Records = append(b.Records, submission(id))
	}
	tx, err := ledger.NewBatch(gateway, key, b)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// until waits until f returns true, asking it again and again; the errors on the way are the last one's.
func until(ctx context.Context, t testing.TB, what string, f func() (bool, error)) {
	t.Helper()
	for tick := time.Tick(20 * time.Millisecond); ; {
		ok, err := f()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time; %v", what, err)
		case <-tick:
		}
	}
}

func deadline(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// reader follows the logs of the seats, of whichever answers, and holds each to what it has read before.
type reader struct {
	ids  []string
	seen map[string]int // how often an id came
	leaf merkle.Range
}

// read takes in what a seat has cosigned by now.
func (r *reader) read(ctx context.Context, s *seat) error {
	note, err := s.log.Checkpoint(ctx)
	if err != nil {
		return err
	}
	size := note.Checkpoint.Size
	for at := r.leaf.Size(); at < size; at = r.leaf.Size() {
		entries, err := s.log.Entries(ctx, at, size)
		if err != nil {
			return err
		}
		for _, e := range entries {
			record, err := receipt.ParseRecord(e)
			if err != nil {
				return err
			}
			r.leaf.Add(e, nil)
			r.ids = append(r.ids, record.ID)
			r.seen[record.ID]++
		}
	}
	if size == r.leaf.Size() && r.leaf.Root() != note.Checkpoint.Root {
		return errors.New("the log of " + s.name + " is not what the others' was")
	}
	return nil
}

// place submits records to the seats by turns, again and again, until they are in a log, and returns its size then.
func (l *lab) place(ctx context.Context, seats []*seat, ids ...string) uint64 {
	l.t.Helper()
	tx, turn := batch(l.t, "house", l.gateway, ids...), 0
	again := time.Time{}
	until(ctx, l.t, "ordering "+ids[0], func() (bool, error) {
		s := seats[turn%len(seats)]
		if time.Now().After(again) {
			if err := s.client.Submit(ctx, tx); err != nil {
				turn++
				return false, err
			}
			again = time.Now().Add(2 * time.Second)
		}
		err := l.reader.read(ctx, s)
		if err != nil {
			turn++
		}
		return l.reader.seen[ids[len(ids)-1]] > 0, err
	})
	return l.reader.leaf.Size()
}

// cosigned waits until each seat serves its own cosignature of the checkpoint of a size, and that alone, and returns the
// checkpoint with all of them.
func (l *lab) cosigned(ctx context.Context, size uint64, seats ...*seat) *receipt.Note {
	l.t.Helper()
	all := &receipt.Note{}
	for _, s := range seats {
		until(ctx, l.t, fmt.Sprintf("%s cosigning %d", s.name, size), func() (bool, error) {
			notes, err := s.log.Notes(ctx, size-1, time.Second)
			if err != nil || len(notes) == 0 || notes[0].Checkpoint.Size != size {
				return false, err
			}
			n := notes[0]
			if len(n.Signatures) != 1 || n.Signatures[0].Name != s.name {
				l.t.Fatalf("the note of %s bears %v", s.name, n.Signatures)
			}
			if len(all.Signatures) > 0 && n.Checkpoint != all.Checkpoint {
				l.t.Fatalf("%s has another checkpoint: %v, not %v", s.name, n.Checkpoint, all.Checkpoint)
			}
			all.Checkpoint = n.Checkpoint
			return all.Add(n.Signatures[0]), nil
		})
	}
	return all
}

// verified holds the last record, under the checkpoint that these seats have cosigned, to a trust file.
func (l *lab) verified(ctx context.Context, trust string, n *receipt.Note, from *seat, needs []string) {
	l.t.Helper()
	data, err := os.ReadFile(trust)
	if err != nil {
		l.t.Fatal(err)
	}
	keys, err := receipt.ParseTrust(data)
	if err != nil {
		l.t.Fatal(err)
	}
	size := n.Checkpoint.Size
	entries, err := from.log.Entries(ctx, size-1, size)
	if err != nil {
		l.t.Fatal(err)
	}
	record, err := receipt.ParseRecord(entries[0])
	if err != nil {
		l.t.Fatal(err)
	}
	if !slices.Equal(record.Needs, needs) {
		l.t.Errorf("the record needs %v, want %v", record.Needs, needs)
	}
	path, err := from.log.Inclusion(ctx, size-1, size)
	if err != nil {
		l.t.Fatal(err)
	}
	r := &receipt.Receipt{Record: *record, Index: size - 1, Path: path, Note: *n}
	result, err := receipt.Verify(r, keys, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if len(result.Owed) > 0 {
		l.t.Errorf("the receipt is owed %v", result.Owed)
	}
}
