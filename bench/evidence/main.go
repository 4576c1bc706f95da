// Evidence measures receipts in the real program: how soon a record has a receipt that three agencies have signed, with
// all of a council up and with one away; a day of return vouchers and a high rate held; log mode beside council mode;
// what a receipt weighs and costs to verify; disk and memory as the log grows. It is run in the folder bench after make
// build: go run ./evidence
//
// Every agency's node is a process of its own, and so is the house, all on this machine with the producer. Figures
// depend on what else runs: the load average stands beside them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/qiongdev/qiong/bench/internal/proc"
)

type options struct {
	parts  string
	rounds int
	each   time.Duration
	rate   float64
	day    int
	held   time.Duration
	disk   int
	soak   int
	dir    string
}

// part is something to measure.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

var parts = []part{{"council", council}, {"away", away}, {"day", day}, {"held", held}, {"log", logMode}, {"receipt", receipts}, {"disk", disk}, {"soak", soak}}

func main() {
	log.SetFlags(log.Ltime)
	var o options
	flag.StringVar(&o.parts, "parts", "council,away,day,held,log,receipt,disk", "what to measure; also soak")
	flag.IntVar(&o.rounds, "rounds", 2, "rounds of council and log mode, interleaved")
	flag.DurationVar(&o.each, "each", 15*time.Second, "length of a round")
	flag.Float64Var(&o.rate, "rate", 1000, "records a second of the open loop")
	flag.IntVar(&o.day, "day", 230_000, "return vouchers of a day")
	flag.DurationVar(&o.held, "held", 60*time.Second, "how long 5,000 records a second are held")
	flag.IntVar(&o.disk, "disk", 1_000_000, "records by which disk is measured")
	flag.IntVar(&o.soak, "soak", 10_000_000, "records of the soak")
	flag.StringVar(&o.dir, "dir", "", "`folder` for the data; the one for temporary files where empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

// bench is what all parts share.
type bench struct {
	options
	goals []goal
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o}
	fmt.Printf("## Receipts in the real program\n\n%s; load average before: %s\n\n", proc.Machine(), loadAverage())
	for _, p := range parts {
		if !slices.Contains(strings.Split(o.parts, ","), p.name) {
			continue
		}
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.print()
	fmt.Printf("\nload average after: %s\n", loadAverage())
	return nil
}

// goal is what was to be reached, and what was.
type goal struct {
	what, unit string
	want, got  float64
	atLeast    bool
}

func (b *bench) atMost(what string, got, want float64, unit string) {
	b.goals = append(b.goals, goal{what: what, got: got, want: want, unit: unit})
}

func (b *bench) atLeast(what string, got, want float64, unit string) {
	b.goals = append(b.goals, goal{what: what, got: got, want: want, unit: unit, atLeast: true})
}

func (b *bench) print() {
	fmt.Println("| what | goal | got | |\n|---|--:|--:|---|")
	for _, g := range b.goals {
		sign, met := "≤", g.got <= g.want
		if g.atLeast {
			sign, met = "≥", g.got >= g.want
		}
		verdict := "missed"
		if met {
			verdict = "met"
		}
		fmt.Printf("| %s | %s %.4g %s | %.4g %s | %s |\n", g.what, sign, g.want, g.unit, g.got, g.unit, verdict)
	}
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // left out where there is none
	words := strings.Fields(string(text))
	return strings.Join(words[:min(3, len(words))], " ")
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }
