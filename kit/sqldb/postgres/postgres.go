// Package postgres is the engine of sqldb for when one machine is not enough: one schema a service on a PostgreSQL
// server, or on one that speaks its protocol (openGauss, Kingbase).
//
// Closures run each in a transaction of their own, since PostgreSQL groups the syncs of concurrent commits itself.
// Appended rows are what it does badly one by one: they are gathered and inserted by unnest, many callers a statement.
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
	durable *pgxpool.Pool
	relaxed *pgxpool.Pool
	schema  string
	lock    *pgx.Conn // holds the exclusive lock; nil without

	appends chan *appendJob
	stop    chan struct{}
	workers sync.WaitGroup
	closing sync.Once
	waiting atomic.Int64
	writes  atomic.Uint64
	commits atomic.Uint64
	failed  atomic.Uint64
}

var _ sqldb.DB = (*DB)(nil)

// Open connects to the server and opens the schema.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Conns <= 0 {
		o.Conns = 16
	}
	db := &DB{schema: o.Schema, appends: make(chan *appendJob, 4*maxAppend), stop: make(chan struct{})}
	err := db.open(ctx, o)
	if err != nil {
		db.release()
		return nil, fmt.Errorf("open schema %s: %w", o.Schema, classify(err))
	}
	for range appenders {
		db.workers.Go(db.appender)
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o Options) (err error) {
	if db.durable, err = pool(ctx, o, "on"); err != nil {
		return err
	}
	if db.relaxed, err = pool(ctx, o, "off"); err != nil {
		return err
	}
	if _, err = db.durable.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{o.Schema}.Sanitize()); err != nil {
		return err
	}
	if !o.Exclusive {
		return nil
	}
	if db.lock, err = pgx.ConnectConfig(ctx, db.durable.Config().ConnConfig); err != nil {
		return err
	}
	var got bool
	err = db.lock.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('qiong/' || $1, 0))", o.Schema).Scan(&got)
	if err == nil && !got {
		err = errs.Newf(errs.Conflict, "数据库模式 %s 正被另一个进程使用", "another process has the schema %s open", o.Schema)
	}
	return err
}

func pool(ctx context.Context, o Options, syncCommit string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errs.New(errs.Invalid, "数据库地址格式错误", "the database URL is malformed").WithField("database.url")
	}
	cfg.MaxConns = int32(o.Conns)
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.RuntimeParams["search_path"] = o.Schema
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = syncCommit
	cfg.ConnConfig.RuntimeParams["application_name"] = "qiong"
	return pgxpool.NewWithConfig(ctx, cfg)
}

// Dialect implements sqldb.DB.
func (db *DB) Dialect() sqldb.Dialect { return sqldb.Postgres }

// Query implements sqldb.Querier.
func (db *DB) Query(ctx context.Context, query string, args ...any) (sqldb.Rows, error) {
	return conn{db.relaxed}.Query(ctx, query, args...)
}

// QueryRow implements sqldb.Querier.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) sqldb.Scanner {
	return conn{db.relaxed}.QueryRow(ctx, query, args...)
}

// Write implements sqldb.DB.
func (db *DB) Write(ctx context.Context, d sqldb.Durability, f func(*sqldb.Tx) error) error {
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	p := db.durable
	if d == sqldb.Relaxed {
		p = db.relaxed
	}
	var err error
	for range 5 {
		if err = db.once(ctx, p, f); !retryable(err) {
			break
		}
	}
	if err != nil {
		db.failed.Add(1)
		return classify(err)
	}
	db.writes.Add(1)
	db.commits.Add(1)
	return nil
}

func (db *DB) once(ctx context.Context, p *pgxpool.Pool, f func(*sqldb.Tx) error) error {
	t, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	defer func() { _ = t.Rollback(ctx) }() // does nothing after a commit
	tx := sqldb.NewTx(conn{t}, sqldb.Postgres)
	if err := f(tx); err != nil {
		return err
	}
	if err := t.Commit(ctx); err != nil {
		return err
	}
	tx.Committed()
	return nil
}

// retryable reports whether the server undid a transaction for its own reasons: serialization failure or deadlock.
func retryable(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// Migrate implements sqldb.DB.
func (db *DB) Migrate(ctx context.Context, set string, files fs.FS) error {
	own := stdlib.OpenDBFromPool(db.durable)
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
	db.closing.Do(func() { close(db.stop) })
	db.workers.Wait()
	db.release()
	return nil
}

func (db *DB) release() {
	if db.lock != nil {
		_ = db.lock.Close(context.Background()) // ending the session gives the lock back either way
	}
	for _, p := range []*pgxpool.Pool{db.durable, db.relaxed} {
		if p != nil {
			p.Close()
		}
	}
}

// queryer is what a pool and a transaction have in common.
type queryer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

type conn struct{ q queryer }

// Exec implements sqldb.Conn.
func (c conn) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := c.q.Exec(ctx, query, args...)
	return tag.RowsAffected(), classify(err)
}

// Query implements sqldb.Querier.
func (c conn) Query(ctx context.Context, query string, args ...any) (sqldb.Rows, error) {
	r, err := c.q.Query(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	return rows{r}, nil
}

// QueryRow implements sqldb.Querier.
func (c conn) QueryRow(ctx context.Context, query string, args ...any) sqldb.Scanner {
	return row{c.q.QueryRow(ctx, query, args...)}
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
	case err == nil || errors.As(err, &known) || errors.Is(err, sqldb.ErrUnique):
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
