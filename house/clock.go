package house

import (
	"sync"
	"time"
)

// clock is the machine's clock without its steps back: it goes on by the monotonic clock from the latest time seen, and
// follows the machine's clock when that is ahead. Time-outs, order and identifiers then survive a clock set back while
// the house runs.
type clock struct {
	mu     sync.Mutex
	base   time.Time // with its monotonic reading
	offset time.Duration
	wall   func() time.Time // the machine's clock, without a monotonic reading
}

func newClock() *clock {
	return &clock{base: time.Now(), wall: func() time.Time { return time.Now().Round(0) }}
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	steady := c.base.Round(0).Add(time.Since(c.base))
	c.offset = max(c.offset, c.wall().Sub(steady))
	return steady.Add(c.offset)
}
