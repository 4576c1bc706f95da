package trend

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
)

// at returns goroutines that wait in a function under a route.
func at(route, function string, kind stack.Kind, count int) stack.Goroutines {
	g := stack.Goroutines{Kind: kind, Count: count, Stack: []stack.Frame{{Func: "shop." + function, File: "/src/shop/shop.go", Line: 12}}}
	if route != "" {
		g.Labels = map[string]string{leak.Route: route}
	}
	return g
}

var epoch = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

// snap returns a snapshot; counts are begun and ended of GET /x.
func snap(look int, begun, ended int64, groups ...stack.Goroutines) *leak.Snapshot {
	s := &leak.Snapshot{Format: leak.Format, Profile: "goroutine", Started: epoch, Taken: epoch.Add(time.Duration(look) * time.Second), Heap: 10 << 20, Descriptors: 20}
	for _, g := range groups {
		if g.Count > 0 {
			s.Goroutines += g.Count
			s.Groups = append(s.Groups, g)
		}
	}
	if begun >= 0 {
		s.Counts = []leak.Count{{Labels: map[string]string{leak.Route: "GET /x"}, Begun: begun, Ended: ended}}
	}
	return s
}

const x = "GET /x"

func TestVerdicts(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		look    func(i int) *leak.Snapshot
		want    Verdict
		reason  Reason
		kind    stack.Kind
		without bool // no finding at all
	}{
		"nothing happens": {func(i int) *leak.Snapshot { return snap(i, 0, 0, at("", "main", stack.Select, 60)) }, Clean, "", "", true},
		"one goroutine a request is left behind": {func(i int) *leak.Snapshot {
			return snap(i, int64(10*i), int64(10*i), at(x, "leak", stack.Receive, 10*i))
		}, Leak, Outlive, stack.Receive, false},
		"a slow one, under a load that swings": {func(i int) *leak.Snapshot {
			u := int64(noise.IntN(20))
			return snap(i, int64(1000*i)+u, int64(1000*i), at(x, "leak", stack.Select, 3*i), at(x, "work", stack.IO, int(u)))
		}, Leak, Outlive, stack.Select, false},
		"a burst, then silence": {func(i int) *leak.Snapshot {
			n := min(i, 2) * 20
			return snap(i, int64(n), int64(n), at(x, "leak", stack.Timer, n))
		}, Leak, Outlive, stack.Timer, false},
		"requests wait for a lock for ever": {func(i int) *leak.Snapshot {
			return snap(i, int64(5*i), 0, at(x, "locked", stack.Mutex, 5*i))
		}, Leak, Stuck, stack.Mutex, false},
		"requests wait to send for ever": {func(i int) *leak.Snapshot {
			return snap(i, int64(5*i), 0, at(x, "sends", stack.Send, 5*i))
		}, Leak, Stuck, stack.Send, false},
		"six a request": {func(i int) *leak.Snapshot {
			n := []int{0, 60, 60, 60, 60, 60, 60, 60}[i]
			return snap(i, int64(n/6), 0, at(x, "fan", stack.Group, n))
		}, Leak, Rate, stack.Group, false},
		"three a request": {func(i int) *leak.Snapshot {
			n := []int{0, 60, 60, 60, 60, 60, 60, 60}[i]
			return snap(i, int64(n/3), 0, at(x, "fan", stack.Receive, n))
		}, Suspicious, Rate, stack.Receive, false},
		"streams come and stay": {func(i int) *leak.Snapshot {
			return snap(i, int64(20*i), 0, at(x, "stream", stack.Receive, 20*i), at(x, "beat", stack.Receive, 20*i))
		}, Clean, "", "", true},
		"a pool is filled": {func(i int) *leak.Snapshot {
			return snap(i, int64(500*i), int64(500*i), at(x, "pool", stack.Receive, min(i*40, 64)))
		}, Clean, "", "", true},
		"a load sets in and stays, and swings": {func(i int) *leak.Snapshot {
			u := int64(0)
			if i > 0 {
				u = 100 + int64(noise.IntN(56))
			}
			return snap(i, int64(5000*i)+u, int64(5000*i), at(x, "work", stack.Select, int(u)), at(x, "after", stack.Receive, noise.IntN(80)))
		}, Clean, "", "", true},
		"every request has many, and ever more are under way": {func(i int) *leak.Snapshot {
			return snap(i, int64(1000*i+20*i), int64(1000*i), at(x, "fan", stack.Receive, 200*i))
		}, Suspicious, Outlive, stack.Receive, false},
		"nobody counts, and sends pile up":    {func(i int) *leak.Snapshot { return snap(i, -1, 0, at("", "sends", stack.Send, 9*i)) }, Leak, Growing, stack.Send, false},
		"nobody counts, and receives pile up": {func(i int) *leak.Snapshot { return snap(i, -1, 0, at("", "waits", stack.Receive, 9*i)) }, Suspicious, Growing, stack.Receive, false},
		"nobody counts, and connections come": {func(i int) *leak.Snapshot { return snap(i, -1, 0, at("", "conn", stack.IO, 9*i)) }, Clean, "", "", true},
		"timers pile up": {func(i int) *leak.Snapshot {
			s := snap(i, 0, 0)
			s.Timers = []leak.Timers{{Count: 10_000 * i, Stack: []stack.Frame{{Func: "shop.remind", File: "/src/shop/remind.go", Line: 7}}}}
			return s
		}, Leak, Timers, stack.Timer, false},
		"descriptors pile up": {func(i int) *leak.Snapshot { s := snap(i, 0, 0); s.Descriptors += 10 * i; return s }, Suspicious, Descriptors, "", false},
		"the heap grows":      {func(i int) *leak.Snapshot { s := snap(i, 0, 0); s.Heap += uint64(i) << 24; return s }, Suspicious, Heap, "", false},
		"the heap is a saw":   {func(i int) *leak.Snapshot { s := snap(i, 0, 0); s.Heap += uint64(i%3) << 26; return s }, Clean, "", "", true},
		"ever more wait in a select": {func(i int) *leak.Snapshot {
			s := snap(i, int64(30*i), 0, at(x, "stream", stack.Select, 60+30*i))
			return s
		}, Suspicious, Parked, "", false},
	} {
		var s Series
		for i := range 8 {
			s.Add(c.look(i))
		}
		r := s.Judge()
		if r.Verdict != c.want || c.without != (len(r.Findings) == 0) {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
			continue
		}
		if !c.without && (r.Findings[0].Reason != c.reason || r.Findings[0].Kind != c.kind) {
			t.Errorf("%s: %+v", name, r.Findings[0])
		}
	}
}

