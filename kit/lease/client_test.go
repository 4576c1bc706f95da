package lease

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// trio is three voters in this process, any of which can be silenced or made slow to answer.
type trio struct {
	t      *testing.T
	start  time.Time
	voters [3]*Voter
	silent [3]atomic.Bool
	slow   atomic.Int64 // of all answers
}

func newTrio(t *testing.T) *trio {
	c := &trio{t: t, start: time.Now()}
	for i := range c.voters {
		v, err := OpenVoter(t.Context(), VoterOptions{Store: &memory{all: map[string]Record{}}, Now: c.now})
		if err != nil {
			t.Fatal(err)
		}
		c.voters[i] = v
	}
	return c
}

func (c *trio) now() time.Duration { return time.Since(c.start) }

type seat struct {
	c       *trio
	n       int
	replica string
}

func (s seat) Name() string { return []string{"v1", "v2", "v3"}[s.n] }

func (s seat) Ask(ctx context.Context, r Request) (Answer, error) {
	if s.c.silent[s.n].Load() {
		return Answer{}, errs.New(errs.Unavailable, "不在", "away")
	}
	a, err := s.c.voters[s.n].Ask(ctx, s.replica, r)
	if !wait(ctx, time.Duration(s.c.slow.Load())) {
		return Answer{}, ctx.Err()
	}
	return a, err
}

func (c *trio) client(me string, sole bool) *Client {
	c.t.Helper()
	cl, err := NewClient(Options{Me: me, Voters: []Peer{seat{c, 0, me}, seat{c, 1, me}, seat{c, 2, me}}, TTL: time.Second, Now: c.now, Sole: sole})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

func (c *trio) acquire(cl *Client) *Holder {
	c.t.Helper()
	h, err := cl.TryAcquire(c.t.Context(), "shard")
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// drain ends what a test has left holding.
func drain(h *Holder) {
	h.lose(nil)
	<-h.ended
	time.Sleep(time.Minute)
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return errs.As(err).Code
}

func TestTakeRenewHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		a, b := c.client("a", false), c.client("b", false)
		first := c.acquire(a)
		if first.Epoch() != 1 || !first.Valid() || !slices.Equal(first.InSync(), []string{"a"}) {
			t.Fatalf("epoch %d, in sync %v", first.Epoch(), first.InSync())
		}
		if _, err := b.TryAcquire(t.Context(), "shard"); code(err) != CodeHeld || errs.As(err).RetryAfter > time.Second {
			t.Errorf("while a holds it: %v", err)
		}
		if _, err := a.TryAcquire(t.Context(), "shard"); code(err) != CodeHeld {
			t.Errorf("taken twice by one process: %v", err)
		}
		time.Sleep(time.Minute)
		if !first.Valid() || first.Err() != nil {
			t.Fatal("a lease that is renewed was lost")
		}
		if err := first.Release(t.Context()); err != nil || first.Valid() || code(first.Err()) != CodeLost {
			t.Fatalf("released: %v, %v", err, first.Err())
		}
		if _, err := b.TryAcquire(t.Context(), "shard"); code(err) != CodeNotInSync {
			t.Errorf("one out of sync takes over: %v", err)
		}
		second := c.acquire(a)
		if err := second.SetInSync(t.Context(), "b", "a", "b"); err != nil || !slices.Equal(second.InSync(), []string{"a", "b"}) {
			t.Fatalf("%v, %v", second.InSync(), err)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		third := c.acquire(b)
		if third.Epoch() != 3 || !slices.Equal(third.InSync(), []string{"a", "b"}) {
			t.Errorf("b has epoch %d, in sync %v", third.Epoch(), third.InSync())
		}
		v, err := a.Look(t.Context(), "shard")
		if err != nil || v.Register.Holder != "b" || v.Held == 0 || len(v.Voters) != 3 || v.Voters[2].Name != "v3" {
			t.Errorf("%+v, %v", v, err)
		}
		drain(third)
	})
}

func TestAStandbyTakesOverWhenTheHolderFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		first := c.acquire(c.client("a", false))
		if err := first.SetInSync(t.Context(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		drained := time.Now()
		first.lose(nil) // its process dies
		second, err := c.client("b", false).Acquire(t.Context(), "shard")
		if took := time.Since(drained); err != nil || second.Epoch() != 2 || took > 1300*time.Millisecond {
			t.Fatalf("after %v: %v", took, err)
		}
		drain(second)
	})
}

// A lease counts from when it was asked for, not from when the answer came.
func TestSlowAnswersShortenTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		c.slow.Store(int64(300 * time.Millisecond))
		h := c.acquire(c.client("a", false)) // three rounds; the last was sent 300 ms ago
		for i := range c.silent {
			c.silent[i].Store(true)
		}
		time.Sleep(649 * time.Millisecond)
		if !h.Valid() {
			t.Error("lost too early")
		}
		time.Sleep(time.Millisecond)
		if h.Valid() {
			t.Error("valid longer than the voters may hold others off")
		}
		<-h.Lost()
		for i := range c.silent {
			c.silent[i].Store(false)
		}
		drain(h)

		h = c.acquire(c.client("a", true))
		time.Sleep(600 * time.Millisecond) // a renewal was sent after 250 ms, and answered after 550
		for i := range c.silent {
			c.silent[i].Store(true)
		}
		time.Sleep(601 * time.Millisecond) // 250 and 950 ms after the lease was had
		if h.Valid() {
			t.Error("a renewal counts from when it was answered")
		}
		drain(h)
	})
}

func TestWhatIsLostStaysLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		var skew atomic.Int64
		cl := c.client("a", false)
		cl.o.Now = func() time.Duration { return c.now() + time.Duration(skew.Load()) }
		h := c.acquire(cl)
		skew.Store(int64(time.Hour)) // the machine slept
		if h.Valid() {
			t.Fatal("valid after an hour's sleep")
		}
		h.extend(cl.o.Now()) // a renewal that was under way
		if h.Valid() {
			t.Error("valid again")
		}
		drain(h)
	})
}

// Both processes say that no other runs. The one that was replaced finds out, and writes the register no more.
func TestAZombieChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		zombie := c.acquire(c.client("a", true))
		next := c.acquire(c.client("a", true))
		if err := zombie.SetInSync(t.Context(), "a", "z"); code(err) != CodeLost {
			t.Errorf("%v", err)
		}
		if zombie.Valid() || code(zombie.Err()) != CodeLost {
			t.Error("the zombie is valid")
		}
		if err := next.SetInSync(t.Context(), "a", "b"); err != nil || next.Epoch() != 2 {
			t.Errorf("epoch %d: %v", next.Epoch(), err)
		}
		drain(next)
		drain(zombie)
	})
}

func TestOneVoterAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		c.silent[1].Store(true)
		a := c.client("a", false)
		h := c.acquire(a)
		if err := h.SetInSync(t.Context(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		c.silent[1].Store(false)
		time.Sleep(time.Second) // renewals tell the voter what it missed
		c.silent[0].Store(true)
		v, err := c.client("b", false).Look(t.Context(), "shard")
		if err != nil || !slices.Equal(v.Register.InSync, []string{"a", "b"}) || v.Voters[0].Err == nil || !v.Voters[1].Register.IsInSync("b") {
			t.Errorf("%+v, %v", v, err)
		}
		c.silent[2].Store(true)
		if _, err := a.Look(t.Context(), "shard"); code(err) != CodeQuorum {
			t.Errorf("one of three is a majority: %v", err)
		}
		<-h.Lost()
		if _, err := a.TryAcquire(t.Context(), "shard"); code(err) != CodeQuorum {
			t.Errorf("one of three grants: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Acquire(ctx, "shard"); code(err) != CodeQuorum && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		drain(h)
	})
}

func TestForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		b := c.client("b", false)
		if _, _, err := b.Force(t.Context(), "shard", "why not"); !errs.Is(err, errs.NotFound) {
			t.Errorf("of nothing: %v", err)
		}
		h := c.acquire(c.client("a", false))
		if _, _, err := b.Force(t.Context(), "shard", "impatience"); code(err) != CodeHeld {
			t.Errorf("while a holds it: %v", err)
		}
		drain(h)
		if _, _, err := b.Force(t.Context(), "shard", ""); !errs.Is(err, errs.Invalid) {
			t.Errorf("without a reason: %v", err)
		}
		was, is, err := b.Force(t.Context(), "shard", "the disk of a burned")
		if err != nil || was.Holder != "a" || is.Epoch != 1<<32 || !slices.Equal(is.InSync, []string{"b"}) {
			t.Fatalf("%+v %+v %v", was, is, err)
		}
		if _, err := c.client("a", true).TryAcquire(t.Context(), "shard"); code(err) != CodeNotInSync {
			t.Errorf("who was given up takes over: %v", err)
		}
		h = c.acquire(b)
		if h.Epoch() != 1<<32+1 {
			t.Errorf("epoch %d", h.Epoch())
		}
		v, err := b.Look(t.Context(), "shard")
		if err != nil || v.Register.Forced != "" {
			t.Errorf("%+v, %v", v, err)
		}
		drain(h)
	})
}

func TestManyCandidatesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t)
		c.slow.Store(int64(time.Millisecond))
		holders := make(chan *Holder, 8)
		a := c.client("a", false)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { // one at a time, though voters let one client in while it holds
				h, err := a.TryAcquire(t.Context(), "shard")
				if err == nil {
					holders <- h
				} else if code(err) != CodeHeld {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(holders) != 1 {
			t.Errorf("%d of one client's eight hold it", len(holders))
		}
		drain(<-holders)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	c := newTrio(t)
	one := seat{c, 0, "a"}
	for name, o := range map[string]Options{
		"no name":    {Voters: []Peer{one}},
		"no voter":   {Me: "a"},
		"twice":      {Me: "a", Voters: []Peer{one, one}},
		"long ttl":   {Me: "a", Voters: []Peer{one}, TTL: time.Hour},
		"short ttl":  {Me: "a", Voters: []Peer{one}, TTL: time.Millisecond},
		"wrong name": {Me: "a/b", Voters: []Peer{one}},
	} {
		if _, err := NewClient(o); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cl := c.client("a", false)
	if _, err := cl.Acquire(t.Context(), "NO"); !errs.Is(err, errs.Invalid) {
		t.Errorf("a bad name is waited for: %v", err)
	}
}
