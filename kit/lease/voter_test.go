package lease

import (
	"context"
	"errors"
	"maps"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// memory is a store; full makes it refuse, and half has it refuse after it has written.
type memory struct {
	mu         sync.Mutex
	all        map[string]Record
	full, half bool
}

func (m *memory) Load(context.Context) (map[string]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.all), nil
}

func (m *memory) Save(_ context.Context, lease string, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return storage(syscall.ENOSPC)
	}
	m.all[lease] = r
	if m.half {
		return errors.New("the folder could not be synced")
	}
	return nil
}

// bench is one voter, its disk, and a clock that the test sets.
type bench struct {
	t    *testing.T
	now  time.Duration
	disk *memory
	*Voter
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, disk: &memory{all: map[string]Record{}}}
	b.restart()
	return b
}

func (b *bench) restart() {
	b.t.Helper()
	v, err := OpenVoter(b.t.Context(), VoterOptions{Store: b.disk, Now: func() time.Duration { return b.now }, Max: 2})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Voter = v
}

func (b *bench) ask(r Request) Answer {
	b.t.Helper()
	replica, _ := validBy(r.Ballot.By)
	a, err := b.Ask(b.t.Context(), replica, r)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := a.check(); err != nil {
		b.t.Fatalf("%+v: %v", a, err)
	}
	return a
}

func look(by string) Request { return Request{Kind: Look, Lease: "shard", Ballot: Ballot{By: by}} }
func prepare(n uint64, by string) Request {
	return Request{Kind: Prepare, Lease: "shard", Ballot: Ballot{n, by}}
}

func accept(n uint64, by string, epoch, seq uint64) Request {
	replica, _ := validBy(by)
	return Request{Kind: Accept, Lease: "shard", Ballot: Ballot{n, by}, Seq: seq, Register: &Register{Holder: replica, Epoch: epoch, InSync: []string{"a", "b"}, TTL: 1000}}
}

func TestVoterKeepsOthersOutForTheTTL(t *testing.T) {
	b := newBench(t)
	if a := b.ask(look("a/1")); !a.OK || a.Register.Epoch != 0 {
		t.Fatalf("of a lease that nobody held it says %+v", a)
	}
	if !b.ask(prepare(1, "a/1")).OK || !b.ask(accept(1, "a/1", 1, 1)).OK {
		t.Fatal("the first candidate was refused")
	}
	b.now = 999 * time.Millisecond
	for _, r := range []Request{look("b/1"), prepare(9, "b/1"), look("a/2"), prepare(9, "a/2")} {
		if a := b.ask(r); a.OK || a.Held != 1 || a.Promised != (Ballot{1, "a/1"}) {
			t.Errorf("%v of %s: %+v", r.Kind, r.Ballot.By, a)
		}
	}
	if a := b.ask(Request{Kind: Look, Lease: "shard", Ballot: Ballot{By: "a/2"}, Sole: true}); !a.OK {
		t.Errorf("the only process of the holder is kept out: %+v", a)
	}
	if !b.ask(prepare(2, "a/1")).OK {
		t.Error("the holder may not change its register")
	}
	b.now += time.Millisecond
	if !b.ask(prepare(9, "b/1")).OK {
		t.Error("another is kept out after the TTL")
	}
	if b.ask(accept(2, "a/1", 1, 2)).OK || b.ask(prepare(2, "a/1")).OK {
		t.Error("a smaller ballot is heeded")
	}
}

func TestOldRenewalsRenewNothing(t *testing.T) {
	b := newBench(t)
	b.ask(prepare(1, "a/1"))
	b.ask(accept(1, "a/1", 1, 1))
	b.ask(accept(1, "a/1", 1, 2))
	b.now = 900 * time.Millisecond
	for _, seq := range []uint64{1, 2} {
		b.ask(accept(1, "a/1", 1, seq))
	}
	if a := b.ask(look("b/1")); a.Held != 100 {
		t.Errorf("after old renewals came again, others wait for %d ms", a.Held)
	}
	b.ask(accept(1, "a/1", 1, 3))
	if a := b.ask(look("b/1")); a.Held != 1000 {
		t.Errorf("after a renewal others wait for %d ms", a.Held)
	}
}

func TestVoterThatWasRestartedWaitsATTL(t *testing.T) {
	b := newBench(t)
	b.ask(prepare(1, "a/1"))
	b.ask(accept(1, "a/1", 1, 1))
	b.now = time.Hour
	b.restart()
	if a := b.ask(prepare(2, "b/1")); a.OK || a.Held != 1000 || a.Register.Holder != "a" {
		t.Errorf("%+v", a)
	}
	if !b.ask(accept(1, "a/1", 1, 7)).OK {
		t.Error("the recorded holder is not let renew")
	}
	released := accept(2, "a/1", 1, 1)
	released.Register.Released = true
	b.ask(prepare(2, "a/1"))
	b.ask(released)
	b.restart()
	if !b.ask(prepare(3, "b/1")).OK {
		t.Error("others wait for a lease that was released")
	}
}

