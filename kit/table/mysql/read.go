package mysql

import (
	"context"
	"strings"

	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

// Find implements table.Table.
func (t *Table) Find(ctx context.Context, keys []table.Value) ([]table.Row, error) {
	if err := t.checkReadable(ctx); err != nil {
		return nil, err
	}
	var found []table.Row
	for _, some := range batch.Keys(keys) {
		rows, err := t.query(ctx, len(t.spec.Columns), t.sql.find(len(some)), arguments(some)...)
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
	}
	return found, nil
}

// Scan implements table.Table.
func (t *Table) Scan(ctx context.Context, cursor string, after int64, limit int) ([]table.Row, int64, error) {
	if err := t.checkReadable(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := t.query(ctx, len(t.spec.Columns)+1, t.sql.after(cursor), after, limit)
	if err != nil {
		return nil, 0, err
	}
	return batch.CutCursor(rows, after)
}

// query returns rows of so many columns.
func (t *Table) query(ctx context.Context, columns int, query string, args ...any) ([]table.Row, error) {
	rows, err := t.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer rows.Close()
	var found []table.Row
	into := make([]any, columns)
	for rows.Next() {
		values := make([][]byte, columns)
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, classify(ctx, err)
		}
		row := make(table.Row, columns)
		for i, v := range values {
			row[i] = v
		}
		found = append(found, row)
	}
	if err := rows.Err(); err != nil {
		return nil, classify(ctx, err)
	}
	return found, nil
}

// checkReadable finds out, once, whether the table is as the Spec says.
func (t *Table) checkReadable(ctx context.Context) error {
	if t.readable.Load() {
		return nil
	}
	database, name := t.names()
	rows, err := t.query(ctx, 3, `SELECT column_name, data_type, character_set_name FROM information_schema.columns
		WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?`, database, name)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return batch.NoTable.Err("1146")
	}
	charsets := map[string]string{}
	for _, r := range rows {
		charsets[fold(r[0])] = charset(string(r[1]), string(r[2]))
	}
	for i, c := range t.spec.Columns {
		have, ok := charsets[fold([]byte(c))]
		switch {
		case !ok:
			return batch.NoColumn.Err("1054")
		case t.spec.Text[i] && have != t.spec.Charset:
			return batch.WrongCharset(c)
		}
	}
	t.readable.Store(true)
	return nil
}

// checkWritable also finds out whether rows can be replaced by key, and all of a batch or none.
func (t *Table) checkWritable(ctx context.Context) error {
	if t.writable.Load() {
		return nil
	}
	if err := t.checkReadable(ctx); err != nil {
		return err
	}
	database, name := t.names()
	engine, err := t.query(ctx, 1, `SELECT e.transactions FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
		WHERE t.table_schema = COALESCE(?, DATABASE()) AND t.table_name = ?`, database, name)
	if err != nil {
		return err
	}
	if len(engine) == 0 || string(engine[0][0]) != "YES" {
		return errNoTransactions()
	}
	unique, err := t.query(ctx, 1, `SELECT index_name FROM information_schema.statistics
		WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? GROUP BY index_name
		HAVING COUNT(*) = 1 AND MAX(non_unique) = 0 AND MAX(nullable) = '' AND MAX(sub_part) IS NULL AND MAX(column_name) = ?`,
		database, name, t.spec.Columns[t.spec.Key])
	if err != nil {
		return err
	}
	if len(unique) == 0 {
		return batch.NoKey.Err("")
	}
	t.writable.Store(true)
	return nil
}

// names returns the table's database, nil for the connection's own, and its name.
func (t *Table) names() (database any, name string) {
	if before, after, ok := strings.Cut(t.spec.Table, "."); ok {
		return before, after
	}
	return nil, t.spec.Table
}

// fold returns a column's name as the server compares it.
func fold(name []byte) string { return strings.ToLower(string(name)) }

// charset returns the character set of a column, binary where it holds bytes, none where it is no text.
func charset(kind, charset string) string {
	switch kind {
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return "binary"
	}
	return charset
}
