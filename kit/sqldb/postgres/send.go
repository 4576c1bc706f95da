package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// send writes what all jobs ask for in one round trip and one implicit transaction: the rows by one statement a table,
// then the statements in the order they came.
func (p *pool) send(group []*job) error {
	conn, err := p.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer conn.Release()
	b := batch{conn: conn.Conn()}
	tables := p.columns(group)
	defer p.put(tables)
	for _, t := range tables {
		if err := b.insert(t); err != nil {
			return err
		}
	}
	for _, j := range group {
		for _, s := range j.statements {
			if err := b.exec(s); err != nil {
				return err
			}
		}
	}
	affected, err := b.run()
	if err != nil {
		return err
	}
	n := len(tables)
	for _, j := range group {
		if n += len(j.statements); len(j.statements) > 0 {
			j.affected = affected[n-1]
		}
	}
	return nil
}

// batch is statements on their way to the server. What is prepared is asked of it once a connection.
type batch struct {
	conn *pgx.Conn
	pgconn.Batch
	args pgx.ExtendedQueryBuilder
	len  int
}

func (b *batch) insert(t *table) error {
	s, err := b.prepare(t.sql)
	if err != nil {
		return err
	}
	b.ExecStatement(s, t.arrays(), binaryFormat, nil)
	return nil
}

var binaryFormat = []int16{pgx.BinaryFormatCode} // of every parameter

func (b *batch) exec(st statement) error {
	s, err := b.prepare(st.sql)
	if err != nil {
		return err
	}
	if err := b.args.Build(b.conn.TypeMap(), s, st.args); err != nil {
		return err
	}
	b.ExecStatement(s, b.args.ParamValues, b.args.ParamFormats, nil)
	return nil
}

func (b *batch) prepare(sql string) (*pgconn.StatementDescription, error) {
	b.len++
	return b.conn.Prepare(context.Background(), sql, sql)
}

// run sends the batch and returns how many rows each statement changed.
func (b *batch) run() ([]int64, error) {
	answers := b.conn.PgConn().ExecBatch(context.Background(), &b.Batch)
	affected := make([]int64, 0, b.len)
	for answers.NextResult() {
		tag, err := answers.ResultReader().Close()
		if err != nil {
			break // Close returns it
		}
		affected = append(affected, tag.RowsAffected())
	}
	return affected, answers.Close()
}

// missed is the server's code for a division by zero, by which exactlyOne fails.
const missed = "22012"

// exactlyOne is a statement that changes what update does and fails, and the transaction with it, unless that is exactly
// one row. So the server needs no second message to know whether to commit.
func exactlyOne(update string) string {
	return "WITH changed AS (" + update + " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM changed"
}
