package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/proc"
)

const loopName = "hand-written loop"

// loop is what a good programmer writes where nothing may go wrong twice: a row, updated after every step.
type loop struct {
	pg               *pgserver.Server
	durable, relaxed *pgxpool.Pool
	p                *participant
	ids              atomic.Int64
}

const loopTable = `CREATE TABLE flow (id text PRIMARY KEY, status text NOT NULL, input text NOT NULL, state text NOT NULL,
	created_at bigint NOT NULL, updated_at bigint NOT NULL)`

func openLoop(ctx context.Context, pg *pgserver.Server, p *participant) (system, error) {
	if err := pg.Exec(ctx, "postgres", "CREATE DATABASE loop"); err != nil {
		return nil, err
	}
	if err := pg.Exec(ctx, "loop", loopTable); err != nil {
		return nil, err
	}
	l := &loop{pg: pg, p: p}
	var err error
	if l.durable, err = pool(ctx, pg, "on"); err != nil {
		return nil, err
	}
	if l.relaxed, err = pool(ctx, pg, "off"); err != nil {
		l.durable.Close()
		return nil, err
	}
	return l, nil
}

// pool has as many connections as Qiong's.
func pool(ctx context.Context, pg *pgserver.Server, syncCommit string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(pg.URL("loop"))
	if err != nil {
		return nil, err
	}
	c.MaxConns = 16
	c.ConnConfig.RuntimeParams["synchronous_commit"] = syncCommit
	return pgxpool.NewWithConfig(ctx, c)
}

func (l *loop) name() string { return loopName }

func (l *loop) do(ctx context.Context) error {
	id, now := fmt.Sprintf("%016d", l.ids.Add(1)), int64(0)
	_, err := l.durable.Exec(ctx, "INSERT INTO flow VALUES ($1, 'running', '{}', '', $2, $2)", id, now)
	if err != nil {
		return err
	}
	state := ""
	for i, step := range steps {
		outcome, err := l.p.ask(ctx, step, id)
		if err != nil {
			return err
		}
		if outcome != "done" {
			return fmt.Errorf("%s answered %q", step, outcome)
		}
		state += step + " "
		db, status := l.relaxed, "running"
		if i == len(steps)-1 {
			db, status = l.durable, "done"
		}
		if _, err := db.Exec(ctx, "UPDATE flow SET status = $2, state = $3, updated_at = $4 WHERE id = $1",
			id, status, state, now); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) meter() measure.Meter {
	return measure.Meter{"engine": proc.Self, "PostgreSQL": l.pg.CPU}
}

func (l *loop) close() error {
	l.durable.Close()
	l.relaxed.Close()
	return nil
}
