package trend

import (
	"cmp"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
)

// Verdict is what a watch, or a finding of it, comes to.
type Verdict string

// The verdicts, from the least to the worst.
const (
	Clean      Verdict = "clean"
	Suspicious Verdict = "suspicious"
	Leak       Verdict = "leak"
)

// Reason is why something is a finding.
type Reason string

// The reasons.
const (
	Profile     Reason = "profile"     // the runtime found it blocked for ever
	Rate        Reason = "rate"        // goroutines by request: 6 or more are a leak, over 2 are suspicious
	Outlive     Reason = "outlive"     // goroutines that requests leave behind
	Stuck       Reason = "stuck"       // ever more wait to send, or for a lock
	Growing     Reason = "growing"     // ever more wait, and nobody counts requests
	Timers      Reason = "timers"      // ever more timers in use
	Parked      Reason = "parked"      // over 40 % wait in a select, and ever more do
	Heap        Reason = "heap"        // ever more memory
	Descriptors Reason = "descriptors" // ever more open files and connections
)

// The limits.
const (
	leakRate       = 6.0
	keepRate       = 5.0 // above it the stacks are kept in a file
	suspiciousRate = 2.0
	leastRequests  = 5
	leastGrowth    = 8 // goroutines
	parkedShare    = 0.40
	leastParked    = 50
	leastTimers    = 20_000
	leastHeap      = 16 << 20
	leastFiles     = 16
)

// Finding is something that leaks, or may.
type Finding struct {
	Verdict    Verdict       `json:"verdict"`
	Reason     Reason        `json:"reason"`
	Kind       stack.Kind    `json:"kind,omitempty"`
	Labels     labels        `json:"labels,omitempty"`
	Func       string        `json:"func,omitempty"`
	Place      string        `json:"place,omitempty"`
	Count      int           `json:"count"`  // at the end: goroutines, timers, bytes or descriptors
	Growth     int           `json:"growth"` // during the watch
	Requests   int64         `json:"requests,omitempty"`
	PerRequest float64       `json:"perRequest,omitempty"` // growth of all under the label by request
	Stack      []stack.Frame `json:"stack,omitempty"`
}

// Task is how a label fared.
type Task struct {
	Labels     labels  `json:"labels,omitempty"`
	Before     int     `json:"before"` // goroutines
	After      int     `json:"after"`
	Requests   int64   `json:"requests"`   // begun during the watch
	UnderWay   int64   `json:"underWay"`   // at the end
	PerRequest float64 `json:"perRequest"` // growth by request; 0 where there were none
	Select     float64 `json:"select"`     // share that waits in a select, at the end
	Keep       bool    `json:"keep,omitempty"`
}

// Format names the form of a report.
const Format = "qiong.leak.report/1"

