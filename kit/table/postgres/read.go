package postgres

import (
	"context"
	"slices"
	"strconv"

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
		rows, err := t.query(ctx, request{
			sql:     t.sql.find(len(some)),
			values:  some,
			formats: slices.Repeat(t.binary[t.spec.Key:t.spec.Key+1], len(some)),
			result:  t.binary,
		})
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
	rows, err := t.query(ctx, request{
		sql:    t.sql.after(cursor),
		values: []table.Value{strconv.AppendInt(nil, after, 10), strconv.AppendInt(nil, int64(limit), 10)},
		result: append(slices.Clone(t.binary), 0),
	})
	if err != nil {
		return nil, 0, err
	}
	return batch.CutCursor(rows, after)
}

// checkReadable finds out, once, whether the table is as the Spec says.
func (t *Table) checkReadable(ctx context.Context) error {
	if t.readable.Load() {
		return nil
	}
	rows, err := t.query(ctx, request{
		sql: `SELECT a.attname, ty.typname, ty.typcategory FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type ty ON ty.oid = a.atttypid
			WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
		values: []table.Value{[]byte(t.sql.name)},
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return batch.NoTable.Err("42P01")
	}
	texts := map[string]bool{}
	for _, r := range rows {
		if t.spec.Charset == "binary" {
			texts[string(r[0])] = string(r[1]) == "bytea"
		} else {
			texts[string(r[0])] = string(r[2]) == "S"
		}
	}
	for i, c := range t.spec.Columns {
		fits, ok := texts[c]
		switch {
		case !ok:
			return batch.NoColumn.Err("42703")
		case t.spec.Text[i] && !fits:
			return batch.WrongCharset(c)
		}
	}
	t.readable.Store(true)
	return nil
}
