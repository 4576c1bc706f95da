package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

func setUp(t testing.TB, o Options) (*Telemetry, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	o.Writer = &out
	tel, err := Setup(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel, &out
}

func TestSetupRefuses(t *testing.T) {
	for field, o := range map[string]Options{
		"log-level":  {LogLevel: "loud"},
		"log-format": {LogFormat: "xml"},
	} {
		if _, err := Setup(o); !errs.Is(err, errs.Invalid) || errs.As(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// citizen is graded data that somebody may log whole.
type citizen struct {
	Case   string `json:"case" grade:"L1"`
	Name   string `json:"name" grade:"L2,pii=name"`
	IDCard string `json:"idCard" grade:"L3,pii=id_card"`
}

func TestGradedValuesAreMasked(t *testing.T) {
	card := label.FakeIDCard(7)
	for _, format := range []string{"text", "json"} {
		tel, out := setUp(t, Options{LogFormat: format})
		tel.Log.With("who", citizen{"c1", "符小明", card}).Info("seen: "+card, "number", card, "err", errors.New("no such card "+card),
			"ungraded", struct{ Secret string }{card}, slog.Group("in", "card", card), "plain", "kept")
		for _, hidden := range []string{card, "小明"} {
			if strings.Contains(out.String(), hidden) {
				t.Errorf("%s: the log shows %s: %s", format, hidden, out)
			}
		}
		for _, want := range []string{"c1", "符", "kept", card[:3] + "****"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing: %s", format, want, out)
			}
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		tel, out := setUp(t, Options{LogFormat: format})
		log := tel.Log.With("password", "hunter2-a").WithGroup("g")
		log.Info("hello", "access_token", "hunter2-b", "Authorization", "hunter2-c", "key", "hunter2-d", "sealing_key", "hunter2-e",
			"privateKey", "hunter2-f", slog.Group("in", "client-secret", "hunter2-g", "kept", "visible"), "monkey", "see")
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: %s", format, out)
		}
		for _, want := range []string{"visible", "see", "hello", Redacted} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing: %s", format, want, out)
			}
		}
	}
}

func TestLogLevelAndColor(t *testing.T) {
	tel, out := setUp(t, Options{LogLevel: "warn", Color: true})
	tel.Log.Info("quiet")
	tel.Log.Warn("loud", "n", 1)
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, " level=\x1b[33mWARN\x1b[0m msg=loud n=1\n") {
		t.Errorf("got %q", got)
	}
}

func TestRequestIsObserved(t *testing.T) {
	tel, out := setUp(t, Options{LogFormat: "json"})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cases/{id}", func(w http.ResponseWriter, r *http.Request) {
		if route, _ := pprof.Label(r.Context(), "route"); route != "GET /cases/{id}" {
			t.Errorf("pprof label %q", route)
		}
		tel.Log.InfoContext(r.Context(), "inside")
		w.WriteHeader(http.StatusTeapot)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
	})
	mux.HandleFunc("GET /empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("x") })
	h := tel.Middleware(mux)

	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/cases/7", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	h.ServeHTTP(w, r)
	if !w.Flushed || w.Code != http.StatusTeapot {
		t.Errorf("flushed %v, code %d", w.Flushed, w.Code)
	}
	if id := w.Header().Get("X-Request-Id"); id != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the caller's trace is not continued: %q", id)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["trace_id"] != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("log line %s, %v", out, err)
	}
	for _, path := range []string{"/empty", "/nowhere"} {
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if len(w.Header().Get("X-Request-Id")) != 32 {
			t.Errorf("%s: no trace id without a caller's", path)
		}
	}
	func() {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/panic", nil))
	}()

	w = httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`http_server_request_duration_seconds_count{code="418",route="GET /cases/{id}"} 1`,
		`http_server_request_duration_seconds_count{code="200",route="GET /empty"} 1`,
		`http_server_request_duration_seconds_count{code="500",route="GET /panic"} 1`,
		`http_server_request_duration_seconds_count{code="404",route="other"} 1`,
		`http_server_active_requests 0`, `go_goroutines`, `process_resident_memory_bytes`, `qiong_build_info{`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "nowhere") {
		t.Error("a path became a label")
	}
}

// A handler's bytes must reach the client before the handler ends.
func TestNothingIsBuffered(t *testing.T) {
	tel, _ := setUp(t, Options{})
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-release
	})
	server := httptest.NewServer(tel.Middleware(mux))
	defer server.Close()
	defer close(release)
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "first" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestTraceThroughAMessage(t *testing.T) {
	tel, _ := setUp(t, Options{})
	ctx, span := tel.Tracer.Start(t.Context(), "submit")
	defer span.End()
	carried := Inject(ctx)
	if later := Extract(context.Background(), carried); TraceID(later) != TraceID(ctx) || TraceID(ctx) == "" {
		t.Errorf("trace %q became %q through %q", TraceID(ctx), TraceID(later), carried)
	}
	for _, bad := range []string{"", "00-zz", strings.Repeat("0", 55)} {
		if id := TraceID(Extract(context.Background(), bad)); id != "" {
			t.Errorf("Extract(%q) gives %q", bad, id)
		}
	}
	if Inject(context.Background()) != "" {
		t.Error("a trace out of nothing")
	}
}

func TestOTLP(t *testing.T) {
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	tel, _ := setUp(t, Options{OTLPEndpoint: collector.URL + "/v1/traces", Service: "house-under-test"})
	_, span := tel.Tracer.Start(t.Context(), "the-span")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if export := <-got; !strings.HasPrefix(export, "/v1/traces ") || !strings.Contains(export, "the-span") || !strings.Contains(export, "house-under-test") {
		t.Errorf("exported %q", export)
	}
}

func TestFailedExportIsLogged(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer collector.Close()
	tel, out := setUp(t, Options{OTLPEndpoint: collector.URL})
	_, span := tel.Tracer.Start(t.Context(), "x")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "traces not exported") {
		t.Errorf("log: %s", out)
	}
}

func BenchmarkMiddleware(b *testing.B) {
	tel, _ := setUp(b, Options{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cases/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) })
	r := httptest.NewRequest("GET", "/cases/7", nil)
	for name, h := range map[string]http.Handler{"bare": mux, "observed": tel.Middleware(mux)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := &discard{h: http.Header{}}
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
