package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

// tries is how often a batch is begun where the server ended the transaction to resolve a conflict with another.
const tries = 3

// begin has deferred constraints speak up at the row that breaks them.
const begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE"

// Write implements table.Table.
func (t *Table) Write(ctx context.Context, name string, rows []table.Row) error {
	if err := batch.CheckName(name); err != nil {
		return err
	}
	latest, err := batch.Latest(rows, t.spec, "23502")
	if err != nil {
		return err
	}
	if err := t.checkReadable(ctx); err != nil {
		return err
	}
	for range tries {
		if err = t.writeOnce(ctx, name, latest); !batch.Coded(err, "40001", "40P01") {
			break
		}
	}
	return err
}

// writeOnce writes the batch unless the ledger has it.
func (t *Table) writeOnce(ctx context.Context, name string, rows []batch.Row) error {
	c, err := t.pool.Acquire(ctx)
	if err != nil {
		return classify(ctx, err)
	}
	defer c.Release() // which closes a connection with a transaction still open
	w := &writer{ctx: ctx, conn: c.Conn().PgConn(), table: t}
	claimed, err := w.claim(name)
	if err != nil || !claimed {
		_ = w.exec("ROLLBACK")
		return err
	}
	if err := batch.Put(rows, w.try); err != nil {
		_ = w.exec("ROLLBACK")
		return err
	}
	return w.exec("COMMIT")
}

// writer writes a batch by one connection.
type writer struct {
	ctx   context.Context
	conn  *pgconn.PgConn
	table *Table
}

// exec runs a statement without parameters.
func (w *writer) exec(sql string) error {
	if _, err := w.conn.Exec(w.ctx, sql).ReadAll(); err != nil {
		return classify(w.ctx, err)
	}
	return nil
}

// claim begins a transaction with the batch's row in the ledger and reports whether it was not there. A batch that is
// being written elsewhere is waited for.
func (w *writer) claim(name string) (claimed bool, err error) {
	for made := false; ; made = true {
		if err := w.exec(begin); err != nil {
			return false, err
		}
		result := request{sql: w.table.sql.claim, values: []table.Value{[]byte(name)}}.do(w.ctx, w.conn)
		if result.Err == nil {
			return result.CommandTag.RowsAffected() == 1, nil
		}
		err := classify(w.ctx, result.Err)
		if made || !batch.Coded(err, "42P01") {
			return false, err
		}
		if err := w.exec("ROLLBACK"); err != nil {
			return false, err
		}
		if err := w.makeLedger(); err != nil {
			return false, err
		}
	}
}

// makeLedger makes the ledger. Of several that try at the same time one may be told that it is there (42P07) or that its
// name is taken (23505, 42710).
func (w *writer) makeLedger() error {
	if err := w.exec(w.table.sql.ledger); err != nil && !batch.Coded(err, "42P07", "42710", "23505") {
		return err
	}
	return nil
}

// try writes rows in one statement, as batch.Put asks: under a savepoint, since a refused statement would end the
// transaction.
func (w *writer) try(rows []batch.Row) (refused string, err error) {
	if err := w.exec("SAVEPOINT portion"); err != nil {
		return "", err
	}
	t := w.table
	r := request{sql: t.sql.upsert(len(rows), len(t.spec.Columns)), formats: slices.Repeat(t.binary, len(rows))}
	for _, row := range rows {
		r.values = append(r.values, row.Values...)
	}
	if result := r.do(w.ctx, w.conn); result.Err != nil {
		if refused = refusal(result.Err); refused == "" {
			return "", classify(w.ctx, result.Err)
		}
		return refused, w.exec("ROLLBACK TO SAVEPOINT portion")
	}
	return "", w.exec("RELEASE SAVEPOINT portion")
}
