package booking

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking/shard"
)

// journal is a log as those see it who read it: the writer's own, or a standby's copy.
type journal interface {
	Durable() uint64
	Wait(ctx context.Context, lsn uint64) error
	Read(after uint64) iter.Seq2[wal.Record, error]
}

// seat is where a shard runs while this server has its lease.
type seat struct {
	b      *Booking
	number uint16
	folder string
	now    atomic.Pointer[shard.Shard]
}

// shard returns the shard that runs here.
func (s *seat) shard() (*shard.Shard, error) {
	if running := s.now.Load(); running != nil {
		return running, nil
	}
	return nil, errs.New(errs.Unavailable, "预约服务正在恢复", "bookings are being recovered").WithCode("booking.recovering").WithRetryAfter(time.Second)
}

// caughtUp waits until the tables have what the log has now.
func (s *seat) caughtUp(ctx context.Context) error {
	running, err := s.shard()
	if err != nil {
		return err
	}
	want := running.Durable()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		at, err := s.b.store.progress(ctx, reader("rows", s.number))
		if err != nil || at >= want {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause is how long a shard that came to an error rests before it is opened anew.
const pause = time.Second

// run keeps the shard running, from its log after each error, until ctx ends.
func (s *seat) run(ctx context.Context) error {
	for {
		err := s.lead(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.b.host.Log.LogAttrs(ctx, slog.LevelError, "bookings stopped, and are opened anew", slog.Int("shard", int(s.number)), slog.Any("err", err))
		if e := errs.As(err); e != nil && (e.Code == wal.CodeDamaged || e.Code == codeTables) {
			return err // nothing is repaired behind an operator's back
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// lead takes the lease, recovers the shard and runs it.
func (s *seat) lead(ctx context.Context) (err error) {
	holder, err := s.b.leases.Acquire(ctx, s.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, holder.Release(context.WithoutCancel(ctx))) }()
	// No other server writes here, and one that leaves a pair goes on beyond its epochs.
	log, err := wal.Open(s.folder, wal.Options{Unfenced: true, Linked: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	s.tell(ctx, log.Recovered())
	return s.serve(ctx, holder, log)
}

// tell says what was found of a crash.
func (s *seat) tell(ctx context.Context, found wal.Recovery) {
	if found.Torn != nil {
		s.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "an unfinished batch was dropped", slog.Int("shard", int(s.number)), slog.Int64("bytes", found.Torn.Bytes))
	}
}

func (s *seat) serve(ctx context.Context, holder *lease.Holder, log *wal.Log) error {
	running, err := shard.Open(shard.Options{Number: s.number, Log: log, Now: s.b.host.Now, Intake: s.b.cfg.Intake, Valid: holder.Valid, Slog: s.b.host.Log})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return running.Run(ctx) })
	g.Go(func() error { return s.readOn(ctx, "tables", func() error { return s.project(ctx, log) }) })
	g.Go(func() error { return s.readOn(ctx, "evidence", func() error { return s.anchor(ctx, log) }) })
	g.Go(func() error {
		defer s.now.Store(nil)
		s.now.Store(running)
		if err := s.b.openSlots(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-holder.Lost():
			return holder.Err()
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

// readOn has a reader of the log go on after an error, as while a database is away: bookings do not wait for it. It ends
// where going on is of no use.
func (s *seat) readOn(ctx context.Context, what string, read func() error) error {
	for {
		err := s.lacking(read())
		if e := errs.As(err); err == nil || ctx.Err() != nil || e.Code == wal.CodeDamaged || e.Code == codeTables {
			return err
		}
		s.b.host.Log.LogAttrs(ctx, slog.LevelError, "bookings go on, but their "+what+" do not", slog.Int("shard", int(s.number)), slog.Any("err", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// codeTables is the code where tables need records that no log keeps any more.
const codeTables = "booking.tables"

// lacking says what to do about such tables.
func (s *seat) lacking(err error) error {
	if e := (*errs.Error)(nil); !errors.As(err, &e) || e.Code != wal.CodeNotKept {
		return err
	}
	e := errs.Wrap(err, errs.Conflict, "本机的表缺少日志已不保留的记录", "the tables of this server lack records that the log does not keep any more").WithCode(codeTables)
	if s.b.pair != nil {
		return e.WithHint("两台都停止后，把主机的 db/booking.db 复制过来；见 doc/booking-pair.md", "stop both, and copy db/booking.db from the leader; see doc/booking-pair.en.md")
	}
	return e.WithHint("停止后从备份恢复 db/booking.db（PostgreSQL 为 booking 模式），缺的由日志补齐；见 doc/booking.md",
		"stop, and restore db/booking.db (on PostgreSQL the schema booking) from a backup: the log makes up for what it lacks; see doc/booking.en.md")
}

// trim drops what the log does not need any more: it is in the tables, went to evidence, and stands in two snapshots, which
// have the documents of those alone who wait for a place. What has grown as old as documents may is gone by the third trim
// after that: the first has it left behind in a segment that is written no more, and at the next two a snapshot is made.
func (s *seat) trim(ctx context.Context) error {
	running, err := s.shard()
	if err != nil {
		return nil // later
	}
	last := running.Frozen()
	if s.b.pair != nil {
		last = min(last, s.b.pair.needed(int(s.number)))
	}
	for _, name := range []string{"rows", "acts"} {
		at, err := s.b.store.progress(ctx, reader(name, s.number))
		if err != nil {
			return err
		}
		last = min(last, at)
	}
	return errors.Join(running.Rotate(s.b.host.Now().Add(-s.b.cfg.Erase)), running.Retain(last))
}