func TestTheRuntimesOwnFindings(t *testing.T) {
	leaked := func(n int, route string) *leak.Snapshot {
		g := at(route, "leak", stack.Send, n)
		g.Leaked = n
		s := snap(0, 0, 0, g)
		s.Profile = "leak"
		return s
	}
	for name, c := range map[string]struct {
		before, after *leak.Snapshot
		want          Verdict
	}{
		"none":                         {leaked(0, x), leaked(0, x), Clean},
		"one more":                     {leaked(0, ""), leaked(1, ""), Leak},
		"of a request, from before":    {leaked(1, x), leaked(1, x), Leak},
		"alone, nobody's, from before": {leaked(1, ""), leaked(1, ""), Suspicious},
	} {
		var s Series
		s.Add(c.before)
		for i := range 6 { // the trend sees them, too, and does not tell twice
			n := 0
			if c.want == Leak {
				n = 10 * i
			}
			s.Add(snap(i, int64(10*i), int64(10*i), at(route(c.after), "leak", stack.Receive, n)))
		}
		s.Add(c.after)
		r := s.Judge()
		if r.Verdict != c.want || !r.Profile || len(r.Findings) > 1 {
			t.Errorf("%s: %s %+v", name, r.Verdict, r.Findings)
		}
	}
}

func route(s *leak.Snapshot) string {
	if len(s.Groups) == 0 {
		return x
	}
	return s.Groups[0].Labels[leak.Route]
}

func TestStacksAreKeptAboveFiveARequest(t *testing.T) {
	var s Series
	for i := range 4 {
		s.Add(snap(i, int64(10*i), int64(10*i), at(x, "leak", stack.Receive, 51*i), at("GET /y", "other", stack.Send, 3)))
	}
	r := s.Judge()
	for _, task := range r.Tasks {
		if want := task.Labels[leak.Route] == x; task.Keep != want {
			t.Errorf("%+v", task)
		}
	}
	if sites := s.Stacks(map[string]string{leak.Route: x}); len(sites) != 1 || !strings.HasSuffix(sites[0].Func, "leak") || sites[0].Count != 153 {
		t.Errorf("%+v", sites)
	}
}

func TestARestartBeginsAnew(t *testing.T) {
	var s Series
	for i := range 4 {
		s.Add(snap(i, int64(10*i), int64(10*i), at(x, "leak", stack.Receive, 10*i)))
	}
	again := snap(9, 0, 0)
	again.Started = epoch.Add(time.Hour)
	s.Add(again)
	if r := s.Judge(); r.Looks != 1 || r.Restarts != 1 || r.Verdict != Clean {
		t.Errorf("%+v", r)
	}
}

func TestAWatchWithoutEndIsBounded(t *testing.T) {
	var s Series
	for i := range 10 * maxLooks {
		s.Add(snap(i, int64(i), int64(i), at(x, "leak", stack.Receive, i)))
	}
	if r := s.Judge(); r.Looks > maxLooks || r.Verdict != Leak || r.Findings[0].Growth != 10*maxLooks-1 {
		t.Errorf("%d looks, %+v", r.Looks, r.Findings)
	}
}
