package stack

import (
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

func badText(line int) error {
	return errs.New(errs.Invalid, "不是协程转储", "this is no dump of goroutines").WithCode("stack.text").WithLine(line)
}

// readCounts reads the text of /debug/pprof/goroutine?debug=1:
//
//	goroutine profile: total 3
//	2 @ 0x47b4ce 0x40c2d1
//	# labels: {"route":"GET /x"}
//	#	0x5e1f0a	main.leak+0x2a	/src/main.go:12
//
// The runtime hides its own frames there, so that sends, receives and selects look alike: they are Unknown.
func readCounts(text string) ([]Goroutines, error) {
	var all []Goroutines
	var frames []Frame
	leaks := strings.HasPrefix(text, "goroutineleak ")
	end := func() {
		if len(all) == 0 {
			return
		}
		g := &all[len(all)-1]
		g.Kind, g.Stack, frames = kindOf(frames), visible(frames), nil
		if g.Kind == Running { // its frames may be hidden
			g.Kind = Unknown
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch {
		case n == 1 || line == "":
		case strings.HasPrefix(line, "# labels: "):
			if len(all) > 0 {
				g := &all[len(all)-1]
				g.Labels = labels(strings.TrimPrefix(line, "# labels: "), g.Labels)
			}
		case strings.HasPrefix(line, "#\t"):
			if f, ok := countFrame(line); ok {
				frames = append(frames, f)
			}
		default:
			number, _, ok := strings.Cut(line, " @")
			count, err := strconv.Atoi(number)
			if !ok || err != nil || count <= 0 {
				return nil, badText(n)
			}
			end()
			g := Goroutines{Count: count}
			if leaks {
				g.Leaked = count
			}
			all = append(all, g)
		}
	}
	end()
	return all, nil
}

// countFrame reads "#	0x5e1f0a	main.leak+0x2a	/src/main.go:12".
func countFrame(line string) (Frame, bool) {
	parts := strings.FieldsFunc(line, func(r rune) bool { return r == '\t' }) // they stand in columns
	if len(parts) < 4 {
		return Frame{}, false
	}
	name := strings.TrimSpace(parts[2])
	if plus := strings.LastIndex(name, "+0x"); plus > 0 {
		name = name[:plus]
	}
	file, number := place(parts[3])
	return Frame{name, file, number}, name != ""
}

// labels reads pairs of quoted words: {"a":"b", "c":"d"}. What can't be read ends them.
func labels(s string, into map[string]string) map[string]string {
	s = strings.TrimPrefix(s, "{")
	for s != "" && s[0] == '"' {
		key, rest, ok := quoted(s)
		rest, colon := strings.CutPrefix(rest, ":")
		if !ok || !colon {
			break
		}
		value, rest, ok := quoted(strings.TrimPrefix(rest, " "))
		if !ok {
			break
		}
		into = keep(key, value, into)
		s = strings.TrimPrefix(rest, ", ")
	}
	return into
}

// quoted reads a word in Go's quotes and returns what follows.
func quoted(s string) (word, rest string, ok bool) {
	prefix, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", s, false
	}
	word, err = strconv.Unquote(prefix)
	return word, s[len(prefix):], err == nil
}

// place reads "/src/main.go:12 +0x2a".
func place(s string) (string, int) {
	s, _, _ = strings.Cut(strings.TrimSpace(s), " +0x")
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return s, 0
	}
	n, err := strconv.Atoi(s[colon+1:])
	if err != nil || n < 0 {
		return s, 0
	}
	return s[:colon], n
}

// readDump reads what a crash prints, and /debug/pprof/goroutine?debug=2:
//
//	goroutine 7 [chan send (leaked), 3 minutes, labels:{"route": "GET /x"}]:
//	main.leak(0xc000012345)
//		/src/main.go:12 +0x2a
//	created by main.handler in goroutine 5
//		/src/main.go:30 +0x11
//
// Goroutines that are alike are counted together. Text before the first goroutine, such as a panic's, is passed over.
func readDump(text string) ([]Goroutines, error) {
	b := block{index: map[string]int{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "goroutine ") && strings.HasSuffix(line, "]:"):
			b.end()
			if !b.begin(line) {
				return nil, badText(n)
			}
		case b.current == nil:
		case line == "":
			b.end()
		case strings.HasPrefix(line, "\t"):
			b.place(line)
		default:
			b.call(line)
		}
	}
	b.end()
	if len(b.all) == 0 {
		return nil, badText(1)
	}
	return b.all, nil
}

// block gathers the goroutines of a dump.
type block struct {
	all     []Goroutines
	index   map[string]int // by labels, kind and stack
	current *Goroutines
	frames  []Frame
}

func (b *block) begin(line string) bool {
	open := strings.IndexByte(line, '[')
	if open < 0 {
		return false
	}
	inside := strings.TrimSuffix(line[open+1:], "]:")
	state, own, _ := strings.Cut(inside, " labels:{")
	b.current = &Goroutines{Count: 1, Labels: labels(own, nil)}
	state, _, _ = strings.Cut(state, ",")
	state, leaked := strings.CutSuffix(state, " (leaked)")
	if leaked {
		b.current.Leaked = 1
	}
	b.current.Kind = stated(state)
	return true
}

// stated returns the kind of a state as the runtime writes it.
func stated(state string) Kind {
	state, _, _ = strings.Cut(state, " (")
	switch {
	case strings.HasPrefix(state, "chan send"):
		return Send
	case strings.HasPrefix(state, "chan receive"):
		return Receive
	case strings.HasPrefix(state, "select"):
		return Select
	case state == "sleep":
		return Timer
	case strings.HasPrefix(state, "sync.Mutex"), strings.HasPrefix(state, "sync.RWMutex"):
		return Mutex
	case strings.HasPrefix(state, "sync.WaitGroup"), strings.HasPrefix(state, "semacquire"):
		return Group
	case strings.HasPrefix(state, "sync.Cond"):
		return Cond
	case state == "IO wait":
		return IO
	case state == "running", state == "runnable", state == "syscall":
		return Running
	}
	return Unknown
}

func (b *block) call(line string) {
	if strings.HasPrefix(line, "created by ") || strings.HasPrefix(line, "...") {
		b.frames = append(b.frames, Frame{})
		return
	}
	if open := strings.LastIndexByte(line, '('); open > 0 { // the arguments are values of the program
		line = line[:open]
	} else {
		line = ""
	}
	b.frames = append(b.frames, Frame{Func: line})
}

func (b *block) place(line string) {
	if n := len(b.frames); n > 0 && b.frames[n-1].Func != "" {
		b.frames[n-1].File, b.frames[n-1].Line = place(line)
	}
}

func (b *block) end() {
	g := b.current
	if g == nil {
		return
	}
	var key strings.Builder
	key.WriteString(string(g.Kind))
	for _, k := range known {
		key.WriteString("\x00" + g.Labels[k])
	}
	for _, f := range b.frames {
		if f.Func != "" {
			g.Stack = append(g.Stack, f)
			key.WriteString("\x00" + f.Func + "\x00" + f.File + ":" + strconv.Itoa(f.Line))
		}
	}
	g.Stack = visible(g.Stack)
	if i, ok := b.index[key.String()]; ok {
		b.all[i].Count++
		b.all[i].Leaked += g.Leaked
	} else {
		b.index[key.String()] = len(b.all)
		b.all = append(b.all, *g)
	}
	b.current, b.frames = nil, nil
}