func TestVoterOnAFullDisk(t *testing.T) {
	b := newBench(t)
	b.ask(prepare(1, "a/1"))
	b.ask(accept(1, "a/1", 1, 1))
	b.now = 2 * time.Second
	for _, r := range []Request{prepare(2, "b/1"), accept(2, "b/1", 2, 1)} {
		b.disk.full = true
		if _, err := b.Ask(t.Context(), "b", r); !errs.Is(err, errs.Full) {
			t.Errorf("%s: %v", r.Kind, err)
		}
		b.disk.full, b.disk.half = false, true
		if _, err := b.Ask(t.Context(), "b", r); err == nil {
			t.Errorf("%s: answered what may not be on the disk", r.Kind)
		}
		b.disk.half = false
		if a := b.ask(look("b/1")); a.Register.Holder != "a" || a.Promised.N != 1 {
			t.Errorf("after a failed %s it says %+v", r.Kind, a)
		}
	}
	b.disk.full = true
	if !b.ask(accept(1, "a/1", 1, 2)).OK {
		t.Error("a renewal needs no disk")
	}
	b.restart()
	if a := b.ask(look("c/1")); a.Held != 1000 { // of b's register, which was kept and never told
		t.Errorf("%+v", a)
	}
}

func TestVoterRefuses(t *testing.T) {
	b := newBench(t)
	b.ask(prepare(1, "a/1"))
	b.ask(accept(1, "a/1", 1, 1))
	other := accept(1, "a/1", 1, 2)
	other.Register.InSync = []string{"a"}
	foreign := accept(2, "b/1", 1, 1)
	foreign.Register.Holder = "a"
	fill := prepare(1, "a/1")
	fill.Lease = "second"
	third := fill
	third.Lease = "third"
	b.ask(fill)
	for name, c := range map[string]struct {
		replica string
		r       Request
		kind    errs.Kind
	}{
		"another's ballot":   {"b", prepare(5, "a/1"), errs.Forbidden},
		"for another":        {"b", foreign, errs.Forbidden},
		"two for one ballot": {"a", other, errs.Invalid},
		"too many leases":    {"a", third, errs.Full},
		"no name":            {"a", Request{Kind: Look, Lease: "../x", Ballot: Ballot{By: "a/1"}}, errs.Invalid},
		"no kind":            {"a", Request{Kind: "steal", Lease: "x", Ballot: Ballot{By: "a/1"}}, errs.Invalid},
		"no proposer":        {"a", Request{Kind: Look, Lease: "x", Ballot: Ballot{By: "a"}}, errs.Invalid},
		"no ballot":          {"a", Request{Kind: Prepare, Lease: "x", Ballot: Ballot{By: "a/1"}}, errs.Invalid},
		"huge ballot":        {"a", prepare(1<<53+1, "a/1"), errs.Invalid},
		"no register":        {"a", Request{Kind: Accept, Lease: "x", Ballot: Ballot{1, "a/1"}, Seq: 1}, errs.Invalid},
		"no sequence":        {"a", accept(1, "a/1", 1, 0), errs.Invalid},
		"no epoch":           {"a", accept(9, "a/1", 0, 1), errs.Invalid},
		"look with register": {"a", func() Request { r := accept(0, "a/1", 1, 0); r.Kind = Look; return r }(), errs.Invalid},
	} {
		if _, err := b.Ask(t.Context(), c.replica, c.r); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Ask(t.Context(), "a", look("a/1")); err != nil {
		t.Error(err)
	}
	unknown := look("a/1")
	unknown.Lease = "third"
	b.ask(unknown) // looking takes no room
	if all, err := b.List(t.Context()); err != nil || len(all) != 2 || all[1].Lease != "shard" || all[1].Left != time.Second {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestRegisterChecks(t *testing.T) {
	good := Register{Holder: "a", Epoch: 1, InSync: []string{"a", "b"}, TTL: 1000}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Register){
		"holder":          func(r *Register) { r.Holder = "A" },
		"epoch":           func(r *Register) { r.Epoch = 1<<53 + 1 },
		"holder missing":  func(r *Register) { r.InSync = []string{"b"} },
		"nobody":          func(r *Register) { r.InSync = nil },
		"twice":           func(r *Register) { r.InSync = []string{"a", "a"} },
		"unsorted":        func(r *Register) { r.InSync = []string{"b", "a"} },
		"bad name":        func(r *Register) { r.InSync = []string{"a", "b c"} },
		"no ttl":          func(r *Register) { r.TTL = 0 },
		"long ttl":        func(r *Register) { r.TTL = 60_001 },
		"overflowing ttl": func(r *Register) { r.TTL = 1 << 62 },
		"no text":         func(r *Register) { r.Forced = "\xff" },
		"long text":       func(r *Register) { r.Forced = string(make([]byte, 501)) },
	} {
		r := good
		change(&r)
		if err := r.Check(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
