package council

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

var four = []string{"clearing", "customs", "forex", "tax"}

// Four agree. One stops: it goes on. Two stop: nothing more is decided, and it is when one returns.
func TestFourAgree(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, nil, four...)
	begun := time.Now()
	c.start()
	c.place(ctx, "first:x", c.seats...)
	t.Logf("the first transaction was in a ledger after %v", time.Since(begun))
	for i := range 20 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), c.seats[i%4])
	}
	r := c.agree(ctx, "a19", c.seats...)
	if r.Txs != 21 {
		t.Errorf("%d transactions, not 21", r.Txs)
	}
	if r.Status.Turn == "" || !r.Status.Running || r.Status.CatchingUp {
		t.Errorf("the status is %v", r.Status)
	}
	for _, p := range r.Status.Peers {
		if !p.Connected || p.Seen.IsZero() || p.Ahead.Abs() > 5*time.Second {
			t.Errorf("a peer is seen as %+v", p)
		}
	}

	c.seats[3].stop() // in order
	for i := range 8 {
		c.place(ctx, fmt.Sprintf("b%d:x", i), c.seats[i%3])
	}
	c.agree(ctx, "b7", c.seats[:3]...)

	c.seats[2].kill()
	stuck := c.seats[0].report(ctx).Txs
	if err := c.seats[0].submit(ctx, "c:x"); err != nil {
		t.Errorf("a transaction was not taken into the queue: %v", err)
	}
	short, done := context.WithTimeout(ctx, 2*time.Second) // how long we look at nothing happening
	defer done()
	if _, err := c.seats[1].get(short, "/until?tx=c"); err == nil || c.seats[1].report(ctx).Txs != stuck {
		t.Error("two of four decided something")
	}
	begun = time.Now()
	c.seats[2].start()
	if _, err := c.seats[1].get(ctx, "/until?tx=c"); err != nil {
		t.Errorf("the council did not go on: %v", err)
	}
	t.Logf("decided %v after the return of the third", time.Since(begun))
	c.seats[3].start()
	c.place(ctx, "d:x", c.seats...)
	c.agree(ctx, "d", c.seats...)

	for _, s := range c.seats { // the power fails for all
		s.kill()
	}
	c.start()
	c.place(ctx, "e:x", c.seats...)
	c.agree(ctx, "e", c.seats...)
}

// kills is how many members are killed: few here, many where QIONG_KILLS says so.
func kills(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("QIONG_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		t.Skip("kills processes")
	}
	return 5
}

// Members are killed at random moments while transactions come in: every one is in every ledger, at the same place, once.
func TestKill(t *testing.T) {
	t.Parallel()
	n := kills(t)
	ctx := deadline(t, 2*time.Minute+time.Duration(n)*15*time.Second)
	c := newCouncil(t, nil, four...)
	c.start()
	c.place(ctx, "first:x", c.seats...)
	stop := make(chan struct{})
	var placed atomic.Int64
	var gateways sync.WaitGroup
	for g := range 8 {
		gateways.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					c.place(ctx, fmt.Sprintf("k%d-%d:%s", g, i, strings.Repeat("x", rand.IntN(2000))), c.seats...)
					placed.Add(1)
				}
			}
		})
	}
	for range n {
		pause := time.NewTimer(time.Duration(rand.IntN(1000)) * time.Millisecond) // the random moment
		<-pause.C
		s := c.seats[rand.IntN(4)]
		s.kill()
		s.start()
	}
	close(stop)
	gateways.Wait()
	c.place(ctx, "last:x", c.seats...)
	if r := c.agree(ctx, "last", c.seats...); r.Txs != int(placed.Load())+2 {
		t.Errorf("%d transactions, placed %d", r.Txs, placed.Load()+2)
	}
	t.Logf("%d kills, %d transactions", n, placed.Load())
}

// A node whose key is no member's is not let in, though it knows the genesis.
func TestStranger(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, nil, four...)
	c.start()
	stranger := c.seat("stranger", nil)
	members := c.seats[:4]
	stranger.start()
	members[0].says(ctx, "refused a peer that is no member", stranger.pub.Node)
	c.place(ctx, "a:x", members...)
	c.agree(ctx, "a", members...)
	if r := stranger.report(ctx); r.Height != 0 {
		t.Errorf("the stranger got %v", r.Status)
	}
}

// A member that signs twice is named in every ledger.
func TestEquivocation(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, nil, four...)
	c.seats[1].role.Twice = true
	c.start()
	for i := range 4 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), c.seats...)
	}
	for _, s := range c.seats {
		if _, err := s.get(ctx, "/until?guilty=1"); err != nil {
			t.Fatalf("%s knows of nobody: %v", s.pub.Agency, err)
		}
		if r := s.report(ctx); slices.ContainsFunc(r.Guilty, func(name string) bool { return name != "customs" }) {
			t.Errorf("%s blames %v", s.pub.Agency, r.Guilty)
		}
	}
}

// A member that votes by a clock ten minutes ahead is named by the others, and does not move the council's time.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, nil, four...)
	c.seats[2].role.Shift = 10 * time.Minute
	c.start()
	for i := range 8 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), c.seats...)
	}
	for _, s := range []*seat{c.seats[0], c.seats[1], c.seats[3]} {
		r := s.report(ctx)
		if off := time.Until(r.Status.BlockTime).Abs(); off > time.Minute {
			t.Errorf("the council's time is off by %v", off)
		}
		for _, p := range r.Status.Peers {
			want := time.Duration(0)
			if p.Agency == "forex" {
				want = 10 * time.Minute
			}
			if (p.Ahead - want).Abs() > 5*time.Second {
				t.Errorf("%s sees the clock of %s %v ahead, want %v", s.pub.Agency, p.Agency, p.Ahead, want)
			}
		}
	}
}

