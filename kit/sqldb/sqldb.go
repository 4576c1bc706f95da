// Package sqldb gives a service its own SQL database with one way to write: short closures, committed in groups.
//
// The contract is the same on every engine. [DB.Write] runs a closure in a transaction; closures of many callers share
// one commit where that is faster (SQLite), and none can see or spoil another's work. [DB.Append] and [DB.Exec] are the
// verbs for hot tables: rows and single statements of many callers go to the server together. There is no interactive Begin: a transaction never waits
// for a network or a person.
//
// SQL is shared by all engines: $n placeholders, BIGINT for times (milliseconds since 1970, UTC) and flags, TEXT, BYTEA.
// [Tx.Dialect] is for the few places where engines differ. The engines are the sub-packages sqlite and postgres, which
// only assembly and tests import.
package sqldb

import (
	"context"
	"errors"
	"io/fs"

	"github.com/qiongdev/qiong/kit/errs"
)

// Dialect names the SQL an engine speaks.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// Durability says what an answered write survives.
type Durability int

const (
	// Durable: the write is on stable storage before Write returns; it survives a power cut.
	Durable Durability = iota
	// Relaxed: the write survives a killed process, and may be lost, with all later relaxed ones, in a power cut.
	// It is for progress that can be found out again, and never overtakes: a later durable write includes it.
	Relaxed
)

// Errors every engine returns, wrapped.
var (
	// ErrNoRows is returned by Row.Scan where the query found nothing.
	ErrNoRows = errors.New("no rows")
	// ErrUnique is returned where a row breaks a primary key or unique index.
	ErrUnique = errors.New("unique constraint")
	// ErrMissed is returned where an Update did not change exactly one row.
	ErrMissed = errors.New("not exactly one row was changed")
)

// Scanner is the current row of a query.
type Scanner interface{ Scan(dest ...any) error }

// Rows walks the answer of a query. It must be closed.
type Rows interface {
	Scanner
	Next() bool
	Err() error
	Close()
}

// Querier reads.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) Scanner
}

// DB is one service's database: its own file or its own schema.
type DB interface {
	// Query and QueryRow read what is committed, beside the writer.
	Querier
	// Write runs f in a transaction and commits it. An error from f undoes all f did and is returned as it is. f may
	// run more than once and must touch nothing but tx and its own variables. Once f has begun, cancelling ctx no
	// longer stops the commit, so that the answer is always the truth.
	Write(ctx context.Context, d Durability, f func(tx *Tx) error) error
	// Append inserts the rows of one caller in one transaction, durably, grouped with those of others.
	Append(ctx context.Context, rows ...Insert) error
	// Exec runs one statement in one transaction, grouped with those of others, and returns how many rows it changed.
	// Single statements of many callers cost a fraction of as many closures. The statement is constant text, which stays
	// prepared.
	Exec(ctx context.Context, d Durability, sql string, args ...any) (affected int64, err error)
	// Migrate brings the tables of the named set up to date with its numbered SQL files. Files named *.sqlite.sql and
	// *.postgres.sql are used by that engine alone.
	Migrate(ctx context.Context, set string, files fs.FS) error
	Dialect() Dialect
	// Size returns the bytes the database takes.
	Size(ctx context.Context) (int64, error)
	Stats() Stats
	// Close waits for writes under way and releases the database.
	Close() error
}

// Stats counts what the writer has done since it was opened.
type Stats struct {
	Writes  uint64 // closures and appends committed
	Commits uint64 // transactions they took
	Failed  uint64 // closures and appends refused or undone
	Waiting int64  // closures and appends waiting now
}

// Conn is what an engine gives a transaction to work on.
type Conn interface {
	Querier
	Exec(ctx context.Context, sql string, args ...any) (affected int64, err error)
	// Insert inserts rows in the order given. The engine may hold them back until something must be answered, so an
	// error, such as ErrUnique, may be that of a later statement or of Write itself.
	Insert(ctx context.Context, rows ...Insert) error
	// Update runs a statement that must change exactly one row; otherwise it fails with ErrMissed, and the transaction with
	// it. As with Insert, that may be the error of a later statement or of Write itself; updates held back come after rows
	// held back.
	Update(ctx context.Context, sql string, args ...any) error
}

// Tx is the transaction a closure runs in.
type Tx struct {
	Conn
	dialect Dialect
	hooks   []func()
}

// NewTx is for engines: a Tx on c.
func NewTx(c Conn, d Dialect) *Tx { return &Tx{Conn: c, dialect: d} }

// Dialect returns the SQL spoken here.
func (tx *Tx) Dialect() Dialect { return tx.dialect }

// OnCommit has f called after the commit, and never where it fails. f must be quick.
func (tx *Tx) OnCommit(f func()) { tx.hooks = append(tx.hooks, f) }

// Committed is for engines: it calls what OnCommit collected.
func (tx *Tx) Committed() {
	for _, f := range tx.hooks {
		f()
	}
}

// Lock keeps other transactions that lock the same name waiting until this one ends. On SQLite, where writes stand in
// one line, it does nothing.
func (tx *Tx) Lock(ctx context.Context, name string) error {
	if tx.dialect == SQLite {
		return nil
	}
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || $1, 0))", name)
	return err
}

// All reads every row of a query through scan.
func All[T any](ctx context.Context, q Querier, scan func(Scanner) (T, error), sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Value reads one column of one row, such as a count.
func Value[T any](ctx context.Context, q Querier, sql string, args ...any) (T, error) {
	var v T
	err := q.QueryRow(ctx, sql, args...).Scan(&v)
	return v, err
}

// ErrClosed is what a closed database answers.
func ErrClosed() error {
	return errs.New(errs.Unavailable, "数据库已关闭", "the database is closed")
}
