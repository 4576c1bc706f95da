package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/demo/agencies"
)

// system is a house that gives receipts: with a council of four, or alone.
type system struct {
	*program.Program
	council *agencies.Council // nil in log mode
	http    *http.Client
	token   string
	dir     string
}

var agencyNames = []string{"clearing", "customs", "forex", "tax"}

// startCouncil starts four nodes and a house, and waits until an order has its receipt.
func (b *bench) startCouncil(ctx context.Context, flags ...string) (*system, error) {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-evidence-")
	if err != nil {
		return nil, err
	}
	s := &system{dir: dir}
	s.council, err = agencies.Found(ctx, agencies.Plan{Program: program.Path, Data: filepath.Join(dir, "data"), Chain: "trade",
		Names: agencyNames, Policy: examples.TradePolicy})
	if err == nil {
		err = s.council.Start()
	}
	if err == nil {
		err = s.council.Ready(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	for k, v := range s.council.Settings() {
		flags = append(flags, "--"+k, v)
	}
	return s, s.start(ctx, "up", flags)
}

// startAlone starts log mode by a command: in the whole house with up, with evidence the service by itself.
func (b *bench) startAlone(ctx context.Context, command string, flags ...string) (*system, error) {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-evidence-")
	if err != nil {
		return nil, err
	}
	s := &system{dir: dir}
	return s, s.start(ctx, command, flags)
}

func (s *system) start(ctx context.Context, command string, flags []string) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.Program, err = program.StartIn(ctx, s.dir, command, flags...); err != nil {
		return err
	}
	agency, err := s.As(ctx, "agency")
	if err != nil {
		return err
	}
	s.http, s.token = agency.HTTP, agency.Token
	first := records{prefix: "first", kind: plain}
	if err := s.put(ctx, first.body(0, 1)); err != nil {
		return err
	}
	_, err = s.await(ctx, first.id(0), "complete")
	return err
}

func (s *system) stop() error {
	var err error
	if s.council != nil {
		err = s.council.Stop()
	}
	if s.Program != nil {
		err = errors.Join(err, s.Program.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// put sends records, and again where the house says that too many wait.
func (s *system) put(ctx context.Context, body []byte) error {
	for {
		status, text, err := s.do(ctx, http.MethodPost, "/api/evidence/records", body)
		switch {
		case err != nil:
			return err
		case status == http.StatusAccepted:
			return nil
		case status != http.StatusTooManyRequests:
			return fmt.Errorf("records were answered %d: %s", status, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *system) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Accept-Language", string(lang.EN))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// view is what the house says of a record.
type view struct {
	State, Receipt string
	Signed, Owed   []string
	Rule           *struct{ Outcome string }
}

// reached reports whether a receipt is at least what is wanted.
func (v *view) reached(state string) bool {
	return v.State == "complete" || v.State == state
}

func (s *system) get(ctx context.Context, id string) (*view, error) {
	status, text, err := s.do(ctx, http.MethodGet, "/api/evidence/"+id, nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("record %s was answered %d: %s", id, status, text)
	}
	v := &view{}
	return v, json.Unmarshal(text, v)
}

// patience is how long a receipt may take before the benchmark gives up.
const patience = 2 * time.Minute

// await waits until a record's receipt has come so far.
func (s *system) await(ctx context.Context, id, state string) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		v, err := s.get(ctx, id)
		if err != nil || v.reached(state) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("record %s is %s: %w", id, v.State, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// process is one of a system's processes.
type process struct {
	name string
	pid  int
}

func (s *system) processes() []process {
	all := []process{{"house", s.PID}}
	if s.council != nil {
		for _, n := range s.council.Nodes {
			if n.PID() != 0 {
				all = append(all, process{n.Name, n.PID()})
			}
		}
	}
	return all
}

// cpu returns the processor time that all processes have used.
func (s *system) cpu() (total time.Duration) {
	for _, p := range s.processes() {
		total += proc.Tree(p.pid)
	}
	return total
}

// memory says what each process has, in MiB: its share of pages (PSS), and what is its alone and no file's.
func (s *system) memory() string {
	text, _ := s.say(func(p process) map[string]float64 { return rollup(p.pid) })
	return text
}

func (s *system) say(of func(process) map[string]float64) (text string, pss map[string]float64) {
	pss = map[string]float64{}
	var said []string
	for _, p := range s.processes() {
		all := of(p)
		pss[p.name] = all["Pss:"]
		said = append(said, fmt.Sprintf("%s %.0f/%.0f", p.name, all["Pss:"], all["Pss_Anon:"]))
	}
	return strings.Join(said, ", "), pss
}

// medianMemory looks at what each process has once a second until the function it returns is called, which tells the
// medians, and those of PSS by process.
func (s *system) medianMemory(ctx context.Context) func() (text string, pss map[string]float64) {
	seen := map[string]map[string][]float64{}
	stop := every(ctx, time.Second, func() {
		for _, p := range s.processes() {
			if seen[p.name] == nil {
				seen[p.name] = map[string][]float64{}
			}
			for k, v := range rollup(p.pid) {
				seen[p.name][k] = append(seen[p.name][k], v)
			}
		}
	})
	return func() (string, map[string]float64) {
		stop()
		return s.say(func(p process) map[string]float64 {
			medians := map[string]float64{}
			for k, v := range seen[p.name] {
				medians[k] = report.Median(v)
			}
			return medians
		})
	}
}

// every calls f at once and then after each period, until stop, which returns when f is called no more.
func every(ctx context.Context, period time.Duration, f func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for f(); ; f() {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// mostMemory looks at the house's memory five times a second until the function it returns is called, which tells the
// most of every figure that smaps_rollup has.
func (s *system) mostMemory(ctx context.Context) func() map[string]float64 {
	most := map[string]float64{}
	stop := every(ctx, 200*time.Millisecond, func() {
		for k, v := range rollup(s.PID) {
			most[k] = max(most[k], v)
		}
	})
	return func() map[string]float64 {
		stop()
		return most
	}
}

// rollup reads the lines of a process's smaps_rollup, in MiB.
func rollup(pid int) map[string]float64 {
	all := map[string]float64{}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)) // nothing where it has ended
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 {
			kib, _ := strconv.ParseFloat(f[1], 64) // the kernel writes numbers
			all[f[0]] = kib / 1024
		}
	}
	return all
}

// size returns the bytes of the files in a folder.
func size(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // a file may go meanwhile
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// sizeOf returns the bytes of a database with what stands beside it.
func sizeOf(dir, name string) (total int64) {
	files, _ := filepath.Glob(filepath.Join(dir, name+"*")) // the pattern is well formed
	for _, f := range files {
		total += size(f)
	}
	return total
}
