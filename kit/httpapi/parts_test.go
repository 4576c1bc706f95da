package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/auth/authtest"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
)

func TestETags(t *testing.T) {
	etag := httpapi.VersionETag(7)
	for _, c := range []struct {
		header             string
		notModified, match bool
	}{
		{"", false, true}, {`"v7"`, true, true}, {`W/"v7"`, true, false}, {`"v8"`, false, false}, {"*", true, true},
		{`"a", W/"b" , "v7"`, true, true}, {`v7`, false, false}, {`"v7`, false, false}, {`"a,v7"`, false, false}, {",,", false, false},
	} {
		if got := httpapi.NotModified(c.header, etag); got != c.notModified {
			t.Errorf("NotModified(%q) = %v", c.header, got)
		}
		if err := httpapi.CheckMatch(c.header, etag); (err == nil) != c.match || err != nil && !errs.Is(err, errs.Precondition) {
			t.Errorf("CheckMatch(%q) = %v", c.header, err)
		}
	}
	if a, b := httpapi.ContentETag([]byte("a")), httpapi.ContentETag([]byte("b")); a == b || a != httpapi.ContentETag([]byte("a")) {
		t.Errorf("content tags %s %s", a, b)
	}
}

func TestUnchanged(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	x.submit = func(context.Context, *submitIn) (*submitOut, error) { return nil, httpapi.Unchanged(`"v1"`) }
	if w := x.do("POST", "/api/cases", strings.NewReader(good)); w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Etag") != `"v1"` {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}

func TestPages(t *testing.T) {
	position := func(n int) string { return strconv.Itoa(n) }
	if p := httpapi.PageOf([]int{1, 2}, 2, position); p.Next != "" || len(p.Items) != 2 {
		t.Errorf("last page %+v", p)
	}
	p := httpapi.PageOf([]int{1, 2, 3}, 2, position)
	if got, err := (httpapi.PageQuery{Cursor: p.Next}).Position(); err != nil || got != "2" || len(p.Items) != 2 {
		t.Errorf("first page %+v, position %q, %v", p, got, err)
	}
	if got, err := (httpapi.PageQuery{}).Position(); err != nil || got != "" {
		t.Errorf("no cursor: %q, %v", got, err)
	}
	if empty, _ := json.Marshal(httpapi.PageOf[int](nil, 5, position)); string(empty) != `{"items":[]}` {
		t.Errorf("empty page %s", empty)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("2026-11-22|7", "geheim")
	f.Fuzz(func(t *testing.T, position, cursor string) {
		if got, err := httpapi.DecodeCursor(httpapi.EncodeCursor(position)); err != nil || got != position {
			t.Fatalf("%q became %q, %v", position, got, err)
		}
		got, err := httpapi.DecodeCursor(cursor)
		if err == nil && httpapi.EncodeCursor(got) != cursor {
			t.Fatalf("cursor %q has another spelling", cursor)
		}
		if err != nil && errs.As(err).Field != "cursor" {
			t.Fatalf("error %v", err)
		}
	})
}

func FuzzETag(f *testing.F) {
	f.Add(`W/"a", "b"`, `"b"`)
	f.Fuzz(func(t *testing.T, header, etag string) {
		// A tag that passes the strong comparison passes the weak one too.
		if httpapi.CheckMatch(header, etag) == nil && header != "" && !httpapi.NotModified(header, etag) {
			t.Fatalf("%q %q", header, etag)
		}
	})
}

// FuzzBody sends any body; the answer is 201 or a problem whose status is the client's fault.
func FuzzBody(f *testing.F) {
	x := newWorld(f, authtest.Always{P: citizen})
	f.Add(good)
	f.Add(`{"matter":"m","applicants":[{"name":"nn","share":1e400}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		w := x.do("POST", "/api/cases", strings.NewReader(body))
		if w.Code == 201 {
			return
		}
		if p := problem(t, w); w.Code >= 500 || p.Detail == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// events is a ResponseWriter that hands out what is flushed.
type events struct {
	http.ResponseWriter
	out     chan string
	pending strings.Builder
}

func newEvents() *events {
	return &events{ResponseWriter: httptest.NewRecorder(), out: make(chan string, 100)}
}
func (e *events) Write(p []byte) (int, error) { return e.pending.Write(p) }
func (e *events) FlushError() error {
	e.out <- e.pending.String()
	e.pending.Reset()
	return nil
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ctx := newEvents(), t.Context()
		ctx, cancel := context.WithCancel(ctx)
		r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
		r.Header.Set("Last-Event-ID", "41")
		if id := httpapi.LastEventID(r); id != "41" {
			t.Errorf("Last-Event-ID %q", id)
		}
		step, ended := make(chan struct{}), make(chan error)
		go func() {
			ended <- httpapi.Stream(w, r, func(ctx context.Context, send httpapi.SendFunc) error {
				if err := send("0", "step", map[string]string{"line": "one\ntwo"}); err != nil {
					return err
				}
				if send("1\n2", "x", 1) == nil || send("1", "x\ny", 1) == nil {
					t.Error("a line break went out in an id or a name")
				}
				<-step
				_ = send("", "", 2)
				<-ctx.Done()
				if err := send("3", "late", 3); err == nil {
					t.Error("an event after the end")
				}
				return ctx.Err()
			})
		}()
		want := func(text string) {
			t.Helper()
			if got := <-w.out; got != text {
				t.Errorf("got %q, want %q", got, text)
			}
		}
		want("retry: 2000\n\n")
		want("id: 0\nevent: step\ndata: {\"line\":\"one\\ntwo\"}\n\n")
		start := time.Now()
		want(": \n\n")
		if waited := time.Since(start); waited != 15*time.Second {
			t.Errorf("heartbeat after %v", waited)
		}
		close(step)
		want("data: 2\n\n")
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Stream = %v", err)
		}
		if ct := w.Header().Get("Content-Type"); ct != "text/event-stream" {
			t.Errorf("content type %q", ct)
		}
	})
}

func TestStreamSaysWhyItEnds(t *testing.T) {
	w := newEvents()
	r := httptest.NewRequest("GET", "/", nil)
	_ = httpapi.Stream(w, r, func(context.Context, httpapi.SendFunc) error { return errors.New("geheim") })
	<-w.out
	if got := <-w.out; !strings.HasPrefix(got, "event: problem\ndata: {") || strings.Contains(got, mark) {
		t.Errorf("got %q", got)
	}
}

// Through a real server: events arrive at once through the API's writers, and Shutdown ends the stream.
func TestStreamEndsWhenTheServerDrains(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	x.plain = nil
	httpapi.Handle(x.api, httpapi.Operation{Method: "GET", Path: "/api/events", ID: "events", Produces: "text/event-stream"},
		func(w http.ResponseWriter, r *http.Request) error {
			return httpapi.Stream(w, r, func(ctx context.Context, send httpapi.SendFunc) error {
				if err := send("7", "hello", 1); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			})
		})
	server := httpapi.NewServer("", x.mux, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "id: 7\n" {
			break
		}
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
}

// A client that stops in the middle of its body is told so, and the handler never hears of it.
func TestSlowBody(t *testing.T) {
	mux := http.NewServeMux()
	api := httpapi.New(httpapi.Options{Mux: mux, BodyTimeout: 50 * time.Millisecond,
		Auth: authtest.Always{}, Log: slog.New(slog.DiscardHandler)})
	op := httpapi.Operation{Method: "POST", Path: "/api/json", ID: "json", Public: true}
	httpapi.Register(api, op, func(context.Context, *submitIn) (*struct{}, error) {
		t.Error("the handler saw half a body")
		return nil, nil
	})
	op.Path, op.ID = "/api/plain", "plain"
	httpapi.Handle(api, op, func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.ReadAll(r.Body)
		return err
	})
	op.Path, op.ID, op.Public = "/api/private", "private", false
	httpapi.Register(api, op, func(context.Context, *submitIn) (*struct{}, error) { return nil, nil })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, code := range map[string]string{
		"/api/json": "http.slow-body", "/api/plain": "http.slow-body", "/api/private": "", // refused before the body is read
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var p httpapi.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Code != code {
			t.Errorf("%s: %d %+v, %v", path, resp.StatusCode, p, err)
		}
		resp.Body.Close()
	}
}

func TestServerLimits(t *testing.T) {
	s := httpapi.NewServer(":0", http.NotFoundHandler(), nil)
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.IdleTimeout == 0 || s.WriteTimeout == 0 || s.MaxHeaderBytes == 0 {
		t.Errorf("a limit is missing: %+v", s)
	}
	w := httptest.NewRecorder()
	httpapi.SecureHeaders(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy %q", csp)
	}
}

func TestOpenAPI(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	w := x.do("GET", "/api/openapi.json", nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Summary   string
			SummaryEN string `json:"x-summary-en"`
			Responses map[string]struct{ Content map[string]any }
			Security  []any
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	op := doc.Paths["/api/cases"]["post"]
	if op.Summary != "提交办件" || op.SummaryEN != "Submit a case" || len(op.Security) != 1 {
		t.Errorf("%+v", op)
	}
	if op.Responses["201"].Content["application/json"] == nil || op.Responses["default"].Content["application/problem+json"] == nil {
		t.Errorf("responses %+v", op.Responses)
	}
	if doc.Paths["/api/files/{name}"]["put"].Summary == "" || doc.Components.Schemas["ErrorModel"] != nil || doc.Components.Schemas["Problem"] == nil {
		t.Errorf("%s", w.Body)
	}
	if strings.Contains(w.Body.String(), "$schema") {
		t.Error("$schema in the document")
	}
	if again := x.do("GET", "/api/openapi.json", nil, "If-None-Match", w.Header().Get("Etag")); again.Code != 304 {
		t.Errorf("again: %d", again.Code)
	}
}

func TestAPIPage(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	for _, c := range []struct{ query, accept, htmlLang, holds string }{
		{"", "", "zh", "提交办件"}, {"", "en", "en", "Submit a case"}, {"?lang=en", "zh", "en", "Honours Idempotency-Key"}, {"?lang=zh", "en", "zh", "必填"},
	} {
		w := x.do("GET", "/api/"+c.query, nil, "Accept-Language", c.accept)
		page := w.Body.String()
		if w.Code != 200 || !strings.Contains(page, `<html lang="`+c.htmlLang+`">`) || !strings.Contains(page, c.holds) {
			t.Errorf("%+v: %d\n%s", c, w.Code, page)
		}
		for _, foreign := range []string{"http://", "https://", "<script", "style="} {
			if strings.Contains(page, foreign) {
				t.Errorf("the page holds %s", foreign)
			}
		}
		for _, needed := range []string{"applicants", "viewport", `href="#submit-case"`, `id="submit-case"`, "Idempotency-Key", "application/pdf"} {
			if !strings.Contains(page, needed) {
				t.Errorf("the page lacks %s", needed)
			}
		}
	}
	if w := x.do("GET", "/api/docs.css", nil); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("css: %d", w.Code)
	}
}

func BenchmarkOverhead(b *testing.B) {
	x := newWorld(b, authtest.Always{P: citizen})
	bare := http.NewServeMux()
	bare.HandleFunc("POST /api/cases", func(w http.ResponseWriter, r *http.Request) {
		var in submitBody
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(400)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "c1", "who": "u-1", "count": in.Count})
	})
	for name, h := range map[string]http.Handler{"bare": bare, "httpapi": x.mux} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := strings.NewReader(good)
			r := httptest.NewRequest("POST", "/api/cases", body)
			r.Header.Set("Content-Type", "application/json")
			w := &discard{h: http.Header{}}
			for b.Loop() {
				body.Reset(good)
				r.Body = io.NopCloser(body)
				h.ServeHTTP(w, r)
				if w.code != 201 {
					b.Fatal(w.code)
				}
			}
		})
	}
}

type discard struct {
	h    http.Header
	code int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(code int)        { d.code = code }
