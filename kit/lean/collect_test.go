package lean

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// The bound goes up with what lives, and down again.
func TestBound(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	const roomy = 64 << 20
	wg.Go(func() { Bound(ctx, roomy, time.Millisecond) })
	await := func(what string, ok func(limit int64) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(debug.SetMemoryLimit(-1)); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the limit is %d", what, debug.SetMemoryLimit(-1))
			}
			runtime.GC()
		}
	}
	await("little lives", func(limit int64) bool { return limit == roomy })
	much := make([]byte, 2*roomy)
	await("much lives", func(limit int64) bool { return limit >= 3*roomy && limit < 4*roomy })
	runtime.KeepAlive(much)
	await("it is gone", func(limit int64) bool { return limit == roomy })
}

func TestGOGCGoesBefore(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "1")
			if Collect(30) {
				t.Errorf("%s was set", name)
			}
		})
	}
	if now := debug.SetGCPercent(100); now != 100 {
		t.Errorf("collects at %d", now)
	}
	if !Collect(30) || debug.SetGCPercent(100) != 30 {
		t.Error("was not set")
	}
}
