// Package postgres is the engine of sqldb for when one machine is not enough: one schema a service on a PostgreSQL
// server, or on one that speaks its protocol (openGauss, Kingbase).
//
// What costs there is the round trip, not the statement. So whatever needs no answer on the way (appended rows, single
// statements, closures that only insert and update) is gathered and sent by many callers at once, in one transaction; rows go in by
// unnest, one statement a table. A closure that reads has a transaction of its own, which begins with its
// first statement, in the same round trip.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Options say which database to open. The zero value of a field but the first two means its default.
type Options struct {
	URL       string // postgres://user@host:5432/name
	Schema    string // this service's own; created where it is missing
	Conns     int    // connections for writes and as many for reads; default 16
	Exclusive bool   // refuse a schema that another process has open
}

// DB is a schema of a PostgreSQL database.
type DB struct {
	durable *pool
	relaxed *pool
	schema  string
	lock    *lock // nil without Exclusive

	stop    chan struct{}
	stopped chan struct{} // closed once nobody commits groups any more
	workers sync.WaitGroup
	closing sync.Once
	waiting atomic.Int64
	writes  atomic.Uint64
	commits atomic.Uint64
	failed  atomic.Uint64
}

// pool is connections that commit with one durability, and what is to be committed in groups.
type pool struct {
	*pgxpool.Pool
	jobs   chan *job
	asking atomic.Int64 // callers with a job under way
	alone  int64        // up to so many of them commit by themselves
	tables sync.Map     // of *sync.Pool by *sqldb.Into: tables that have been sent
}

var _ sqldb.DB = (*DB)(nil)

// Open connects to the server and opens the schema.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Conns <= 0 {
		o.Conns = 16
	}
	db := &DB{schema: o.Schema, stop: make(chan struct{}), stopped: make(chan struct{})}
	err := db.open(ctx, o)
	if err != nil {
		db.release()
		return nil, fmt.Errorf("open schema %s: %w", o.Schema, classify(err))
	}
	for _, p := range []*pool{db.durable, db.relaxed} {
		for range groupings {
			db.workers.Go(func() { db.group(p) })
		}
	}
	if db.lock != nil {
		db.workers.Go(func() { db.lock.keep(db.stop) })
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o Options) (err error) {
	if db.durable, err = connect(ctx, o, "on"); err != nil {
		return err
	}
	if db.relaxed, err = connect(ctx, o, "off"); err != nil {
		return err
	}
	if _, err = db.durable.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{o.Schema}.Sanitize()); err != nil {
		return err
	}
	if o.Exclusive {
		db.lock, err = takeLock(ctx, db.durable.Config().ConnConfig, o.Schema)
	}
	return err
}

func connect(ctx context.Context, o Options, syncCommit string) (*pool, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errs.New(errs.Invalid, "数据库地址格式错误", "the database URL is malformed").WithField("database.url")
	}
	cfg.MaxConns = int32(o.Conns)
	cfg.ShouldPing = doubtful
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.RuntimeParams["search_path"] = o.Schema
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = syncCommit
	cfg.ConnConfig.RuntimeParams["application_name"] = "qiong"
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	made := &pool{Pool: p, jobs: make(chan *job, 4*maxGroup)}
	if syncCommit == "on" {
		made.alone = int64(o.Conns)
	}
	return made, nil
}

func (db *DB) of(d sqldb.Durability) *pool {
	if d == sqldb.Relaxed {
		return db.relaxed
	}
	return db.durable
}

// Dialect implements sqldb.DB.
func (db *DB) Dialect() sqldb.Dialect { return sqldb.Postgres }

// Query implements sqldb.Querier.
func (db *DB) Query(ctx context.Context, query string, args ...any) (sqldb.Rows, error) {
	r, err := db.relaxed.Query(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	return rows{r}, nil
}

// QueryRow implements sqldb.Querier.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) sqldb.Scanner {
	return row{db.relaxed.QueryRow(ctx, query, args...)}
}

// Write implements sqldb.DB.
func (db *DB) Write(ctx context.Context, d sqldb.Durability, f func(*sqldb.Tx) error) error {
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	return db.count(retry(func() error { return db.once(ctx, db.of(d), f) }))
}

