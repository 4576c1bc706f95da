// Package leaktest fails a test that leaves goroutines behind, and says what they wait for, where, and how many there are.
//
//   - [Main] holds a whole package to it, with go.uber.org/goleak; so does [Check] one test, which must not run in parallel.
//   - [Serve] holds a handler to it: many requests, and none may leave anything. Tests may run in parallel.
//   - [Run] runs a test on the clock of testing/synctest: nothing is waited for, and what remains is sure to.
package leaktest

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/leak/stack"
)

// patience is how long goroutines may take to end after the test has; fake on Run's clock.
const patience = 5 * time.Second

// Main runs the tests of a package and fails where goroutines remain after all of them: func TestMain(m *testing.M) {
// leaktest.Main(m) }.
func Main(m *testing.M) { goleak.VerifyTestMain(m) }

// Check fails t where goroutines remain that were not there when it was called. It can't tell the goroutines of tests
// that run at the same time apart.
func Check(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Errorf("leaktest: %v", err)
		}
	})
}

// Serve has h answer n requests, one after the other, and fails t where goroutines that h started remain 5 s later. A
// route that starts its goroutines under labels of its own (leak.Labels.Wrap) is served from inside of that: the mux.
func Serve(t testing.TB, h http.Handler, n int, request func() *http.Request) {
	t.Helper()
	task := new(leak.Labels).Task(leak.Job, t.Name(), "leaktest")
	for range n {
		r := request()
		task.Begin()
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(task.Context(r.Context())))
		task.End(t.Context())
	}
	var rest []stack.Goroutines
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if rest = remaining(t); len(rest) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(rest) > 0 {
		t.Errorf("leaktest: after %d requests there remain%s", n, list(rest))
	}
}

// Run is synctest.Test for a function that must leave nothing behind. Where goroutines that f started remain 5 s of fake
// time after it has returned, it panics with the list of them: such goroutines never end, so neither could the test.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		task := new(leak.Labels).Task(leak.Job, t.Name(), "leaktest")
		func() {
			task.Begin()
			defer task.End(t.Context())
			f(t)
		}()
		time.Sleep(patience)
		synctest.Wait()
		if rest := remaining(t); len(rest) > 0 {
			panic(fmt.Sprintf("leaktest: %s leaves behind%s", t.Name(), list(rest)))
		}
	})
}

// remaining returns the goroutines under the label of a test.
func remaining(t testing.TB) []stack.Goroutines {
	t.Helper()
	var b bytes.Buffer
	err := pprof.Lookup("goroutine").WriteTo(&b, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := stack.Read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(g stack.Goroutines) bool { return g.Labels[leak.Job] != t.Name() })
}

// list writes goroutines one stack after the other, the most numerous first.
func list(all []stack.Goroutines) string {
	slices.SortStableFunc(all, func(a, b stack.Goroutines) int { return cmp.Compare(b.Count, a.Count) })
	var b strings.Builder
	for _, g := range all {
		fmt.Fprintf(&b, "\n%d × %s at %s", g.Count, g.Kind, g.Site().Place())
		for _, f := range g.Stack {
			fmt.Fprintf(&b, "\n\t%s %s:%d", f.Func, f.File, f.Line)
		}
	}
	return b.String()
}
