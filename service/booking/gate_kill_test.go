package booking_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// gateChild has this program be the gate, in a process that can be killed.
const gateChild = "QIONG_TEST_GATE"

func TestGateChild(t *testing.T) {
	flags := os.Getenv(gateChild)
	if flags == "" {
		t.Skip("it is run by the tests that kill it")
	}
	c := &qiong.Console{In: os.Stdin, Out: os.NewFile(3, "answers"), Err: os.Stderr, Lang: lang.EN, JSON: true}
	if err := runGate(t, c, nil, strings.Split(flags, "\n")...); err != nil {
		t.Fatal(err)
	}
}

// process is a gate in a process of its own.
type process struct {
	cmd   *exec.Cmd
	typed io.WriteCloser
}

// spawn starts a gate that answers into a file.
func (b *box) spawn(t *testing.T, answers *os.File) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-test.run=^TestGateChild$")}
	p.cmd.Env = append(os.Environ(), gateChild+"="+strings.Join(b.flags, "\n"))
	p.cmd.ExtraFiles = []*os.File{answers}
	var err error
	if p.typed, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// kill is kill -9.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v", err)
	}
}

// newGateBox is a box with a key of the test's own, and codes of it.
func newGateBox(t *testing.T, codes int, party uint16) (*box, []string) {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{dir: t.TempDir()}
	if err := os.WriteFile(b.file("keys.pem"), key.PublicKey().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	b.flags = []string{"--spot", "7", "--keys", b.file("keys.pem"), "--journal", b.file("journal")}
	start := time.Now().Truncate(time.Minute).Add(-time.Hour)
	all := make([]string, codes)
	for i := range all {
		if all[i], err = ticket.Sign(key, ticket.Ticket{Booking: uint64(i + 1), Spot: 7, Party: party, From: start, Until: start.Add(24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	return b, all
}

// Killed between the journal and the answer: the pipe for answers is full, so that the gate can say nothing, and its
// journal is watched.
func TestKilledBetweenJournalAndAnswer(t *testing.T) {
	b, codes := newGateBox(t, 3, 2)
	for n, code := range codes {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fill(t, write)
		p := b.spawn(t, write)
		if _, err := fmt.Fprintln(p.typed, code); err != nil {
			t.Fatal(err)
		}
		want := int64(ticket.HeadSize + (n+1)*ticket.EntrySize)
		eventually(t, "the entry", func() bool {
			info, err := os.Stat(b.file("journal"))
			return err == nil && info.Size() == want
		})
		p.kill(t)
		if err := errors.Join(read.Close(), write.Close()); err != nil {
			t.Fatal(err)
		}
		again, warned := b.scan(t, code, "1 "+code)
		if again[0].Admitted || again[0].Reason != "all-in" || again[1].Admitted || warned != "" {
			t.Fatalf("let in twice: %+v %s", again, warned)
		}
	}
}

// fill writes a pipe full.
func fill(t *testing.T, write *os.File) {
	t.Helper()
	fd := int(write.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; {
		switch _, err := syscall.Write(fd, make([]byte, size)); {
		case errors.Is(err, syscall.EAGAIN):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// Killed at any moment, again and again, while every code is shown over and over: of no party more come in than it has,
// and whatever was answered yes is in the journal.
func TestKilledAtAnyMoment(t *testing.T) {
	const party = 3
	b, codes := newGateBox(t, 40, party)
	random := rand.New(rand.NewPCG(7, 7))
	in := map[string]int{}
	for range 12 {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := b.spawn(t, write)
		if err := write.Close(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for { // until it is killed
				if _, err := fmt.Fprintln(p.typed, "1 "+codes[rand.IntN(len(codes))]); err != nil {
					return
				}
			}
		}()
		answers, stop := bufio.NewScanner(read), 1+random.IntN(15)
		for n := 0; answers.Scan(); n++ {
			var said booking.Passage
			if err := json.Unmarshal(answers.Bytes(), &said); err != nil {
				continue // the killed gate's last words
			}
			in[said.Booking] += said.People
			if n == stop {
				p.kill(t)
			}
		}
		if err := read.Close(); err != nil {
			t.Fatal(err)
		}
	}
	journal := b.journal(t)
	whole := len(journal) - (len(journal)-ticket.HeadSize)%ticket.EntrySize
	entries, doubles, _, err := ticket.NewTally().Add(journal[:ticket.HeadSize], journal[ticket.HeadSize:whole])
	if err != nil || len(doubles) > 0 {
		t.Fatalf("%d doubles in the journal of one gate, %v", len(doubles), err)
	}
	total := 0
	for id, people := range in {
		if total += people; people > party {
			t.Errorf("%d of booking %s came in", people, id)
		}
	}
	if len(entries) < total || total < 12 {
		t.Errorf("%d were told yes, %d are in the journal", total, len(entries))
	}
}
