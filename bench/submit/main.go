// Submit measures how fast a case can be submitted: Qiong's whole way from the request to the durable answer (bearer
// token, strict JSON, form by its schema, sealed, saga, message, idempotency), beside Gin + pgx that do nothing but
// decode the JSON and write. First closed loop, interleaved; then open loop at the rate asked for, or the highest below
// it that is kept.
//
// It is run in the folder bench, with the program built: go run ./submit
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/bench/internal/load"
	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/examples"
	"github.com/qiongdev/qiong/tool/apply"
)

// path is where every server takes submissions.
const path = "/api/approval/cases"

type options struct {
	rounds int
	each   time.Duration
	conns  int
	rate   float64
	p95    time.Duration
	only   string
	json   string
	dir    string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "closed-loop rounds of each system; 0 for none")
	flag.DurationVar(&o.each, "each", 5*time.Second, "length of a round")
	flag.IntVar(&o.conns, "conns", 128, "connections of the closed loop; the open loop may use four times as many")
	flag.Float64Var(&o.rate, "rate", 17600, "submissions a second of the open loop; 0 for none")
	flag.DurationVar(&o.p95, "p95", 112*time.Millisecond, "latency that the open loop must keep")
	flag.StringVar(&o.only, "only", "", "measure only the systems whose name ends in one of these, separated by semicolons")
	flag.StringVar(&o.json, "json", "", "also write the results as JSON to this `file`")
	flag.StringVar(&o.dir, "dir", "", "`folder` for the databases; the one for temporary files where empty")
	peer := flag.String("peer", "", "serve as this peer; used by the program itself")
	database := flag.String("database", "", "the peer's database")
	flag.Parse()
	if *peer != "" {
		check(servePeer(*peer, *database))
		return
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

// bench is what all rounds share.
type bench struct {
	options
	pg     *pgserver.Server
	body   []byte
	key    atomic.Int64
	opened int // databases so far
	report *report.Report
}

func run(ctx context.Context, o options) error {
	body, err := apply.WithSubmit(examples.OpenEnterprise)
	if err != nil {
		return err
	}
	pg, err := pgserver.Start(ctx, o.dir)
	if err != nil {
		return err
	}
	defer pg.Stop()
	b := &bench{options: o, pg: pg, body: body}
	b.report = report.New("Submissions",
		fmt.Sprintf("A body of %d bytes, another Idempotency-Key each; PostgreSQL as it is installed but for %s; every round on a "+
			"new process and a new database, after a second of warming up; interleaved; medians.", len(body), strings.Join(pgserver.Settings, ", ")),
		"Qiong checks token, JSON and form, seals the form, and writes the rows of case, saga, message and idempotency. The peers decode the JSON "+
			"and write: the same four rows one by one in a transaction; the four in one pipelined transaction; or the case alone. "+
			"They have 64 connections to PostgreSQL, Qiong has its default of 16 and 16.",
		"“sagas waiting” works on one case at a time, so that what is measured is submission; otherwise the sandbox, the sagas and "+
			"the agencies' answers compete in the same process.",
		"Every process is killed (SIGKILL) at the end of its round, and the rows of answered submissions are counted: none may be missing.")
	if err := b.closed(ctx); err != nil {
		return err
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	return b.report.Write(os.Stdout, o.json)
}

func (b *bench) wanted(s system) bool {
	return slices.ContainsFunc(strings.Split(b.only, ";"), func(end string) bool { return strings.HasSuffix(s.name, end) })
}

func (b *bench) closed(ctx context.Context) error {
	for range b.rounds {
		for _, s := range systems {
			if !b.wanted(s) {
				continue
			}
			err := b.round(ctx, s, func(r *running, request load.Request, count *load.Count) (measure.Sample, error) {
				return load.Closed(ctx, r.addr, request, b.conns, b.each, b.meter(r), count, &b.key)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	l := fmt.Sprintf("%d connections", b.conns)
	b.report.Judge(report.Goal{Load: l, System: qiongName, Peer: rowsName, Figure: "rate", Want: 3})
	b.report.Judge(report.Goal{Load: l, System: qiongName, Peer: batchName, Figure: "rate"})
	b.report.Judge(report.Goal{Load: l, System: qiongName, Peer: insertName, Figure: "rate"})
	b.report.Judge(report.Goal{Load: l, System: qiongSQLiteName, Peer: rowsName, Figure: "rate"})
	return nil
}

// open lowers the rate until it is kept.
func (b *bench) open(ctx context.Context) error {
	for _, s := range systems {
		if !s.open || !b.wanted(s) {
			continue
		}
		for rate := b.rate; rate >= 500; rate *= 0.85 {
			kept := false
			err := b.round(ctx, s, func(r *running, request load.Request, count *load.Count) (measure.Sample, error) {
				sample, err := load.Open(ctx, r.addr, request, 4*b.conns, rate, b.each, b.meter(r), count, &b.key)
				kept = sample.P95 <= float64(b.p95.Milliseconds()) && sample.Rate() >= 0.98*rate && count.Others(201) == ""
				return sample, err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if kept {
				break
			}
		}
	}
	return nil
}

func (b *bench) meter(r *running) measure.Meter {
	m := measure.Meter{"server": func() time.Duration { return proc.Tree(r.pid) }, "generator": proc.Self}
	if r.database != "" {
		m["PostgreSQL"] = b.pg.CPU
	}
	return m
}

// round starts a system, warms it up, measures it, kills it, and looks for what it has lost.
func (b *bench) round(ctx context.Context, s system, do func(*running, load.Request, *load.Count) (measure.Sample, error)) (err error) {
	b.opened++
	r, err := s.start(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	request := load.Post(r.addr, path, r.token, b.body)
	var warm, count load.Count
	if _, err := load.Closed(ctx, r.addr, request, b.conns, time.Second, nil, &warm, &b.key); err != nil {
		return err
	}
	if err := b.pg.Exec(ctx, "postgres", "CHECKPOINT"); err != nil {
		return err
	}
	sample, err := do(r, request, &count)
	if err != nil {
		return err
	}
	r.kill()
	rows, err := r.count(ctx)
	if err != nil {
		return err
	}
	sample.System, sample.Failed = s.name, sample.Ops-count.Of(201)
	log.Printf("%s, %s: %.0f/s, p95 %.1f ms; %s", s.name, sample.Load, sample.Rate(), sample.P95, count.Others(201))
	if answered := warm.Of(201) + count.Of(201); rows < answered {
		return fmt.Errorf("%d of %d submissions that were answered are lost", answered-rows, answered)
	}
	b.report.Add(sample)
	return nil
}
