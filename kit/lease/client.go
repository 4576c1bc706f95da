package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Peer is a voter as a client asks it. An error says that it gave no answer, and nothing about what it did.
type Peer interface {
	Name() string
	Ask(ctx context.Context, r Request) (Answer, error)
}

// DefaultTTL is how long a lease lasts unless it is renewed.
const DefaultTTL = 3 * time.Second

// Options say how a client works.
type Options struct {
	Me     string        // the replica for which leases are taken
	Voters []Peer        // all of them; a majority decides
	TTL    time.Duration // default DefaultTTL, at most MaxTTL
	// Sole says that no other process of this replica runs, since the caller holds a lock on its data: it takes over its
	// own unexpired lease at once, with a new epoch. Without it a process that was started again waits for the TTL.
	Sole bool
	Now  Clock // default: the machine's
}

// Client takes leases for one replica. It is safe for concurrent use.
type Client struct {
	o       Options
	by      string         // of its ballots: of this replica, and of no other client ever
	jitter  func() float64 // from 0 to 1
	forever bool           // one server alone
	close   func() error

	mu    sync.Mutex
	last  uint64 // number of the last ballot
	desks map[string]*desk
}

// desk is where one lease is taken: by one at a time, and not twice.
type desk struct {
	turn
	holder *Holder
}

// turn is a lock whose waiters leave when their context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// NewClient returns a client. It asks nobody yet.
func NewClient(o Options) (*Client, error) {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Now == nil {
		o.Now = machineClock
	}
	switch {
	case !ValidReplica(o.Me):
		return nil, invalid("name", "不是合法的副本名", "is not the name of a replica")
	case o.TTL < 10*time.Millisecond || o.TTL > MaxTTL:
		return nil, invalid("ttl", "应为 10 毫秒至 1 分钟", "must be from 10 ms to a minute")
	case len(o.Voters) == 0:
		return nil, invalid("voters", "至少一个投票者", "there must be a voter")
	}
	for i, v := range o.Voters {
		if slices.ContainsFunc(o.Voters[:i], func(w Peer) bool { return w.Name() == v.Name() }) {
			return nil, invalid("voters", "投票者不能重复", "no voter has two votes")
		}
	}
	var process [8]byte
	rand.Read(process[:]) // never fails
	return &Client{o: o, by: o.Me + "/" + hex.EncodeToString(process[:]), jitter: mrand.Float64, desks: map[string]*desk{}, close: func() error { return nil }}, nil
}

// Me returns the replica for which leases are taken.
func (c *Client) Me() string { return c.o.Me }

// Close releases what the client keeps. Holders must have been released.
func (c *Client) Close() error { return c.close() }

func (c *Client) quorum() int { return len(c.o.Voters)/2 + 1 }

// lasts is how long a holder relies on what it asked for: a clock that is slow by 1 in 50 reaches it before one that is
// fast by as much reaches the TTL.
func (c *Client) lasts() time.Duration { return c.o.TTL - c.o.TTL/20 }

// patience is how long a voter's answer is waited for.
func (c *Client) patience() time.Duration { return c.o.TTL / 3 }

// again is how long to wait before what failed is tried again.
func (c *Client) again() time.Duration {
	return time.Duration(float64(c.o.TTL) / 40 * (0.5 + c.jitter()))
}

// ballot returns a ballot of this client's own, beyond those that were seen.
func (c *Client) ballot(seen ...reply) Ballot {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range seen {
		c.last = max(c.last, r.answer.Promised.N)
	}
	c.last++
	return Ballot{c.last, c.by}
}

// Acquire takes the lease, and waits for it as long as ctx lasts: while another holds it, this replica is out of sync, or
// too few voters answer. The error is the last reason, or, of kind Invalid or Forbidden by all voters, says that
// waiting is no use.
//
// The holder begins with the replicas in sync as the register has them ([Holder.InSync]): it must have the
// acknowledgement of each before it acknowledges anything itself, or take it out of sync first.
func (c *Client) Acquire(ctx context.Context, lease string) (*Holder, error) {
	for {
		h, err := c.TryAcquire(ctx, lease)
		if err == nil || hopeless(err) {
			return h, err
		}
		pause := time.Duration(float64(c.o.TTL) / 8 * (0.5 + c.jitter()))
		if after := errs.As(err).RetryAfter; after > 0 {
			pause = min(pause, after)
		}
		if !wait(ctx, pause) {
			return nil, err
		}
	}
}

