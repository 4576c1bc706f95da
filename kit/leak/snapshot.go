package leak

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/leak/stack"
)

// Format names the form of a snapshot.
const Format = "qiong.leak/1"

// maxGroups bounds how many different stacks a snapshot tells; the rarest are left out, and counted in Omitted.
const maxGroups = 2000

// Snapshot is what a process had at one moment.
type Snapshot struct {
	Format      string             `json:"format"`
	Profile     string             `json:"profile"` // "goroutine", or "leak": then Groups are those found blocked for ever
	Leaks       bool               `json:"leaks"`   // whether the program can take the goroutine-leak profile
	Program     string             `json:"program"` // path of its main package
	Go          string             `json:"go"`
	Started     time.Time          `json:"started"` // when the handler was made: counts begin there
	Taken       time.Time          `json:"taken"`
	Millis      float64            `json:"millis"` // that the collection took
	Goroutines  int                `json:"goroutines"`
	Heap        uint64             `json:"heap"`        // bytes of objects, garbage that is not yet collected among them
	Descriptors int                `json:"descriptors"` // open files and connections; -1 where unknown
	Counts      []Count            `json:"counts,omitempty"`
	Groups      []stack.Goroutines `json:"groups"`
	Omitted     int                `json:"omitted,omitempty"`
	Timers      []Timers           `json:"timers,omitempty"`
}

// Timers are timers and tickers that are in use, by who made them. The number is an estimate of the heap profile, which
// samples one allocation in 512 KiB: it is of use from some ten thousand timers on.
type Timers struct {
	Count int           `json:"count"`
	Stack []stack.Frame `json:"stack"`
}

var errNoProfile = errs.New(errs.Unavailable, "此程序没有协程泄漏剖析功能", "this program has no goroutine-leak profile").
	WithCode("leak.no-profile").
	WithHint("用 Go 1.26 并设置 GOEXPERIMENT=goroutineleakprofile 构建；没有时只按趋势判断", "build it with Go 1.26 and GOEXPERIMENT=goroutineleakprofile; without it there is the trend alone")

// take takes a snapshot: of all goroutines, or of those that the runtime finds blocked for ever.
func (c *collector) take(leaks bool) (*Snapshot, error) {
	began := time.Now()
	s := &Snapshot{Format: Format, Profile: "goroutine", Leaks: pprof.Lookup("goroutineleak") != nil, Program: c.program, Go: runtime.Version(),
		Started: c.started, Taken: began.UTC(), Goroutines: runtime.NumGoroutine(), Heap: heap(), Descriptors: descriptors()}
	if leaks {
		s.Profile = "leak"
	}
	profile := map[bool]string{true: "goroutineleak", false: "goroutine"}[leaks]
	p := pprof.Lookup(profile)
	if p == nil {
		return nil, errNoProfile
	}
	// Counted first: a goroutine of a request that begins now is then one too many, rather than one request.
	s.Counts = c.labels.Counts()
	slices.SortFunc(s.Counts, func(a, b Count) int { return cmp.Compare(Key(a.Labels), Key(b.Labels)) })
	var b bytes.Buffer
	if s.Goroutines > many {
		defer calm()()
	}
	if err := p.WriteTo(&b, 0); err != nil {
		return nil, err
	}
	var err error
	if s.Groups, err = stack.Read(b.Bytes()); err != nil {
		return nil, err
	}
	s.Groups = c.arrange(s.Groups)
	if over := len(s.Groups) - maxGroups; over > 0 {
		s.Groups, s.Omitted = s.Groups[:maxGroups], over
	}
	s.Timers = timers()
	s.Millis = float64(time.Since(began).Microseconds()) / 1000
	return s, nil
}

// arrange says which goroutines wait for a timer, leaves out the collector's own, and puts the most numerous first.
func (c *collector) arrange(groups []stack.Goroutines) []stack.Goroutines {
	groups = slices.DeleteFunc(groups, func(g stack.Goroutines) bool {
		return slices.ContainsFunc(g.Stack, func(f stack.Frame) bool { return f.Func == "runtime/pprof.writeRuntimeProfile" })
	})
	for i := range groups {
		g := &groups[i]
		if (g.Kind == stack.Receive || g.Kind == stack.Select) && g.Leaked == 0 && c.code.timed(uintptr(g.PC)) {
			g.Kind = stack.Timer
		}
	}
	slices.SortStableFunc(groups, func(a, b stack.Goroutines) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(Key(a.Labels), Key(b.Labels)), cmp.Compare(a.Site().Place(), b.Site().Place()))
	})
	return groups
}

// many is the number of goroutines from which garbage collections, each of which looks through all their stacks, would
// cost more than the profile whose garbage (800 bytes a goroutine) brings them about.
const many = 20_000

// calm has fewer of them until the function is called that it returns. A memory limit holds all the same.
func calm() (restore func()) {
	const percent = 400
	old := debug.SetGCPercent(percent)
	if old < 0 || old > percent {
		debug.SetGCPercent(old)
		return func() {}
	}
	return func() { debug.SetGCPercent(old) }
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// descriptors counts the open files of this process.
func descriptors() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return -1
	}
	defer dir.Close()
	n := 0
	for {
		names, err := dir.Readdirnames(1024)
		n += len(names)
		if err != nil {
			if err != io.EOF {
				return -1
			}
			return n - 1 // its own
		}
	}
}
