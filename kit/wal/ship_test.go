package wal

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// link is a connection between a leader and a standby.
type link struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup
	ship   error // why each end went; after wait
	follow error
}

// connect has a leader ship to a standby.
func connect(t *testing.T, l *Log, b *Standby, name string) *link {
	t.Helper()
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	k := &link{cancel: cancel}
	k.ended.Go(func() { k.ship = l.Ship(ctx, here, name) })
	k.ended.Go(func() { k.follow = b.Follow(ctx, there) })
	return k
}

// wait returns why each end went, when both have.
func (k *link) wait() (ship, follow error) {
	k.ended.Wait()
	k.cancel()
	return k.ship, k.follow
}

// end breaks the connection.
func (k *link) end() (ship, follow error) {
	k.cancel()
	return k.wait()
}

func openStandby(t *testing.T, fs FS) *Standby {
	t.Helper()
	b, err := OpenStandby("log", Options{SegmentBytes: 4 << 10, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func lead(t *testing.T, fs FS, generation uint64) *Log {
	t.Helper()
	l, err := Open("log", Options{Generation: generation, SegmentBytes: 4 << 10, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// put writes n records, and waits for each.
func put(t *testing.T, l *Log, n int, word string) {
	t.Helper()
	for i := range n {
		if _, err := l.Write(t.Context(), fmt.Appendf(nil, "%s %d", word, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// barrier returns when everything in the log is durable. A connection that ends meanwhile fails the test.
func barrier(t *testing.T, l *Log, k *link) {
	t.Helper()
	done := make(chan error, 1)
	l.Commit(l.Batch(), func(err error) { done <- err })
	over := make(chan struct{})
	go func() { k.ended.Wait(); close(over) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-over:
		t.Fatal(k.ship, "; ", k.follow)
	}
}

// whole reads a folder that nobody has open, as the next leader would.
func whole(t *testing.T, m *memory) (all []string) {
	t.Helper()
	l, err := Open("log", Options{Unfenced: true, SegmentBytes: 4 << 10, FS: newMemory(m.contents())})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	last, body, err := l.Restore()
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	for r, err := range l.Read(last) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(r.Data))
	}
	return all
}

func TestShip(t *testing.T) {
	mine, theirs := newMemory(nil), newMemory(nil)
	l, b := lead(t, mine, 1), openStandby(t, theirs)
	put(t, l, 100, "before")
	k := connect(t, l, b, "b")
	l.Require("b")
	put(t, l, 100, "after")
	if b.Last() != 200 || l.Durable() != 200 {
		t.Fatalf("the standby has %d, durable are %d", b.Last(), l.Durable())
	}
	if err := b.Wait(t.Context(), 200); err != nil { // the leader tells it a little later
		t.Fatal(err)
	}
	n := uint64(0)
	for r, err := range b.Read(0) {
		if n++; err != nil || r.LSN != n {
			t.Fatal(r, n, err)
		}
	}
	if n != 200 {
		t.Fatalf("%d records", n)
	}
	if s := l.Standbys(); len(s) != 1 || s[0].Name != "b" || !s[0].Connected || s[0].Acked != 200 {
		t.Fatalf("%+v", s)
	}
	if err := b.Snapshot(200, func(w io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if ship, follow := k.end(); ship == nil || follow == nil {
		t.Fatal(ship, follow)
	}
	_, _ = l.Close(), b.Close()
	if got, want := whole(t, theirs), whole(t, mine); len(got) != 0 || len(want) != 200 {
		t.Fatal(len(got), len(want)) // the standby's snapshot holds all of them
	}
}

func TestRequire(t *testing.T) {
	l, b := lead(t, newMemory(nil), 1), openStandby(t, newMemory(nil))
	l.Require("b", "gone")
	k := connect(t, l, b, "b")
	batch := l.Batch()
	batch.Append([]byte("waits"))
	done := make(chan error, 1)
	l.Commit(batch, func(err error) { done <- err })
	for v := l.at.now(); l.at.ackedBy()["b"] < 1; v = l.at.now() {
		<-v.changed
	}
	if l.Durable() != 0 || len(done) != 0 || len(slices.Collect(keys(l))) != 0 {
		t.Fatal("it did not wait for the standby that is away")
	}
	l.Require("b")
	if err := <-done; err != nil || l.Durable() != 1 || len(slices.Collect(keys(l))) != 1 {
		t.Fatal(err)
	}
	k.end()
	batch = l.Batch()
	batch.Append([]byte("never heard of"))
	l.Commit(batch, func(err error) { done <- err })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !hasCode(err, CodeClosed) {
		t.Fatal(err)
	}
}

func keys(l *Log) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for r, err := range l.Read(0) {
			if err != nil || !yield(r.LSN) {
				return
			}
		}
	}
}

// TestTakeOver has a standby become the leader, and the old leader, whose tail nobody else has, follow it.
func TestTakeOver(t *testing.T) {
	first, second := newMemory(nil), newMemory(nil)
	l, b := lead(t, first, 1), openStandby(t, second)
	l.Require("b")
	k := connect(t, l, b, "b")
	put(t, l, 40, "both")
	k.end()
	l.Require()
	put(t, l, 30, "first alone")
	if err := l.Snapshot(70, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	_, _ = l.Close(), b.Close()

	l = lead(t, second, 2)
	put(t, l, 25, "second")
	b = openStandby(t, first)
	k = connect(t, l, b, "a")
	l.Require("a")
	barrier(t, l, k)
	put(t, l, 5, "both again")
	k.end()
	_, _ = l.Close(), b.Close()
	a, z := whole(t, first), whole(t, second)
	if len(a) != 70 || !slices.Equal(a, z) || a[40] != "second 0" {
		t.Fatalf("%d and %d records", len(a), len(z))
	}
	cut := 0
	for name, data := range first.contents() {
		if strings.HasSuffix(name, asideExt) && strings.Contains(string(data), "first alone") {
			cut += strings.Count(string(data), "first alone")
		}
	}
	if cut != 30 {
		t.Fatalf("of what was cut, %d records were kept", cut)
	}
	if _, err := Open("log", Options{Generation: 2, FS: first}); !hasCode(err, CodeFenced) {
		t.Fatal("a leader of a generation that it had followed: ", err)
	}
}

func TestStandbyRefusesAnOlderGeneration(t *testing.T) {
	theirs := newMemory(nil)
	old, now, b := lead(t, newMemory(nil), 4), lead(t, newMemory(nil), 5), openStandby(t, theirs)
	put(t, now, 1, "x")
	now.Require("b")
	k := connect(t, now, b, "b")
	barrier(t, now, k)
	k.end()
	k = connect(t, old, b, "b")
	if ship, _ := k.wait(); !hasCode(ship, CodeFenced) {
		t.Fatal(ship)
	}
	if b.Last() != 1 {
		t.Fatal("it took records from an older generation")
	}
}

// TestStandbyFarBehindGetsASnapshot has a standby with nothing, and one whose last record the leader no longer keeps.
func TestStandbyFarBehindGetsASnapshot(t *testing.T) {
	mine, empty, behind := newMemory(nil), newMemory(nil), newMemory(nil)
	l, b := lead(t, mine, 1), openStandby(t, behind)
	l.Require("behind")
	k := connect(t, l, b, "behind")
	put(t, l, 10, "early")
	k.end()
	l.Require()
	put(t, l, 200, "more")
	state := strings.Repeat("state ", 200_000)
	for _, last := range []uint64{50, 150, 200} {
		if err := l.Snapshot(last, func(w io.Writer) error { _, err := io.WriteString(w, state); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Retain(200); err != nil {
		t.Fatal(err)
	}
	if l.s.oldest() < 100 || len(l.s.snapshots) != 2 {
		t.Fatal("nothing was dropped")
	}
	for range l.Read(1) {
		break
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*memory{"empty": empty, "behind": behind} {
		b := openStandby(t, m)
		l.Require(name)
		k := connect(t, l, b, name)
		barrier(t, l, k)
		put(t, l, 3, "after")
		if err := b.Wait(t.Context(), l.Durable()); err != nil {
			t.Fatal(err)
		}
		last, body, err := b.Restore()
		if err != nil || last != 200 {
			t.Fatal(last, err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != state {
			t.Fatal(len(got), err)
		}
		_ = body.Close()
		k.end()
		_ = b.Close()
		if got := whole(t, m); len(got) < 13 || got[len(got)-1] != "after 2" {
			t.Fatalf("%s: %d records after the snapshot", name, len(got))
		}
	}
}

// liar is a standby that speaks the protocol and says what it likes.
func liar(t *testing.T, l *Log, h hello, script func(w *wire, sent []point)) error {
	t.Helper()
	here, there := net.Pipe()
	shipped := make(chan error, 1)
	go func() { shipped <- l.Ship(t.Context(), here, "liar") }()
	w := newWire(there, time.Minute)
	go func() {
		defer there.Close()
		if err := w.send(msgHello, h.encode()); err != nil {
			return
		}
		var sent []point
		for {
			kind, payload, err := w.receive()
			if err != nil {
				return
			}
			if kind == msgFrame {
				f, _ := parseHead(payload[8:], l.seed)
				sent = append(sent, point{f.last(), chainOf(payload[8:])})
			}
			if len(sent) == 3 {
				script(w, sent)
				_, _ = io.Copy(io.Discard, there)
				return
			}
		}
	}()
	return <-shipped
}

func TestStandbyThatLiesIsCutOff(t *testing.T) {
	ack := func(w *wire, p point) { _ = w.send(msgAck, p.encode()) }
	for name, script := range map[string]func(w *wire, sent []point){
		"more than it was sent":    func(w *wire, s []point) { ack(w, point{s[2].lsn + 1, s[2].chain}) },
		"another chain":            func(w *wire, s []point) { ack(w, point{s[2].lsn, s[1].chain}) },
		"less than before":         func(w *wire, s []point) { ack(w, s[2]); ack(w, s[0]) },
		"the same with another":    func(w *wire, s []point) { ack(w, s[2]); ack(w, point{s[2].lsn, s[0].chain}) },
		"not the end of a batch":   func(w *wire, s []point) { ack(w, point{s[2].lsn - 1, s[2].chain}) },
		"everything there will be": func(w *wire, s []point) { ack(w, point{forever, Chain{}}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := lead(t, newMemory(nil), 1)
			for range 3 {
				if _, err := l.Write(t.Context(), []byte("a"), []byte("b")); err != nil {
					t.Fatal(err)
				}
			}
			err := liar(t, l, hello{}, script)
			if !hasCode(err, CodeLied) || !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "liar") {
				t.Fatal(err)
			}
			l.Require("liar")
			done := make(chan error, 1)
			b := l.Batch()
			b.Append([]byte("c"))
			l.Commit(b, func(err error) { done <- err })
			if s := l.Standbys()[0]; s.Lies != 1 || !s.CutOff || s.Acked != 0 || s.Connected {
				t.Fatalf("%+v", s)
			}
			if err := liar(t, l, hello{}, script); !hasCode(err, CodeLied) {
				t.Fatal("it came back: ", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err == nil {
				t.Fatal("a liar satisfied Require")
			}
		})
	}
}

func TestStandbyThatLosesWhatItHadIsCutOff(t *testing.T) {
	l, b := lead(t, newMemory(nil), 1), openStandby(t, newMemory(nil))
	l.Require("b")
	k := connect(t, l, b, "b")
	put(t, l, 5, "x")
	k.end()
	fresh := openStandby(t, newMemory(nil))
	k = connect(t, l, fresh, "b")
	if ship, _ := k.wait(); !hasCode(ship, CodeLied) {
		t.Fatal(ship)
	}
	l.Pardon("b")
	k = connect(t, l, fresh, "b")
	barrier(t, l, k)
	if fresh.Last() != 5 {
		t.Fatal(fresh.Last())
	}
	k.end()
}

// TestAcknowledgedIsWithTheNewLeader plays random disconnections and take-overs among two machines, and holds that every
// record that was acknowledged is in the log of whoever leads, in order, whatever else is.
func TestAcknowledgedIsWithTheNewLeader(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			machines := [2]*memory{newMemory(nil), newMemory(nil)}
			leads := 0
			var acked []string
			for generation := uint64(1); generation <= 8; generation++ {
				l := lead(t, machines[leads], generation)
				l.Require("standby") // both hold what is acknowledged, so that either may lead next
				b := openStandby(t, machines[1-leads])
				acked = append(acked, term(t, r, l, b, generation)...)
				if len(acked) > 0 && r.IntN(2) == 0 { // a standby that never followed would begin a log of its own
					leads = 1 - leads
				}
				if got := whole(t, machines[leads]); !subsequence(acked, got) {
					t.Fatalf("generation %d: %d acknowledged, %d with the new leader", generation, len(acked), len(got))
				}
			}
			if len(acked) == 0 {
				t.Fatal("nothing was acknowledged")
			}
		})
	}
}

// term is the time of one leader: it writes while the connection comes and goes, and ends with records that nobody has
// acknowledged, some of which may be on one disk or both. It returns what was acknowledged.
func term(t *testing.T, r *rand.Rand, l *Log, b *Standby, generation uint64) (acked []string) {
	answers := make(chan string, 1000)
	commit := func(n int) {
		batch := l.Batch()
		word := fmt.Sprintf("%d/%d", generation, n)
		batch.Append([]byte(word))
		batch.Append([]byte(strings.Repeat("x", r.IntN(300))))
		l.Commit(batch, func(err error) {
			if err == nil {
				answers <- word
			}
		})
	}
	n := 0
	for range 1 + r.IntN(3) {
		k := connect(t, l, b, "standby")
		for range r.IntN(20) {
			n++
			commit(n)
		}
		if r.IntN(3) > 0 {
			barrier(t, l, k)
		}
		ship, follow := k.end()
		if hasCode(ship, CodeLied) || hasCode(follow, CodeDamaged) {
			t.Fatal(ship, follow)
		}
		for range r.IntN(4) {
			n++
			commit(n)
		}
	}
	_, _ = l.Close(), b.Close()
	close(answers)
	for word := range answers {
		acked = append(acked, word)
	}
	return acked
}

// subsequence reports whether all of some are in all, in order.
func subsequence(some, all []string) bool {
	for _, s := range all {
		if len(some) > 0 && s == some[0] {
			some = some[1:]
		}
	}
	return len(some) == 0
}
