package booking

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/service/booking/shard"
)

// checkpointEvery is how often a standby drops what it does not need any more of its copies. It has no state at hand, and
// makes one from the log each time.
const checkpointEvery = 24 * time.Hour

// checkpoint keeps the state that each copy leads to, and drops what went into it, the tables and evidence, until ctx ends.
func (s *standing) checkpoint(ctx context.Context) error {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i, log := range s.logs {
			last, err := shard.Checkpoint(log, uint16(i))
			for _, reader := range []string{"rows/", "acts/"} {
				var at uint64
				if err == nil {
					at, err = s.p.b.store.progress(ctx, reader+strconv.Itoa(i))
				}
				last = min(last, at)
			}
			if err == nil && last > 0 {
				err = log.Retain(last)
			}
			if err != nil && ctx.Err() == nil {
				s.p.b.host.Log.LogAttrs(ctx, slog.LevelError, "a copy of a log was not trimmed", slog.Int("shard", i), slog.Any("err", err))
			}
		}
	}
}
