package house

import (
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
			{"set ahead: it is followed", 0, time.Hour, time.Hour + time.Minute + 3*time.Second},
			{"and never left again", time.Second, 0, time.Hour + time.Minute + 4*time.Second},
		} {
			time.Sleep(step.pass) // the bubble's clock: it passes at once
			shift = step.shift
			if got := c.Now().Sub(start); got != step.want {
				t.Errorf("%s: %v since the start; want %v", step.what, got, step.want)
			}
		}
	})
}
