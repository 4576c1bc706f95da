package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

const (
	qiongName       = "Qiong"
	qiongSQLiteName = "Qiong on SQLite"
)

// qiong is the engine in this process.
type qiong struct {
	title   string
	db      sqldb.DB
	pg      *pgserver.Server // nil on SQLite
	engine  *engine.Engine
	stop    context.CancelFunc
	ended   chan error
	ids     atomic.Int64
	waiting sync.Map // id → chan struct{}, closed by the commit of the end
}

func openQiong(ctx context.Context, pg *pgserver.Server, p *participant) (system, error) {
	if err := pg.Exec(ctx, "postgres", "CREATE DATABASE qiong"); err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, postgres.Options{URL: pg.URL("qiong"), Schema: "saga"})
	if err != nil {
		return nil, err
	}
	return newQiong(ctx, &qiong{title: qiongName, db: db, pg: pg}, p)
}

func openQiongSQLite(ctx context.Context, dir string, p *participant) (system, error) {
	db, err := sqlite.Open(filepath.Join(dir, "saga.db"))
	if err != nil {
		return nil, err
	}
	return newQiong(ctx, &qiong{title: qiongSQLiteName, db: db}, p)
}

func newQiong(ctx context.Context, q *qiong, p *participant) (system, error) {
	q.ended = make(chan error, 1)
	if err := q.db.Migrate(ctx, "saga", engine.Tables()); err != nil {
		return nil, errors.Join(err, q.db.Close())
	}
	var err error
	q.engine, err = engine.Open(ctx, engine.Options{DB: q.db, Now: time.Now, Log: slog.Default()})
	if err == nil {
		err = q.engine.Register(q.kind(p))
	}
	if err != nil {
		return nil, errors.Join(err, q.db.Close())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	q.stop = stop
	go func() { q.ended <- q.engine.Run(run) }()
	return q, nil
}

func (q *qiong) kind(p *participant) engine.Kind {
	d := &saga.Definition{Name: "bench", Version: 1}
	for _, s := range steps {
		d.Stages = append(d.Stages, saga.Stage{{Name: s, Participant: "noop", Undo: true}})
	}
	return engine.Kind{
		Definition:   d,
		Participants: map[string]engine.Participant{"noop": remote{p}},
		End: func(_ context.Context, tx *sqldb.Tx, in *saga.Instance) error {
			if in.Status != saga.Succeeded {
				return fmt.Errorf("saga %s %s", in.ID, in.Status)
			}
			tx.OnCommit(func() {
				if done, ok := q.waiting.LoadAndDelete(in.ID); ok {
					close(done.(chan struct{}))
				}
			})
			return nil
		},
	}
}

// remote is the participant as the engine sees it.
type remote struct{ p *participant }

func (r remote) Do(ctx context.Context, c engine.Call) (saga.Answer, error) {
	outcome, err := r.p.ask(ctx, c.Step, c.Saga)
	return saga.Answer{Outcome: saga.Outcome(outcome)}, err
}

func (r remote) Query(ctx context.Context, c engine.Call) (saga.Answer, error) { return r.Do(ctx, c) }
func (r remote) Undo(ctx context.Context, c engine.Call) (saga.Answer, error)  { return r.Do(ctx, c) }

func (q *qiong) name() string { return q.title }

func (q *qiong) do(ctx context.Context) error {
	id := fmt.Sprintf("%016d", q.ids.Add(1))
	done := make(chan struct{})
	q.waiting.Store(id, done)
	err := q.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		return q.engine.Start(ctx, tx, "bench", id, []byte("{}"), "")
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return fmt.Errorf("saga %s has not ended within a minute", id)
	}
}

func (q *qiong) meter() measure.Meter {
	m := measure.Meter{"engine": proc.Self}
	if q.pg != nil {
		m["PostgreSQL"] = q.pg.CPU
	}
	return m
}

func (q *qiong) close() error {
	q.stop()
	return errors.Join(<-q.ended, q.db.Close())
}
