package booking

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/qiongdev/qiong/service/booking/shard"
)

// A standby drops what it does not need any more: of its tables often, and of its copies once a day, or twice in the time
// after which documents are erased, since it has no state at hand and makes one from the log each time.
const (
	tidyEvery       = 10 * time.Minute
	checkpointEvery = 24 * time.Hour
)

// tidy does so until ctx ends.
func (s *standing) tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	period := min(checkpointEvery, s.p.b.cfg.Erase/2)
	for next := time.Now().Add(period); ; {
		s.forget(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(period)
		for i := range s.logs {
			if err := s.checkpoint(ctx, i); err != nil && ctx.Err() == nil {
				s.p.b.host.Log.LogAttrs(ctx, slog.LevelError, "a copy of a log was not trimmed", slog.Int("shard", i), slog.Any("err", err))
			}
		}
	}
}

// checkpoint keeps the state that a copy leads to, and drops what went into it, the tables and evidence: what comes from now
// on goes to a new segment, so that the one before can be dropped at the next.
func (s *standing) checkpoint(ctx context.Context, i int) error {
	rotated := s.logs[i].Rotate()
	last, err := shard.Checkpoint(s.logs[i], uint16(i))
	if err != nil {
		return err
	}
	for _, name := range []string{"rows", "acts"} {
		at, err := s.p.b.store.progress(ctx, reader(name, uint16(i)))
		if err != nil {
			return err
		}
		last = min(last, at)
	}
	return errors.Join(rotated, s.logs[i].Retain(last))
}
