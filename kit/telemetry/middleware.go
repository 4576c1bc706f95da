package telemetry

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/qiongdev/qiong/kit/leak"
)

// router is what *http.ServeMux is: it knows the route before it serves it.
type router interface {
	Handler(r *http.Request) (h http.Handler, pattern string)
}

// Middleware gives each request a span (continuing the caller's traceparent), an X-Request-Id header that is the trace
// id, a duration in the histogram by route and status, a place in the active gauge, and a pprof label "route" where next
// is an *http.ServeMux. Routes are labelled by pattern, never by path, so that no caller can make labels. It buffers
// nothing.
func (t *Telemetry) Middleware(next http.Handler) http.Handler {
	routes, _ := next.(router)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		t.active.Inc()
		defer t.active.Dec()

		ctx := r.Context()
		if r.Header.Get("Traceparent") != "" {
			ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
		}
		ctx, span := t.Tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		w.Header().Set("X-Request-Id", span.SpanContext().TraceID().String())
		recorder := &recorder{ResponseWriter: w}
		route := ""
		if routes != nil {
			if _, route = routes.Handler(r); route != "" {
				task := t.Labels.Route(route)
				ctx = task.Context(ctx)
				task.Begin()
				defer task.End(r.Context())
			}
		}
		traced := r.WithContext(ctx)
		defer func() {
			if traced.Pattern != "" {
				route = traced.Pattern
			}
			t.finish(span, recorder, route, time.Since(start))
		}()
		next.ServeHTTP(recorder, traced)
		recorder.ended = true
	})
}

// finish writes the request down. A handler that panicked before it answered counts as 500.
func (t *Telemetry) finish(span trace.Span, w *recorder, route string, took time.Duration) {
	code := w.code
	switch {
	case code == 0 && w.ended:
		code = http.StatusOK
	case code == 0:
		code = http.StatusInternalServerError
	}
	if route == "" {
		route = "other"
	}
	t.requests.WithLabelValues(route, codeText(code)).Observe(took.Seconds())
	if span.IsRecording() {
		span.SetName(route)
		span.SetAttributes(attribute.String("http.route", route), attribute.Int("http.response.status_code", code))
		if code >= 500 {
			span.SetStatus(codes.Error, http.StatusText(code))
		}
	}
	span.End()
}

func codeText(code int) string {
	switch code {
	case 200:
		return "200"
	case 201:
		return "201"
	case 404:
		return "404"
	}
	return strconv.Itoa(code)
}

// recorder notes the status and passes everything on at once. Unwrap lets http.ResponseController reach the deadlines
// and hijacking of the connection below.
type recorder struct {
	http.ResponseWriter
	code  int
	ended bool
}

func (w *recorder) WriteHeader(code int) {
	if w.code == 0 && code >= 200 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.implicit()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps sendfile for files.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	w.implicit()
	return io.Copy(w.ResponseWriter, r)
}

// Flush implements http.Flusher for code that asks for it by type.
func (w *recorder) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *recorder) FlushError() error {
	w.implicit()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) implicit() {
	if w.code == 0 {
		w.code = http.StatusOK
	}
}

// Lane watches the requests of one route that does without Middleware: their number under way, their durations by
// status, and their label.
type Lane struct {
	t       *Telemetry
	task    *leak.Task
	pattern string
	known   [600]atomic.Pointer[prometheus.Observer] // by status
}

// Lane returns the lane of a pattern.
func (t *Telemetry) Lane(pattern string) *Lane {
	return &Lane{t: t, task: t.Labels.Route(pattern), pattern: pattern}
}

// Begin takes in that a request has come.
func (l *Lane) Begin() {
	l.t.active.Inc()
	l.task.Begin()
}

// End takes in that it was answered.
func (l *Lane) End(r *http.Request, status int, took time.Duration) {
	l.task.End(r.Context())
	l.t.active.Dec()
	if status < 0 || status >= len(l.known) {
		return
	}
	observer := l.known[status].Load()
	if observer == nil {
		made := l.t.requests.WithLabelValues(l.pattern, codeText(status))
		observer = &made
		l.known[status].Store(observer)
	}
	(*observer).Observe(took.Seconds())
}
