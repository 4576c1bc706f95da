package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/qiongdev/qiong/kit/sqldb"
)

const (
	maxGroup  = 512 // callers a transaction
	groupings = 2   // one gathers while the other waits for its commit
)

// job is one caller's share of a group: rows to insert, or one statement.
type job struct {
	ctx      context.Context
	rows     []sqldb.Insert
	sql      string
	args     []any
	affected int64
	err      error
	done     chan struct{}
}

// grouped hands j to those who commit for p, and waits for the commit.
func (db *DB) grouped(ctx context.Context, p *pool, j *job) error {
	if n := p.asking.Add(1); n <= p.alone {
		defer p.asking.Add(-1)
		if err := db.closedOr(ctx); err != nil {
			return err
		}
		return db.alone(p, j)
	}
	defer p.asking.Add(-1)
	j.ctx, j.done = ctx, make(chan struct{})
	select {
	case p.jobs <- j:
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
	select { // j may have been done with the last breath
	case <-j.done:
		return j.err
	default:
		return sqldb.ErrClosed()
	}
}

// alone commits j by itself: few at a time are faster so, each on a connection of its own, with the syncs grouped by the
// server.
func (db *DB) alone(p *pool, j *job) error {
	if err := db.lock.check(); err != nil {
		return err
	}
	db.commits.Add(1)
	return classify(retry(func() error { return p.send([]*job{j}) }))
}

// group commits what callers hand in, all that wait at a time.
func (db *DB) group(p *pool) {
	group := make([]*job, 0, maxGroup)
	for {
		select {
		case j := <-p.jobs:
			group = p.gather(group[:0], j)
		case <-db.stop:
			if group = p.gather(group[:0]); len(group) == 0 {
				return
			}
		}
		db.commit(p, group)
		for _, j := range group {
			close(j.done)
		}
	}
}

// gather returns the first jobs and those that wait already, without those whose callers have left.
func (p *pool) gather(group []*job, first ...*job) []*job {
	add := func(j *job) {
		if j.err = j.ctx.Err(); j.err != nil {
			close(j.done)
			return
		}
		group = append(group, j)
	}
	for _, j := range first {
		add(j)
	}
	for len(group) < maxGroup {
		select {
		case j := <-p.jobs:
			add(j)
		default:
			return group
		}
	}
	return group
}

// commit writes the group as one; where that fails, each caller alone, so that every error reaches its own caller.
func (db *DB) commit(p *pool, group []*job) {
	if len(group) == 0 {
		return
	}
	if err := db.lock.check(); err != nil {
		for _, j := range group {
			j.err = err
		}
		return
	}
	db.commits.Add(1)
	err := p.send(group)
	if err == nil || len(group) == 1 && !retryable(err) {
		group[0].err = classify(err)
		return
	}
	for _, j := range group {
		db.commits.Add(1)
		j.err = classify(retry(func() error { return p.send([]*job{j}) }))
	}
}

// send writes what all jobs ask for in one round trip and one implicit transaction: the rows by one statement a table,
// then the statements in the order they came.
func (p *pool) send(group []*job) error {
	batch := &pgx.Batch{}
	for _, t := range columns(group) {
		batch.Queue(t.sql(), t.args()...)
	}
	for _, j := range group {
		if j.sql != "" {
			batch.Queue(j.sql, j.args...).Exec(func(tag pgconn.CommandTag) error {
				j.affected = tag.RowsAffected()
				return nil
			})
		}
	}
	return p.SendBatch(context.Background(), batch).Close()
}

// table gathers the rows of one insert statement, column by column.
type table struct {
	into *sqldb.Into
	cols []column
}

// columns sorts the rows by table, keeping the order in which tables first appear.
func columns(group []*job) []*table {
	var order []*table
	byInto := map[*sqldb.Into]*table{}
	for _, j := range group {
		for _, r := range j.rows {
			t := byInto[r.Into]
			if t == nil {
				t = &table{into: r.Into, cols: make([]column, len(r.Values))}
				byInto[r.Into] = t
				order = append(order, t)
			}
			for i, v := range r.Values {
				t.cols[i].add(v)
			}
		}
	}
	return order
}

func (t *table) sql() string {
	args := make([]string, len(t.cols))
	for i := range t.cols {
		args[i] = fmt.Sprintf("$%d::%s", i+1, t.cols[i].kind)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s)",
		t.into.Table, strings.Join(t.into.Columns, ", "), strings.Join(args, ", "))
}

func (t *table) args() []any {
	args := make([]any, len(t.cols))
	for i := range t.cols {
		args[i] = t.cols[i].values()
	}
	return args
}

// column is an array of one of the types rows may hold.
type column struct {
	kind  string
	ints  []int64
	texts []string
	bytes [][]byte
}

func (c *column) add(v any) {
	switch v := v.(type) {
	case int64:
		c.kind, c.ints = "int8[]", append(c.ints, v)
	case int:
		c.kind, c.ints = "int8[]", append(c.ints, int64(v))
	case string:
		c.kind, c.texts = "text[]", append(c.texts, v)
	case []byte:
		c.kind, c.bytes = "bytea[]", append(c.bytes, v)
	default:
		panic(fmt.Sprintf("postgres: a row holds a %T", v))
	}
}

func (c *column) values() any {
	switch c.kind {
	case "int8[]":
		return c.ints
	case "text[]":
		return c.texts
	}
	return c.bytes
}
