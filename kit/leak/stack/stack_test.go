package stack

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// The goroutines of this file wait each in its own way, all until the test ends.
type waiting struct {
	send, receive, one, two chan int
	lock                    sync.Mutex
	done                    sync.WaitGroup
	cond                    *sync.Cond
	over                    bool
	ended                   sync.WaitGroup
}

func (w *waiting) sends()    { w.send <- 1 }
func (w *waiting) receives() { <-w.receive }
func (w *waiting) selects() {
	select {
	case <-w.one:
	case <-w.two:
	}
}
func (w *waiting) locks() { w.lock.Lock(); defer w.lock.Unlock() }
func (w *waiting) waits() { w.done.Wait() }
func (w *waiting) conds() {
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	for !w.over {
		w.cond.Wait()
	}
}

var want = map[string]Kind{"sends": Send, "receives": Receive, "selects": Select, "locks": Mutex, "waits": Group, "conds": Cond}

// park starts them, twice each, and waits until all of them wait.
func park(t *testing.T) {
	t.Helper()
	w := &waiting{send: make(chan int), receive: make(chan int), one: make(chan int), two: make(chan int), cond: sync.NewCond(new(sync.Mutex))}
	w.lock.Lock()
	w.done.Add(1)
	for _, f := range []func(){w.sends, w.receives, w.selects, w.locks, w.waits, w.conds} {
		w.ended.Go(f)
		w.ended.Go(f)
	}
	t.Cleanup(func() {
		<-w.send
		<-w.send
		close(w.receive)
		close(w.one)
		w.lock.Unlock()
		w.done.Done()
		w.cond.L.Lock()
		w.over = true
		w.cond.L.Unlock()
		w.cond.Broadcast()
		w.ended.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if parked(read(t, 0), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("they do not wait: %+v", read(t, 0))
		}
	}
}

// read takes and reads the goroutine profile in a form.
func read(t *testing.T, form int) []Goroutines {
	t.Helper()
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, form); err != nil {
		t.Fatal(err)
	}
	all, err := Read(b.Bytes())
	if err != nil {
		t.Fatalf("form %d: %v\n%s", form, err, b.String())
	}
	return all
}

// found returns the goroutines that wait in a method of waiting.
func found(all []Goroutines, method string) (sum Goroutines) {
	for _, g := range all {
		if strings.HasSuffix(g.Site().Func, "(*waiting)."+method) {
			g.Count += sum.Count
			sum = g
		}
	}
	return sum
}

func parked(all []Goroutines, want map[string]Kind) bool {
	for method, kind := range want {
		if g := found(all, method); g.Count != 2 || g.Kind != kind {
			return false
		}
	}
	return true
}

func TestKindsAreTold(t *testing.T) {
	park(t)
	hidden := map[string]Kind{"sends": Unknown, "receives": Unknown, "selects": Unknown, "locks": Mutex, "waits": Group, "conds": Cond}
	for form, want := range map[int]map[string]Kind{0: want, 1: hidden, 2: want} {
		all := read(t, form)
		for method, kind := range want {
			g := found(all, method)
			if g.Count != 2 || g.Kind != kind {
				t.Errorf("form %d, %s: %d goroutines of kind %q, want 2 of %q", form, method, g.Count, g.Kind, kind)
			}
			if s := g.Site(); !strings.HasSuffix(s.File, "stack_test.go") || s.Line < 20 || s.Line > 50 {
				t.Errorf("form %d, %s: site %+v", form, method, s)
			}
			if strings.HasPrefix(g.Stack[0].Func, "runtime.") {
				t.Errorf("form %d, %s: the runtime's frames stand in %+v", form, method, g.Stack)
			}
		}
	}
}

const dump = `panic: secret

goroutine 7 [chan send (leaked), 3 minutes, labels:{"route": "GET /x", "user": "110105"}]:
main.leak(0xc000012345, {0x1, 0x2})
	/src/my shop/main.go:12 +0x2a
created by main.handler in goroutine 5
	/src/my shop/main.go:30 +0x11

goroutine 8 [chan send, labels:{"route": "GET /x"}]:
main.leak(0xc000012346, {0x1, 0x2})
	/src/my shop/main.go:12 +0x2a

goroutine 9 [sync.RWMutex.RLock, locked to thread]:
sync.runtime_SemacquireRWMutexR(0x0?, 0x0?, 0x0?)
	/go/src/runtime/sema.go:105 +0x25
main.(*T[...]).get(...)
	/src/my shop/main.go:40
...additional frames elided...
created by main.main
	/src/my shop/main.go:50 +0x11
exit status 2
`

func TestDump(t *testing.T) {
	all, err := Read([]byte(dump))
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	g := all[0]
	if g.Count != 2 || g.Leaked != 1 || g.Kind != Send || len(g.Labels) != 1 || g.Labels["route"] != "GET /x" || g.Site().Place() != "my shop/main.go:12" {
		t.Errorf("%+v", g)
	}
	if g := all[1]; g.Kind != Mutex || g.Site().Func != "main.(*T[...]).get" || g.Site().Line != 40 {
		t.Errorf("%+v", g)
	}
}

func TestCounts(t *testing.T) {
	all, err := Read([]byte("goroutineleak profile: total 3\n2 @ 0x1 0x2\n# labels: {\"job\":\"a\\\"b\", \"secret\":\"x\"}\n#\t0x1\tsync.(*Mutex).Lock+0x2a\t/go/mutex.go:1\n#\t0x1\tmain.f+0x2a\t/src/main.go:12\n\n1 @ 0x3\n#\t0x1\tmain.g+0x2\t/src/main.go:2\n\n"))
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if g := all[0]; g.Leaked != 2 || g.Kind != Mutex || g.Labels["job"] != `a"b` || len(g.Labels) != 1 || g.Site().Line != 12 {
		t.Errorf("%+v", g)
	}
}

func TestBadInput(t *testing.T) {
	var heap bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&heap, 0); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "words": []byte("hello"), "another profile": heap.Bytes(), "a count that is none": []byte("goroutine profile: total 1\nx @ 0x1\n"),
		"a negative count": []byte("goroutine profile: total 1\n-3 @ 0x1\n"), "no goroutine": []byte("goroutine x\n"), "cut": heap.Bytes()[:40],
	} {
		if _, err := Read(data); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for form := range 3 {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, form); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(dump))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := Read(data)
		if err != nil {
			return
		}
		for _, g := range all {
			if g.Count <= 0 || g.Leaked < 0 || g.Leaked > g.Count {
				t.Errorf("%d goroutines, %d of them leaked", g.Count, g.Leaked)
			}
			for key := range g.Labels {
				if key != "route" && key != "consumer" && key != "job" && key != "service" {
					t.Errorf("label %q", key)
				}
			}
			_ = g.Site().Place()
		}
	})
}
