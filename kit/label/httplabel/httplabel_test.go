package httplabel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

type answer struct {
	Name   string `json:"name" grade:"L2,pii=name"`
	IDCard string `json:"idCard" grade:"L3,pii=id_card"`
	State  string `json:"state" grade:"L1"`
}

const whole = `{"name":"王小明","idCard":"11010519491231002X","state":"done"}`

// log keeps accesses.
type log struct {
	seen []access.Access
	err  error
}

func (l *log) Record(_ context.Context, a access.Access) error {
	l.seen = append(l.seen, a)
	return l.err
}

func routes(c label.Grade, l *log) *httplabel.Routes {
	g := access.Guard{Clearance: func(context.Context) (string, label.Grade) { return "u1", c }}
	if l != nil {
		g.Recorder = l
	}
	return httplabel.New(httplabel.Options{Guard: g})
}

// serve asks a wrapped handler once.
func serve(t *testing.T, rs *httplabel.Routes, r httplabel.Route, h http.HandlerFunc) *httptest.ResponseRecorder {
	t.Helper()
	gate, err := rs.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	gate.Wrap(h).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, c := range []byte(body) { // the worst of chunks
			if _, err := w.Write([]byte{c}); err != nil {
				panic(err)
			}
		}
	}
}

var masking = httplabel.Route{Name: "GET /", Out: reflect.TypeFor[answer](), Policy: access.Mask}

func TestPassMaskRefuse(t *testing.T) {
	refusing := masking
	refusing.Policy = access.Refuse
	for _, c := range []struct {
		clearance label.Grade
		route     httplabel.Route
		status    int
		grade     string
		body      string
		decision  access.Decision
	}{
		{label.L3, masking, 200, "L3", whole, access.Passed},
		{label.Core, refusing, 200, "L3", whole, access.Passed},
		{label.L2, masking, 200, "L2", `{"name":"王小明","idCard":"110***********002X","state":"done"}`, access.Masked},
		{label.L1, masking, 200, "L1", `{"name":"王**","idCard":"110***********002X","state":"done"}`, access.Masked},
		{label.L2, refusing, 403, "", "", access.Refused},
		{label.Ungraded, masking, 403, "", "", access.Refused},
	} {
		l := &log{}
		w := serve(t, routes(c.clearance, l), c.route, says(whole))
		if w.Code != c.status || w.Header().Get("X-Data-Grade") != c.grade || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s: %d, %q, %s", c.clearance, w.Code, w.Header().Get("X-Data-Grade"), w.Body)
		}
		if want := (access.Access{Route: "GET /", Who: "u1", Grade: label.L3, Clearance: c.clearance, Decision: c.decision}); len(l.seen) != 1 || l.seen[0] != want {
			t.Errorf("%s: recorded %+v", c.clearance, l.seen)
		}
	}
}

func TestWithoutARecordThereIsNoAccess(t *testing.T) {
	w := serve(t, routes(label.Core, &log{err: errors.New("disk full")}), masking, says(whole))
	if w.Code != 503 || strings.Contains(w.Body.String(), "disk") || strings.Contains(w.Body.String(), "done") {
		t.Errorf("%d, %s", w.Code, w.Body)
	}
}

func TestWhatCannotBeMaskedIsRefused(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"text": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, whole) },
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(200)
			_, _ = io.WriteString(w, whole)
		},
	} {
		if w := serve(t, routes(label.L1, nil), masking, h); w.Code != 403 || strings.Contains(w.Body.String(), "done") {
			t.Errorf("%s: %d, %s", name, w.Code, w.Body)
		}
	}
	// What the type does not have is dropped, and of a problem only numbers.
	if w := serve(t, routes(label.L1, nil), masking, says(`{"state":"a","other":{"x":"y"},"more":[1]}`)); w.Body.String() != `{"state":"a","other":{"x":null},"more":[null]}` {
		t.Errorf("%s", w.Body)
	}
	problem := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"title":"none","detail":"11010519491231002X"}`)
	}
	if w := serve(t, routes(label.L1, nil), masking, problem); w.Code != 404 || w.Body.String() != `{"title":"none","detail":"110***********002X"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// An answer that stops being JSON is broken off.
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("half an answer went for a whole one")
		}
	}()
	serve(t, routes(label.L1, nil), masking, says(`{"state":"a"`))
}

