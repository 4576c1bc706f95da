// Package postgres writes to tables of PostgreSQL with values as text that the server reads by each column's type.
//
// Parameters have no type but that of their column, so numbers, dates and texts travel as SQL writes them; where the
// Spec's charset is binary its text columns are bytea and travel as bytes. Otherwise the database's encoding must be
// UTF8. The key column needs a unique index of its own. What PostgreSQL rounds to a column's scale without a word, such
// as numeric(12,2), is stored rounded. A name may be qualified by its schema; the ledger stands beside the table.
package postgres

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

const (
	connections = 4
	dialTimeout = 5 * time.Second
	idleTime    = time.Minute
)

// Table is a table of a PostgreSQL server.
type Table struct {
	pool     *pgxpool.Pool
	spec     table.Spec
	binary   []int16 // format of each column's values: 1 for bytes, 0 for text
	sql      statements
	readable atomic.Bool // the columns are as the Spec says
}

var _ table.Opener = Open

// Open implements table.Opener. The dsn is a URL, postgres://user:password@host:port/database, or a list of key=value.
func Open(ctx context.Context, dsn string, spec table.Spec) (table.Table, error) {
	if err := batch.CheckSpec(spec); err != nil {
		return nil, err
	}
	if spec.Charset != "binary" && !strings.EqualFold(spec.Charset, "UTF8") {
		return nil, batch.NoCharset.Err("22023")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil { // which may hold the password
		return nil, errs.New(errs.Invalid, "目标数据库的地址（DSN）写法不对", "the address (DSN) of the target's database is malformed").WithCode("table.dsn")
	}
	config.MaxConns, config.MinConns, config.MaxConnIdleTime = connections, 0, idleTime
	config.ConnConfig.ConnectTimeout = dialTimeout
	for name, value := range map[string]string{"client_encoding": "UTF8", "DateStyle": "ISO", "standard_conforming_strings": "on"} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, classify(ctx, err)
	}
	t := &Table{pool: pool, spec: spec, sql: phrase(spec), binary: formats(spec)}
	if err := t.checkServer(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return t, nil
}

// formats returns the wire format of each column's values.
func formats(spec table.Spec) []int16 {
	f := make([]int16, len(spec.Columns))
	for i := range f {
		if spec.Text[i] && spec.Charset == "binary" {
			f[i] = 1
		}
	}
	return f
}

// checkServer finds out whether the database's encoding is the Spec's.
func (t *Table) checkServer(ctx context.Context) error {
	rows, err := t.query(ctx, request{sql: "SHOW server_encoding"})
	if err != nil {
		return err
	}
	if t.spec.Charset != "binary" && string(rows[0][0]) != "UTF8" {
		return batch.NoCharset.Err("22023")
	}
	return nil
}

// Close implements table.Table.
func (t *Table) Close() error {
	t.pool.Close()
	return nil
}

// request is a statement with its parameters and the formats of both ways.
type request struct {
	sql             string
	values          []table.Value
	formats, result []int16
}

// do sends r by a connection.
func (r request) do(ctx context.Context, c *pgconn.PgConn) *pgconn.Result {
	values := make([][]byte, len(r.values))
	for i, v := range r.values {
		values[i] = v
	}
	return c.ExecParams(ctx, r.sql, values, nil, r.formats, r.result).Read()
}

// query returns the rows of r.
func (t *Table) query(ctx context.Context, r request) ([]table.Row, error) {
	c, err := t.pool.Acquire(ctx)
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer c.Release()
	result := r.do(ctx, c.Conn().PgConn())
	if result.Err != nil {
		return nil, classify(ctx, result.Err)
	}
	rows := make([]table.Row, len(result.Rows))
	for i, values := range result.Rows {
		rows[i] = make(table.Row, len(values))
		for j, v := range values {
			rows[i][j] = v
		}
	}
	return rows, nil
}

// refusal returns the server's code where err says that a row's values don't fit the table: data (22), constraint (23) or
// a trigger's own refusal (P0001). Rows of one statement that the server takes for one key (21000), such as the numbers
// 1 and 1.0, are fine one after the other.
func refusal(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return ""
	}
	switch {
	case e.Code[:2] == "22", e.Code[:2] == "23", e.Code == "21000", e.Code == "P0001":
		return e.Code
	}
	return ""
}

// classify returns the error that callers see. The server's words repeat values and stay here.
func classify(ctx context.Context, err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) || ctx.Err() != nil {
		return batch.Unreachable(ctx, err)
	}
	return answer(e.Code).Err(e.Code)
}

func answer(code string) batch.Answer {
	switch code {
	case "42501":
		return batch.Denied
	case "3D000", "3F000", "42P01":
		return batch.NoTable
	case "42703":
		return batch.NoColumn
	case "42P10":
		return batch.NoKey
	case "25006", "55P03": // read-only, lock not available
		return batch.Away
	}
	switch code[:min(2, len(code))] {
	case "28":
		return batch.Denied
	case "08", "40", "53", "57", "58": // connection, deadlock, resources, operator, system
		return batch.Away
	}
	return batch.Other
}
