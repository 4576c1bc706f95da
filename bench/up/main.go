// Up measures how long `qiong up` takes from its start to the first good answer of /readyz, on a new data
// folder, and how much memory the idle house holds. It is run in the folder
// bench after make build: go run ./up
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/program"
	"github.com/qiongdev/qiong/bench/internal/report"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 10, "starts")
	idle := flag.Duration("idle", 5*time.Second, "time to idle before memory is read")
	flag.Parse()
	if err := run(context.Background(), *rounds, *idle); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, rounds int, idle time.Duration) error {
	var healthy, memory []float64
	for range rounds {
		p, err := program.Start(ctx)
		if err != nil {
			return err
		}
		healthy = append(healthy, p.Healthy.Seconds()*1000)
		time.Sleep(idle)
		pss, err := p.PSS()
		if err != nil {
			return err
		}
		memory = append(memory, float64(pss)/(1<<20))
		if err := p.Stop(); err != nil {
			return err
		}
	}
	fmt.Printf("## `qiong up`: time to health, idle memory\n\n%s\n\n%d first starts, each on a new data folder; medians, and the worst in brackets.\n\n", proc.Machine(), rounds)
	fmt.Println("| figure | goal | measured |\n|---|---|---|")
	h, m := report.Median(healthy), report.Median(memory) // sorted by it
	fmt.Printf("| start to /readyz, ms | < 2000 | %.0f (%.0f) |\n", h, healthy[len(healthy)-1])
	fmt.Printf("| PSS after %v idle, MiB | < 80 | %.1f (%.1f) |\n", idle, m, memory[len(memory)-1])
	return nil
}
