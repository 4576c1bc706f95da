// Case measures whole cases, from the submission to the decision: Qiong's own share of their time beside that of the
// agencies, on an idle house and with a thousand under way; the demo's case as it comes; how many can be decided a
// second; and a province's day, with the memory it takes.
//
// It is run in the folder bench, with the program built: go run ./case
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/house"
	"github.com/qiongdev/qiong/bench/internal/proc"
)

// exact returns the sandbox's own scenario with every agency answering at once after exactly so long, so that what the
// agencies take of a case is known: the registration, then the slowest of the other four, which run in parallel.
func exact(registration, others time.Duration) ([]byte, error) {
	raw, err := os.ReadFile("../service/sandbox/scenario.yaml")
	if err != nil {
		return nil, err
	}
	latency := registration
	s := behaviour.ReplaceAllFunc(raw, func(line []byte) []byte {
		if line[0] == 'm' {
			return []byte("mode: now")
		}
		defer func() { latency = others }() // the registration stands first
		return fmt.Appendf(nil, "latency: {median: %v, sigma: 0}", latency)
	})
	return s, nil
}

var behaviour = regexp.MustCompile(`\b(mode: \w+|latency: \{.*\})`)

// run is one measurement.
type run struct {
	name     string
	latency  [2]time.Duration // of the registration and of the others; negative for the sandbox's own scenario
	inFlight int
	cases    int
	share    bool    // take off what the agencies took
	p95      float64 // ms; 0 to report only
}

func main() {
	log.SetFlags(0)
	program := flag.String("qiong", "../bin/qiong", "the `program` to measure")
	dir := flag.String("dir", "", "`folder` for the databases; the one for temporary files where empty")
	day := flag.Int("day", 320_000, "cases of a province's day; 0 for none")
	only := flag.String("only", "", "measure only what contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ms := time.Millisecond
	runs := []run{
		{"own share, idle", [2]time.Duration{50 * ms, 50 * ms}, 1, 200, true, 15},
		{"own share, 1,000 under way", [2]time.Duration{900 * ms, 600 * ms}, 1000, 10_000, true, 50},
		{"demo's case, from submission to decision", [2]time.Duration{-1, -1}, 20, 200, false, 3200},
		{"agencies that take no time, 256 under way", [2]time.Duration{0, 0}, 256, 10_000, false, 0},
		{"a province's day, 256 under way", [2]time.Duration{0, 0}, 256, *day, false, 0},
	}
	fmt.Printf("## Cases\n\n%s\n\n- SQLite, sandbox in the same process. Own share: from the submission to the decision, less what the "+
		"agencies took.\n- Every house is killed (SIGKILL) at the end, and its cases are read from its database: all that were accepted must be decided.\n\n", proc.Machine())
	fmt.Print("| | cases | decided/s | p50 ms | p95 ms | p99 ms | goal p95 | CPU µs a case | PSS MB: idle, at a half, at the end |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, r := range runs {
		if r.cases == 0 || !strings.Contains(r.name, *only) {
			continue
		}
		if err := r.measure(ctx, os.Stdout, *program, *dir); err != nil {
			log.Fatalf("%s: %v", r.name, err)
		}
	}
}

func (r run) measure(ctx context.Context, out io.Writer, program, tmp string) (err error) {
	flags := []string{"--sandbox.seed=1"}
	if r.latency[0] >= 0 {
		dir, err := os.MkdirTemp(tmp, "qiong-bench-scenario-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "scenario.yaml")
		file, err := exact(r.latency[0], r.latency[1])
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			return err
		}
		flags = append(flags, "--sandbox.scenario="+path)
	}
	h, err := house.Start(ctx, program, tmp, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Remove()) }()
	began, before := time.Now(), proc.Tree(h.PID)
	memory, err := feed(ctx, h, r.inFlight, r.cases)
	if err != nil {
		return err
	}
	took, used := time.Since(began), proc.Tree(h.PID)-before
	h.Kill()
	s, err := read(ctx, h)
	if err != nil {
		return err
	}
	if s.TotalCount() != int64(r.cases) {
		return fmt.Errorf("%d cases decided of %d", s.TotalCount(), r.cases)
	}
	agencies := float64(0)
	if r.share {
		agencies = float64((r.latency[0] + r.latency[1]).Milliseconds())
	}
	goal := ""
	if r.p95 > 0 {
		goal = fmt.Sprintf("≤ %.0f", r.p95)
	}
	q := func(p float64) float64 { return float64(s.ValueAtQuantile(p))/1000 - agencies }
	_, err = fmt.Fprintf(out, "| %s | %d | %.0f | %.0f | %.0f | %.0f | %s | %.0f | %s |\n", r.name, r.cases,
		float64(r.cases)/took.Seconds(), q(50), q(95), q(99), goal, float64(used.Microseconds())/float64(r.cases), memory)
	return err
}
