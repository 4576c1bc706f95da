package room

import (
	"testing"
	"time"
)

// plant is an engine with a rate and people who take some time from their admission to their request.
type plant struct {
	c        controller
	capacity float64 // requests a second
	think    int     // ticks
	each     int     // requests of one person
	coming   []int   // requests by tick to come
	depth    float64
	served   float64
	now      time.Time
}

const tick = 50 * time.Millisecond

func newPlant(t testing.TB, in Inlet, capacity float64, think time.Duration) *plant {
	t.Helper()
	c, err := in.controller()
	must(t, err)
	return &plant{c: c, capacity: capacity, think: int(think / tick), each: 1, coming: make([]int, think/tick+1), now: opens}
}

// step lets one tick pass and returns how many went in.
func (p *plant) step(waiting, stock int) int {
	p.now = p.now.Add(tick)
	arrived := p.coming[0]
	p.coming = append(p.coming[1:], 0)
	p.depth += float64(arrived)
	done := min(p.depth, p.capacity*tick.Seconds())
	p.depth -= done
	p.served += done
	n := p.c.allow(p.now, Signal{Depth: int(p.depth), Served: uint64(p.served), Stock: stock}, waiting, 0)
	p.coming[p.think] += n * p.each
	return n
}

// Whatever the engine's rate and people's slowness, the inlet finds the rate and keeps the queue short.
func TestInletFindsTheRate(t *testing.T) {
	for _, capacity := range []float64{20, 400, 8000, 50_000} {
		for _, think := range []time.Duration{0, time.Second, 4 * time.Second} {
			p := newPlant(t, Inlet{}, capacity, think)
			worst := 0.0
			for range 60 * 20 { // a minute to find it
				p.step(1<<30, -1)
				worst = max(worst, p.depth)
			}
			if worst > max(capacity*10, 400) {
				t.Errorf("%.0f/s with %v of thinking: %.0f waited before it at the beginning", capacity, think, worst)
			}
			before, over := p.served, 0
			worst = 0
			const ticks = 5 * 60 * 20
			for range ticks {
				p.step(1<<30, -1)
				worst = max(worst, p.depth)
				if p.depth > capacity {
					over++
				}
			}
			use := (p.served - before) / (capacity * ticks * tick.Seconds())
			if use < 0.8 {
				t.Errorf("%.0f/s with %v of thinking is used for %.2f", capacity, think, use)
			}
			if worst > max(capacity*4, 200) {
				t.Errorf("%.0f/s with %v of thinking: %.0f waited before it", capacity, think, worst)
			}
		}
	}
}

// People who each cause several requests are let in more slowly.
func TestInletLearnsTheShare(t *testing.T) {
	for _, each := range []int{2, 5} {
		p := newPlant(t, Inlet{}, 2000, time.Second)
		p.each = each
		for range 120 * 20 {
			p.step(1<<30, -1)
		}
		before, worst := p.served, 0.0
		const ticks = 300 * 20
		for range ticks {
			p.step(1<<30, -1)
			worst = max(worst, p.depth)
		}
		if use := (p.served - before) / (p.capacity * ticks * tick.Seconds()); use < 0.7 || worst > 4*p.capacity {
			t.Errorf("with %d requests each the engine is used for %.2f, and up to %.0f waited", each, use, worst)
		}
	}
}

// An engine that slows down is relieved, and one that is fast again is used again.
func TestInletFollowsTheEngine(t *testing.T) {
	p := newPlant(t, Inlet{}, 5000, time.Second)
	for range 60 * 20 {
		p.step(1<<30, -1)
	}
	p.capacity = 500
	for range 60 * 20 {
		p.step(1<<30, -1)
	}
	if p.c.rate > 1000 || p.depth > 5000 {
		t.Errorf("a minute after it slowed down to 500/s the rate is %.0f/s and %.0f wait", p.c.rate, p.depth)
	}
	p.capacity = 5000
	for range 180 * 20 {
		p.step(1<<30, -1)
	}
	if p.c.rate < 2500 {
		t.Errorf("three minutes after it is fast again the rate is %.0f/s", p.c.rate)
	}
}

// A quiet hour is not saved up for a rush.
func TestInletDoesNotWindUp(t *testing.T) {
	for name, quiet := range map[string]func(p *plant) int{
		"nobody waits":   func(p *plant) int { return p.step(0, -1) },
		"nothing to buy": func(p *plant) int { return p.step(1000, 0) },
	} {
		p := newPlant(t, Inlet{}, 1000, 0)
		rate := p.c.rate
		for range 3600 * 20 {
			if n := quiet(p); n != 0 {
				t.Fatalf("%s: %d went in", name, n)
			}
		}
		if p.c.rate != rate || p.c.credit > 1 {
			t.Errorf("%s: after an hour the rate is %.0f, was %.0f, with a credit of %.0f", name, p.c.rate, rate, p.c.credit)
		}
		if n := p.step(1000, -1); n > int(rate*tick.Seconds())+1 {
			t.Errorf("%s: then %d went in at once", name, n)
		}
	}
}

func TestInletAndStock(t *testing.T) {
	c, err := Inlet{Start: 1000, Factor: 1.5}.controller()
	must(t, err)
	c.allow(opens, Signal{Stock: 10}, 0, 0)
	for _, s := range []struct{ stock, unused, want int }{{10, 0, 15}, {10, 14, 1}, {10, 15, 0}, {10, 100, 0}, {0, 0, 0}, {-1, 1 << 20, 1000}} {
		c.credit, c.rate = 1000, 1000
		c.last = opens
		if n := c.allow(opens, Signal{Stock: s.stock}, 5000, s.unused); n != s.want {
			t.Errorf("%d left and %d on their way: %d went in, want %d", s.stock, s.unused, n, s.want)
		}
	}
}

// A clock that is set, back or forward, neither stops the inlet nor bursts it.
func TestInletAndTheClock(t *testing.T) {
	for name, by := range map[string]time.Duration{"back a day": -24 * time.Hour, "forward a day": 24 * time.Hour, "back a second": -time.Second} {
		c, err := Inlet{Start: 100, Ceiling: 100}.controller()
		must(t, err)
		now, after := opens, 0
		for i := range 200 {
			now = now.Add(tick)
			if i == 100 {
				now = now.Add(by)
			}
			n := c.allow(now, Signal{Stock: -1, Served: uint64(5 * i)}, 1<<20, 0)
			if n > 101 {
				t.Errorf("%s: %d went in at once", name, n)
			}
			if i > 101 {
				after += n
			}
		}
		if after < 400 {
			t.Errorf("%s: only %d went in after it", name, after)
		}
	}
}
