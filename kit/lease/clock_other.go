//go:build !linux

package lease

import "time"

var began = time.Now()

// machineClock is Go's monotonic clock.
func machineClock() time.Duration { return time.Since(began) }