// Report is what a watch comes to.
type Report struct {
	Format      string    `json:"format"`
	URL         string    `json:"url,omitempty"`
	Program     string    `json:"program"`
	Go          string    `json:"go"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Looks       int       `json:"looks"`
	Profile     bool      `json:"profile"` // whether the runtime's own leak profile was there
	Restarts    int       `json:"restarts,omitempty"`
	Verdict     Verdict   `json:"verdict"`
	Findings    []Finding `json:"findings"`
	Tasks       []Task    `json:"tasks"`
	Sites       []Site    `json:"sites"` // the most numerous at the end
	Goroutines  []int     `json:"goroutines"`
	Heap        []int     `json:"heap"`
	Descriptors []int     `json:"descriptors"`
	Select      float64   `json:"select"` // share of all goroutines that wait in a select, at the end
	Slowest     float64   `json:"slowestMillis,omitempty"`
	Kept        []string  `json:"kept,omitempty"` // files with stacks
}

// maxSites bounds how many sites a report tells.
const maxSites = 50

// Judge reports on the snapshots so far.
func (s *Series) Judge() *Report {
	r := &Report{Format: Format, Looks: len(s.looks), Profile: s.after != nil, Restarts: s.Restarts, Verdict: Clean, Findings: []Finding{}, Tasks: []Task{}, Sites: []Site{}}
	if s.last != nil {
		r.Program, r.Go, r.From, r.To = s.last.Program, s.last.Go, s.first.Taken, s.last.Taken
	}
	r.Goroutines = s.of(func(l look) int { return l.goroutines })
	r.Heap = s.of(func(l look) int { return int(l.heap) })
	r.Descriptors = s.of(func(l look) int { return l.descriptors })
	told := map[string]bool{} // where
	r.Findings = append(r.Findings, s.profiled(told)...)
	for _, key := range sorted(s.tasks) {
		task := s.fared(key)
		r.Tasks = append(r.Tasks, task)
		r.Findings = append(r.Findings, s.judgeTask(key, task, told)...)
	}
	r.Findings = append(r.Findings, s.timers()...)
	r.Findings = append(r.Findings, s.process(r)...)
	r.Sites = s.top()
	for _, f := range r.Findings {
		r.Verdict = worse(r.Verdict, f.Verdict)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(b.Verdict), rank(a.Verdict)), cmp.Compare(b.Growth, a.Growth))
	})
	return r
}

func rank(v Verdict) int { return slices.Index([]Verdict{Clean, Suspicious, Leak}, v) }

func worse(a, b Verdict) Verdict {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// profiled tells what the runtime found blocked for ever. What grew is a leak; what was there before and is one of many,
// or of a request's making, is one as well. A lone one that nobody claims may be there on purpose.
func (s *Series) profiled(told map[string]bool) (all []Finding) {
	for _, key := range sorted(s.after) {
		site, n := s.sites[key], s.after[key]
		f := s.finding(site, key, Leak, Profile)
		f.Count, f.Growth = n, n-s.before[key]
		if f.Growth <= 0 && n == 1 && len(site.Labels) == 0 {
			f.Verdict = Suspicious
		}
		told[site.where()] = true
		all = append(all, f)
	}
	return all
}

func (s *Series) finding(site *Site, key string, v Verdict, why Reason) Finding {
	series := s.site(key)
	f := Finding{Verdict: v, Reason: why, Kind: site.Kind, Labels: site.Labels, Func: site.Func, Place: site.Place, Stack: site.Stack, Growth: growth(series)}
	if len(series) > 0 {
		f.Count = series[len(series)-1]
	}
	f.Requests, _ = s.begun(leak.Key(site.Labels))
	if f.Requests > 0 {
		f.PerRequest = float64(growth(s.task(leak.Key(site.Labels), nil))) / float64(f.Requests)
	}
	return f
}

func (s *Series) fared(key string) Task {
	all := s.task(key, nil)
	selects := s.task(key, func(site *Site) bool { return site.Kind == stack.Select })
	t := Task{Labels: s.tasks[key]}
	if n := len(all); n > 0 {
		t.Before, t.After = all[0], all[n-1]
		c := s.looks[n-1].counts[key]
		t.UnderWay = c.Begun - c.Ended
		if t.After > 0 {
			t.Select = float64(selects[n-1]) / float64(t.After)
		}
	}
	if t.Requests, _ = s.begun(key); t.Requests > 0 {
		t.PerRequest = float64(t.After-t.Before) / float64(t.Requests)
	}
	t.Keep = t.PerRequest > keepRate && t.Requests >= leastRequests
	return t
}

// stuckKinds are those of goroutines that may be stuck for ever.
var stuckKinds = []stack.Kind{stack.Send, stack.Receive, stack.Select, stack.Timer, stack.Mutex, stack.Group, stack.Cond}

// judgeTask looks at the sites of a label.
func (s *Series) judgeTask(key string, task Task, told map[string]bool) (all []Finding) {
	_, counted := s.begun(key)
	left, more := s.left(key, task), s.underWay(key)
	rate := Clean
	if task.Requests >= leastRequests && task.After-task.Before >= leastGrowth {
		switch {
		case task.PerRequest >= leakRate:
			rate = Leak
		case task.PerRequest > suspiciousRate:
			rate = Suspicious
		}
	}
	for _, k := range sorted(s.sites) {
		site := s.sites[k]
		if told[site.where()] || leak.Key(site.Labels) != key || !slices.Contains(stuckKinds, site.Kind) && site.Kind != stack.IO {
			continue
		}
		v, why := Clean, Reason("")
		series := s.site(k)
		switch grew := rises(series, leastGrowth); {
		case grew && !counted:
			v, why = ungraded(site.Kind), Growing
		case grew && (site.Kind == stack.Send || site.Kind == stack.Mutex):
			v, why = Leak, Stuck
		case grew && growth(series) > perRequest*more:
			v, why = Leak, Outlive
			if more >= leastGrowth { // perhaps every request has many, and ever more requests are under way
				v = Suspicious
			}
		case left && growth(series) >= leastGrowth && s.stays(series, task):
			v, why = Leak, Outlive
		case rate != Clean && growth(series)*10 >= task.After-task.Before:
			v, why = rate, Rate
		}
		if v != Clean {
			told[site.where()] = true
			all = append(all, s.finding(site, k, v, why))
		}
	}
	return all
}

// ungraded is the verdict on a site that grows where nobody counts requests: streams may wait in a receive or a select.
func ungraded(k stack.Kind) Verdict {
	switch k {
	case stack.Send, stack.Mutex, stack.Timer:
		return Leak
	case stack.IO:
		return Clean
	}
	return Suspicious
}

// left reports whether requests that have all ended have left goroutines behind, one for two requests or more: also
// where they came in a burst, so that nothing rose through the whole watch.
func (s *Series) left(key string, task Task) bool {
	o := s.outlive(key)
	return task.UnderWay == 0 && task.Requests >= 2*leastRequests && growth(o) >= leastGrowth && 2*int64(growth(o)) >= task.Requests && s.stays(o, task)
}

// stays reports whether a series did not fall in the last quarter of the watch, when no request was under way.
func (s *Series) stays(series []int, task Task) bool {
	if len(series) < minLooks || task.UnderWay != 0 {
		return false
	}
	end := quarter(series, minLooks-1)
	return max(series[len(series)-2], slices.Max(end)) <= series[len(series)-1]
}

// timers tells who makes ever more of them.
func (s *Series) timers() (all []Finding) {
	for _, place := range sorted(s.made) {
		series := s.of(func(l look) int { return l.timers[place] })
		if rises(series, leastTimers) {
			frames := s.made[place]
			all = append(all, Finding{Verdict: Leak, Reason: Timers, Kind: stack.Timer, Func: stack.Goroutines{Stack: frames}.Site().Func, Place: place,
				Count: series[len(series)-1], Growth: growth(series), Stack: frames})
		}
	}
	return all
}

// process looks at what belongs to no label.
func (s *Series) process(r *Report) (all []Finding) {
	selects := s.of(func(l look) (n int) {
		for k, count := range l.sites {
			if s.sites[k].Kind == stack.Select {
				n += count
			}
		}
		return n
	})
	n := len(s.looks)
	if n == 0 {
		return nil
	}
	if total := r.Goroutines[n-1]; total > 0 {
		r.Select = min(1, float64(selects[n-1])/float64(total))
	}
	suspect := func(why Reason, series []int) {
		all = append(all, Finding{Verdict: Suspicious, Reason: why, Count: series[n-1], Growth: growth(series)})
	}
	if r.Select > parkedShare && selects[n-1] >= leastParked && rises(selects, leastGrowth) {
		suspect(Parked, selects)
	}
	if rises(r.Heap, max(leastHeap, r.Heap[0]/4)) {
		suspect(Heap, r.Heap)
	}
	if rises(r.Descriptors, leastFiles) {
		suspect(Descriptors, r.Descriptors)
	}
	return all
}

// top returns the sites with the most goroutines at the end, those found blocked for ever first.
func (s *Series) top() []Site {
	all := []Site{}
	for _, k := range sorted(s.sites) {
		site := *s.sites[k]
		if series := s.site(k); len(series) > 0 {
			site.Count, site.Growth = series[len(series)-1], growth(series)
		}
		if site.Leaked = s.after[k]; site.Count > 0 || site.Leaked > 0 {
			site.Count = max(site.Count, site.Leaked)
			all = append(all, site)
		}
	}
	slices.SortStableFunc(all, func(a, b Site) int { return cmp.Or(cmp.Compare(b.Leaked, a.Leaked), cmp.Compare(b.Count, a.Count)) })
	return all[:min(len(all), maxSites)]
}

// Stacks returns all sites under a label, for the file that is kept.
func (s *Series) Stacks(l map[string]string) []Site {
	all := []Site{}
	for _, k := range sorted(s.sites) {
		if site := *s.sites[k]; leak.Key(site.Labels) == leak.Key(l) {
			series := s.site(k)
			site.Count, site.Growth, site.Leaked = series[len(series)-1], growth(series), s.after[k]
			all = append(all, site)
		}
	}
	slices.SortStableFunc(all, func(a, b Site) int { return cmp.Compare(b.Count, a.Count) })
	return all
}
