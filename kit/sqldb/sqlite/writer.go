package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// job is one caller's write on its way through the writer.
type job struct {
	do      func(*sqldb.Tx) error
	relaxed bool
	alone   func() // runs between groups instead of do

	ctx  context.Context
	tx   *sqldb.Tx
	err  error
	done chan struct{}
}

// do hands j to the writer and waits for its commit.
func (db *DB) do(ctx context.Context, j *job) error {
	j.ctx, j.done = ctx, make(chan struct{})
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	select {
	case db.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return sqldb.ErrClosed()
	}
	select {
	case <-j.done:
		return j.err
	case <-db.stopped:
	}
	select { // the writer may have finished j with its last breath
	case <-j.done:
		return j.err
	default:
		return sqldb.ErrClosed()
	}
}

// run is the writer: it takes what is waiting, commits it as one group, and answers.
func (db *DB) run() {
	defer close(db.stopped)
	group := make([]*job, 0, maxGroup)
	for {
		select {
		case j := <-db.queue:
			group = db.fill(append(group[:0], j))
		case <-db.stop:
			group = db.fill(group[:0])
			if len(group) == 0 {
				return
			}
		}
		db.commit(group)
	}
}

// fill adds to group what waits already, up to maxGroup.
func (db *DB) fill(group []*job) []*job {
	for len(group) < maxGroup {
		select {
		case j := <-db.queue:
			group = append(group, j)
		default:
			return group
		}
	}
	return group
}

// commit runs a group and answers its callers.
func (db *DB) commit(group []*job) {
	live := group[:0]
	for _, j := range group {
		switch {
		case j.ctx.Err() != nil:
			j.err = j.ctx.Err()
			close(j.done)
		case j.alone != nil:
			j.alone()
			close(j.done)
		default:
			live = append(live, j)
		}
	}
	if len(live) == 0 {
		return
	}
	db.commits.Add(1)
	if err := db.writer.group(live); err != nil {
		for _, j := range live {
			if j.err == nil {
				j.err = err
			}
		}
	}
	for _, j := range live {
		if j.err == nil {
			db.writes.Add(1)
			j.tx.Committed()
		} else {
			db.failed.Add(1)
		}
		close(j.done)
	}
}

// writer is the one connection that writes, with its prepared statements.
type writer struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	full  bool // whether synchronous is FULL now
	wary  int  // groups still to run under savepoints
}

// careful is how many groups run under savepoints after one in which a job failed.
const careful = 16

// group runs the jobs in one transaction. A job that fails keeps its error in j.err; the error returned is the whole
// group's. A savepoint for each job costs a tenth of the writer's time and jobs seldom fail, so a group is first run
// without, and run again with them where one did fail: closures may run more than once.
func (w *writer) group(jobs []*job) error {
	if err := w.sync(jobs); err != nil {
		return err
	}
	savepoints := len(jobs) > 1 && w.wary > 0
	w.wary = max(w.wary-1, 0)
	failed, err := w.transaction(jobs, savepoints)
	if err == nil && failed > 0 && len(jobs) > 1 && !savepoints {
		w.wary = careful
		_, err = w.transaction(jobs, true)
	}
	return err
}

// transaction runs the jobs and commits, unless one failed that has no savepoint to go back to; it returns how many
// failed.
func (w *writer) transaction(jobs []*job, savepoints bool) (failed int, err error) {
	if err := w.run("BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	for _, j := range jobs {
		if err := w.one(j, savepoints); err != nil {
			_ = w.run("ROLLBACK") // SQLite may have rolled back by itself
			return failed, err
		}
		if j.err != nil {
			failed++
		}
	}
	if failed == len(jobs) || failed > 0 && !savepoints {
		_ = w.run("ROLLBACK") // the same
		return failed, nil
	}
	if err := w.run("COMMIT"); err != nil {
		_ = w.run("ROLLBACK") // the same
		return failed, err
	}
	return failed, nil
}

// one runs a job and undoes it alone where it fails. The error it returns is one that has spoilt the whole group: on a
// full disk SQLite may roll back the transaction with every savepoint, and what followed would be a different one.
func (w *writer) one(j *job, savepoint bool) error {
	if savepoint {
		if err := w.run("SAVEPOINT job"); err != nil {
			return err
		}
	}
	j.tx = sqldb.NewTx(w, sqldb.SQLite)
	j.err = protect(j.do, j.tx)
	if !savepoint {
		return nil
	}
	if j.err != nil {
		if err := w.run("ROLLBACK TO job"); err != nil {
			return errors.Join(j.err, err)
		}
	}
	return w.run("RELEASE job")
}

// sync sets what the coming commit must survive.
func (w *writer) sync(jobs []*job) error {
	full := false
	for _, j := range jobs {
		full = full || !j.relaxed
	}
	if full == w.full {
		return nil
	}
	pragma := "PRAGMA synchronous=NORMAL"
	if full {
		pragma = "PRAGMA synchronous=FULL"
	}
	if err := w.run(pragma); err != nil {
		return err
	}
	w.full = full
	return nil
}

func protect(f func(*sqldb.Tx) error, tx *sqldb.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a write: %v\n%s", p, debug.Stack())
		}
	}()
	return f(tx)
}

func (w *writer) run(query string) error {
	_, err := w.Exec(context.Background(), query)
	return err
}

// stmt returns the prepared statement of query. Statements are code, so there are few; past a bound the map is emptied.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s := w.stmts[query]; s != nil {
		return s, nil
	}
	if len(w.stmts) >= maxStatements {
		_ = closeAll(w.stmts) // they hold nothing to lose
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, classify(err)
	}
	w.stmts[query] = s
	return s, nil
}

// The writer ignores the caller's context within a transaction: a group must not fail for one caller's haste, and
// a cancellable context costs a goroutine a statement.

// Exec implements sqldb.Conn.
func (w *writer) Exec(_ context.Context, query string, args ...any) (int64, error) {
	s, err := w.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, classify(err)
	}
	return res.RowsAffected()
}

// Update implements sqldb.Conn.
func (w *writer) Update(ctx context.Context, query string, args ...any) error {
	if n, err := w.Exec(ctx, query, args...); err != nil || n == 1 {
		return err
	}
	return sqldb.ErrMissed
}

// Insert implements sqldb.Conn.
func (w *writer) Insert(ctx context.Context, rows ...sqldb.Insert) error {
	for _, r := range rows {
		if _, err := w.Exec(ctx, r.Into.SQL(), r.Values...); err != nil {
			return err
		}
	}
	return nil
}

// Query implements sqldb.Querier.
func (w *writer) Query(_ context.Context, query string, args ...any) (sqldb.Rows, error) {
	s, err := w.stmt(query)
	if err != nil {
		return nil, err
	}
	r, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return nil, classify(err)
	}
	return rows{r}, nil
}

// QueryRow implements sqldb.Querier.
func (w *writer) QueryRow(_ context.Context, query string, args ...any) sqldb.Scanner {
	s, err := w.stmt(query)
	if err != nil {
		return failed{err}
	}
	return row{s.QueryRowContext(context.Background(), args...)}
}

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// close ends the connection: the last one to close writes the log back and removes it.
func (w *writer) close() error { return errors.Join(closeAll(w.stmts), w.conn.Close()) }
