package house

import (
	"sync/atomic"
	"time"
)

// clock is the machine's clock without its steps: it goes on by the monotonic clock from the latest time seen, and
// follows the machine's clock when that is ahead. One that was set ahead by more than a leap is believed once it has
// stayed there for a while. Time-outs, order and identifiers then survive a clock set back while the house runs, and a
// moment's wrong time ahead does not end what has days to go.
type clock struct {
	base   time.Time // with its monotonic reading
	offset atomic.Int64
	since  atomic.Int64                       // when the machine's clock leapt ahead, after base; 0 where it has not
	wall   func(now time.Time) time.Time      // the machine's clock, without a monotonic reading
	wait   time.Duration                      // how long a leap must last
	leapt  func(ahead time.Duration, ok bool) // a leap was seen, or is believed
}

const (
	leap     = time.Minute
	leapWait = time.Minute
)

func newClock() *clock {
	return &clock{base: time.Now(), wait: leapWait, wall: func(now time.Time) time.Time { return now.Round(0) }, leapt: func(time.Duration, bool) {}}
}

// Now returns the time.
func (c *clock) Now() time.Time {
	now := time.Now()
	passed := now.Sub(c.base)
	steady := c.base.Round(0).Add(passed)
	ahead := int64(c.wall(now).Sub(steady))
	offset := c.offset.Load()
	if c.believes(time.Duration(ahead-offset), passed) {
		for offset < ahead {
			if c.offset.CompareAndSwap(offset, ahead) && time.Duration(ahead-offset) > leap {
				c.leapt(time.Duration(ahead-offset), true)
			}
			offset = c.offset.Load()
		}
	}
	return steady.Add(time.Duration(offset))
}

// believes reports whether the machine's clock is to be followed, which is ahead of this one by some time. Passed is the
// time since base.
func (c *clock) believes(ahead, passed time.Duration) bool {
	since := c.since.Load()
	switch {
	case ahead <= leap:
		if since != 0 {
			c.since.CompareAndSwap(since, 0)
		}
		return ahead > 0
	case since == 0 && c.wait > 0:
		if c.since.CompareAndSwap(0, max(int64(passed), 1)) {
			c.leapt(ahead, false)
		}
		return false
	}
	return int64(passed)-since >= int64(c.wait)
}
