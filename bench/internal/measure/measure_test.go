package measure

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used time.Duration
		m := Meter{"server": func() time.Duration { return used }}
		s, err := Closed(t.Context(), 1, time.Second, m, func(context.Context, int) error {
			time.Sleep(10 * time.Millisecond) // the operation
			used += time.Millisecond
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Ops != 100 || s.Rate() != 100 || s.CPU["server"] != 1000 || s.Load != "1 in flight" {
			t.Errorf("%+v, %v/s", s, s.Rate())
		}
		if s.P50 < 9.99 || s.P99 > 10.02 {
			t.Errorf("latencies of 10 ms are %v and %v", s.P50, s.P99)
		}
	})
}

func TestClosedEndsWithTheFirstError(t *testing.T) {
	want := errors.New("no")
	if _, err := Closed(t.Context(), 4, time.Hour, nil, func(context.Context, int) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
