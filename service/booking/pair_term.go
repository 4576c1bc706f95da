package booking

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/wal"
)

// term is the time during which this server leads.
type term struct {
	p      *pair
	holder *lease.Holder
	logs   []*wal.Log
	began  time.Time
	probes []probe

	mu       sync.Mutex
	standbys map[string]*follower
	rooms    map[string]roomCopy  // that may have been seen, by sale and without their places
	awaited  map[string]time.Time // since when a room waits for standbys
	ships    context.Context      // of connections
	end      context.CancelFunc
	closed   sync.Once
	err      error // of closing
}

// lead opens the logs with this term's epoch and serves, until ctx ends, the lease is lost or something fails.
func (p *pair) lead(ctx context.Context, holder *lease.Holder) (err error) {
	t := &term{p: p, holder: holder, began: time.Now(), standbys: map[string]*follower{}, probes: make([]probe, len(p.b.seats)),
		rooms: map[string]roomCopy{}, awaited: map[string]time.Time{}}
	t.ships, t.end = context.WithCancel(context.WithoutCancel(ctx))
	defer func() { err = errors.Join(err, t.close()) }()
	for _, seat := range p.b.seats {
		log, err := wal.Open(seat.folder, wal.Options{Generation: pairGeneration + holder.Epoch(), Linked: true, Timeout: pairTimeout})
		if err != nil {
			return err
		}
		t.logs = append(t.logs, log)
		seat.tell(ctx, log.Recovered())
	}
	for _, name := range holder.InSync() {
		if name != p.me {
			t.standbys[name] = &follower{inSync: true, here: t.began, wait: tryAgain}
		}
	}
	t.require()
	p.set(func() { p.term = t })
	p.counts.terms.Inc()
	p.b.host.Log.LogAttrs(ctx, slog.LevelInfo, "this server leads the bookings", slog.Uint64("epoch", holder.Epoch()), slog.Any("inSync", holder.InSync()))
	defer p.set(func() { p.term = nil })

	// It outlives the shards: what they have still to answer waits for standbys, or for the decision to go on without.
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { t.watch(watch) })
	defer watching.Wait()
	defer stop()
	// What Open found counts as durable. Nobody hears of it before all that are in sync have it.
	if err := t.settle(ctx); err != nil {
		return err
	}
	return t.serve(ctx)
}

// serve runs everything that only a leader does.
func (t *term) serve(ctx context.Context) error {
	b := t.p.b
	b.clearRooms()
	g, ctx := errgroup.WithContext(ctx)
	for i, seat := range b.seats {
		g.Go(func() error { return seat.serve(ctx, t.holder, t.logs[i]) })
	}
	g.Go(func() error { return b.usher(ctx) })
	g.Go(func() error {
		for b.recallAll(ctx) != nil { // the shards are being recovered
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
		}
		return b.collect(ctx)
	})
	return g.Wait()
}

// close ends the connections and the logs.
func (t *term) close() error {
	t.closed.Do(func() {
		t.end()
		for _, log := range t.logs {
			t.err = errors.Join(t.err, log.Close())
		}
	})
	return t.err
}

// settle waits until everything in the logs is at all that are in sync.
func (t *term) settle(ctx context.Context) error {
	done := make(chan error, len(t.logs))
	for _, log := range t.logs {
		go empty(log, func(err error) { done <- err })
	}
	for range t.logs {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// empty commits a batch of nothing: it lands when all that are waited for have what was before it. It may have to wait for
// a buffer, which those who are waited for hold up, too.
func empty(log *wal.Log, done func(error)) { log.Commit(log.Batch(), done) }

// needed is up to where a log may be dropped for all that the standbys need: what one lacks that was here a while ago is
// kept, so that it finds all acts when it comes back, and not only the state they led to.
func (t *term) needed(shard int) uint64 {
	last := uint64(1<<64 - 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, f := range t.standbys {
		seen := f.here
		if seen.IsZero() {
			seen = t.began
		}
		if time.Since(seen) > t.p.b.cfg.Erase {
			continue
		}
		var acked uint64
		for _, s := range t.logs[shard].Standbys() {
			if s.Name == name {
				acked = s.Acked
			}
		}
		last = min(last, acked)
	}
	return last
}
