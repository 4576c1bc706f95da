package booking

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/wal"
)

const (
	watchEvery = 50 * time.Millisecond
	// A standby that is in sync is taken out when it was away for so long, or has left a batch unacknowledged for so long:
	// bookings pause no longer than that and a decision of the voters.
	awayFor    = 300 * time.Millisecond
	stalledFor = time.Second
	// near is how many records behind a standby may be for the leader to begin waiting for it.
	near = 2000
	// A standby that did not catch up while it was waited for is tried again after so long, and longer each time.
	tryAgain, tryLast = 5 * time.Second, time.Minute
)

// follower is another server, as the leader sees it.
type follower struct {
	inSync bool             // as the register has it, or may have it: its acknowledgements are waited for
	here   time.Time        // when it was connected last
	rooms  map[string]int64 // that it said it has: when they were kept, by sale
	late   bool             // a room has waited for it for long
	lies   int
	next   time.Time     // when it may be tried
	wait   time.Duration // before the try after that
}

// require has the logs wait for those that are in sync. It needs no lock but by its callers' order: the register's set is
// never larger than what is waited for.
func (t *term) require(more ...string) {
	t.mu.Lock()
	names := more
	for name, f := range t.standbys {
		if f.inSync {
			names = append(names, name)
		}
	}
	t.mu.Unlock()
	for _, log := range t.logs {
		log.Require(names...)
	}
}

// watch keeps the register's set of those in sync and what the logs wait for in step, until ctx ends or the lease is lost.
func (t *term) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for _, other := range t.p.peers {
		t.follower(other.name)
	}
	for {
		select {
		case <-tick.C:
		case <-t.holder.Lost():
			_ = t.close() // lead returns it. Who waits for a standby is told now, and not that all went well
			return
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		names := slices.Collect(maps.Keys(t.standbys))
		t.mu.Unlock()
		for _, name := range names {
			t.look(ctx, name)
		}
	}
}

func (t *term) follower(name string) *follower {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.standbys[name]
	if f == nil {
		f = &follower{wait: tryAgain}
		t.standbys[name] = f
	}
	return f
}

// condition is how a standby is, over all logs.
type condition struct {
	connected, cutOff, stalled bool
	lies                       int
	behind                     uint64 // records of the log that is furthest behind
	err                        error
}

func (t *term) condition(name string) condition {
	c := condition{connected: true}
	for i, log := range t.logs {
		var s wal.StandbyStatus
		for _, known := range log.Standbys() {
			if known.Name == name {
				s = known
			}
		}
		durable := log.Durable()
		c.connected = c.connected && s.Connected
		c.cutOff = c.cutOff || s.CutOff
		c.lies += s.Lies
		if s.Err != nil {
			c.err = s.Err
		}
		if durable > s.Acked {
			c.behind = max(c.behind, durable-s.Acked)
		}
		c.stalled = c.stalled || s.Acked <= durable && t.probes[i].since() > stalledFor
	}
	return c
}

// look takes a standby out of sync where it is gone, and back in where it has all.
func (t *term) look(ctx context.Context, name string) {
	f, c, now := t.follower(name), t.condition(name), time.Now()
	t.mu.Lock()
	if c.connected {
		f.here = now
	}
	lied := c.lies > f.lies
	f.lies = c.lies
	inSync, away, late, whole := f.inSync, now.Sub(f.here), f.late, t.hasAll(f)
	t.mu.Unlock()
	if lied {
		t.p.counts.lies.Inc()
		t.p.b.host.Log.LogAttrs(ctx, slog.LevelError, "a standby acknowledged what it cannot have, and is cut off until an operator pardons it",
			slog.String("standby", name), slog.Any("err", c.err))
	}
	if !inSync {
		if c.connected && !c.cutOff && c.behind <= near && whole && now.After(f.next) {
			t.take(ctx, name, f)
		}
		return
	}
	for i, log := range t.logs {
		t.probes[i].send(log)
	}
	if c.cutOff || away > awayFor || c.stalled || late {
		t.drop(ctx, name, f, c)
	}
}

// drop goes on without a standby: first the voters decide that it cannot take over, then nobody waits for it.
func (t *term) drop(ctx context.Context, name string, f *follower, c condition) {
	if t.holder.SetInSync(ctx, t.others(name)...) != nil {
		return // the lease is lost, or ctx has ended: it is waited for until the end
	}
	t.mu.Lock()
	late := f.late
	f.inSync, f.rooms, f.late, f.next = false, nil, false, time.Now().Add(awayFor)
	t.mu.Unlock()
	t.require()
	t.p.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "a standby is out of sync; bookings go on without it", slog.String("standby", name),
		slog.Bool("connected", c.connected), slog.Bool("stalled", c.stalled), slog.Bool("late", late), slog.Any("err", c.err))
}

// take has a standby in sync: first it is waited for, then the voters decide that it may take over.
func (t *term) take(ctx context.Context, name string, f *follower) {
	t.require(name)
	short, cancel := context.WithTimeout(ctx, stalledFor)
	defer cancel()
	err := t.settle(short)
	t.mu.Lock()
	f.inSync = err == nil && t.hasAll(f) // from here on it may be
	if f.inSync {
		f.wait, f.here = tryAgain, time.Now()
	}
	t.mu.Unlock()
	if !f.inSync {
		t.require()
		f.next, f.wait = time.Now().Add(f.wait), min(2*f.wait, tryLast)
		return
	}
	if t.holder.SetInSync(ctx, t.others("")...) == nil {
		t.p.b.host.Log.LogAttrs(ctx, slog.LevelInfo, "a standby is in sync", slog.String("standby", name))
	}
}

// others returns this server and those in sync, without one.
func (t *term) others(without string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := []string{t.p.me}
	for name, f := range t.standbys {
		if f.inSync && name != without {
			names = append(names, name)
		}
	}
	return names
}

// probe is an empty batch on its way.
type probe struct {
	mu   sync.Mutex
	sent time.Time // zero: none is on its way
}

func (p *probe) send(log *wal.Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.sent.IsZero() {
		return
	}
	p.sent = time.Now()
	go empty(log, func(error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sent = time.Time{}
	})
}

func (p *probe) since() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent.IsZero() {
		return 0
	}
	return time.Since(p.sent)
}
