package lean

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Collect sets by how many percent the heap grows between collections: by many where it is small beside its machine. GOGC
// and GOMEMLIMIT go before it; it reports whether neither is set.
func Collect(percent int) bool {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return false
	}
	debug.SetGCPercent(percent)
	return true
}

// Bound keeps the process's memory below roomy bytes, from which on memory is worth more than time, until ctx ends. Where
// more than that lives, the bound goes up with it, to half as much again: at a bound that is reached by what lives the
// runtime would collect without end.
func Bound(ctx context.Context, roomy int64, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for set := int64(0); ; {
		metrics.Read(sample)
		live := int64(sample[0].Value.Uint64())
		if most := max(roomy, live+live/2); most != set {
			debug.SetMemoryLimit(most)
			set = most
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Started gives back to the system what a process has needed to start. Garbage takes two rounds: a sync.Pool keeps what it
// holds through the first.
func Started() error {
	runtime.GC()
	debug.FreeOSMemory()
	_, err := Program()
	return err
}
