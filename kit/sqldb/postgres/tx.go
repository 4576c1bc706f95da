package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// tx is the transaction of a closure. It begins with the first statement that must be answered, in the same round trip.
// Rows to insert and updates of one row are held back until then, or until the commit; a closure that does nothing else is
// committed in a group.
//
// The caller's context bounds the wait for a connection, and nothing after it: a commit that was under way would leave
// nobody knowing, and a context that can be cancelled costs a goroutine a statement.
type tx struct {
	db   *DB
	pool *pool
	ctx  context.Context
	conn *pgxpool.Conn // nil until begun
	held job           // not sent yet
}

var errRolledBack = errors.New("the transaction had failed before its commit")

// Insert implements sqldb.Conn.
func (t *tx) Insert(_ context.Context, rows ...sqldb.Insert) error {
	t.held.rows = append(t.held.rows, rows...)
	return nil
}

// Update implements sqldb.Conn.
func (t *tx) Update(_ context.Context, query string, args ...any) error {
	t.held.statements = append(t.held.statements, statement{exactlyOne(query), args, true})
	if len(t.held.statements) < maxHeld {
		return nil
	}
	_, err := t.exec("SELECT 1", nil) // to send them
	return classify(err)
}

// maxHeld is how many updates are held back.
const maxHeld = 256

// Exec implements sqldb.Conn.
func (t *tx) Exec(_ context.Context, query string, args ...any) (int64, error) {
	tag, err := t.exec(query, args)
	return tag.RowsAffected(), classify(err)
}

func (t *tx) exec(query string, args []any) (pgconn.CommandTag, error) {
	answers, err := t.send(query, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := answers.Exec()
	if closed := answers.Close(); err == nil {
		err = closed
	}
	return tag, err
}

// Query implements sqldb.Querier.
func (t *tx) Query(_ context.Context, query string, args ...any) (sqldb.Rows, error) {
	answers, err := t.send(query, args)
	if err != nil {
		return nil, classify(err)
	}
	r, err := answers.Query()
	if err != nil {
		return nil, classify(errors.Join(err, answers.Close()))
	}
	return rows{lastRows{r, answers}}, nil
}

// QueryRow implements sqldb.Querier.
func (t *tx) QueryRow(_ context.Context, query string, args ...any) sqldb.Scanner {
	answers, err := t.send(query, args)
	if err != nil {
		return failed{classify(err)}
	}
	return row{lastRow{answers.QueryRow(), answers}}
}

// send sends a statement after all that must precede it, and returns its answer, those of the others being read.
func (t *tx) send(query string, args []any) (pgx.BatchResults, error) {
	batch := &pgx.Batch{}
	if t.conn == nil {
		conn, err := t.pool.Acquire(t.ctx)
		if err != nil {
			return nil, err
		}
		t.conn = conn
		batch.Queue("begin")
	}
	for _, r := range t.held.rows {
		batch.Queue(r.Into.SQL(), r.Values...)
	}
	held := t.held.statements
	first := batch.Len()
	for _, s := range held {
		batch.Queue(s.sql, s.args...)
	}
	t.held = job{}
	before := batch.Len()
	batch.Queue(query, args...)
	answers := t.conn.SendBatch(context.WithoutCancel(t.ctx), batch)
	for i := range before {
		if _, err := answers.Exec(); err != nil {
			_ = answers.Close() // err says why
			return nil, why(err, i >= first && held[i-first].one)
		}
	}
	return answers, nil
}

// commit sends what is held back, and the commit with it.
func (t *tx) commit() error {
	if t.conn == nil {
		if len(t.held.rows) == 0 && len(t.held.statements) == 0 {
			return nil
		}
		return t.db.grouped(context.WithoutCancel(t.ctx), t.pool, &t.held)
	}
	tag, err := t.exec("commit", nil)
	if err != nil {
		return err
	}
	t.db.commits.Add(1)
	if tag.String() == "ROLLBACK" { // the closure has overlooked an error
		return errRolledBack
	}
	return nil
}

// release gives the connection back, and undoes what was not committed.
func (t *tx) release() {
	if t.conn == nil {
		return
	}
	if c := t.conn.Conn().PgConn(); !c.IsClosed() && c.TxStatus() != 'I' {
		_, _ = t.conn.Exec(context.WithoutCancel(t.ctx), "rollback") // a connection that can't is not used again
	}
	t.conn.Release()
	t.conn = nil
}

// lastRows are the rows of a batch's last statement.
type lastRows struct {
	pgx.Rows
	answers pgx.BatchResults
}

func (r lastRows) Close() {
	r.Rows.Close()
	_ = r.answers.Close() // Err has told already
}

// lastRow is the row of a batch's last statement.
type lastRow struct {
	pgx.Row
	answers pgx.BatchResults
}

func (r lastRow) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	if closed := r.answers.Close(); err == nil {
		err = closed
	}
	return err
}

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }
