// Package program runs bin/qiong as a process of its own, in a folder that goes with it, and speaks to it as an
// applicant would.
package program

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

// Path is where `make build` leaves the program, seen from the folder bench.
const Path = "../bin/qiong"

// Program is a running house.
type Program struct {
	URL       string
	PID       int
	Healthy   time.Duration // from its start to the first good answer of /readyz
	Applicant *client.Client
	security  *client.Client
	cmd       *exec.Cmd
	dir       string
}

var (
	address = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/metrics`)
	secret  = regexp.MustCompile(`(qiong_[A-Za-z0-9]+)`)
)

// Start runs `qiong up` with further flags, on any free port, in a new folder.
func Start(ctx context.Context, flags ...string) (*Program, error) {
	return StartCommand(ctx, "up", flags...)
}

// StartCommand is Start for another command than up: one service by itself.
func StartCommand(ctx context.Context, command string, flags ...string) (*Program, error) {
	dir, err := os.MkdirTemp("", "qiong-bench-")
	if err != nil {
		return nil, err
	}
	return StartIn(ctx, dir, command, flags...)
}

// StartIn does so in a folder, whose data are in the folder data within; the folder goes with the program.
func StartIn(ctx context.Context, dir, command string, flags ...string) (*Program, error) {
	p := &Program{dir: dir}
	args := append([]string{command, "--lang", "en", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--house.log-level", "error"}, flags...)
	p.cmd = exec.Command(Path, args...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (run make build first)", err)
	}
	p.PID = p.cmd.Process.Pid
	oneTime, err := p.banner(out)
	if err == nil {
		err = p.ready(ctx)
		p.Healthy = time.Since(began)
	}
	if err == nil {
		err = p.signIn(ctx, oneTime)
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// banner reads address and one-time token from what the program prints first.
func (p *Program) banner(out io.Reader) (oneTime string, err error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			p.URL = m[1]
		}
		if m := secret.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, out) //nolint:errcheck // whatever it prints later
			return m[1], nil
		}
	}
	return "", errors.Join(errors.New("the program printed no token"), lines.Err())
}

func (p *Program) ready(ctx context.Context) error {
	for ctx.Err() == nil {
		resp, err := http.Get(p.URL + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return ctx.Err()
}

func (p *Program) signIn(ctx context.Context, oneTime string) error {
	var answer struct{ Token string }
	house := &client.Client{URL: p.URL, Lang: lang.EN}
	if err := house.Do(ctx, client.Request{Method: "POST", Path: "/api/house/redeem", Body: map[string]any{"token": oneTime}}, &answer); err != nil {
		return err
	}
	house.Token = answer.Token
	p.security = house
	var err error
	p.Applicant, err = p.As(ctx, "applicant")
	return err
}

// As returns a client with a role.
func (p *Program) As(ctx context.Context, role string) (*client.Client, error) {
	var answer struct{ Token string }
	err := p.security.Do(ctx, client.Request{Method: "POST", Path: "/api/house/tokens",
		Body: map[string]any{"id": "bench", "name": "bench", "roles": []string{role}}}, &answer)
	return &client.Client{URL: p.URL, Token: answer.Token, Lang: lang.EN, HTTP: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}}, err
}

// Metric reads one metric without labels.
func (p *Program) Metric(name string) (float64, error) {
	resp, err := http.Get(p.URL + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// Case is what a benchmark asks of a case.
type Case struct {
	ID                         string
	Status, Submitted, Decided string
}

// Took returns the time from submission to decision, by the house's clock.
func (c Case) Took() (time.Duration, error) {
	from, err := time.Parse(time.RFC3339Nano, c.Submitted)
	if err != nil {
		return 0, err
	}
	to, err := time.Parse(time.RFC3339Nano, c.Decided)
	return to.Sub(from), err
}

// Cases lists the applicant's newest cases, up to limit.
func (p *Program) Cases(ctx context.Context, limit int) ([]Case, error) {
	var all []Case
	for cursor := ""; len(all) < limit; {
		var page struct {
			Items []Case
			Next  string
		}
		if err := p.Applicant.Do(ctx, client.Request{Method: "GET", Path: "/api/approval/cases?limit=200&cursor=" + cursor}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return all[:min(len(all), limit)], nil
}

// PSS returns the program's proportional set size in bytes.
func (p *Program) PSS() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("smaps_rollup has no Pss")
}

// Data returns the size of the data folder in bytes.
func (p *Program) Data() (total int64, err error) {
	err = filepath.WalkDir(p.dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// Kill ends the program at once and leaves its folder, to see what it has kept.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	_ = p.cmd.Wait()         // it was killed
}

// Database opens the SQLite database of a service, of a program that has ended.
func (p *Program) Database(service string) (sqldb.DB, error) {
	return sqlite.Open(filepath.Join(p.dir, "data", "db", service+".db"))
}

// Stop ends the program, where Kill has not, and removes its folder.
func (p *Program) Stop() error {
	var err error
	if p.cmd.Process != nil && p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
		err = p.cmd.Wait()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Scenario writes a scenario file in which every agency answers at once after exactly the given times.
func Scenario(dir string, registration, others time.Duration) (string, error) {
	type resource map[string]any
	now := func(d time.Duration) resource {
		return resource{"mode": "now", "latency": map[string]any{"median": d.String(), "sigma": 0}, "revocable": false,
			"output": map[string]any{"number": "FAKE-{digits:12}"}}
	}
	data, err := json.Marshal(map[string]any{"agencies": map[string]any{
		"market": map[string]any{"registrations": now(registration)},
		"police": map[string]any{"seals": now(others)},
		"tax":    map[string]any{"invoice-accounts": now(others)},
		"hr":     map[string]any{"insurance-accounts": now(others)},
		"fund":   map[string]any{"deposit-accounts": now(others)},
	}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("scenario-%d-%d.yaml", registration.Milliseconds(), others.Milliseconds()))
	return path, os.WriteFile(path, data, 0o600) // JSON is YAML
}
