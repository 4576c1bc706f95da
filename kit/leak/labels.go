package leak

import (
	"context"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
)

// maxTasks bounds how many tasks are told apart: a gRPC server without a fixed set of methods lets callers make names.
const maxTasks = 1024

// Labels puts what a program does under the labels of profiles, and counts how often it does it. The zero Labels is
// ready; its methods may be called from many goroutines.
type Labels struct {
	mu  sync.Mutex
	all atomic.Pointer[map[name]*Task] // replaced whole when a task is added
}

type name struct{ key, value, service string }

// Task is work of one kind: a route, a consumer, a job, a service. Its labels are made once.
type Task struct {
	name         name
	ctx          context.Context // carries the labels, and nothing else
	begun, ended atomic.Int64
}

// The keys of labels. Others are never shown: what a program labels for itself may be personal.
const (
	Route    = "route"    // method and pattern, such as "POST /api/booking/reserve"; for gRPC "gRPC /service/Method"
	Consumer = "consumer" // of events
	Job      = "job"      // that runs now and then, or all the time
	Service  = "service"  // whose it is
)

// Task returns the task with that label, and a service's name where service is not empty: the same one for the same
// words. Values must be names that stand in the program: never a path, an id or anything that a caller sends.
func (l *Labels) Task(key, value, service string) *Task {
	n := name{key, value, service}
	if all := l.all.Load(); all != nil {
		if t := (*all)[n]; t != nil {
			return t
		}
	}
	return l.add(n)
}

func (l *Labels) add(n name) *Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := map[name]*Task{}
	if all := l.all.Load(); all != nil {
		if len(*all) >= maxTasks {
			n = name{key: n.key, value: "(other)"}
		}
		if t := (*all)[n]; t != nil {
			return t
		}
		for k, t := range *all {
			more[k] = t
		}
	}
	pairs := []string{n.key, n.value}
	if n.service != "" && n.key != Service {
		pairs = append(pairs, Service, n.service)
	}
	t := &Task{name: n, ctx: pprof.WithLabels(context.Background(), pprof.Labels(pairs...))}
	more[n] = t
	l.all.Store(&more)
	return t
}

// Route returns the task of requests that match a pattern of net/http.
func (l *Labels) Route(pattern string) *Task { return l.Task(Route, pattern, "") }

// Begin puts the calling goroutine, and every goroutine that it starts from now on, under the labels.
func (t *Task) Begin() {
	t.begun.Add(1)
	pprof.SetGoroutineLabels(t.ctx)
}

// End puts the calling goroutine back under the labels of ctx, which for a request's own context are none: the goroutine
// of a connection serves other routes next. Goroutines that were started keep theirs.
func (t *Task) End(ctx context.Context) {
	pprof.SetGoroutineLabels(ctx)
	t.ended.Add(1)
}

// Did counts one more time that the task was done, by a goroutine that stays under its labels.
func (t *Task) Did() {
	t.begun.Add(1)
	t.ended.Add(1)
}

// Run calls f under the labels.
func (t *Task) Run(ctx context.Context, f func(context.Context) error) error {
	t.Begin()
	defer t.End(ctx)
	return f(t.Context(ctx))
}

// Context returns ctx with the labels, for those who put labels of their own on top with [pprof.Do].
func (t *Task) Context(ctx context.Context) context.Context { return labelled{ctx, t.ctx} }

// labelled is a context with the labels of another one: a fraction of what pprof.WithLabels costs.
type labelled struct {
	context.Context
	labels context.Context
}

func (c labelled) Value(key any) any {
	if v := c.labels.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// router is what knows the pattern of a request before it is served; *http.ServeMux does.
type router interface {
	http.Handler
	Handler(*http.Request) (http.Handler, string)
}

// Wrap serves mux with every request under the label of its route.
func (l *Labels) Wrap(mux router) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		if pattern == "" {
			mux.ServeHTTP(w, r)
			return
		}
		t := l.Route(pattern)
		t.Begin()
		defer t.End(r.Context())
		mux.ServeHTTP(w, r)
	})
}

// Count is how often a task was begun and ended.
type Count struct {
	Labels map[string]string `json:"labels"`
	Begun  int64             `json:"begun"`
	Ended  int64             `json:"ended"`
}

// Counts returns the counts of all tasks.
func (l *Labels) Counts() []Count {
	if l == nil {
		return nil
	}
	tasks := l.all.Load()
	if tasks == nil {
		return nil
	}
	var counts []Count
	for n, t := range *tasks {
		c := Count{Labels: map[string]string{n.key: n.value}, Ended: t.ended.Load()}
		c.Begun = t.begun.Load() // after ended, so that never more has ended than begun
		if n.service != "" {
			c.Labels[Service] = n.service
		}
		counts = append(counts, c)
	}
	return counts
}

// Key writes labels as one word, in a fixed order: "route=GET /x service=booking".
func Key(labels map[string]string) string {
	var parts []string
	for _, k := range []string{Route, Consumer, Job, Service} {
		if v := labels[k]; v != "" {
			parts = append(parts, k+"="+v)
		}
	}
	return strings.Join(parts, " ")
}
