package lease

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// limit is how wrong the rates of clocks may be.
const limit = 0.02

func TestOneHolderWhatEverHappens(t *testing.T) {
	seeds := 3000
	if testing.Short() || raceEnabled {
		seeds = 300
	}
	var grants, acked, next atomic.Int64
	t.Run("worlds", func(t *testing.T) {
		for i := range min(runtime.GOMAXPROCS(0), 4) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1); seed <= int64(seeds) && !t.Failed(); seed = next.Add(1) {
					synctest.Test(t, func(t *testing.T) {
						g, a := runWorld(uint64(seed), limit, func(format string, args ...any) {
							t.Errorf("seed %d: %s", seed, fmt.Sprintf(format, args...))
						})
						grants.Add(int64(g))
						acked.Add(int64(a))
					})
				}
			})
		}
	})
	t.Logf("%d worlds: a lease was granted %d times, %d records were acknowledged", seeds, grants.Load(), acked.Load())
	if grants.Load() < int64(4*seeds) || acked.Load() < int64(10*seeds) {
		t.Error("too little happened to prove anything")
	}
}

// The worlds can find a fault: with clocks far beyond the limit two hold the lease at once.
func TestWorldsFindClocksBeyondTheLimit(t *testing.T) {
	var found atomic.Bool
	for seed := uint64(1); seed <= 300 && !found.Load(); seed++ {
		synctest.Test(t, func(*testing.T) {
			runWorld(seed, 10*limit, func(string, ...any) { found.Store(true) })
		})
	}
	if !found.Load() {
		t.Error("300 worlds found nothing")
	}
}
