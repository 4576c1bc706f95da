// Package bustest holds every bus to the little that package bus promises, and has a bus that keeps no more than that.
package bustest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
)

// Exercise holds an adapter to the contract of package bus.
func Exercise(t *testing.T, open func(t *testing.T) bus.Bus) {
	t.Run("one member of each group gets a message", func(t *testing.T) {
		b := open(t)
		got := make(chan string, 100)
		for _, group := range []string{"a", "a", "b"} {
			cancel, err := b.Subscribe("topic", group, func(_ context.Context, m bus.Message) {
				got <- group + " " + m.Key + " " + m.Header["h"] + " " + string(m.Body)
			})
			if err != nil {
				t.Fatal(err)
			}
			defer cancel()
		}
		if err := b.Publish(t.Context(), "topic", bus.Message{Key: "k", Header: map[string]string{"h": "琼"}, Body: []byte("body")}); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), "other", bus.Message{}); err != nil {
			t.Errorf("publishing to nobody: %v", err)
		}
		seen := map[string]int{}
		for range 2 {
			select {
			case m := <-got:
				seen[m]++
			case <-time.After(10 * time.Second):
				t.Fatalf("only %v arrived", seen)
			}
		}
		if seen["a k 琼 body"] != 1 || seen["b k 琼 body"] != 1 {
			t.Errorf("arrived: %v", seen)
		}
	})
	t.Run("nothing is handled after cancel", func(t *testing.T) {
		b := open(t)
		var mu sync.Mutex
		cancelled := false
		cancel, err := b.Subscribe("topic", "g", func(context.Context, bus.Message) {
			mu.Lock()
			defer mu.Unlock()
			if cancelled {
				t.Error("handled after cancel")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := b.Publish(t.Context(), "topic", bus.Message{Key: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		mu.Lock()
		cancelled = true
		mu.Unlock()
		cancel() // twice is once
	})
	t.Run("a closed bus says so", func(t *testing.T) {
		b := open(t)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), "topic", bus.Message{}); err == nil {
			t.Error("published")
		}
	})
}

// Faulty is a bus that loses, duplicates and reorders, each with the given probability.
type Faulty struct {
	bus.Bus
	Lose, Duplicate, Reorder float64

	mu   sync.Mutex
	rand *rand.Rand
	late []func()
}

// NewFaulty wraps b with faults drawn from seed.
func NewFaulty(b bus.Bus, seed uint64, lose, duplicate, reorder float64) *Faulty {
	return &Faulty{Bus: b, Lose: lose, Duplicate: duplicate, Reorder: reorder, rand: rand.New(rand.NewPCG(seed, 0))}
}

// Publish implements bus.Bus, after a fashion.
func (f *Faulty) Publish(ctx context.Context, topic string, m bus.Message) error {
	f.mu.Lock()
	lose, twice, later := f.rand.Float64() < f.Lose, f.rand.Float64() < f.Duplicate, f.rand.Float64() < f.Reorder
	send := func() { _ = f.Bus.Publish(ctx, topic, m) } // a failure is one more lost message
	var now []func()
	if !lose {
		now = append(now, send)
		if twice {
			now = append(now, send)
		}
	}
	if later {
		now, f.late = nil, append(f.late, now...)
	} else if len(f.late) > 0 && f.rand.IntN(2) == 0 {
		now, f.late = append(now, f.late...), nil // what was held back comes after what came later
	}
	f.mu.Unlock()
	for _, f := range now {
		f()
	}
	return nil
}
