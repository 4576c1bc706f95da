package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// send writes what all jobs ask for in one round trip and one implicit transaction: the rows by one statement a table,
// then the statements in the order they came.
func (p *pool) send(group []*job) error {
	conn, err := p.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer conn.Release()
	b := newBatch(conn.Conn())
	defer b.release()
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

// batch is messages on their way to the server: statements to run, of which only the numbers of rows they change are
// asked back. It does without pgconn's own batch, whose buffer grows anew each time and which has every statement
// described again.
type batch struct {
	conn     *pgx.Conn
	messages []byte
	ones     []bool // of the statements, which were made by exactlyOne
	args     pgx.ExtendedQueryBuilder
	err      error // of encoding, told by run
}

var buffers = sync.Pool{New: func() any { return &batch{} }}

const maxBuffer = 1 << 20 // bytes of messages worth keeping room for

func newBatch(conn *pgx.Conn) *batch {
	b := buffers.Get().(*batch)
	b.conn, b.messages, b.ones, b.err = conn, b.messages[:0], b.ones[:0], nil
	return b
}

func (b *batch) release() {
	if b.conn = nil; cap(b.messages) <= maxBuffer {
		buffers.Put(b)
	}
}

func (b *batch) insert(t *table) error {
	s, err := b.prepare(t.sql)
	if err == nil {
		b.execute(s, t.arrays(), binaryFormat, false)
	}
	return err
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
	b.execute(s, b.args.ParamValues, b.args.ParamFormats, st.one)
	return nil
}

// prepare returns the statement as this connection knows it; the server is asked once.
func (b *batch) prepare(sql string) (*pgconn.StatementDescription, error) {
	return b.conn.Prepare(context.Background(), sql, sql)
}

func (b *batch) execute(s *pgconn.StatementDescription, values [][]byte, formats []int16, one bool) {
	b.ones = append(b.ones, one)
	b.add(&pgproto3.Bind{PreparedStatement: s.Name, Parameters: values, ParameterFormatCodes: formats})
	b.add(&pgproto3.Execute{})
}

func (b *batch) add(m pgproto3.FrontendMessage) {
	if b.err == nil {
		b.messages, b.err = m.Encode(b.messages)
	}
}

// run sends the batch and returns how many rows each statement changed. The server runs it as one transaction.
func (b *batch) run() ([]int64, error) {
	if b.add(&pgproto3.Sync{}); b.err != nil {
		return nil, b.err
	}
	c := b.conn.PgConn()
	if err := c.Frontend().SendUnbufferedEncodedCopyData(b.messages); err != nil { // writes any messages as they are
		hangUp(c)
		return nil, err
	}
	var affected []int64
	var failed error
	for {
		answer, err := c.ReceiveMessage(context.Background())
		if err != nil {
			hangUp(c) // answers may be on their way still
			return nil, errors.Join(failed, err)
		}
		switch answer := answer.(type) {
		case *pgproto3.CommandComplete:
			affected = append(affected, pgconn.NewCommandTag(string(answer.CommandTag)).RowsAffected())
		case *pgproto3.ErrorResponse:
			failed = why(pgconn.ErrorResponseToPgError(answer), len(affected) < len(b.ones) && b.ones[len(affected)])
		case *pgproto3.ReadyForQuery:
			return affected, failed
		}
	}
}

// hangUp ends a connection of which nobody knows what comes next.
func hangUp(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx) // it is not used again
}

// why is err, as sqldb has it where a statement that must change exactly one row has not.
func why(err error, one bool) error {
	if e := (*pgconn.PgError)(nil); one && errors.As(err, &e) && e.Code == divisionByZero {
		return fmt.Errorf("%w: %w", sqldb.ErrMissed, err)
	}
	return err
}

const divisionByZero = "22012"

// exactlyOne is a statement that changes what update does and fails, and the transaction with it, unless that is exactly
// one row. So the server needs no second message to know whether to commit.
func exactlyOne(update string) string {
	return "WITH changed AS (" + update + " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM changed"
}
