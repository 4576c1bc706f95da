package house

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// record keeps accesses to graded data for the auditor. They are gathered in memory and written together a moment later,
// without waiting for the disk, so that no request pays for a commit: a killed process loses what the last moment held, a
// power cut what the disk had not taken yet. While the table can't be written they wait, up to a limit; at the limit there
// is no access any more.
type record struct {
	db   sqldb.DB
	now  func() time.Time
	log  *slog.Logger
	ids  ident.Source
	wake chan struct{}

	mu      sync.Mutex
	waiting []entry

	writing sync.Mutex // one flush at a time
}

// entry is an access with what is known of it besides.
type entry struct {
	access.Access
	id, at int64
	trace  string
}

func (e entry) row() sqldb.Insert {
	return intoAccess.Row(e.id, e.Who, e.Route, e.Grade.String(), e.Clearance.String(), e.Decision.String(), e.trace, e.at)
}

const (
	recordEvery = 20 * time.Millisecond // how long accesses gather
	recordRetry = time.Second           // after the table could not be written
	maxWaiting  = 1 << 16
)

var _ access.Recorder = (*record)(nil)

var intoAccess = sqldb.NewInto("access_record", "id", "who", "route", "grade", "clearance", "decision", "trace", "at")

func openRecord(ctx context.Context, db sqldb.DB, now func() time.Time, log *slog.Logger) (*record, error) {
	last, err := sqldb.Value[int64](ctx, db, "SELECT coalesce(max(id), 0) FROM access_record")
	if err != nil {
		return nil, fmt.Errorf("record of accesses: %w", err)
	}
	r := &record{db: db, now: now, log: log, wake: make(chan struct{}, 1)}
	r.ids.Seen(last)
	return r, nil
}

// Record implements access.Recorder.
func (r *record) Record(ctx context.Context, a access.Access) error {
	now := r.now()
	e := entry{a, r.ids.Next(now), now.UnixMilli(), telemetry.TraceID(ctx)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxWaiting {
		return errs.New(errs.Unavailable, "访问记录无法写入", "the record of accesses can't be written")
	}
	r.waiting = append(r.waiting, e)
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

// run writes what gathers until ctx ends. What is left then is written by close.
func (r *record) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		pause := recordEvery
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			err := r.flush(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			r.log.ErrorContext(ctx, "the record of accesses could not be written; trying again", "err", err)
			pause = recordRetry
		}
	}
}

// flush writes what has gathered; where that fails, it waits on.
func (r *record) flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	gathered := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	if len(gathered) == 0 {
		return nil
	}
	rows := make([]sqldb.Insert, len(gathered))
	for i, e := range gathered {
		rows[i] = e.row()
	}
	err := r.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return tx.Insert(ctx, rows...) })
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting = append(gathered, r.waiting...)
	}
	return err
}

func (r *record) close() error { return r.flush(context.Background()) }

// clean deletes what is older than keep, in small writes.
func (r *record) clean(ctx context.Context, keep time.Duration) error {
	before := r.now().Add(-keep).UnixMilli()
	for {
		var n int64
		err := r.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) (err error) {
			n, err = tx.Exec(ctx, "DELETE FROM access_record WHERE id IN (SELECT id FROM access_record WHERE at < $1 ORDER BY id LIMIT 1000)", before)
			return err
		})
		if err != nil || n < 1000 {
			return err
		}
	}
}

// accessFilter says which accesses to list; empty members mean all.
type accessFilter struct {
	who, route, decision string
	before               int64 // id
	limit                int
}

// list returns accesses, the newest first, those of this moment among them.
func (r *record) list(ctx context.Context, f accessFilter) ([]AccessView, error) {
	if err := r.flush(ctx); err != nil {
		return nil, err
	}
	return sqldb.All(ctx, r.db, scanAccess, `SELECT id, who, route, grade, clearance, decision, trace, at FROM access_record
		WHERE id < $1 AND ($2 = '' OR who = $2) AND ($3 = '' OR route = $3) AND ($4 = '' OR decision = $4) ORDER BY id DESC LIMIT $5`,
		f.before, f.who, f.route, f.decision, f.limit)
}

func scanAccess(s sqldb.Scanner) (v AccessView, err error) {
	return v, s.Scan(&v.ID, &v.Who, &v.Route, &v.Grade, &v.Clearance, &v.Decision, &v.Trace, (*int64)(&v.At))
}
