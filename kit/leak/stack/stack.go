// Package stack tells goroutines apart by what they wait for, whose they are and where they stand. It reads the goroutine
// and goroutine-leak profiles of Go's runtime and its text dumps, in the three forms that /debug/pprof/goroutine has and
// that a crash prints, and promises that nothing but names of functions, files and known labels comes out: arguments,
// addresses and unknown labels are dropped.
package stack

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a goroutine waits for.
type Kind string

// The kinds. The first five are those in which a goroutine may be stuck for ever.
const (
	Send    Kind = "send"    // a channel that nobody receives from
	Receive Kind = "receive" // a channel that nobody sends on
	Select  Kind = "select"  // several channels, or none
	Timer   Kind = "timer"   // a timer, a ticker or a sleep
	Mutex   Kind = "mutex"   // a lock that is held
	Group   Kind = "group"   // a WaitGroup or semaphore
	Cond    Kind = "cond"    // a condition variable
	IO      Kind = "io"      // network or files
	Running Kind = "running" // nothing: it runs, may run, or is in a system call
	Unknown Kind = "unknown" // a text dump that hides it
)

// Frame is a call.
type Frame struct {
	Func string `json:"func"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// Place writes a frame's file and line, with the file's last two elements: "booking/store.go:12".
func (f Frame) Place() string {
	if f.File == "" {
		return f.Func
	}
	dir, file := path.Split(f.File)
	return path.Join(path.Base(dir), file) + ":" + strconv.Itoa(f.Line)
}

// Goroutines are the goroutines of one stack and one set of labels.
type Goroutines struct {
	Labels map[string]string `json:"labels,omitempty"`
	Kind   Kind              `json:"kind"`
	Count  int               `json:"count"`
	Leaked int               `json:"leaked,omitempty"` // of them, those that the runtime found to be blocked for ever
	Stack  []Frame           `json:"stack"`            // innermost first, without the runtime's own
	// PC is an address in the function that waits, in the process that was profiled; 0 where unknown.
	PC uint64 `json:"-"`
}

// Site returns the innermost call that is not the standard library's, or the outermost of all: what the goroutine was
// started with.
func (g Goroutines) Site() Frame {
	for _, f := range g.Stack {
		if !standard(f.Func) {
			return f
		}
	}
	if n := len(g.Stack); n > 0 {
		return g.Stack[n-1]
	}
	return Frame{}
}

// first elements of the paths of the standard library in which goroutines come to stand.
var library = []string{"runtime", "sync", "internal", "time", "io", "net", "context", "bufio", "os", "syscall", "database", "crypto",
	"encoding", "iter", "log", "testing", "compress", "vendor"}

// standard reports whether a function is the standard library's.
func standard(function string) bool {
	first, _, inside := strings.Cut(function, "/")
	if !inside {
		first, _, _ = strings.Cut(function, ".")
	}
	return slices.Contains(library, first)
}

// waits are the functions below which a goroutine waits, by prefix, with what for. The first that matches a frame counts,
// and of the frames the innermost: a receive in a call of the lock is a receive.
var waits = []struct {
	prefix string
	kind   Kind
}{
	{"time.Sleep", Timer},
	{"runtime.chansend", Send},
	{"runtime.chanrecv", Receive},
	{"runtime.selectgo", Select},
	{"runtime.selectnb", Select},
	{"runtime.block", Select},
	{"runtime.netpollblock", IO},
	{"internal/poll.runtime_poll", IO},
	{"sync.runtime_SemacquireMutex", Mutex},
	{"sync.runtime_SemacquireRWMutex", Mutex},
	{"internal/sync.runtime_SemacquireMutex", Mutex},
	{"sync.runtime_SemacquireWaitGroup", Group},
	{"sync.runtime_Semacquire", Group},
	{"sync.runtime_notifyListWait", Cond},
	{"sync.(*Mutex).", Mutex},
	{"sync.(*RWMutex).", Mutex},
	{"internal/sync.(*Mutex).", Mutex},
	{"sync.(*WaitGroup).Wait", Group},
	{"sync.(*Cond).Wait", Cond},
	{"internal/poll.", IO},
	{"syscall.", Running},
}

// kindOf tells from the frames, innermost first and with the runtime's own, what a goroutine waits for. parked says
// whether the frames show that it waits at all.
func kindOf(frames []Frame) Kind {
	parked := false
	for _, f := range frames {
		for _, w := range waits {
			if strings.HasPrefix(f.Func, w.prefix) {
				return w.kind
			}
		}
		if f.Func == "runtime.gopark" || f.Func == "runtime.goparkunlock" {
			parked = true
		}
		if !standard(f.Func) {
			break
		}
	}
	if parked {
		return Unknown
	}
	return Running
}

// visible returns the frames without the runtime's own at the inner end, and without the goroutine's exit.
func visible(frames []Frame) []Frame {
	for len(frames) > 1 && (strings.HasPrefix(frames[0].Func, "runtime.") || strings.HasPrefix(frames[0].Func, "internal/runtime/")) {
		frames = frames[1:]
	}
	return slices.DeleteFunc(frames, func(f Frame) bool { return f.Func == "runtime.goexit" })
}

// known are the labels that are kept; what a program labels for itself may be personal.
var known = []string{"route", "consumer", "job", "service"}

// keep returns the labels that are known.
func keep(key, value string, into map[string]string) map[string]string {
	if !slices.Contains(known, key) || value == "" {
		return into
	}
	if into == nil {
		into = map[string]string{}
	}
	into[key] = value
	return into
}

// Known returns those of the labels that are kept.
func Known(labels map[string]string) (of map[string]string) {
	for key, value := range labels {
		of = keep(key, value, of)
	}
	return of
}
