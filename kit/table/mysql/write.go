package mysql

import (
	"context"
	"database/sql"

	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

// tries is how often a batch is begun where the server ended the transaction to resolve a deadlock.
const tries = 3

// Write implements table.Table.
func (t *Table) Write(ctx context.Context, name string, rows []table.Row) error {
	if err := batch.CheckName(name); err != nil {
		return err
	}
	latest, err := batch.Latest(rows, t.spec, "1048")
	if err != nil {
		return err
	}
	if err := t.checkWritable(ctx); err != nil {
		return err
	}
	for range tries {
		if err = t.writeOnce(ctx, name, latest); !batch.Coded(err, "1213") {
			break
		}
	}
	return err
}

// writeOnce writes the batch unless the ledger has it.
func (t *Table) writeOnce(ctx context.Context, name string, rows []batch.Row) error {
	tx, err := t.claim(ctx, name)
	if err != nil || tx == nil {
		return err
	}
	w := &writer{ctx: ctx, tx: tx, sql: &t.sql, most: t.packet}
	err = batch.Put(rows, w.try)
	w.close()
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return classify(ctx, err)
	}
	return nil
}

// claim begins a transaction with the batch's row in the ledger. There is none where the ledger has it already; one that
// is being written elsewhere is waited for.
func (t *Table) claim(ctx context.Context, name string) (*sql.Tx, error) {
	for made := false; ; made = true {
		tx, err := t.db.BeginTx(ctx, nil)
		if err != nil {
			return nil, classify(ctx, err)
		}
		_, err = tx.ExecContext(ctx, t.sql.claim, []byte(name))
		if err == nil {
			return tx, nil
		}
		_ = tx.Rollback()
		switch err = classify(ctx, err); {
		case batch.Coded(err, "1062"):
			return nil, nil
		case made || !batch.Coded(err, "1146"):
			return nil, err
		}
		if _, err := t.db.ExecContext(ctx, t.sql.ledger); err != nil {
			return nil, classify(ctx, err)
		}
	}
}

// writer puts rows into the table within a transaction.
type writer struct {
	ctx  context.Context
	tx   *sql.Tx
	sql  *statements
	most int       // the longest value that the server takes
	stmt *sql.Stmt // for rows of them: portions are mostly alike
	rows int
}

func (w *writer) close() {
	if w.stmt != nil {
		_ = w.stmt.Close()
		w.stmt = nil
	}
}

func (w *writer) prepare(n int) error {
	if w.rows == n && w.stmt != nil {
		return nil
	}
	w.close()
	stmt, err := w.tx.PrepareContext(w.ctx, w.sql.upsert(n))
	w.stmt, w.rows = stmt, n
	return err
}

// try writes rows in one statement, as batch.Put asks.
func (w *writer) try(rows []batch.Row) (refused string, err error) {
	for _, v := range rows[0].Values { // a row with one so long is alone
		if len(v) >= w.most {
			return "1153", nil
		}
	}
	if err := w.prepare(len(rows)); err != nil {
		return "", classify(w.ctx, err)
	}
	args := make([]any, 0, len(rows)*len(rows[0].Values))
	for _, r := range rows {
		args = append(args, arguments(r.Values)...)
	}
	if _, err := w.stmt.ExecContext(w.ctx, args...); err != nil {
		if code := refusal(err); code != "" {
			return code, nil
		}
		return "", classify(w.ctx, err)
	}
	return w.noted()
}

// noted returns the code of a note or warning that says a value is not stored as it was sent. What the statement wrote
// will be rolled back with the rest.
func (w *writer) noted() (code string, err error) {
	rows, err := w.tx.QueryContext(w.ctx, "SHOW WARNINGS")
	if err != nil {
		return "", classify(w.ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var level, words sql.RawBytes
		var number uint16
		if err := rows.Scan(&level, &number, &words); err != nil {
			return "", classify(w.ctx, err)
		}
		if altered(number) {
			code = text(number)
		}
	}
	if err := rows.Err(); err != nil {
		return "", classify(w.ctx, err)
	}
	return code, nil
}

// arguments hands values to the driver: bytes as they are, and NULL.
func arguments(values []table.Value) []any {
	args := make([]any, len(values))
	for i, v := range values {
		if v != nil {
			args[i] = []byte(v)
		}
	}
	return args
}
