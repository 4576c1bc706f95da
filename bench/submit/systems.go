package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

const (
	qiongName       = "Qiong, sagas waiting"
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
		return b.house(ctx, true, "--approval.active=1")
	}},
	{rowsName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, rowsName) }},
	{batchName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, batchName) }},
	{insertName, false, func(ctx context.Context, b *bench) (*running, error) { return b.peer(ctx, insertName) }},
	{qiongSQLiteName, true, func(ctx context.Context, b *bench) (*running, error) {
		return b.house(ctx, false, "--approval.active=1")
	}},
	{qiongBusyName, true, func(ctx context.Context, b *bench) (*running, error) { return b.house(ctx, true) }},
}

// running is a system in a process of its own.
type running struct {
	addr, token string
	pid         int
	database    string // on PostgreSQL; empty for SQLite
	count       func(ctx context.Context) (int64, error)
	kill        func() // may be called again
}

// start runs a program whose output goes through out, until killed.
func start(cmd *exec.Cmd, out func(line string) bool) (*running, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	r := &running{pid: cmd.Process.Pid, kill: sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		_ = cmd.Wait() // it was killed
	})}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if out(lines.Text()) {
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, pipe)
			}()
			return r, nil
		}
	}
	close(ended)
	r.kill()
	return nil, fmt.Errorf("%s ended: %s", filepath.Base(cmd.Path), complaints.String())
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
	r, err := start(exec.Command(self, "-peer", name, "-database", b.pg.URL(database)), func(line string) bool {
		addr = line
		return true
	})
	if err != nil {
		return nil, err
	}
	r.addr, r.database, r.count = addr, database, b.cases(database)
	return r, nil
}

var secret = regexp.MustCompile(`qiong_[0-9A-Za-z]+`)

// house starts the program on an empty folder, on PostgreSQL or SQLite.
func (b *bench) house(ctx context.Context, onPostgres bool, flags ...string) (*running, error) {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-house-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	args := append([]string{"up", "--lang=en", "--house.data=" + dir, "--house.listen=" + addr, "--approval.backlog=1000000000"}, flags...)
	database := ""
	if onPostgres {
		if database, err = b.newDatabase(ctx); err != nil {
			return nil, err
		}
		args = append(args, "--house.database="+b.pg.URL(database))
	}
	var oneTime string
	r, err := start(exec.Command(b.qiong, args...), func(line string) bool {
		oneTime = secret.FindString(line)
		return oneTime != ""
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r.addr, r.database = addr, database
	if r.count = b.cases(database); !onPostgres {
		r.count = func(ctx context.Context) (int64, error) { return casesSQLite(ctx, dir) }
	}
	if r.token, err = applicant(ctx, addr, oneTime); err != nil {
		r.kill()
	}
	b.folders = append(b.folders, dir)
	return r, err
}

func casesSQLite(ctx context.Context, dir string) (int64, error) {
	db, err := sqlite.Open(filepath.Join(dir, "db", "approval.db"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return sqldb.Value[int64](ctx, db, "SELECT count(*) FROM cases")
}

// applicant exchanges the one-time token of a new house for that of someone who may submit.
func applicant(ctx context.Context, addr, oneTime string) (string, error) {
	var got struct{ Token string }
	if err := post(ctx, addr, "/api/house/redeem", "", map[string]any{"token": oneTime}, &got); err != nil {
		return "", err
	}
	err := post(ctx, addr, "/api/house/tokens", got.Token,
		map[string]any{"id": "bench", "name": "bench", "roles": []string{"applicant"}, "days": 1}, &got)
	return got.Token, err
}

func post(ctx context.Context, addr, path, token string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		why, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", path, resp.Status, strings.TrimSpace(string(why)))
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
