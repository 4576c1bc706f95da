// Package measure runs a load against a system for a bounded time and takes down what it came to: rate, latencies and
// processor time per operation.
package measure

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Sample is what one round of one system came to.
type Sample struct {
	System  string             `json:"system"`
	Load    string             `json:"load"`
	Ops     int64              `json:"ops"`
	Failed  int64              `json:"failed,omitempty"`
	Seconds float64            `json:"seconds"`
	P50     float64            `json:"p50_ms"`
	P95     float64            `json:"p95_ms"`
	P99     float64            `json:"p99_ms"`
	CPU     map[string]float64 `json:"cpu_us_per_op"`  // by who used it
	Busy    float64            `json:"busy,omitempty"` // share of the time that the generator's busiest worker did not wait; 0 where nobody knows
}

// Rate returns operations a second.
func (s Sample) Rate() float64 { return float64(s.Ops) / s.Seconds }

// Meter reads the processor time used so far by each of those who take part.
type Meter map[string]func() time.Duration

// Begin takes down what has been used before a round.
func (m Meter) Begin() Usage {
	return Usage{m, m.read()}
}

func (m Meter) read() map[string]time.Duration {
	now := make(map[string]time.Duration, len(m))
	for name, read := range m {
		now[name] = read()
	}
	return now
}

// Usage is processor time under measurement.
type Usage struct {
	meter  Meter
	before map[string]time.Duration
}

// End puts into s what was used since, by operation.
func (u Usage) End(s *Sample) {
	for name, after := range u.meter.read() {
		s.CPU[name] = float64((after - u.before[name]).Microseconds()) / float64(s.Ops)
	}
}

// Histogram returns an empty histogram of microseconds, up to two minutes, with three digits.
func Histogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}

// Closed has workers do one operation after the other, each the next as soon as the last is done, for the time given.
// The first error ends the round.
func Closed(ctx context.Context, workers int, d time.Duration, m Meter, do func(ctx context.Context, worker int) error) (Sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hists := make([]*hdrhistogram.Histogram, workers)
	var wg sync.WaitGroup
	usage, began := m.Begin(), time.Now()
	for i := range workers {
		hists[i] = Histogram()
		wg.Go(func() {
			for start := time.Now(); start.Sub(began) < d && ctx.Err() == nil; {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				end := time.Now()
				_ = hists[i].RecordValue(end.Sub(start).Microseconds()) // beyond its range it is an error of do
				start = end
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := context.Cause(ctx); err != nil {
		return Sample{}, err
	}
	for _, h := range hists[1:] {
		hists[0].Merge(h)
	}
	s := Of(hists[0], took)
	usage.End(&s)
	s.Load = fmt.Sprintf("%d in flight", workers)
	return s, nil
}

// Of returns the sample of latencies taken in a time.
func Of(h *hdrhistogram.Histogram, took time.Duration) Sample {
	q := func(p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1000 }
	return Sample{
		Ops: h.TotalCount(), Seconds: took.Seconds(),
		P50: q(50), P95: q(95), P99: q(99), CPU: map[string]float64{},
	}
}
