package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/kit/errs"
)

// lock keeps other processes out of a schema: an advisory lock of a session of its own. Where the session is lost, as
// when the server restarts, it is taken again; where another process was faster, this one writes no more.
type lock struct {
	cfg    *pgx.ConnConfig
	schema string
	conn   *pgx.Conn   // nil: the server could not be reached when it was last tried
	lost   atomic.Bool // somebody else has it
}

// beat is how often the session is looked after.
const beat = time.Second

func takeLock(ctx context.Context, cfg *pgx.ConnConfig, schema string) (*lock, error) {
	l := &lock{cfg: cfg.Copy(), schema: schema}
	got, err := l.take(ctx)
	if err == nil && !got {
		l.release()
		return nil, l.taken()
	}
	return l, err
}

func (l *lock) take(ctx context.Context) (got bool, err error) {
	if l.conn, err = pgx.ConnectConfig(ctx, l.cfg); err != nil {
		return false, err
	}
	err = l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('qiong/' || $1, 0))", l.schema).Scan(&got)
	return got, err
}

func (l *lock) taken() error {
	return errs.Newf(errs.Conflict, "数据库模式 %s 正被另一个进程使用", "another process has the schema %s open", l.schema)
}

// keep looks after the session until stop.
func (l *lock) keep(stop <-chan struct{}) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*beat)
		if l.conn == nil || l.conn.Ping(ctx) != nil {
			l.release()
			if got, err := l.take(ctx); err == nil && !got {
				l.lost.Store(true) // for good: what this process knows may be out of date
			}
		}
		cancel()
	}
}

// check refuses a write where the lock is somebody else's. A nil lock allows all.
func (l *lock) check() error {
	if l != nil && l.lost.Load() {
		return l.taken()
	}
	return nil
}

func (l *lock) release() {
	if l != nil && l.conn != nil {
		_ = l.conn.Close(context.Background()) // ending the session gives the lock back either way
	}
}
