package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/kit/sqldb"
)

const (
	maxAppend = 512 // callers a statement
	appenders = 2   // one gathers while the other waits for its commit
)

type appendJob struct {
	ctx  context.Context
	rows []sqldb.Insert
	err  error
	done chan struct{}
}

// Append implements sqldb.DB.
func (db *DB) Append(ctx context.Context, rows ...sqldb.Insert) error {
	db.waiting.Add(1)
	defer db.waiting.Add(-1)
	j := &appendJob{ctx: ctx, rows: rows, done: make(chan struct{})}
	select {
	case db.appends <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return sqldb.ErrClosed()
	}
	<-j.done
	return j.err
}

// appender inserts what callers append, all that wait at a time.
func (db *DB) appender() {
	group := make([]*appendJob, 0, maxAppend)
	for {
		select {
		case j := <-db.appends:
			group = db.gather(append(group[:0], j))
		case <-db.stop:
			if group = db.gather(group[:0]); len(group) == 0 {
				return
			}
		}
		db.insert(group)
		for _, j := range group {
			if j.err == nil {
				db.writes.Add(1)
			} else {
				db.failed.Add(1)
			}
			close(j.done)
		}
	}
}

func (db *DB) gather(group []*appendJob) []*appendJob {
	for len(group) < maxAppend {
		select {
		case j := <-db.appends:
			if j.err = j.ctx.Err(); j.err != nil {
				close(j.done)
				continue
			}
			group = append(group, j)
		default:
			return group
		}
	}
	return group
}

// insert commits the group as one; where that fails, each caller alone, so that every error reaches its own caller.
func (db *DB) insert(group []*appendJob) {
	db.commits.Add(1)
	err := db.send(group)
	if err == nil || len(group) == 1 {
		group[0].err = classify(err)
		return
	}
	for _, j := range group {
		db.commits.Add(1)
		j.err = classify(db.send([]*appendJob{j}))
	}
}

// send inserts the rows of all jobs: one statement a table, one round trip, one implicit transaction.
func (db *DB) send(group []*appendJob) error {
	batch := &pgx.Batch{}
	for _, t := range columns(group) {
		batch.Queue(t.sql(), t.args()...)
	}
	return db.durable.SendBatch(context.Background(), batch).Close()
}

// table gathers the rows of one insert statement, column by column.
type table struct {
	into *sqldb.Into
	cols []column
}

// columns sorts the rows by table, keeping the order in which tables first appear.
func columns(group []*appendJob) []*table {
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
