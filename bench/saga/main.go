// Saga measures what it costs to carry a saga of four steps in a row to its end, each step one HTTP call to a
// participant that does nothing: Qiong's engine, dtm at its defaults, and a loop written by hand that commits as often
// and as durably as Qiong does, all three on the same PostgreSQL server; and Qiong on SQLite.
//
// Rounds are interleaved, and ratios are taken round by round. It is run in the folder bench: go run ./saga
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/report"
)

// steps are those of every saga here, one after the other.
var steps = []string{"one", "two", "three", "four"}

// system carries sagas to their end.
type system interface {
	name() string
	do(ctx context.Context) error // one saga, from its start to its durable end
	meter() measure.Meter
	close() error
}

type options struct {
	rounds  int
	each    time.Duration
	loads   []int
	only    string
	json    string
	dir     string
	profile string
}

func main() {
	log.SetFlags(0)
	var o options
	loads := flag.String("inflight", "16,64", "sagas in flight, one measurement each")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each system under each load")
	flag.DurationVar(&o.each, "each", 5*time.Second, "length of a round")
	flag.StringVar(&o.only, "only", "", "measure only the systems whose name contains this")
	flag.StringVar(&o.json, "json", "", "also write the results as JSON to this `file`")
	flag.StringVar(&o.dir, "dir", "", "`folder` for the databases; the one for temporary files where empty")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of this process to this `file`")
	noop := flag.Bool("participant", false, "serve the participant that does nothing; used by the program itself")
	flag.Parse()
	if *noop {
		check(serveParticipant())
		return
	}
	for s := range strings.SplitSeq(*loads, ",") {
		n, err := strconv.Atoi(s)
		check(err)
		o.loads = append(o.loads, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	check(run(ctx, o))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "qiong-bench-saga-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pg, err := pgserver.Start(ctx, o.dir)
	if err != nil {
		return err
	}
	defer pg.Stop()
	p, err := startParticipant()
	if err != nil {
		return err
	}
	defer p.stop()

	var systems []system
	defer func() {
		for _, s := range systems {
			if err := s.close(); err != nil {
				log.Print(err)
			}
		}
	}()
	for _, open := range []func() (system, error){
		func() (system, error) { return openQiong(ctx, pg, p) },
		func() (system, error) { return openDTM(ctx, pg, p, dir) },
		func() (system, error) { return openLoop(ctx, pg, p) },
		func() (system, error) { return openQiongSQLite(ctx, dir, p) },
	} {
		s, err := open()
		if err != nil {
			return err
		}
		systems = append(systems, s)
	}
	return compare(ctx, o, pg, systems)
}

func compare(ctx context.Context, o options, pg *pgserver.Server, systems []system) error {
	r := report.New("Saga: four no-op HTTP steps in a row",
		fmt.Sprintf("PostgreSQL as it is installed but for %s; %d rounds of %v each, interleaved; medians.",
			strings.Join(pgserver.Settings, ", "), o.rounds, o.each),
		"The participant is a process of its own. CPU of the engine: Qiong's and the loop's is that of the process which "+
			"also starts the sagas; dtm's is its server's alone, and its client's stands beside it.",
		"dtm v1.19.0 with the dependencies of its own go.mod, default settings, its log discarded; asked with "+
			"wait_result over HTTP, gid made by the client.",
		"The loop commits as Qiong does: the start and the end durably, the steps between with synchronous_commit=off.")
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for _, load := range o.loads {
		for round := range o.rounds + 1 { // the first warms up
			for _, s := range systems {
				if !strings.Contains(s.name(), o.only) {
					continue
				}
				sample, err := once(ctx, pg, s, load, o.each, round == 0)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name(), err)
				}
				if round > 0 {
					r.Add(sample)
				}
				log.Printf("%s, %s: %.0f/s, p95 %.1f ms", sample.System, sample.Load, sample.Rate(), sample.P95)
			}
		}
		judge(r, load)
	}
	return r.Write(os.Stdout, o.json)
}

// once measures a round that begins with nothing to write back, so that no system pays for the one before it.
func once(ctx context.Context, pg *pgserver.Server, s system, load int, each time.Duration, warm bool) (measure.Sample, error) {
	if err := pg.Exec(ctx, "postgres", "CHECKPOINT"); err != nil {
		return measure.Sample{}, err
	}
	if warm {
		each = min(each, 2*time.Second)
	}
	sample, err := measure.Closed(ctx, load, each, s.meter(), func(ctx context.Context, _ int) error { return s.do(ctx) })
	sample.System = s.name()
	return sample, err
}

func judge(r *report.Report, load int) {
	l := fmt.Sprintf("%d in flight", load)
	r.Judge(report.Goal{Load: l, System: qiongName, Peer: dtmName, Figure: "rate", Want: 3})
	r.Judge(report.Goal{Load: l, System: qiongName, Peer: dtmName, Figure: "p95", Want: 0.5})
	r.Judge(report.Goal{Load: l, System: qiongName, Peer: loopName, Figure: "rate", Want: 0.9})
	r.Judge(report.Goal{Load: l, System: qiongSQLiteName, Peer: qiongName, Figure: "rate"})
}
