package signer

import "time"

// bucket allows so many signatures a second, and as many at once after a quiet second.
type bucket struct {
	rate float64 // a second; 0 for any
	left float64
	at   time.Time
}

// take returns 0 where one more is allowed, and otherwise how long it takes until it is.
func (b *bucket) take(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if b.at.IsZero() {
		b.left = b.rate
	} else {
		b.left = min(b.rate, b.left+now.Sub(b.at).Seconds()*b.rate)
	}
	if b.at = now; b.left < 1 {
		return max(time.Duration((1-b.left)/b.rate*float64(time.Second)), time.Millisecond)
	}
	b.left--
	return 0
}
