package house

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// collect sets by how many percent the heap grows between collections: by many where it is small beside its machine. GOGC
// and GOMEMLIMIT go before it; it reports whether neither is set.
func collect(getenv func(string) string, percent int) bool {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return false
	}
	debug.SetGCPercent(percent)
	return true
}

// bound keeps the process's memory below roomy bytes, from which on memory is worth more than time, until ctx ends. Where
// more than that lives, the bound goes up with it, to half as much again: at a bound that is reached by what lives the
// runtime would collect without end.
func bound(ctx context.Context, roomy int64, every time.Duration) {
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
