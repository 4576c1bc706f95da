// Load measures what qiong bench itself costs, beside wrk, against the same server that does nothing: in a closed loop
// with the same connections and threads, and at about 50,000 requests a second, where qiong bench keeps a schedule and wrk
// is given the number of connections at which it comes closest to that rate.
//
// Rounds are interleaved and ratios taken round by round; processor time is that of each program's process, from
// getrusage. It is run in the folder bench, with bin/qiong built and wrk installed: go run ./load
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/child"
	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/report"
)

const (
	qiong  = "qiong bench"
	wrk    = "wrk"
	closed = "closed loop, 64 connections, 2 threads"
	paced  = "about 50,000 requests a second"
	rate   = 50_000
)

func main() {
	log.SetFlags(0)
	program := flag.String("qiong", "../bin/qiong", "the `program`")
	rounds := flag.Int("rounds", 5, "rounds of each system")
	each := flag.Duration("each", 3*time.Second, "length of a round, in whole seconds")
	out := flag.String("json", "", "also write the results as JSON to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *program, *rounds, *each, *out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, program string, rounds int, each time.Duration, out string) error {
	url := ""
	server, err := child.Start(exec.Command(program, "--lang", "en", "bench", "noop"), func(line string) bool {
		addr, ok := strings.CutPrefix(line, "listening on ")
		url = "http://" + addr + "/"
		return ok
	})
	if err != nil {
		return err
	}
	defer server.Kill()
	conns, err := paces(ctx, url)
	if err != nil {
		return err
	}
	r := report.New("Load: what qiong bench costs beside wrk", fmt.Sprintf("%d rounds of %v each, interleaved; the server does nothing. At about %d a second wrk has %d connections; qiong bench has 64 and one worker. p95 is not taken.", rounds, each, rate, conns))
	for range rounds {
		for _, s := range []struct {
			system, load string
			args         []string
		}{
			{qiong, closed, []string{"--closed", "--connections", "64", "--workers", "2"}},
			{wrk, closed, []string{"-t2", "-c64"}},
			{qiong, paced, []string{"--rate", strconv.Itoa(rate), "--connections", "64", "--workers", "1"}},
			{wrk, paced, []string{fmt.Sprintf("-t%d", min(conns, 2)), fmt.Sprintf("-c%d", conns)}},
		} {
			one := func() (measure.Sample, error) { return ours(ctx, program, url, each, s.args) }
			if s.system == wrk {
				one = func() (measure.Sample, error) { return theirs(ctx, url, each, s.args) }
			}
			sample, err := one()
			if err != nil {
				return fmt.Errorf("%s: %w", s.system, err)
			}
			sample.System, sample.Load = s.system, s.load
			r.Add(sample)
		}
	}
	ratios(r)
	r.Judge(report.Goal{Load: closed, System: qiong, Peer: wrk, Figure: "rate"})
	return r.Write(os.Stdout, out)
}

// ratios notes the medians of the ratios of processor time.
func ratios(r *report.Report) {
	by := map[string][]float64{}
	for _, s := range r.Samples {
		by[s.System+s.Load] = append(by[s.System+s.Load], s.CPU["client"])
	}
	for _, c := range []struct{ ours, theirs, words string }{
		{closed, closed, "both in the closed loop"}, {paced, paced, "both at about 50,000 a second (goal: at most 1.3)"}, {paced, closed, "at 50,000 a second, by wrk's in the closed loop, as fast as it can"},
	} {
		var all []float64
		for i, ours := range by[qiong+c.ours] {
			all = append(all, ours/by[wrk+c.theirs][i])
		}
		r.Notes = append(r.Notes, fmt.Sprintf("Processor time a request of qiong bench by wrk's, %s: %.2f.", c.words, report.Median(all)))
	}
}

// cpu is the processor time of a program that has ended, by operation.
func cpu(cmd *exec.Cmd, ops int64) map[string]float64 {
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return map[string]float64{"client": float64(used.Nanoseconds()) / 1000 / float64(ops)}
}

// ours runs qiong bench for a round.
func ours(ctx context.Context, program, url string, each time.Duration, args []string) (measure.Sample, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"bench", url, "--json", "--calibrate=false", "--for", each.String()}, args...)...)
	data, err := cmd.Output()
	var result struct {
		Phases []struct {
			Seconds  float64
			Done     int64
			Errors   int64
			Response struct{ P50, P99 float64 }
		}
	}
	if bad := json.Unmarshal(data, &result); bad != nil || len(result.Phases) != 1 || result.Phases[0].Done == 0 {
		return measure.Sample{}, fmt.Errorf("no result: %w", err)
	}
	p := result.Phases[0] // a machine too busy for a verdict still has figures
	return measure.Sample{Ops: p.Done, Failed: p.Errors, Seconds: p.Seconds, P50: p.Response.P50, P99: p.Response.P99, CPU: cpu(cmd, p.Done)}, nil
}

var (
	total   = regexp.MustCompile(`(\d+) requests in ([0-9.]+)s`)
	quantum = regexp.MustCompile(`\s(50|99)%\s+([0-9.]+)(us|ms|s)`)
)

// theirs runs wrk for a round.
func theirs(ctx context.Context, url string, each time.Duration, args []string) (measure.Sample, error) {
	cmd := exec.CommandContext(ctx, "wrk", append(args, "--latency", fmt.Sprintf("-d%ds", int(each.Seconds())), url)...)
	text, err := cmd.Output()
	if err != nil {
		return measure.Sample{}, err
	}
	m := total.FindSubmatch(text)
	if m == nil {
		return measure.Sample{}, fmt.Errorf("no figures in %q", text)
	}
	ops, _ := strconv.ParseInt(string(m[1]), 10, 64) // digits by the pattern
	seconds, _ := strconv.ParseFloat(string(m[2]), 64)
	s := measure.Sample{Ops: ops, Seconds: seconds, CPU: cpu(cmd, ops)}
	for _, q := range quantum.FindAllSubmatch(text, -1) {
		v, _ := strconv.ParseFloat(string(q[2]), 64)
		v *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(q[3])]
		if string(q[1]) == "50" {
			s.P50 = v
		} else {
			s.P99 = v
		}
	}
	return s, nil
}

// paces finds the number of connections at which wrk comes closest to the rate.
func paces(ctx context.Context, url string) (best int, err error) {
	off := math.Inf(1)
	for _, conns := range []int{1, 2, 3, 4, 5, 6, 8} {
		s, err := theirs(ctx, url, time.Second, []string{fmt.Sprintf("-t%d", min(conns, 2)), fmt.Sprintf("-c%d", conns)})
		if err != nil {
			return 0, err
		}
		if d := math.Abs(s.Rate() - rate); d < off {
			off, best = d, conns
		}
	}
	return best, nil
}
