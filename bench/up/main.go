// Up measures how long `qiong up` takes to be healthy on an empty folder, and how much memory the idle house holds.
//
// It is run in the folder bench, with the program built: go run ./up
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/qiongdev/qiong/bench/internal/house"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/report"
)

func main() {
	log.SetFlags(0)
	rounds := flag.Int("rounds", 10, "houses started")
	idle := flag.Duration("idle", 5*time.Second, "how long a house is left alone before its memory is read")
	program := flag.String("qiong", "../bin/qiong", "the `program` to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *program, *rounds, *idle); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, program string, rounds int, idle time.Duration) error {
	var healthy, pss, private, cpu []float64
	for range rounds {
		h, err := house.Start(ctx, program, "")
		if err != nil {
			return err
		}
		before := proc.Tree(h.PID)
		select {
		case <-time.After(idle):
		case <-ctx.Done():
			return h.Remove()
		}
		p, own, err := h.PSS()
		if err != nil {
			return err
		}
		used := proc.Tree(h.PID) - before
		if err := h.Remove(); err != nil {
			return err
		}
		healthy = append(healthy, float64(h.Healthy.Milliseconds()))
		pss, private = append(pss, float64(p)/1e6), append(private, float64(own)/1e6)
		cpu = append(cpu, 100*used.Seconds()/idle.Seconds())
	}
	fmt.Printf("## qiong up\n\n%s\n\n- %d houses, each on an empty folder; memory after %v idle; medians.\n\n", proc.Machine(), rounds, idle)
	fmt.Printf("| | median | goal |\n|---|--:|--:|\n| healthy after, ms | %.0f | < 2000 |\n| PSS, MB | %.1f | < 80 |\n| private, MB | %.1f | |\n| CPU idle, %% of a core | %.1f | |\n",
		report.Median(healthy), report.Median(pss), report.Median(private), report.Median(cpu))
	return nil
}
