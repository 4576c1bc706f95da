package house

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However many ask, the signer is asked once a second.
func TestAProbeAsksOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		var asked, wrong atomic.Int32
		p := &probe{ask: func(context.Context) error {
			asked.Add(1)
			return away
		}}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if !errors.Is(p.do(), away) {
					wrong.Add(1)
				}
			})
		}
		all.Wait()
		if asked.Load() != 1 || wrong.Load() != 0 {
			t.Errorf("asked %d times, and %d heard something else", asked.Load(), wrong.Load())
		}
		away = nil
		if p.do() == nil {
			t.Error("it was asked again at once")
		}
		time.Sleep(time.Second)
		if err := p.do(); err != nil || asked.Load() != 2 {
			t.Errorf("a second later: %v, asked %d times", err, asked.Load())
		}
	})
}
