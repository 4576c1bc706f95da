package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/bench/internal/child"
	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/kit/sqldb"
)

const (
	qiongName       = "Qiong, sagas waiting"
	qiongProvedName = "Qiong, sagas waiting, evidence kept"
	qiongBusyName   = "Qiong, sagas running"
	qiongSQLiteName = "Qiong on SQLite, sagas waiting"
	rowsName        = "Gin + pgx, same rows"
	batchName       = "Gin + pgx, same rows pipelined"
	insertName      = "Gin + pgx, one INSERT"
)

// system is something that takes submissions.
type system struct {
	name  string
	open  bool // measured in open loop too
	start func(ctx context.Context, b *bench) (*running, error)
}

var systems = []system{
	{qiongName, true, func(ctx context.Context, b *bench) (*running, error) {
		return b.house(ctx, true, "approval", "--approval.active=1")
	}},
	{rowsName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, rowsName) }},
	{batchName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, batchName) }},
	{insertName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, insertName) }},
	{qiongSQLiteName, true, func(ctx context.Context, b *bench) (*running, error) {
		return b.house(ctx, false, "approval", "--approval.active=1")
	}},
	{qiongProvedName, false, func(ctx context.Context, b *bench) (*running, error) {
		return b.house(ctx, true, "up", "--approval.active=1")
	}},
	{qiongBusyName, true, func(ctx context.Context, b *bench) (*running, error) { return b.house(ctx, true, "up") }},
}

// running is a system in a process of its own.
type running struct {
	pid         int
	addr, token string
	database    string                                   // on PostgreSQL; empty for SQLite
	count       func(ctx context.Context) (int64, error) // cases in the database
	kill        func()
	remove      func() error // whether killed or not
}

func (b *bench) newDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("submit%d", b.opened)
	return name, b.pg.Exec(ctx, "postgres", "CREATE DATABASE "+name)
}

func (b *bench) cases(database string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (n int64, err error) {
		c, err := pgx.Connect(ctx, b.pg.URL(database))
		if err != nil {
			return 0, err
		}
		defer c.Close(ctx)
		return n, c.QueryRow(ctx, "SELECT count(*) FROM approval.cases").Scan(&n)
	}
}

func (b *bench) peer(ctx context.Context, name string) (*running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	database, err := b.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	var addr string
	c, err := child.Start(exec.Command(self, "-peer", name, "-database", b.pg.URL(database)), func(line string) bool {
		addr = line
		return true
	})
	if err != nil {
		return nil, err
	}
	return &running{
		pid: c.PID, addr: addr, database: database, count: b.cases(database),
		kill: c.Kill, remove: func() error { c.Kill(); return nil },
	}, nil
}

// house starts the whole program, "up", or one service of it on an empty folder, on PostgreSQL or SQLite.
func (b *bench) house(ctx context.Context, onPostgres bool, command string, flags ...string) (r *running, err error) {
	r = &running{}
	flags = append(flags, "--approval.backlog=1000000000")
	if onPostgres {
		if r.database, err = b.newDatabase(ctx); err != nil {
			return nil, err
		}
		flags = append(flags, "--house.database="+b.pg.URL(r.database))
	}
	p, err := program.StartCommand(ctx, command, flags...)
	if err != nil {
		return nil, err
	}
	r.pid, r.addr, r.token = p.PID, strings.TrimPrefix(p.URL, "http://"), p.Applicant.Token
	r.kill, r.remove = p.Kill, p.Stop
	if r.count = b.cases(r.database); !onPostgres {
		r.count = func(ctx context.Context) (int64, error) { return casesSQLite(ctx, p) }
	}
	return r, nil
}

func casesSQLite(ctx context.Context, p *program.Program) (int64, error) {
	db, err := p.Database("approval")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return sqldb.Value[int64](ctx, db, "SELECT count(*) FROM cases")
}
