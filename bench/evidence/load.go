package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/bench/internal/measure"
)

// sent is a request whose last record's receipt is waited for.
type sent struct {
	id                 string
	intended, answered time.Time
}

// latency is how long receipts took.
type latency struct {
	answer   *hdrhistogram.Histogram // from when a request was to be sent to its answer
	intended *hdrhistogram.Histogram // from when it was to be sent to the receipt
	accepted *hdrhistogram.Histogram // from the answer to the receipt
}

func newLatency() *latency {
	return &latency{measure.Histogram(), measure.Histogram(), measure.Histogram()}
}

func (l *latency) record(s sent, at time.Time) {
	_ = l.answer.RecordValue(s.answered.Sub(s.intended).Microseconds()) // within two minutes, or await has failed
	_ = l.intended.RecordValue(at.Sub(s.intended).Microseconds())
	_ = l.accepted.RecordValue(at.Sub(s.answered).Microseconds())
}

func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtQuantile(q)) / 1e6
}

func (l *latency) String() string {
	row := func(h *hdrhistogram.Histogram) string {
		return fmt.Sprintf("%.0f | %.0f | %.0f", 1000*quantile(h, 50), 1000*quantile(h, 99), float64(h.Max())/1000)
	}
	return row(l.answer) + " | " + row(l.accepted) + " | " + row(l.intended)
}

const latencyHead = "answer p50 | p99 | max | 202 to receipt p50 | p99 | max | intended to receipt p50 | p99 | max"

// lookAt is of how many requests the receipt of one is waited for: asking takes the house's time.
const lookAt = 3

// inRequest is how many records a request of the open loop brings.
const inRequest = 10

// open sends records at a rate for a time, whatever the answers, and waits for the receipts of some.
func (s *system) open(ctx context.Context, r records, rate float64, each time.Duration, perRequest int, state string) (*latency, error) {
	g, ctx := errgroup.WithContext(ctx)
	waiting := make(chan sent, 1<<16)
	l := newLatency()
	g.Go(func() error { return s.watch(ctx, waiting, state, l) })
	g.Go(func() error {
		defer close(waiting)
		requests, ctx := errgroup.WithContext(ctx)
		requests.SetLimit(512)
		began, n := time.Now(), int(rate*each.Seconds())/perRequest
		for i := range n {
			at := began.Add(time.Duration(float64(i*perRequest) / rate * float64(time.Second)))
			time.Sleep(time.Until(at))
			requests.Go(func() error {
				if err := s.put(ctx, r.body(i*perRequest, perRequest)); err != nil {
					return err
				}
				if i%lookAt == 0 {
					waiting <- sent{r.id((i+1)*perRequest - 1), at, time.Now()}
				}
				return nil
			})
		}
		return requests.Wait()
	})
	return l, g.Wait()
}

// watch looks for receipts: it asks for the oldest until that is there, then for what came behind it, so that asking
// costs the house little.
func (s *system) watch(ctx context.Context, waiting <-chan sent, state string, l *latency) error {
	var queue []sent
	for open := true; open || len(queue) > 0; {
		for more := true; more; {
			select {
			case one, ok := <-waiting:
				if more = ok; ok {
					queue = append(queue, one)
				} else {
					open, waiting = false, nil
				}
			default:
				more = false
			}
		}
		n, err := s.look(ctx, queue, state, l)
		if err != nil {
			return err
		}
		queue = queue[n:]
		if n == 0 {
			if len(queue) > 0 && time.Since(queue[0].answered) > patience {
				return fmt.Errorf("record %s has no receipt that is %s", queue[0].id, state)
			}
			time.Sleep(4 * time.Millisecond)
		}
	}
	return nil
}

// look takes down which of the first receipts are there, and returns how many.
func (s *system) look(ctx context.Context, queue []sent, state string, l *latency) (int, error) {
	for n, width := 0, 1; ; width = 8 {
		part := queue[n:min(n+width, len(queue))]
		at := make([]time.Time, len(part))
		g, ctx := errgroup.WithContext(ctx)
		for i, one := range part {
			g.Go(func() error {
				v, err := s.get(ctx, one.id)
				if err == nil && v.reached(state) {
					at[i] = time.Now()
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return n, err
		}
		for i, one := range part {
			if at[i].IsZero() {
				return n, nil
			}
			l.record(one, at[i])
			n++
		}
		if n == len(queue) {
			return n, nil
		}
	}
}

// flood sends n records in requests of a thousand over some connections, each the next as soon as the last is answered.
func (s *system) flood(ctx context.Context, r records, n, connections int) (took time.Duration, err error) {
	return s.floodFor(ctx, r, n, connections, 24*time.Hour, nil)
}

// floodFor does so for at most a time, and counts what was answered.
func (s *system) floodFor(ctx context.Context, r records, n, connections int, each time.Duration, answered *atomic.Int64) (time.Duration, error) {
	const perRequest = 1000
	var next atomic.Int64
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		g.Go(func() error {
			for time.Since(began) < each {
				i := int(next.Add(perRequest)) - perRequest
				if i >= n {
					return nil
				}
				m := min(perRequest, n-i)
				if err := s.put(ctx, r.body(i, m)); err != nil {
					return err
				}
				if answered != nil {
					answered.Add(int64(m))
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return time.Since(began), err
}
