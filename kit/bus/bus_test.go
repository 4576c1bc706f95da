package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/bus/bustest"
)

func TestLocal(t *testing.T) {
	bustest.Exercise(t, func(*testing.T) bus.Bus { return bus.NewLocal() })
}

func TestASlowSubscriberMissesMessagesAndHoldsNobodyUp(t *testing.T) {
	b := bus.NewLocal()
	release := make(chan struct{})
	cancel, err := b.Subscribe("t", "slow", func(context.Context, bus.Message) { <-release })
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if err := b.Publish(t.Context(), "t", bus.Message{}); err != nil {
			t.Fatal(err)
		}
	}
	if b.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	close(release)
	cancel()
}

// The faulty bus must really lose, duplicate and reorder, or what passes under it proves nothing.
func TestFaultyIsFaulty(t *testing.T) {
	b := bus.NewLocal()
	f := bustest.NewFaulty(b, 1, 0.2, 0.2, 0.2)
	got := make(chan string, 5000)
	cancel, err := b.Subscribe("t", "g", func(_ context.Context, m bus.Message) { got <- m.Key })
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	const n = 1000
	for i := range n {
		if err := f.Publish(t.Context(), "t", bus.Message{Key: strings.Repeat("x", i)}); err != nil {
			t.Fatal(err)
		}
	}
	seen, last, disorder, twice := map[string]bool{}, -1, 0, 0
	for quiet := false; !quiet; {
		select {
		case k := <-got:
			if len(k) < last {
				disorder++
			}
			if seen[k] {
				twice++
			}
			seen[k], last = true, len(k)
		case <-time.After(200 * time.Millisecond):
			quiet = true
		}
	}
	if lost := n - len(seen); lost < n/10 || twice < n/20 || disorder < n/20 {
		t.Errorf("%d lost, %d twice, %d out of order", lost, twice, disorder)
	}
}