// A node whose own clock is ten minutes behind the others' stops and says so.
func TestOwnClockBehind(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, func(r *role) { r.Shift, r.Tolerance = 10*time.Minute, time.Hour }, four...)
	late := c.seats[0]
	late.role.Shift, late.role.Tolerance = 0, 0
	c.start()
	for i := range 4 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), c.seats[1:]...)
	}
	late.ends(ctx, "too far in the future")
}

// Whose ledger fails, or comes to another hash than the others', stops and says why; the others go on.
func TestLedgerFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		set   func(*role)
		words []string
	}{
		{"failing", func(r *role) { r.Fails = 4 }, []string{"couldn't apply block 4", "the disk is on fire"}},
		{"straying", func(r *role) { r.Strays = 4 }, []string{"wrong Block.Header.AppHash"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t, 2*time.Minute)
			council := newCouncil(t, nil, four...)
			c.set(&council.seats[1].role)
			council.start()
			rest := []*seat{council.seats[0], council.seats[2], council.seats[3]}
			for i := range 4 {
				council.place(ctx, fmt.Sprintf("a%d:x", i), rest...)
			}
			council.seats[1].ends(ctx, c.words...)
			council.place(ctx, "b:x", rest...)
			council.agree(ctx, "b", rest...)
		})
	}
}

// A node does not begin anew with another genesis, nor beside another process with the same keys.
func TestHomeBelongsToOneCouncil(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	c := newCouncil(t, nil, "customs")
	s := c.seats[0]
	c.start()
	if err := s.submit(ctx, strings.Repeat("x", MaxTx+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a transaction too large: %v", err)
	}
	c.place(ctx, "a:x", s)
	if err := s.submit(ctx, "a:x"); err == nil || !strings.Contains(err.Error(), "again") {
		t.Errorf("what the ledger refuses: %v", err)
	}
	home, err := OpenHome(s.role.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Home: home, Genesis: c.g, Ledger: new(book), Listen: "127.0.0.1:1"}); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second process: %v", err)
	}
	s.stop()
	other, err := NewGenesis("test", c.g.Time, []byte("other"), []Public{s.pub})
	if err != nil {
		t.Fatal(err)
	}
	data, err := other.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.genesis, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.ends(ctx, "another genesis")
}

// By a transaction a member joins, from a snapshot since the first blocks are gone; follows, votes, and one leaves.
func TestMembersChange(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, 2*time.Minute)
	set := func(r *role) {
		r.Heartbeat, r.Retain, r.SnapshotEvery = 100*time.Millisecond, 10, 10
	}
	c := newCouncil(t, set, four...)
	c.start()
	members := slices.Clone(c.seats)
	for i := range 30 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), members...)
	}
	if _, err := c.seats[0].get(ctx, "/until?height=81"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.seats[0].get(ctx, "/light?height=2"); err != nil {
		t.Errorf("the header of a block that evidence may still need: %v", err)
	}

	fifth := c.seat("ports", func(r *role) { set(r); r.Sync = true })
	list := append(slices.Clone(c.g.Members), Member{Public: fifth.pub})
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Agency, b.Agency) })
	c.change(ctx, "members1", list, members)
	fifth.start()
	c.place(ctx, "b:x", members...)
	c.agree(ctx, "b", c.seats...)
	fifth.says(ctx, "imported a snapshot")

	for i := range list {
		list[i].Votes = true
	}
	c.change(ctx, "members2", list, members)
	for i := range list { // five vote; tax stays to follow
		list[i].Votes = list[i].Agency != "tax"
	}
	c.change(ctx, "members3", list, c.seats)
	list = slices.DeleteFunc(list, func(m Member) bool { return m.Agency == "tax" })
	c.change(ctx, "members4", list, c.seats)
	members[3].stop()
	members[2].kill() // three of four are left, the fifth among them
	rest := []*seat{members[0], members[1], fifth}
	for i := range 8 {
		c.place(ctx, fmt.Sprintf("c%d:x", i), rest...)
	}
	c.agree(ctx, "c7", rest...)
	members[2].start()
	c.agree(ctx, "c7", append(rest, members[2])...)

	// An agency gets new keys: a new home under its name, in the place of the old one.
	renewed := c.seat("clearing", func(r *role) { set(r); r.Sync = true })
	list[slices.IndexFunc(list, func(m Member) bool { return m.Agency == "clearing" })].Public = renewed.pub
	rest = []*seat{members[1], members[2], fifth}
	c.change(ctx, "members5", list, rest)
	members[0].stop()
	renewed.role.Trust = list // those of the genesis are not the ones who sign now
	renewed.start()
	renewed.says(ctx, "imported a snapshot")
	c.place(ctx, "d:x", rest...)
	c.agree(ctx, "d", append(rest, renewed)...)
	members[1].kill()
	c.place(ctx, "e:x", members[2], fifth, renewed)
	c.agree(ctx, "e", members[2], fifth, renewed)
}

// change submits a list of members and waits until the seats have it.
func (c *council) change(ctx context.Context, id string, list []Member, seats []*seat) {
	c.t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		c.t.Fatal(err)
	}
	c.place(ctx, id+":"+string(text), seats...)
	c.agree(ctx, id, seats...)
}
