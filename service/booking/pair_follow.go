package booking

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/wal"
)

// standing is the time during which this server follows.
type standing struct {
	p    *pair
	logs []*wal.Standby
}

// follow keeps copies of the leader's logs, and projects from them, until this server has the lease.
func (p *pair) follow(ctx context.Context) (holder *lease.Holder, err error) {
	s := &standing{p: p}
	defer func() {
		for _, log := range s.logs {
			err = errors.Join(err, log.Close())
		}
		if err != nil && holder != nil {
			err = errors.Join(err, holder.Release(context.WithoutCancel(ctx)))
			holder = nil
		}
	}()
	for _, seat := range p.b.seats {
		log, err := wal.OpenStandby(seat.folder, wal.Options{Timeout: pairTimeout})
		if err != nil {
			return nil, err
		}
		s.logs = append(s.logs, log)
	}
	p.set(func() { p.stand = s })
	defer p.set(func() { p.stand = nil; p.follows(nil) })
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	for i, seat := range p.b.seats {
		g.Go(func() error { return seat.lacking(seat.project(ctx, s.logs[i])) })
		g.Go(func() error { return seat.lacking(seat.anchor(ctx, s.logs[i])) })
	}
	g.Go(func() error { return s.copy(ctx) })
	g.Go(func() error { return s.rooms(ctx) })
	g.Go(func() error { return s.tidy(ctx) })
	g.Go(func() (err error) {
		defer end()
		holder, err = s.acquire(ctx)
		return err
	})
	if err = g.Wait(); holder != nil {
		err = nil // of what had to end
	}
	return holder, err
}

// records is how many records this server has, of all shards.
func (s *standing) records() (n uint64) {
	for _, log := range s.logs {
		n += log.Last()
	}
	return n
}

// acquire waits for the lease. A server without a record takes it only where no server has any, as when the pair is new:
// else it is one that has lost its disk, or was set up later, and there is somebody to follow.
func (s *standing) acquire(ctx context.Context) (*lease.Holder, error) {
	said := ""
	for {
		wait := pairPoll
		if s.records() > 0 || s.p.nobodyHasAny() {
			holder, err := s.p.b.leases.TryAcquire(ctx, pairLease)
			if err == nil {
				return holder, nil
			}
			if ctx.Err() != nil {
				return nil, nil
			}
			e := errs.As(err)
			if after := e.RetryAfter; after > 0 {
				wait = min(wait, after)
			}
			if e.Code != said { // once for each reason
				said = e.Code
				s.p.b.host.Log.LogAttrs(ctx, level(said), "this server does not lead the bookings", slog.Any("err", err))
			}
		}
		select {
		case <-time.After(time.Duration(float64(wait) * (0.75 + rand.Float64()/2))): // two that begin together part
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// level is how much an operator must know of a reason for not leading.
func level(code string) slog.Level {
	switch code {
	case lease.CodeHeld, lease.CodeContended, lease.CodeNotInSync:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// nobodyHasAny reports whether every other server has said a moment ago that it has no record and does not lead.
func (p *pair) nobodyHasAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.peers {
		v := p.seen[other.name]
		if time.Since(v.at) > pairSight || v.leading || v.records > 0 {
			return false
		}
	}
	return p.wrong == nil
}

// copy follows whoever leads, until ctx ends.
func (s *standing) copy(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		leader := s.p.find(ctx)
		if leader != nil {
			err := s.copyFrom(ctx, leader)
			if text := err.Error(); ctx.Err() == nil && text != said {
				said = text
				s.p.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "the leader's logs do not come any more", slog.String("leader", leader.name), slog.Any("err", err))
			}
		}
		select {
		case <-time.After(pairPoll):
		case <-ctx.Done():
		}
	}
	return nil
}

// copyFrom follows all logs of a leader until one of the connections ends; it always returns an error.
func (s *standing) copyFrom(ctx context.Context, leader *sighting) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, log := range s.logs {
		g.Go(func() error {
			conn, err := s.p.connect(ctx, leader, i)
			if err != nil {
				return err
			}
			return log.Follow(ctx, conn)
		})
	}
	return g.Wait()
}
