package main

import (
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
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/proc"
)

const (
	dtmName   = "dtm"
	dtmModule = "github.com/dtm-labs/dtm"
)

// dtm is dtm's own server, a process beside ours, asked over HTTP.
type dtm struct {
	pg     *pgserver.Server
	p      *participant
	cmd    *exec.Cmd
	url    string
	client *http.Client
	ids    atomic.Int64
}

func openDTM(ctx context.Context, pg *pgserver.Server, p *participant, dir string) (system, error) {
	program := filepath.Join(dir, "dtm-server")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", "dtm", "-o", program, dtmModule).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build dtm (in the folder bench?): %w\n%s", err, out)
	}
	if err := dtmTables(ctx, pg); err != nil {
		return nil, fmt.Errorf("dtm's tables: %w", err)
	}
	d := &dtm{pg: pg, p: p, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}}
	return d, d.start(ctx, program, dir)
}

// dtmTables makes the tables by the script in dtm's module.
func dtmTables(ctx context.Context, pg *pgserver.Server) error {
	if err := pg.Exec(ctx, "postgres", "CREATE DATABASE dtm"); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-C", "dtm", "-m", "-f", "{{.Dir}}", dtmModule).Output()
	if err != nil {
		return err
	}
	script, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "sqls", "dtmsvr.storage.postgres.sql"))
	if err != nil {
		return err
	}
	return pg.Exec(ctx, "dtm", string(script))
}

func (d *dtm) start(ctx context.Context, program, dir string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	// Where the store is and which ports are free is all that is configured. The server asks for no password, but dtm
	// can't pass on an empty one.
	config := fmt.Sprintf("Store: {Driver: postgres, Host: 127.0.0.1, Port: %d, User: %s, Password: none, Db: dtm}\n"+
		"HttpPort: %d\nGrpcPort: %d\nJsonRpcPort: %d\n", d.pg.Port, pgserver.User, ports[0], ports[1], ports[2])
	path := filepath.Join(dir, "dtm.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	d.url = fmt.Sprintf("http://127.0.0.1:%d/api/dtmsvr/", ports[0])
	d.cmd = exec.Command(program, "-c", path)
	d.cmd.Dir = dir
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	return d.ready(ctx)
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that no two are the same
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (d *dtm) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := d.client.Get(d.url + "version")
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("dtm does not answer: %w", err), d.close())
		case <-tick.C:
		}
	}
}

func (d *dtm) name() string { return dtmName }

// transaction is the body of dtm's submit.
type transaction struct {
	GID      string              `json:"gid"`
	Type     string              `json:"trans_type"`
	Wait     bool                `json:"wait_result"`
	Steps    []map[string]string `json:"steps"`
	Payloads []string            `json:"payloads"`
}

func (d *dtm) do(ctx context.Context) error {
	t := transaction{GID: fmt.Sprintf("%016d", d.ids.Add(1)), Type: "saga", Wait: true}
	for _, s := range steps {
		t.Steps = append(t.Steps, map[string]string{"action": d.p.url + "/" + s, "compensate": d.p.url + "/" + s + "/undo"})
		t.Payloads = append(t.Payloads, fmt.Sprintf(`{"request":"%s.%s"}`, t.GID, s))
	}
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"submit", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte("SUCCESS"))) {
		err = fmt.Errorf("submit: %s: %s", resp.Status, answer)
	}
	return err
}

func (d *dtm) meter() measure.Meter {
	return measure.Meter{
		"engine": func() time.Duration { return proc.Tree(d.cmd.Process.Pid) },
		"client": proc.Self, "PostgreSQL": d.pg.CPU,
	}
}

func (d *dtm) close() error {
	err := d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait() // it ends by the signal
	return err
}
