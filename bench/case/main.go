// Case measures the main job in the real program: Qiong's own share of a case, the time in which the demo's cases are
// decided, how many cases a second are decided when agencies take no time, and a day of a province. It is run in the
// folder bench after make build: go run ./case
//
// The own share is what remains of the time from submission to decision when the agencies' own time is taken away: the
// scenario has every agency answer after exactly so long, so that the critical path is known. It includes the sandbox's
// own work, signatures and database on both sides.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/tool/apply"
)

type options struct {
	database string
	day      int
	parts    string
	scenario string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.database, "database", "", "PostgreSQL URL; SQLite where empty")
	flag.IntVar(&o.day, "day", 320_000, "cases of a province's day")
	flag.StringVar(&o.parts, "parts", "share,demo,rate,day", "what to measure")
	flag.Parse()
	dir, err := os.MkdirTemp("", "qiong-bench-case-")
	if err == nil {
		o.scenario = dir
		err = run(context.Background(), o)
	}
	if err := os.RemoveAll(dir); err != nil {
		log.Print(err)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	fmt.Printf("## Cases in the real program\n\n%s\n\n", proc.Machine())
	for _, part := range []struct {
		name string
		run  func(context.Context, options) error
	}{{"share", share}, {"demo", demo}, {"rate", rate}, {"day", day}} {
		if slices.Contains(strings.Split(o.parts, ","), part.name) {
			if err := part.run(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

func (o options) start(ctx context.Context, registration, others time.Duration, flags ...string) (*program.Program, error) {
	path, err := program.Scenario(o.scenario, registration, others)
	if err != nil {
		return nil, err
	}
	return o.up(ctx, append(flags, "--sandbox.scenario", path)...)
}

func (o options) up(ctx context.Context, flags ...string) (*program.Program, error) {
	if o.database != "" {
		flags = append(flags, "--house.database", o.database)
	}
	return program.Start(ctx, flags...)
}

// load submits n cases so that at most inFlight are not decided, and waits for the last. Each submission is made by one
// of a few workers; how many are decided is read from the house's own counter.
//
// Where a rate is given, they arrive at that many a second, evenly, rather than each as soon as another is decided.
func load(ctx context.Context, p *program.Program, n, inFlight, workers int, perSecond float64, each func(ended float64)) error {
	body, err := apply.WithSubmit(examples.OpenEnterprise)
	if err != nil {
		return err
	}
	const ended = "qiong_approval_sagas_ended_total"
	before, err := p.Metric(ended)
	if err != nil {
		return err
	}
	var done atomic.Int64
	next := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			for i := range next {
				if _, err := apply.Submit(ctx, p.Applicant, body, fmt.Sprintf("bench-%d-%d", int64(before), i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for {
			now, err := p.Metric(ended)
			if err != nil {
				return err
			}
			done.Store(int64(now - before))
			if each != nil {
				each(now - before)
			}
			if int(now-before) >= n {
				return nil
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	g.Go(func() error {
		defer close(next)
		began := time.Now()
		for i := range n {
			if perSecond > 0 {
				time.Sleep(time.Until(began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))))
			}
			for int64(i)-done.Load() >= int64(inFlight) {
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// took returns how long the newest n cases took, sorted.
func took(ctx context.Context, p *program.Program, n int) ([]time.Duration, error) {
	cases, err := p.Cases(ctx, n)
	if err != nil {
		return nil, err
	}
	var all []time.Duration
	for _, c := range cases {
		d, err := c.Took()
		if err != nil || c.Status != "decided" {
			return nil, fmt.Errorf("case %s is %s: %v", c.ID, c.Status, err)
		}
		all = append(all, d)
	}
	slices.Sort(all)
	return all, nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// share measures Qiong's own share, idle and with a thousand cases in flight.
func share(ctx context.Context, o options) error {
	fmt.Println("Qiong's own share of a case (with the sandbox's work), ms:\n\n| in flight | arrivals | cases | agencies' critical path | p50 | p95 | p99 | goal p95 | cases/s |\n|---|---|---|---|---|---|---|---|---|")
	for _, c := range []struct {
		inFlight, cases, workers int
		even                     bool
		registration, others     time.Duration
		goal                     string
	}{
		{1, 100, 1, false, 90 * time.Millisecond, 60 * time.Millisecond, "≤ 15"},
		{1000, 6000, 16, true, 2700 * time.Millisecond, 1800 * time.Millisecond, "≤ 50"},
		{1000, 9000, 16, true, 900 * time.Millisecond, 600 * time.Millisecond, "≤ 50"},
		{1000, 6000, 16, false, 2700 * time.Millisecond, 1800 * time.Millisecond, "≤ 50"},
		{1000, 6000, 16, false, 900 * time.Millisecond, 600 * time.Millisecond, "≤ 50"},
	} {
		limit, perSecond, arrivals := c.inFlight, 0.0, "as others end"
		if c.even {
			perSecond = float64(c.inFlight) / (c.registration + c.others).Seconds()
			limit, arrivals = 2*c.inFlight, fmt.Sprintf("%.0f/s, evenly", perSecond)
		}
		p, err := o.start(ctx, c.registration, c.others)
		if err != nil {
			return err
		}
		began := time.Now()
		err = load(ctx, p, c.cases, limit, c.workers, perSecond, nil)
		elapsed := time.Since(began)
		var all []time.Duration
		if err == nil {
			all, err = took(ctx, p, c.cases-c.inFlight/2) // without those that found the house empty
		}
		if err := p.Stop(); err != nil {
			log.Print(err)
		}
		if err != nil {
			return err
		}
		path := c.registration + c.others
		fmt.Printf("| %d | %s | %d | %d | %.1f | %.1f | %.1f | %s | %.0f |\n", c.inFlight, arrivals, c.cases, path.Milliseconds(),
			millis(quantile(all, 0.5)-path), millis(quantile(all, 0.95)-path), millis(quantile(all, 0.99)-path), c.goal, float64(c.cases)/elapsed.Seconds())
	}
	fmt.Println()
	return nil
}

// demo measures the scenario that comes with the program: 200 cases, 20 at a time.
func demo(ctx context.Context, o options) error {
	p, err := o.up(ctx)
	if err != nil {
		return err
	}
	defer p.Stop()
	const n = 200
	if err := load(ctx, p, n, 20, 4, 0, nil); err != nil {
		return err
	}
	all, err := took(ctx, p, n)
	if err != nil {
		return err
	}
	fmt.Printf("The demo's case, built-in scenario (callbacks and polling among it), %d seeded cases, 20 at a time: p50 %.2f s, p95 %.2f s, worst %.2f s; goal p95 ≤ 3.2 s.\n\n",
		n, quantile(all, 0.5).Seconds(), quantile(all, 0.95).Seconds(), all[n-1].Seconds())
	return nil
}

// rate measures decided cases a second when agencies take no time.
func rate(ctx context.Context, o options) error {
	fmt.Println("Decided cases a second, agencies taking no time:\n\n| in flight | cases | cases/s | CPU ms a case (house and sandbox) |\n|---|---|---|---|")
	for _, inFlight := range []int{64, 256} {
		p, err := o.start(ctx, time.Millisecond, time.Millisecond, "--sandbox.speed", "0")
		if err != nil {
			return err
		}
		const n = 8000
		cpu, began := proc.Tree(p.PID), time.Now()
		err = load(ctx, p, n, inFlight, 16, 0, nil)
		elapsed, used := time.Since(began), proc.Tree(p.PID)-cpu
		if err := p.Stop(); err != nil {
			log.Print(err)
		}
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %d | %.0f | %.2f |\n", inFlight, n, n/elapsed.Seconds(), millis(used)/n)
	}
	fmt.Println()
	return nil
}

// day carries a province's day through and watches the memory.
func day(ctx context.Context, o options) error {
	p, err := o.start(ctx, time.Millisecond, time.Millisecond, "--sandbox.speed", "0")
	if err != nil {
		return err
	}
	defer p.Stop()
	var memory []string
	mark := 0.0
	began := time.Now()
	err = load(ctx, p, o.day, 512, 16, 0, func(ended float64) {
		if ended < mark*float64(o.day) {
			return
		}
		pss, err := p.PSS()
		if err != nil {
			log.Print(err)
			return
		}
		memory = append(memory, fmt.Sprintf("%.0f %%: %.0f", mark*100, float64(pss)/(1<<20)))
		log.Printf("%.0f of %d decided after %v", ended, o.day, time.Since(began).Round(time.Second))
		mark += 0.1
	})
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	size, err := p.Data()
	if err != nil {
		return err
	}
	fmt.Printf("A province's day: %d cases decided in %v (%.0f/s), 512 in flight; data folder %.0f MiB. PSS in MiB as they were decided: %s.\n\n",
		o.day, elapsed.Round(time.Second), float64(o.day)/elapsed.Seconds(), float64(size)/(1<<20), strings.Join(memory, ", "))
	return nil
}
