package council

import (
	"testing"
	"time"
)

func TestClocks(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := newClocks()
	feed := func(note func(string, time.Time, time.Time), agency string, diffs ...time.Duration) {
		for i, d := range diffs {
			at := now.Add(time.Duration(i) * time.Second)
			note(agency, at.Add(d), at)
		}
	}
	const ms = time.Millisecond
	feed(c.vote, "right", -2*ms, -3*ms, -4*ms, -3*ms)
	feed(c.vote, "new", time.Hour, time.Hour)
	feed(c.vote, "late once", -2*ms, -time.Hour, -3*ms, -2*ms, -time.Hour)
	feed(c.vote, "ahead", 10*time.Minute, 10*time.Minute, 10*time.Minute)
	// Behind: a vote never shows more than the age of the block's time, a proposal shows it all.
	feed(c.vote, "behind", -5*time.Second, -4*time.Second, -5*time.Second)
	feed(c.proposal, "behind", -10*time.Minute, -10*time.Minute, -10*time.Minute)
	feed(c.proposal, "set right", -10*time.Minute, -10*time.Minute, -10*time.Minute, -ms, -ms, -ms)
	for _, want := range []struct {
		agency string
		ahead  time.Duration
		seen   time.Time
	}{
		{"right", -3 * ms, now.Add(3 * time.Second)},
		{"new", 0, time.Time{}},
		{"unheard", 0, time.Time{}},
		{"late once", -3 * ms, now.Add(4 * time.Second)},
		{"ahead", 10 * time.Minute, now.Add(2 * time.Second)},
		{"behind", -10 * time.Minute, now.Add(2 * time.Second)},
		{"set right", -ms, now.Add(5 * time.Second)},
	} {
		if ahead, seen := c.ahead(want.agency); ahead != want.ahead || !seen.Equal(want.seen) {
			t.Errorf("%s: %v ahead, seen %v; want %v, %v", want.agency, ahead, seen, want.ahead, want.seen)
		}
	}
}
