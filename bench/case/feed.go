package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/bench/internal/house"
	"github.com/qiongdev/qiong/bench/internal/load"
	"github.com/qiongdev/qiong/bench/internal/measure"
)

const conns = 8

// feed submits cases so that inFlight are under way until all have been submitted, waits for the last decision, and
// describes the memory the house took meanwhile.
func feed(ctx context.Context, h *house.House, inFlight, cases int) (memory string, err error) {
	body, err := house.Submission("../examples/open-enterprise.json")
	if err != nil {
		return "", err
	}
	request := load.Post(h.Addr, house.Submissions, h.Token, body)
	permits, done := make(chan int64), make(chan struct{}, inFlight)
	g, ctx := errgroup.WithContext(ctx)
	for range conns {
		c, err := load.Dial(h.Addr, request)
		if err != nil {
			close(permits)
			return "", err
		}
		g.Go(func() error {
			defer c.Close()
			return submit(c, permits, done)
		})
	}
	g.Go(func() error {
		defer close(permits)
		memory, err = control(ctx, h, inFlight, cases, permits, done)
		return err
	})
	return memory, g.Wait()
}

func submit(c *load.Conn, permits <-chan int64, done chan<- struct{}) error {
	for n := range permits {
		status, err := c.Do(n)
		if err != nil {
			return err
		}
		if status != http.StatusCreated {
			return fmt.Errorf("a submission was answered %d", status)
		}
		done <- struct{}{}
	}
	return nil
}

// control hands out permits as cases end.
func control(ctx context.Context, h *house.House, inFlight, cases int, permits chan<- int64, done <-chan struct{}) (string, error) {
	tick := time.NewTicker(20 * time.Millisecond) // reading the metrics costs the house milliseconds
	defer tick.Stop()
	var memory [3]int64
	var err error
	if memory[0], _, err = h.PSS(); err != nil {
		return "", err
	}
	for given := 0; ; {
		backlog, err := h.Backlog()
		if err != nil {
			return "", err
		}
		if given == cases && backlog == 0 {
			break
		}
		batch := min(inFlight-int(backlog), cases-given)
		for range max(batch, 0) {
			given++
			select {
			case permits <- int64(given):
			case <-ctx.Done():
				return "", ctx.Err()
			}
			if given == cases/2 {
				if memory[1], _, err = h.PSS(); err != nil {
					return "", err
				}
			}
		}
		for range max(batch, 0) {
			select {
			case <-done:
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if memory[2], _, err = h.PSS(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.0f, %.0f, %.0f", float64(memory[0])/1e6, float64(memory[1])/1e6, float64(memory[2])/1e6), nil
}

// read returns how long the cases of a house took, in microseconds, as its database has it.
func read(ctx context.Context, h *house.House) (*hdrhistogram.Histogram, error) {
	db, err := h.Database("approval")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query(ctx, "SELECT decided_at - submitted_at FROM cases WHERE status = 'decided'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	s := measure.Histogram()
	for rows.Next() {
		var took int64
		if err := rows.Scan(&took); err != nil {
			return nil, err
		}
		_ = s.RecordValue(took * 1000) // beyond its range it is lost, and the count tells
	}
	return s, rows.Err()
}
