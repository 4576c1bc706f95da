package leak

import (
	"cmp"
	"encoding/binary"
	"math"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/leak/stack"
)

// timers estimates from the heap profile how many timers and tickers are in use, by who made them.
func timers() []Timers {
	var records []runtime.MemProfileRecord
	for n, ok := runtime.MemProfile(nil, false); !ok; {
		records = make([]runtime.MemProfileRecord, n+50)
		if n, ok = runtime.MemProfile(records, false); ok {
			records = records[:n]
		}
	}
	var all []Timers
	for i := range records {
		if frames := timerStack(records[i].Stack()); frames != nil {
			if n := inUse(&records[i]); n > 0 {
				all = append(all, Timers{n, frames})
			}
		}
	}
	slices.SortFunc(all, func(a, b Timers) int { return cmp.Compare(b.Count, a.Count) })
	return all[:min(len(all), 50)]
}

// makers are the functions that make timers, with the one that allocates them first.
var makers = []string{"time.newTimer", "time.NewTicker", "time.NewTimer", "time.AfterFunc", "time.After", "time.Tick"}

// timerStack returns the frames below the maker of a timer; nil where the stack is not of one.
func timerStack(pcs []uintptr) (frames []stack.Frame) {
	if len(pcs) == 0 {
		return nil
	}
	all := runtime.CallersFrames(pcs)
	for more := true; more; {
		var f runtime.Frame
		f, more = all.Next()
		switch {
		case f.Function == "time.newTimer":
			frames = []stack.Frame{}
		case frames != nil && !slices.Contains(makers, f.Function) && f.Function != "runtime.goexit":
			frames = append(frames, stack.Frame{Func: f.Function, File: f.File, Line: f.Line})
		}
	}
	if len(frames) == 0 {
		return nil
	}
	return frames
}

// inUse undoes the sampling of the heap profile, as package runtime/pprof does.
func inUse(r *runtime.MemProfileRecord) int {
	count, size := float64(r.InUseObjects()), float64(r.InUseBytes())
	if count == 0 || size == 0 {
		return 0
	}
	rate := float64(runtime.MemProfileRate)
	if rate <= 1 {
		return int(count)
	}
	return int(count / (1 - math.Exp(-size/count/rate)))
}

// code knows which functions of this program make timers. A goroutine that waits for a ticker looks in every profile like
// one that waits for a channel; but where the function that waits, or the one it is written in, calls time.NewTicker and
// its like, it is a timer that it waits for. The calls are read from the program's own instructions. That is a guess at
// the kind, never at whether something leaks; it needs Linux on one of the three architectures and says no otherwise.
type code struct {
	makers   map[uintptr]bool              // entries of the functions that make timers
	known    map[uintptr]bool              // by entry of the function that waits
	packages map[string]map[string]uintptr // entries of a package's functions by name
}

func newCode() *code {
	c := &code{makers: map[uintptr]bool{}, known: map[uintptr]bool{}, packages: map[string]map[string]uintptr{}}
	for _, f := range []any{time.NewTicker, time.NewTimer, time.AfterFunc, time.After, time.Tick} {
		c.makers[reflect.ValueOf(f).Pointer()] = true
	}
	return c
}

// timed reports whether the function at pc, or one that it is written in, makes a timer.
func (c *code) timed(pc uintptr) bool {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return false
	}
	entry := f.Entry()
	yes, ok := c.known[entry]
	if !ok {
		yes = c.looks(entry)
		c.known[entry] = yes
	}
	return yes
}

// closure is the end of the name of a function that is written in another one.
var closure = regexp.MustCompile(`\.(func|gowrap|deferwrap)?\d+$`)

func (c *code) looks(entry uintptr) bool {
	if c.calls(entry) {
		return true
	}
	name := runtime.FuncForPC(entry).Name()
	for outer := closure.ReplaceAllString(name, ""); outer != name; outer = closure.ReplaceAllString(name, "") {
		name = outer
		if at, ok := c.functions(name, entry)[name]; ok && c.calls(at) {
			return true
		}
	}
	return false
}

// maxNeighbours bounds how many functions of a package are looked at on either side.
const maxNeighbours = 2000

// functions lists those that stand around entry in the same package as name.
func (c *code) functions(name string, entry uintptr) map[string]uintptr {
	pkg := packageOf(name)
	if all, ok := c.packages[pkg]; ok {
		return all
	}
	all := map[string]uintptr{}
	c.packages[pkg] = all
	add := func(at uintptr) bool {
		f := runtime.FuncForPC(at)
		if f == nil || packageOf(f.Name()) != pkg {
			return false
		}
		all[f.Name()] = f.Entry()
		return true
	}
	for n, at := 0, entry; n < maxNeighbours && add(at); n++ {
		at = runtime.FuncForPC(at).Entry() - 1
	}
	for n, at := 0, entry; n < maxNeighbours && add(at); n++ {
		at = end(at)
	}
	return all
}

func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	pkg, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + pkg
}

// maxFunction bounds the bytes of a function that are looked at.
const maxFunction = 1 << 20

// end returns where the function at entry ends and the next one begins.
func end(entry uintptr) uintptr {
	at := entry
	for at-entry < maxFunction {
		at += 16
		if f := runtime.FuncForPC(at); f == nil || f.Entry() != entry {
			if f != nil && f.Entry() > entry {
				return f.Entry()
			}
			return at
		}
	}
	return at
}

// calls reports whether the function at entry calls one that makes timers.
func (c *code) calls(entry uintptr) bool {
	text := make([]byte, end(entry)-entry)
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return false
	}
	defer mem.Close()
	n, _ := mem.ReadAt(text, int64(entry)) // what could be read is looked at
	text = text[:n]
	for at := range text {
		if to, ok := target(runtime.GOARCH, text, at); ok && c.makers[entry+uintptr(at)+uintptr(to)] {
			return true
		}
	}
	return false
}

// target returns how far from it a call at an offset of the text leads. On amd64, where instructions have any length, a
// call may be seen where there is none; that one of these leads to the entry of a maker is as good as impossible.
func target(arch string, text []byte, at int) (int64, bool) {
	switch {
	case arch == "amd64" && text[at] == 0xe8 && at+5 <= len(text): // CALL rel32, from its end
		return int64(int32(binary.LittleEndian.Uint32(text[at+1:]))) + 5, true
	case (arch == "arm64" || arch == "loong64") && at%4 == 0 && at+4 <= len(text):
		word := binary.LittleEndian.Uint32(text[at:])
		if arch == "arm64" && word>>26 == 0b100101 { // BL imm26
			return int64(int32(word<<6)>>6) * 4, true
		}
		if arch == "loong64" && word>>26 == 0b010101 { // BL offs26: its high ten bits stand lowest
			return int64(int32(word<<22|word>>10&0xffff<<6)>>6) * 4, true
		}
	}
	return 0, false
}
