package lease

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineClock is CLOCK_BOOTTIME. Unlike Go's own monotonic clock it goes on while the machine sleeps: a holder that
// wakes up must know that its lease is over.
func machineClock() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}