func hopeless(err error) bool {
	e := errs.As(err)
	return e.Kind == errs.Invalid || e.Kind == errs.Forbidden && e.Code != CodeNotInSync
}

// wait returns false where ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// TryAcquire takes the lease or says why not; see the codes of this package.
func (c *Client) TryAcquire(ctx context.Context, lease string) (*Holder, error) {
	d, err := c.desk(ctx, lease)
	if err != nil {
		return nil, err
	}
	defer d.give()
	p, err := c.propose(ctx, lease)
	if err != nil {
		return nil, err
	}
	next := Register{Holder: c.o.Me, Epoch: p.was.Epoch + 1, InSync: p.was.InSync, TTL: c.o.TTL.Milliseconds()}
	switch {
	case p.was.Epoch == 0:
		next.InSync = []string{c.o.Me}
	case !p.was.IsInSync(c.o.Me):
		return nil, errs.New(errs.Forbidden, "本副本可能缺少已确认的记录，不能接管", "this replica may lack acknowledged records and must not take over").WithCode(CodeNotInSync)
	}
	sent := c.o.Now()
	if err := c.decide(ctx, lease, p.ballot, next, 1); err != nil {
		return nil, err
	}
	d.holder, err = c.hold(lease, p.ballot, next, sent)
	return d.holder, err
}

// desk returns where the lease is taken, locked. Voters let a client in while they know it as the holder, so it must not
// ask while it is one.
func (c *Client) desk(ctx context.Context, lease string) (*desk, error) {
	if !ValidName(lease) {
		return nil, invalid("lease", "不是合法的租约名", "is not the name of a lease")
	}
	c.mu.Lock()
	d := c.desks[lease]
	if d == nil {
		d = &desk{turn: newTurn()}
		c.desks[lease] = d
	}
	c.mu.Unlock()
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	if d.holder != nil && d.holder.Valid() {
		d.give()
		return nil, errs.New(errs.Conflict, "本进程已持有租约", "this process holds the lease already").WithCode(CodeHeld)
	}
	return d, nil
}

// Force makes this replica the only one in sync, though it may lack acknowledged records, which are then lost. It is for
// a person who knows that no replica in sync will come back, and gives the reason. It cannot take a lease that another
// still holds, and takes none itself: this replica can then acquire it. The epoch leaps to the next multiple of 2^32, so
// that it is beyond that of any holder that voters here do not know of.
func (c *Client) Force(ctx context.Context, lease, reason string) (was, is Register, err error) {
	if reason == "" {
		return was, is, invalid("reason", "须说明原因", "a reason must be given")
	}
	d, err := c.desk(ctx, lease)
	if err != nil {
		return was, is, err
	}
	defer d.give()
	p, err := c.propose(ctx, lease)
	if err != nil {
		return was, is, err
	}
	if p.was.Epoch == 0 {
		return was, is, errs.New(errs.NotFound, "没有这个租约", "there is no such lease")
	}
	is = Register{Holder: c.o.Me, Epoch: (p.was.Epoch>>32 + 1) << 32, InSync: []string{c.o.Me}, TTL: c.o.TTL.Milliseconds(), Released: true, Forced: reason}
	if err := is.Check(); err != nil {
		return was, is, err
	}
	return p.was, is, c.decide(ctx, lease, p.ballot, is, 1)
}

// View is a lease as a client sees it.
type View struct {
	Register Register
	Held     time.Duration // others than the holder are kept out for so long, as far as is known
	Voters   []Voice
}

// Voice is what came from one voter.
type Voice struct {
	Name string
	Answer
	Err error
}

// Look asks all voters. What it says of the register is the newest that a majority knows, and may be about to change.
func (c *Client) Look(ctx context.Context, lease string) (View, error) {
	replies := c.ask(ctx, Request{Kind: Look, Lease: lease, Ballot: Ballot{By: c.by}}, len(c.o.Voters), answeredAtAll)
	var v View
	var left []time.Duration
	for _, p := range c.o.Voters {
		voice := Voice{Name: p.Name(), Err: noAnswer()}
		for _, r := range replies {
			if r.voter == p.Name() {
				voice.Answer, voice.Err = r.answer, r.err
			}
		}
		if voice.Err == nil {
			left = append(left, voice.held())
		}
		v.Voters = append(v.Voters, voice)
	}
	v.Register = newest(replies).Register
	if len(left) < c.quorum() {
		return v, fewer(replies)
	}
	slices.Sort(left)
	v.Held = left[c.quorum()-1]
	return v, nil
}