// A server behind a proxy would compress and cut its answers if it were asked to.
func TestWhatAsksForMoreIsNotPassedOn(t *testing.T) {
	gate, err := routes(label.L1, nil).Add(masking)
	if err != nil {
		t.Fatal(err)
	}
	h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header) != 1 || r.Header.Get("Accept") != "application/json" {
			t.Errorf("asked with %v", r.Header)
		}
		says(whole)(w, r)
	}))
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	r.Header = http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Range": {"bytes=1-2"}}
	h.ServeHTTP(w, r)
	if w.Code != 200 || len(r.Header) != 3 {
		t.Errorf("%d, %v", w.Code, r.Header)
	}
}

func TestUngradedRoutesAreRefused(t *testing.T) {
	type bad struct{ A, B string }
	rs := routes(label.Core, nil)
	_, err := rs.Add(httplabel.Route{Name: "GET /x", In: reflect.TypeFor[bad](), Out: reflect.TypeFor[answer]()})
	if !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), "bad.A") || !strings.Contains(err.Error(), "bad.B") {
		t.Errorf("%v", err)
	}
	if _, err := rs.Add(httplabel.Route{Name: "GET /y"}); !errs.Is(err, errs.Internal) || !strings.Contains(err.Error(), "GET /y") {
		t.Errorf("%v", err)
	}
	if _, err := rs.Add(httplabel.Route{Name: "GET /z", Grade: label.L3, Policy: access.Mask}); !errs.Is(err, errs.Internal) {
		t.Errorf("%v", err)
	}
}

func TestProxied(t *testing.T) {
	w := serve(t, routes(label.L1, nil), httplabel.Route{Name: "GET /p", Grade: label.L3, Policy: access.Mask, Masker: jsonmask.Detecting()}, says(whole))
	if w.Body.String() != `{"name":"王小明","idCard":"110***********002X","state":"done"}` {
		t.Errorf("%s", w.Body)
	}
}

func TestTypedAnswers(t *testing.T) {
	gate, err := routes(label.L1, nil).Add(masking)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	pass, err := gate.Enter(t.Context(), h)
	if err != nil || h.Get(label.Header) != "L1" {
		t.Fatal(err, h)
	}
	v, err := pass.Show(&answer{Name: "王小明", State: "x"})
	if err != nil || *v.(*answer) != (answer{Name: "王**", State: "x"}) {
		t.Errorf("%+v, %v", v, err)
	}
	if b, err := pass.Marshal(answer{Name: "王小明", State: "x"}); err != nil || string(b) != `{"name":"王**","idCard":"","state":"x"}` {
		t.Errorf("%s, %v", b, err)
	}
	if v, err := (httplabel.Pass{}).Show(1); err == nil {
		t.Errorf("nobody let %v out", v)
	}
	if b, err := (httplabel.Pass{}).Marshal(1); err == nil {
		t.Errorf("nobody let %s out", b)
	}
}

// discard is a ResponseWriter that keeps its header.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestAPlannedRouteAllocatesNothing(t *testing.T) {
	body, media := []byte(whole), []string{"application/json"}
	for _, clearance := range []label.Grade{label.L3, label.L1} {
		if raceDetector && clearance == label.L1 {
			continue // it has pools forget at random
		}
		gate, err := routes(clearance, nil).Add(masking)
		if err != nil {
			t.Fatal(err)
		}
		h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = media
			_, _ = w.Write(body)
		}))
		w, r := discard{http.Header{}}, httptest.NewRequest("GET", "/", nil)
		if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n != 0 {
			t.Errorf("%s: %v allocations", clearance, n)
		}
	}
}

func BenchmarkWrap(b *testing.B) {
	for name, clearance := range map[string]label.Grade{"pass": label.L3, "mask": label.L1} {
		b.Run(name, func(b *testing.B) {
			gate, err := routes(clearance, &log{}).Add(httplabel.Route{Name: "GET /", Grade: label.L2, Out: masking.Out, Policy: access.Mask})
			if err != nil {
				b.Fatal(err)
			}
			body, media := []byte(whole), []string{"application/json"}
			h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = media
				_, _ = w.Write(body)
			}))
			w, r := discard{http.Header{}}, httptest.NewRequest("GET", "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
