// Package trend judges from snapshots of a process, taken one after the other, what in it leaks: goroutines that the
// runtime has found blocked for ever, and what only grows. It is pure: the same snapshots give the same verdict.
//
// Growth counts only where it goes on through the whole watch: the looks are cut into quarters, and a series rises where
// all of each quarter is above all of the one before. A cache that fills, a pool that is opened, a load that sets in and
// stays, and the noise of requests under way do not rise.
package trend

import (
	"maps"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
)

// maxLooks bounds the memory of a watch without end: where there would be more, every second one is forgotten.
const maxLooks = 400

// minLooks is how many looks it takes to speak of a trend.
const minLooks = 4

// Series is a watch. The zero Series is ready.
type Series struct {
	looks  []look
	sites  map[string]*Site         // by key
	tasks  map[string]labels        // by label key
	made   map[string][]stack.Frame // makers of timers, by place
	before map[string]int           // found blocked for ever by the first leak profile, by site
	after  map[string]int           // and by the last
	first  *leak.Snapshot           // of the process that is watched
	last   *leak.Snapshot
	// Restarts counts how often the process began anew; the watch then begins anew, too.
	Restarts int
}

type labels = map[string]string

// look is what is kept of a snapshot.
type look struct {
	at                      time.Time
	goroutines, descriptors int
	heap                    uint64
	sites                   map[string]int        // goroutines by site
	counts                  map[string]leak.Count // by label key
	timers                  map[string]int        // by place
}

// Site is a place at which goroutines of one kind and label wait.
type Site struct {
	Labels labels        `json:"labels,omitempty"`
	Kind   stack.Kind    `json:"kind"`
	Func   string        `json:"func"`
	Place  string        `json:"place"`
	Count  int           `json:"count"`            // at the last look
	Growth int           `json:"growth"`           // since the first
	Leaked int           `json:"leaked,omitempty"` // found blocked for ever
	Stack  []stack.Frame `json:"stack"`
}

func (s *Site) key() string {
	return leak.Key(s.Labels) + "\x00" + string(s.Kind) + "\x00" + s.Func + "\x00" + s.Place
}

// where is the site whatever its goroutines wait for: a guess at the kind must not make two findings of one.
func (s *Site) where() string { return leak.Key(s.Labels) + "\x00" + s.Func + "\x00" + s.Place }

// Add takes a snapshot in. Those of another process, or of the same one begun anew, start the watch anew.
func (s *Series) Add(snap *leak.Snapshot) {
	if s.first != nil && !s.first.Started.Equal(snap.Started) {
		*s = Series{Restarts: s.Restarts + 1}
	}
	if s.sites == nil {
		s.sites, s.tasks, s.made = map[string]*Site{}, map[string]labels{}, map[string][]stack.Frame{}
	}
	found := s.count(snap)
	if snap.Profile == "leak" {
		if s.before == nil {
			s.before = found
		}
		s.after = found
		return
	}
	if s.first == nil {
		s.first = snap
	}
	s.last = snap
	l := look{at: snap.Taken, goroutines: snap.Goroutines, descriptors: snap.Descriptors, heap: snap.Heap, sites: found,
		counts: map[string]leak.Count{}, timers: map[string]int{}}
	for _, c := range snap.Counts {
		key := leak.Key(c.Labels)
		l.counts[key], s.tasks[key] = c, stack.Known(c.Labels)
	}
	for _, t := range snap.Timers {
		if len(t.Stack) > 0 {
			place := stack.Goroutines{Stack: t.Stack}.Site().Place()
			l.timers[place] += t.Count
			s.made[place] = t.Stack
		}
	}
	s.looks = append(s.looks, l)
	if len(s.looks) > maxLooks {
		kept := s.looks[:0]
		for i, l := range s.looks {
			if i%2 == 0 || i == len(s.looks)-1 {
				kept = append(kept, l)
			}
		}
		clear(s.looks[len(kept):])
		s.looks = kept
	}
}

// count returns the goroutines of a snapshot by site, and remembers the sites.
func (s *Series) count(snap *leak.Snapshot) map[string]int {
	found := map[string]int{}
	for _, g := range snap.Groups {
		at := g.Site()
		g.Labels = stack.Known(g.Labels)
		site := &Site{Labels: g.Labels, Kind: g.Kind, Func: at.Func, Place: at.Place(), Stack: g.Stack}
		key := site.key()
		if s.sites[key] == nil {
			s.sites[key] = site
			s.tasks[leak.Key(g.Labels)] = g.Labels
		}
		found[key] += g.Count
	}
	return found
}

// Looks returns how many snapshots of all goroutines there are.
func (s *Series) Looks() int { return len(s.looks) }

// of returns the series of what f takes from each look.
func (s *Series) of(f func(l look) int) []int {
	all := make([]int, len(s.looks))
	for i, l := range s.looks {
		all[i] = f(l)
	}
	return all
}

func (s *Series) site(key string) []int { return s.of(func(l look) int { return l.sites[key] }) }

// task returns the goroutines under a label that match, by look.
func (s *Series) task(key string, match func(*Site) bool) []int {
	var of []string
	for k, site := range s.sites {
		if leak.Key(site.Labels) == key && (match == nil || match(site)) {
			of = append(of, k)
		}
	}
	return s.of(func(l look) (n int) {
		for _, k := range of {
			n += l.sites[k]
		}
		return n
	})
}

// perRequest is how many goroutines a request that is under way may have without being noticed: its own, and the one that
// watches its connection or keeps its stream alive.
const perRequest = 2

// outlive returns the goroutines under a label beyond what requests under way account for, by look.
func (s *Series) outlive(key string) []int {
	all := s.task(key, nil)
	for i, l := range s.looks {
		c := l.counts[key]
		all[i] = max(0, all[i]-perRequest*int(c.Begun-c.Ended))
	}
	return all
}

// underWay returns by how many more requests are under way at the end than were at the beginning, at the least.
func (s *Series) underWay(key string) int {
	all := s.of(func(l look) int { return int(l.counts[key].Begun - l.counts[key].Ended) })
	if len(all) < minLooks {
		return 0
	}
	return max(0, slices.Min(quarter(all, minLooks-1))-slices.Min(quarter(all, 0)))
}

// begun returns how often a task was begun during the watch, and whether its beginnings are counted at all.
func (s *Series) begun(key string) (n int64, counted bool) {
	if len(s.looks) == 0 {
		return 0, false
	}
	last, counted := s.looks[len(s.looks)-1].counts[key]
	return last.Begun - s.looks[0].counts[key].Begun, counted
}

// rises reports whether a series grew by at least so much, through the whole watch.
func rises(series []int, least int) bool {
	if len(series) < minLooks || growth(series) < least {
		return false
	}
	for q := range minLooks - 1 {
		if slices.Max(quarter(series, q)) >= slices.Min(quarter(series, q+1)) {
			return false
		}
	}
	return true
}

func quarter(series []int, q int) []int {
	return series[q*len(series)/minLooks : (q+1)*len(series)/minLooks]
}

// growth returns the difference between the last look and the first.
func growth(series []int) int {
	if len(series) == 0 {
		return 0
	}
	return series[len(series)-1] - series[0]
}

// sorted returns the keys of m in order, so that reports of the same snapshots are the same.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Now returns the goroutines at the last look, and their growth since the first.
func (s *Series) Now() (n, grown int) {
	if len(s.looks) == 0 {
		return 0, 0
	}
	n = s.looks[len(s.looks)-1].goroutines
	return n, n - s.looks[0].goroutines
}
