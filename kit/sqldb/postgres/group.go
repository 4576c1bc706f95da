package postgres

import (
	"context"

	"github.com/qiongdev/qiong/kit/sqldb"
)

const (
	maxGroup  = 512 // callers a transaction
	groupings = 2   // one gathers while the other waits for its commit

	// maxStatements is how many statements of a group are sent before an answer is read. Their answers, some 40 bytes each,
	// must find room on the way, or both sides wait for each other.
	maxStatements = 1024
)

// job is one caller's share of a group: rows to insert, then statements.
type job struct {
	ctx        context.Context
	rows       []sqldb.Insert
	statements []statement
	affected   int64 // by the last statement
	err        error
	done       chan struct{}
}

// statement is constant text, which every connection keeps prepared, and its arguments.
type statement struct {
	sql  string
	args []any
	one  bool // made by exactlyOne
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
	statements := 0
	add := func(j *job) {
		if j.err = j.ctx.Err(); j.err != nil {
			close(j.done)
			return
		}
		group = append(group, j)
		statements += len(j.statements)
	}
	for _, j := range first {
		add(j)
	}
	for len(group) < maxGroup && statements < maxStatements {
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