// Append implements sqldb.DB.
func (db *DB) Append(ctx context.Context, rows ...sqldb.Insert) error {
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	return db.count(db.grouped(ctx, db.durable, &job{rows: rows}))
}

// Exec implements sqldb.DB.
func (db *DB) Exec(ctx context.Context, d sqldb.Durability, query string, args ...any) (int64, error) {
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	j := &job{statements: []statement{{sql: query, args: args}}}
	err := db.count(db.grouped(ctx, db.of(d), j))
	return j.affected, err
}

// count takes down what became of a write.
func (db *DB) count(err error) error {
	if err != nil {
		db.failed.Add(1)
		return classify(err)
	}
	db.writes.Add(1)
	return nil
}

func (db *DB) once(ctx context.Context, p *pool, f func(*sqldb.Tx) error) error {
	if err := db.closedOr(ctx); err != nil {
		return err
	}
	if err := db.lock.check(); err != nil {
		return err
	}
	t := &tx{db: db, pool: p, ctx: ctx}
	defer t.release()
	s := sqldb.NewTx(t, sqldb.Postgres)
	if err := f(s); err != nil {
		return err
	}
	if err := t.commit(); err != nil {
		return err
	}
	s.Committed()
	return nil
}

// closedOr returns why a write is not to begin any more.
func (db *DB) closedOr(ctx context.Context) error {
	select {
	case <-db.stop:
		return sqldb.ErrClosed()
	default:
		return ctx.Err()
	}
}

func retry(f func() error) (err error) {
	for range 5 {
		if err = f(); !retryable(err) {
			break
		}
	}
	return err
}

// retryable reports whether the server undid a transaction for its own reasons: serialization failure or deadlock.
func retryable(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// Migrate implements sqldb.DB.
func (db *DB) Migrate(ctx context.Context, set string, files fs.FS) error {
	own := stdlib.OpenDBFromPool(db.durable.Pool)
	defer own.Close()
	return classify(sqldb.Migrate(ctx, own, sqldb.Postgres, set, files))
}

// Size implements sqldb.DB.
func (db *DB) Size(ctx context.Context) (int64, error) {
	return sqldb.Value[int64](ctx, db, `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'`, db.schema)
}

// Stats implements sqldb.DB.
func (db *DB) Stats() sqldb.Stats {
	return sqldb.Stats{Writes: db.writes.Load(), Commits: db.commits.Load(), Failed: db.failed.Load(), Waiting: db.waiting.Load()}
}

// Close implements sqldb.DB.
func (db *DB) Close() error {
	db.closing.Do(func() {
		close(db.stop)
		db.workers.Wait()
		close(db.stopped)
		db.release()
	})
	return nil
}

func (db *DB) release() {
	db.lock.release()
	for _, p := range []*pool{db.durable, db.relaxed} {
		if p != nil {
			p.Close()
		}
	}
}

type rows struct{ pgx.Rows }

func (r rows) Err() error             { return classify(r.Rows.Err()) }
func (r rows) Scan(dest ...any) error { return classify(r.Rows.Scan(dest...)) }

type row struct{ pgx.Row }

func (r row) Scan(dest ...any) error { return classify(r.Row.Scan(dest...)) }

// classify gives the engine's errors the kinds the house knows.
func classify(err error) error {
	var known *errs.Error
	var e *pgconn.PgError
	var connect *pgconn.ConnectError
	var network *net.OpError
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, sqldb.ErrUnique) || errors.Is(err, sqldb.ErrMissed):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return sqldb.ErrNoRows
	case errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err):
		return away(err)
	case !errors.As(err, &e):
		return err
	}
	switch {
	case e.Code == "23505":
		return fmt.Errorf("%w: %w", sqldb.ErrUnique, err)
	case e.Code == "53100":
		return errs.Wrap(err, errs.Full, "存储空间不足，数据未写入", "no storage left; nothing was written").
			WithHint("请清理磁盘或扩容后重试", "free or add disk space, then try again")
	case e.Code[:2] == "57" || e.Code[:2] == "08" || e.Code == "53300":
		return away(err)
	}
	return err
}

func away(err error) error {
	return errs.Wrap(err, errs.Unavailable, "数据库暂时无法连接", "the database can't be reached").
		WithHint("请稍后重试", "try again later").WithRetryAfter(2 * time.Second)
}
