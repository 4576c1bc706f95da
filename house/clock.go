package house

import (
	"sync/atomic"
	"time"
)

// clock is the machine's clock without its steps back: it goes on by the monotonic clock from the latest time seen, and
// follows the machine's clock when that is ahead. Time-outs, order and identifiers then survive a clock set back while
// the house runs.
type clock struct {
	base   time.Time // with its monotonic reading
	offset atomic.Int64
	wall   func(now time.Time) time.Time // the machine's clock, without a monotonic reading
}

func newClock() *clock {
	return &clock{base: time.Now(), wall: func(now time.Time) time.Time { return now.Round(0) }}
}

// Now returns the time.
func (c *clock) Now() time.Time {
	now := time.Now()
	steady := c.base.Round(0).Add(now.Sub(c.base))
	ahead := int64(c.wall(now).Sub(steady))
	offset := c.offset.Load()
	for offset < ahead && !c.offset.CompareAndSwap(offset, ahead) {
		offset = c.offset.Load()
	}
	return steady.Add(time.Duration(max(offset, ahead)))
}
