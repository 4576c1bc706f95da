package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/internal/powercut"
	"github.com/qiongdev/qiong/kit/client"
)

// created is an answer that a case was made, or a draft submitted.
var created = regexp.MustCompile(`HTTP/1\.1 20[01] (?:[^\r\n]+\r\n)+?Location: /api/approval/cases/([0-9A-Z]+)\r\n`)

// booked is an answer that a booking was made.
var booked = regexp.MustCompile(`HTTP/1\.1 201 (?:[^\r\n]+\r\n)+\r\n\{"id":"([0-9A-Z]+)"`)

// TestPowerCut runs the real program under strace, and cuts its power at many points afterwards: it rebuilds what the
// disk would have held and starts the program on that.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	life := trace(t)
	t.Run("no answer before its sync", life.answersAreKept)
	t.Run("no booking before its sync", life.bookingsAreKept)
	disk, err := powercut.Replay(life.data, life.calls)
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	for _, cut := range life.cuts(seed, 4) {
		for _, loss := range powercut.Losses {
			t.Run(fmt.Sprintf("before line %d losing %s", cut, loss), func(t *testing.T) {
				t.Parallel()
				data := t.TempDir()
				if err := disk.Cut(cut, loss, seed, data); err != nil {
					t.Fatal(err)
				}
				life.revive(t, cut, data)
			})
		}
	}
}

// life is what a house did from its first start until it was killed.
type life struct {
	program             string
	flags               []string
	data                string
	calls               []powercut.Call
	answers             []powercut.Answer // to submissions
	bookings            []powercut.Answer
	keys                map[string]string // of bookings, by id
	applicant, operator *client.Client
}

// trace runs a house under strace with applicants at work.
func trace(t *testing.T) *life {
	t.Helper()
	if out, err := exec.Command("strace", append(powercut.Strace, "-o", "/dev/null", "true")...).CombinedOutput(); err != nil {
		t.Skipf("the power-cut test needs strace (apt-get install strace) and leave to trace: %v\n%s", err, out)
	}
	l := &life{data: filepath.Join(t.TempDir(), "data"), flags: []string{"up", "--booking.spots", crowdSpots(t)}, keys: map[string]string{}}
	if err := os.Mkdir(l.data, 0o700); err != nil { // its name is the operator's to keep
		t.Fatal(err)
	}
	l.program = build(t, "build")
	file := filepath.Join(t.TempDir(), "trace")
	p := newProgram(t, l.data, slices.Concat([]string{"strace", "-o", file}, powercut.Strace, []string{l.program}, l.flags)...)
	p.traced = true
	p.start()
	l.applicant, l.operator = p.tokens()
	people := newCrowd(t, l.applicant, 4, slotsOf(t, l.applicant))
	applicants, began := newLoad(t, l.applicant, 16, 1), time.Now()
	verdict{t, l.data, l.applicant, l.operator}.eventually("cases are accepted and the log is moved into the database", 2*time.Minute, func() bool {
		info, err := os.Stat(filepath.Join(l.data, "db", "approval.db"))
		return err == nil && info.ModTime().After(began) && applicants.cases() >= 40
	})
	applicants.end()
	for key, id := range people.end() {
		l.keys[id] = key
	}
	p.kill()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if l.calls, err = powercut.Read(f); err != nil {
		t.Fatal(err)
	}
	l.answers, l.bookings = powercut.Answers(l.calls, created), powercut.Answers(l.calls, booked)
	return l
}

// answersAreKept checks that no 2xx to a new case precedes the sync of the log that holds the case.
func (l *life) answersAreKept(t *testing.T) {
	n := 0
	for _, a := range l.answers {
		if !bytes.HasPrefix(a.Data, []byte("HTTP/1.1 201 ")) {
			continue // the case was there before, as a draft
		}
		n++
		if err := a.Kept(l.calls, filepath.Join(l.data, "db", "approval.db-wal")); err != nil {
			t.Error(err)
		}
	}
	if n < 40 {
		t.Errorf("the trace shows %d answers", n)
	}
}

// bookingsAreKept checks that no 201 to a booking precedes the sync of the segment that holds it.
func (l *life) bookingsAreKept(t *testing.T) {
	n := 0
	for _, a := range l.bookings {
		key := l.keys[a.ID]
		if key == "" {
			continue // nobody read it
		}
		n++
		segment := slices.IndexFunc(l.calls, func(c powercut.Call) bool {
			return strings.HasSuffix(c.Path, ".wal") && bytes.Contains(c.Data, []byte(key))
		})
		if segment < 0 {
			t.Errorf("%s was answered in line %d and stands in no segment", key, a.Begin)
			continue
		}
		a.ID = key
		if err := a.Kept(l.calls, l.calls[segment].Path); err != nil {
			t.Error(err)
		}
	}
	if n < 20 {
		t.Errorf("the trace shows %d bookings", n)
	}
}

// cuts draws lines of the trace: n anywhere; n right after the beginning of an answer about a case, and of one about a
// booking, when the promise is freshest; and n while a database itself is written, which its log must make good.
func (l *life) cuts(seed uint64, n int) []int {
	var all, answers, bookings, pages []int
	for _, c := range l.calls {
		all = append(all, c.Begin)
		if strings.HasSuffix(c.Path, ".db") && c.Name == "pwrite64" {
			pages = append(pages, c.Begin+1)
		}
	}
	for _, a := range l.answers {
		answers = append(answers, a.Begin+1)
	}
	for _, a := range l.bookings {
		bookings = append(bookings, a.Begin+1)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	var cuts []int
	for range n {
		cuts = append(cuts, all[r.IntN(len(all))], answers[r.IntN(len(answers))], bookings[r.IntN(len(bookings))], pages[r.IntN(len(pages))])
	}
	return cuts
}

// said returns the line in which the program began to write text, to a socket or a pipe.
func (l *life) said(text string) int {
	for _, c := range l.calls {
		if c.Name == "write" && !strings.HasPrefix(c.Path, "/") && bytes.Contains(c.Data, []byte(text)) {
			return c.Begin
		}
	}
	return powercut.Never
}

// revive starts the program on what a cut has left, and holds it to what had been promised by then.
func (l *life) revive(t *testing.T, cut int, data string) {
	p := newProgram(t, data, append([]string{l.program}, l.flags...)...)
	p.start()
	if l.said(tokenLabel) >= cut {
		p.tokens() // nobody has seen a token: there is another
		return
	}
	if l.said(l.operator.Token) >= cut {
		return // nobody can look
	}
	v := verdict{t, data, p.as(l.applicant.Token), p.as(l.operator.Token)}
	cases := v.settle(time.Minute)
	for _, a := range l.answers {
		if a.Begin >= cut {
			break
		}
		if _, ok := cases[a.ID]; !ok && !bytes.Contains(a.Data, []byte(`"status":"draft"`)) {
			t.Errorf("case %s was accepted and is lost", a.ID)
		}
	}
	v.check(cases)
	told := map[string]string{}
	for _, a := range l.bookings {
		if key := l.keys[a.ID]; key != "" && a.Begin < cut {
			told[key] = a.ID
		}
	}
	if len(told) > 0 {
		checkBookings(t, v.operator, told)
	}
}
