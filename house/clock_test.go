package house

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestClockNeverStepsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shift := time.Duration(0)
		c := newClock()
		c.wall = func(now time.Time) time.Time { return now.Round(0).Add(shift) }
		start := c.Now()
		for _, step := range []struct {
			what        string
			pass, shift time.Duration
			want        time.Duration // since start
		}{
			{"as the machine's clock", time.Second, 0, time.Second},
			{"set back an hour: time goes on", time.Second, -time.Hour, 2 * time.Second},
			{"still set back", time.Minute, -time.Hour, time.Minute + 2*time.Second},
			{"set right again", time.Second, 0, time.Minute + 3*time.Second},
			{"a little ahead: it is followed", 0, time.Minute, 2*time.Minute + 3*time.Second},
			{"and never left again", time.Second, 0, 2*time.Minute + 4*time.Second},
		} {
			time.Sleep(step.pass) // the bubble's clock: it passes at once
			shift = step.shift
			if got := c.Now().Sub(start); got != step.want {
				t.Errorf("%s: %v since the start; want %v", step.what, got, step.want)
			}
		}
	})
}

func TestALeapAheadMustLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shift := time.Duration(0)
		var told []bool
		c := newClock()
		c.wall = func(now time.Time) time.Time { return now.Round(0).Add(shift) }
		c.leapt = func(_ time.Duration, ok bool) { told = append(told, ok) }
		start, passed := c.Now(), time.Duration(0)
		const days = 240 * time.Hour
		for _, step := range []struct {
			what        string
			pass, shift time.Duration
			want        time.Duration // beyond what has passed
		}{
			{"ten days ahead", time.Second, days, 0},
			{"for half a minute", 30 * time.Second, days, 0},
			{"and set right", time.Second, 0, 0},
			{"ahead again: it counts anew", time.Hour, days, 0},
			{"nearly long enough", leapWait - time.Second, days, 0},
			{"long enough: that is the time", time.Second, days, days},
			{"which never goes back", time.Second, 0, days},
		} {
			time.Sleep(step.pass)
			passed += step.pass
			shift = step.shift
			if got := c.Now().Sub(start); got != passed+step.want {
				t.Errorf("%s: %v since the start; want %v", step.what, got, passed+step.want)
			}
		}
		if want := []bool{false, false, true}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}
