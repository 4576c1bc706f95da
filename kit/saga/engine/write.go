package engine

import (
	"context"
	"errors"
	"time"

	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Relaxed progress is written beside the driver, which goes on meanwhile: a power cut may take it anyway, and asking
// again brings it back. It waits a little for more to come, and what changes while it is being written is written by the
// next. A durable write waits for the one under way, and the driver for it.

// linger is how long relaxed progress waits for more. It is what a killed process may have to ask again, and is short
// beside the latency of an agency.
const linger = 10 * time.Millisecond

// later sees to it that what has changed is written before long.
func (dr *driver) later() {
	dr.dirty = true
	if dr.behind == nil && dr.flush == nil {
		dr.flush = time.After(linger)
	}
}

// progress has the instance written beside the driver.
func (dr *driver) progress(ctx context.Context, plan saga.Plan) {
	dr.advance()
	in, nextAt, done := dr.in.Clone(), dr.nextAt(plan), make(chan bool, 1)
	dr.behind, dr.flush, dr.dirty = done, nil, false
	go func() {
		done <- dr.insist(ctx, func() error {
			return dr.e.saveAlone(ctx, sqldb.Relaxed, dr.kind.Definition, in, nextAt, dr.life)
		}) && dr.changed(in)
	}()
}

// caughtUp takes note of a write beside the driver.
func (dr *driver) caughtUp(ok bool) bool {
	dr.behind, dr.lost = nil, !ok
	if dr.dirty {
		dr.later()
	}
	return ok
}

// settle waits for the write beside the driver, and reports whether the row is still ours. What has changed since then
// is for the caller to write.
func (dr *driver) settle() bool {
	if dr.behind != nil {
		dr.lost = !<-dr.behind
	}
	dr.behind, dr.flush, dr.dirty = nil, nil, false
	return !dr.lost
}

func (dr *driver) advance() {
	dr.in.Rev++
	dr.in.Updated = max(dr.in.Updated, dr.e.Now().UnixMilli())
}

// write stores the instance before the driver goes on. It returns false when the engine stops first, or the row is no
// longer ours.
func (dr *driver) write(ctx context.Context, notices []saga.Notice, plan saga.Plan, durable bool) bool {
	if !dr.settle() {
		return false
	}
	dr.advance()
	durability := sqldb.Relaxed
	if durable {
		durability = sqldb.Durable
	}
	nextAt := dr.nextAt(plan)
	ok := dr.insist(ctx, func() error { return dr.store(ctx, durability, notices, nextAt) })
	if ok {
		dr.written(notices)
	}
	return ok
}

// nextAt is when the instance is to be taken up again, where its driver should be gone by then.
func (dr *driver) nextAt(plan saga.Plan) int64 {
	switch {
	case len(dr.inFlight) > 0 || len(plan.Actions) > 0:
		return held
	case plan.WakeAt == 0:
		return never
	}
	return plan.WakeAt
}

// insist writes again and again while the database is away: what the participants did can't be taken back.
func (dr *driver) insist(ctx context.Context, write func() error) bool {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := write()
		if err == nil || errors.Is(err, errWritten) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, errStale) {
			dr.e.Log.Warn("left a saga whose row has moved on", "saga", dr.in.ID, "err", err)
			return false
		}
		dr.e.Log.Error("can't write a saga; trying again", "saga", dr.in.ID, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// store writes the instance once: alone, unless someone wants to write with it.
func (dr *driver) store(ctx context.Context, how sqldb.Durability, notices []saga.Notice, nextAt int64) error {
	noticed := len(notices) > 0 && dr.e.Noticed != nil
	if end := dr.in.Status.Ended() && dr.kind.End != nil; !noticed && !end {
		return dr.e.saveAlone(ctx, how, dr.kind.Definition, dr.in, nextAt, dr.life)
	}
	return dr.e.saveWith(ctx, how, dr.kind.Definition, dr.in, nextAt, dr.life, func(tx *sqldb.Tx) error {
		return dr.tell(ctx, tx, notices)
	})
}

// tell has those write who want to write with the instance.
func (dr *driver) tell(ctx context.Context, tx *sqldb.Tx, notices []saga.Notice) error {
	for _, n := range notices {
		if dr.e.Noticed == nil {
			break
		}
		if err := dr.e.Noticed(ctx, tx, dr.in, n); err != nil {
			return err
		}
	}
	if dr.in.Status.Ended() && dr.kind.End != nil {
		return dr.kind.End(ctx, tx, dr.in)
	}
	return nil
}

func (dr *driver) written(notices []saga.Notice) {
	for _, n := range notices {
		switch n.Kind {
		case saga.Retrying:
			dr.e.counts.retries.Add(1)
		case saga.Parked:
			dr.e.counts.parked.Add(1)
		}
	}
	if dr.in.Status.Ended() {
		dr.e.counts.ended.Add(1)
		dr.e.backlog.Add(-1)
		dr.e.rate.add(dr.e.Now())
	}
	dr.changed(dr.in)
}

// changed tells of a commit, and returns true.
func (dr *driver) changed(in *saga.Instance) bool {
	if dr.e.Changed != nil {
		dr.e.Changed(in.Clone())
	}
	return true
}
