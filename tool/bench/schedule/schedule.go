// Package schedule says when the requests of an open loop are due. It promises that the moments follow from the schedule
// alone, never from how the server answers, and that the parts dealt to several workers or machines are together
// exactly the whole: even arrivals are dealt by turns, Poisson arrivals as independent streams of a share of the rate.
package schedule

import (
	"math"
	"math/rand/v2"
	"time"
)

// Step is a time with a rate that goes evenly from From to To, in requests a second.
type Step struct {
	From, To float64
	For      time.Duration
}

// Schedule is steps one after the other. Constant rates, stairs and ramps are all of this form.
type Schedule struct {
	Steps   []Step
	Poisson bool // arrivals are independent of each other, as people are; otherwise they come evenly
}

// Constant returns the schedule of one rate.
func Constant(rate float64, d time.Duration) Schedule {
	return Schedule{Steps: []Step{{rate, rate, d}}}
}

// Duration returns how long the schedule lasts.
func (s Schedule) Duration() time.Duration {
	var d time.Duration
	for _, step := range s.Steps {
		d += step.For
	}
	return d
}

// Expected returns how many requests are due in the whole; of Poisson arrivals, on average.
func (s Schedule) Expected() float64 {
	n := 0.0
	for _, step := range s.Steps {
		n += step.count()
	}
	return n
}

// Peak returns the highest rate.
func (s Schedule) Peak() float64 {
	peak := 0.0
	for _, step := range s.Steps {
		peak = max(peak, step.From, step.To)
	}
	return peak
}

// count is how many are due within the step.
func (s Step) count() float64 { return (s.From + s.To) / 2 * s.For.Seconds() }

// at returns after which time n requests of the step are due: the solution of From·t + (To−From)/(2·For)·t² = n. It is
// written so that nothing cancels out where the rate hardly changes, or falls to nothing.
func (s Step) at(n float64) time.Duration {
	slope := (s.To - s.From) / s.For.Seconds()
	root := math.Sqrt(max(0, s.From*s.From+2*slope*n))
	if s.From+root == 0 {
		return 0
	}
	return min(time.Duration(2*n/(s.From+root)*float64(time.Second)), s.For)
}

// Cursor gives the moments of one part of a schedule, in order.
type Cursor struct {
	schedule Schedule
	random   *rand.Rand // of Poisson arrivals
	parts    float64
	step     int
	before   float64       // due before the step
	began    time.Duration // when the step began
	n        float64       // requests due before the next, over all parts
}

// Part returns the cursor of part i of parts. Parts of one seed give the same moments again.
func (s Schedule) Part(i, parts int, seed uint64) *Cursor {
	c := &Cursor{schedule: s, parts: float64(parts), n: float64(i)}
	if s.Poisson {
		c.random = rand.New(rand.NewPCG(seed, uint64(i)))
		c.n = c.random.ExpFloat64() * c.parts
	}
	return c
}

// Next returns when the next request is due, from the schedule's beginning on; false after the last.
func (c *Cursor) Next() (due time.Duration, ok bool) {
	for c.step < len(c.schedule.Steps) {
		step := c.schedule.Steps[c.step]
		if count := step.count(); c.n >= c.before+count {
			c.before += count
			c.began += step.For
			c.step++
			continue
		}
		due = c.began + step.at(c.n-c.before)
		if c.random == nil {
			c.n += c.parts
		} else {
			c.n += c.random.ExpFloat64() * c.parts
		}
		return due, true
	}
	return 0, false
}
