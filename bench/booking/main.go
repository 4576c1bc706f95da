// Booking measures how fast places are sold: Qiong's whole way from the request to the durable answer (bearer token,
// strict JSON, identity numbers checked and sealed, quotas and limits, log), beside a handler that only decodes the same
// JSON, beside Redis with a Lua script, and beside a PostgreSQL row lock. Then the engine by itself, the endpoint that
// takes many bookings at once, a slot that is sold out, the rush at an opening, and a start from the log.
//
// It is run in the folder bench, with the program built and redis-server installed: go run ./booking
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/report"
)

type options struct {
	rounds  int
	each    time.Duration
	conns   int
	workers int
	rush    float64
	replay  int
	parts   string
	json    string
	dir     string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each system, interleaved")
	flag.DurationVar(&o.each, "each", 5*time.Second, "length of a round")
	flag.IntVar(&o.conns, "conns", 128, "connections")
	flag.IntVar(&o.workers, "workers", 0, "event loops of the generator; 0 takes as many as qiong bench does: one a processor, at most 4")
	flag.Float64Var(&o.rush, "rush", 10_000, "requests a second at the peak of the rush")
	flag.IntVar(&o.replay, "replay", 10_000_000, "bookings of the log that a start is measured with")
	flag.StringVar(&o.parts, "parts", "http,sold-out,batch,engine,rush,receipts,replay", "what is measured")
	flag.StringVar(&o.json, "json", "", "also write the results as JSON to this `file`")
	flag.StringVar(&o.dir, "dir", "", "`folder` for logs and databases; the one for temporary files where empty")
	peer := flag.String("peer", "", "serve as this peer; used by the program itself")
	at := flag.String("at", "", "address of the peer's own server")
	flag.Parse()
	if *peer != "" {
		check(servePeer(*peer, *at))
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

// bench is what all parts share.
type bench struct {
	options
	report *report.Report
	next   uint64 // number of the next visitor
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o}
	b.report = report.New("Booking",
		"One visitor with an identity number (fake) a request, another key each; every booking durable (fdatasync) before its answer; rounds interleaved; medians of ratios.",
		"“no-op” is net/http with encoding/json into the same struct, and a constant answer. The peers decode so, too. Redis: one script for key, person and stock. "+
			"PostgreSQL: SELECT … FOR UPDATE on the slot, one insert, one update, synchronous_commit on.",
		"Server CPU of Qiong is that of the round; what projecting the log into tables takes afterwards stands apart as “tables”.")
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{{"http", b.http}, {"sold-out", b.soldOut}, {"batch", b.batch}, {"engine", b.engine}, {"rush", b.rushPart}, {"receipts", b.receipts}, {"replay", b.replayPart}} {
		if strings.Contains(","+o.parts+",", ","+part.name+",") {
			if err := part.do(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return b.report.Write(os.Stdout, o.json)
}

// add takes a sample in, and says it as it comes.
func (b *bench) add(s measure.Sample) {
	log.Printf("%-28s %-24s %9.0f/s  p50 %.2f ms  p99 %.2f ms  CPU %s  busiest worker %.0f %%  failed %d", s.System, s.Load, s.Rate(), s.P50, s.P99, cpu(s.CPU), 100*s.Busy, s.Failed)
	b.report.Add(s)
}

func cpu(by map[string]float64) string {
	var all []string
	for name, us := range by {
		all = append(all, fmt.Sprintf("%s %.1f µs", name, us))
	}
	return strings.Join(all, ", ")
}
