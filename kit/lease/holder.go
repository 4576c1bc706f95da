package lease

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Holder is a lease that was taken. It renews itself until it is lost or released; what is lost stays lost, and can only
// be acquired anew, with another epoch.
type Holder struct {
	c     *Client
	lease string
	epoch uint64

	until atomic.Int64 // by the client's clock: so long it may be relied on
	gone  atomic.Bool  // lost or released
	lost  chan struct{}
	once  sync.Once
	why   error           // set before lost is closed
	ctx   context.Context // of renewals; ends when the lease is lost
	stop  context.CancelFunc
	ended chan struct{} // no renewal is under way any more

	turn   turn // one request of this holder at a time; guards what follows
	ballot Ballot
	seq    uint64

	mu  sync.Mutex
	reg Register
}

// hold returns the holder of what was granted, from the moment on at which it was asked for.
func (c *Client) hold(lease string, b Ballot, r Register, sent time.Duration) (*Holder, error) {
	h := &Holder{c: c, lease: lease, epoch: r.Epoch, lost: make(chan struct{}), ended: make(chan struct{}), turn: newTurn(), ballot: b, seq: 1, reg: r}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.until.Store(math.MinInt64)
	h.extend(sent)
	if !h.Valid() {
		h.stop()
		return nil, errs.New(errs.Unavailable, "答复来得太晚", "the answers came too late").WithCode(CodeQuorum)
	}
	if c.forever {
		close(h.ended)
	} else {
		go h.keep()
	}
	return h, nil
}

// Name returns the lease's.
func (h *Holder) Name() string { return h.lease }

// Epoch returns the number that fences this holder off from those before: greater than any of theirs.
func (h *Holder) Epoch() uint64 { return h.epoch }

// Valid reports whether nobody else can hold the lease at this instant. Ask it after a batch is durable, before it is
// acknowledged. Once false, it stays false. It costs the reading of a clock.
func (h *Holder) Valid() bool {
	if h.gone.Load() {
		return false
	}
	if h.c.forever || int64(h.c.o.Now()) < h.until.Load() {
		return true
	}
	h.gone.Store(true) // a renewal that comes now comes too late
	return false
}

// Lost is closed when the lease was lost, or released.
func (h *Holder) Lost() <-chan struct{} { return h.lost }

// Err returns why the lease was lost; nil while it was not.
func (h *Holder) Err() error {
	select {
	case <-h.lost:
		return h.why
	default:
		return nil
	}
}

// InSync returns the replicas in sync, sorted, as they were decided last. This one is among them.
func (h *Holder) InSync() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.reg.InSync)
}

// SetInSync decides which replicas are in sync; this one must be among them. It tries until ctx ends or the lease is
// lost.
//
//   - To go on without a replica: SetInSync without it first, then no longer wait for its acknowledgement.
//   - To take one back: have it catch up and wait for its acknowledgement of everything from then on, then SetInSync.
//
// After an error either set may be in force: the holder must go on as if every replica of both were in sync, until a
// later call returns nil.
func (h *Holder) SetInSync(ctx context.Context, replicas ...string) error {
	set := slices.Compact(slices.Sorted(slices.Values(replicas)))
	next := Register{Holder: h.c.o.Me, Epoch: h.epoch, InSync: set, TTL: h.c.o.TTL.Milliseconds()}
	if err := next.Check(); err != nil {
		return err
	}
	for {
		err := h.change(ctx, func(r *Register) { r.InSync = set })
		if !h.Valid() {
			h.lose(nil)
			return h.why
		}
		if err == nil {
			return nil
		}
		if !wait(ctx, h.c.again()) {
			return err
		}
	}
}

// Release gives the lease up, so that another can take it at once. From its beginning on Valid is false: stop writing
// first. Where the voters could not be told before ctx ends, others must wait until it runs out.
func (h *Holder) Release(ctx context.Context) error {
	if h.gone.Swap(true) {
		h.lose(nil)
		<-h.ended
		return nil
	}
	h.lose(errs.New(errs.Conflict, "租约已交还", "the lease was released").WithCode(CodeLost))
	<-h.ended
	return h.change(ctx, func(r *Register) { r.Released = true })
}

func lostError(zh, en string) error { return errs.New(errs.Conflict, zh, en).WithCode(CodeLost) }

func (h *Holder) lose(why error) {
	h.once.Do(func() {
		h.gone.Store(true)
		if h.why = why; why == nil {
			h.why = lostError("租约已到期", "the lease has run out")
		}
		close(h.lost)
		h.stop()
	})
}

// extend has the lease relied on for as long as is safe after it was asked for.
func (h *Holder) extend(sent time.Duration) {
	if until := int64(sent + h.c.lasts()); until > h.until.Load() {
		h.until.Store(until)
	}
}

// keep renews the lease until it is lost, four times as often as needed.
func (h *Holder) keep() {
	defer close(h.ended)
	pause := h.c.o.TTL / 4
	for h.Valid() {
		left := time.Duration(h.until.Load()) - h.c.o.Now()
		if !wait(h.ctx, max(0, min(pause, left))) {
			break
		}
		if pause = h.c.o.TTL / 4; h.renew(h.ctx) != nil {
			pause = h.c.again()
		}
	}
	h.lose(nil)
}

// renew has a majority hear again what it accepted. A voter that was away keeps it then; one that has promised a greater
// ballot meanwhile, to a candidate that came to nothing, makes a new one necessary.
func (h *Holder) renew(ctx context.Context) error {
	if err := h.turn.take(ctx); err != nil {
		return err
	}
	defer h.turn.give()
	h.mu.Lock()
	reg := h.reg
	h.mu.Unlock()
	h.seq++
	sent := h.c.o.Now()
	replies := h.c.ask(ctx, Request{Kind: Accept, Lease: h.lease, Ballot: h.ballot, Register: &reg, Seq: h.seq}, h.c.quorum(), agreed)
	if count(replies, agreed) >= h.c.quorum() {
		h.extend(sent)
	}
	if outdone := func(r reply) bool { return r.err == nil && !r.answer.OK }; count(replies, outdone) > 0 {
		h.c.ballot(replies...)
		return h.rewrite(ctx, func(*Register) {})
	}
	if count(replies, agreed) < h.c.quorum() {
		return h.c.refusal(replies)
	}
	return nil
}

// change changes the register at this holder's epoch.
func (h *Holder) change(ctx context.Context, f func(*Register)) error {
	if err := h.turn.take(ctx); err != nil {
		return err
	}
	defer h.turn.give()
	return h.rewrite(ctx, f)
}

// rewrite changes the register by a new ballot. What it starts from is what a majority has, which may be an earlier
// change of this holder that seemed to have failed. It needs the turn.
func (h *Holder) rewrite(ctx context.Context, f func(*Register)) error {
	p, err := h.c.prepare(ctx, h.lease, h.c.ballot())
	if err != nil {
		return err
	}
	if p.by != h.c.by || p.was.Epoch != h.epoch || p.was.Released {
		err := lostError("另一个进程已接管租约", "another process has taken the lease")
		h.lose(err)
		return err
	}
	next := p.was
	f(&next)
	sent := h.c.o.Now()
	if err := h.c.decide(ctx, h.lease, p.ballot, next, h.seq+1); err != nil {
		return err
	}
	h.seq++
	h.ballot = p.ballot
	h.mu.Lock()
	h.reg = next
	h.mu.Unlock()
	h.extend(sent)
	return nil
}
