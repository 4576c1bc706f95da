package council

import (
	"slices"
	"sync"
	"time"
)

// clocks compares the agencies' clocks with this machine's, from what they sign. A proposal bears its proposer's clock
// as it is. A vote bears the voter's, but never less than the block's time and a millisecond, so it shows a clock that
// is ahead at once, and one that is behind by too little. Both arrive some milliseconds old.
type clocks struct {
	mu    sync.Mutex
	votes map[string]*window
	props map[string]*window
}

// window keeps the last differences; their median is not moved by a single message that was long on its way.
type window struct {
	diffs [5]time.Duration
	n     int
	last  time.Time
}

func newClocks() *clocks { return &clocks{votes: map[string]*window{}, props: map[string]*window{}} }

// vote notes that an agency signed a vote with that time, which arrived now.
func (c *clocks) vote(agency string, signed, now time.Time) { c.note(c.votes, agency, signed, now) }

// proposal notes the same of a proposal.
func (c *clocks) proposal(agency string, signed, now time.Time) { c.note(c.props, agency, signed, now) }

func (c *clocks) note(in map[string]*window, agency string, signed, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := in[agency]
	if w == nil {
		w = new(window)
		in[agency] = w
	}
	w.diffs[w.n%len(w.diffs)] = signed.Sub(now)
	w.n++
	w.last = now
}

// ahead returns by how much an agency's clock is ahead of ours (negative: behind) and when that was seen; zero times
// where fewer than three messages were.
func (c *clocks) ahead(agency string) (time.Duration, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	vote, voted := c.votes[agency].median()
	prop, proposed := c.props[agency].median()
	last := latest(c.votes[agency], c.props[agency])
	switch {
	case proposed && (!voted || prop.Abs() > vote.Abs()):
		return prop, last
	case voted:
		return vote, last
	}
	return 0, time.Time{}
}

func (w *window) median() (time.Duration, bool) {
	if w == nil || w.n < 3 {
		return 0, false
	}
	d := slices.Clone(w.diffs[:min(w.n, len(w.diffs))])
	slices.Sort(d)
	return d[len(d)/2], true
}

func latest(windows ...*window) (t time.Time) {
	for _, w := range windows {
		if w != nil && w.last.After(t) {
			t = w.last
		}
	}
	return t
}
