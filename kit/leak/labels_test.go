package leak

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
)

// goroutines returns the goroutine profile as text.
func goroutines(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRequestsRunUnderThePatternOfTheirRoute(t *testing.T) {
	var l Labels
	stay, leave := make(chan string, 1), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /people/{id}", func(_ http.ResponseWriter, r *http.Request) {
		go func() {
			stay <- goroutines(t)
			<-leave
		}()
	})
	before := goroutines(t)
	if strings.Contains(before, "labels:") {
		t.Skip("the test itself runs under labels")
	}
	h := l.Wrap(mux)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/people/110105?token=hunter", nil))
	during := <-stay
	if !strings.Contains(during, `"route":"GET /people/{id}"`) {
		t.Errorf("the goroutine of a handler has not inherited its label:\n%s", during)
	}
	if strings.Contains(during, "110105") || strings.Contains(during, "hunter") {
		t.Error("a label has what the caller sent")
	}
	close(leave)
	// This goroutine served the request; its label is gone, as that of a kept-alive connection must be.
	own := make(chan string)
	go func() { own <- goroutines(t) }()
	if text := <-own; strings.Count(text, `"route"`) > 1 { // the other may still be on its way out
		t.Errorf("the label outlives the request:\n%s", text)
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/nowhere", nil))
	if got := l.Counts(); len(got) != 1 || got[0].Begun != 1 || got[0].Ended != 1 || got[0].Labels[Route] != "GET /people/{id}" {
		t.Errorf("counts %+v", got)
	}
}

func TestLabelsEndWithAPanic(t *testing.T) {
	var l Labels
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic("x") })
	func() {
		defer func() { _ = recover() }()
		l.Wrap(mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}()
	if c := l.Counts(); c[0].Begun != 1 || c[0].Ended != 1 {
		t.Errorf("counts %+v", c)
	}
	if text := goroutines(t); strings.Contains(text, `"route":"/"`) {
		t.Error("the label outlives a panic")
	}
}

func TestTaskRunsUnderItsLabels(t *testing.T) {
	var l Labels
	type own struct{}
	outer := context.WithValue(t.Context(), own{}, "kept")
	task := l.Task(Job, "booking.expire", "booking")
	err := task.Run(outer, func(ctx context.Context) error {
		if job, _ := pprof.Label(ctx, Job); job != "booking.expire" {
			t.Errorf("job %q", job)
		}
		if service, _ := pprof.Label(ctx, Service); service != "booking" {
			t.Errorf("service %q", service)
		}
		if ctx.Value(own{}) != "kept" {
			t.Error("the context lost a value")
		}
		inner, cancel := context.WithCancel(ctx)
		cancel()
		<-inner.Done()
		pprof.Do(ctx, pprof.Labels("more", "1"), func(ctx context.Context) {
			if job, _ := pprof.Label(ctx, Job); job != "booking.expire" {
				t.Error("labels of a caller's own replace ours")
			}
		})
		return context.Canceled
	})
	if err != context.Canceled {
		t.Error(err)
	}
	if l.Task(Job, "booking.expire", "booking") != task {
		t.Error("a task is made twice")
	}
}

func TestNamesMadeByCallersAreBounded(t *testing.T) {
	var l Labels
	for i := range maxTasks + 100 {
		l.Route(strings.Repeat("x", i))
	}
	if n := len(l.Counts()); n != maxTasks+1 {
		t.Errorf("%d tasks", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	var l Labels
	ctx := context.Background()
	for b.Loop() {
		t := l.Route("POST /api/booking/reserve")
		t.Begin()
		t.End(ctx)
	}
}
