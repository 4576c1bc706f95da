package httplabel_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
)

var typed = httplabel.Route{Name: "GET /x", Out: reflect.TypeFor[answer](), Policy: access.Mask}

// enter adds a route and enters it.
func enter(t *testing.T, rs *httplabel.Routes, r httplabel.Route, h http.Header) httplabel.Pass {
	t.Helper()
	gate, err := rs.Add(r)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := gate.Enter(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return pass
}

func TestAnswersMadeBefore(t *testing.T) {
	for clearance, want := range map[label.Grade]string{
		label.L3: whole, label.L2: `{"name":"王小明","idCard":"110***********002X","state":"done"}`,
	} {
		got, err := enter(t, routes(clearance, nil), typed, http.Header{}).Append([]byte("> "), []byte(whole))
		if err != nil || strings.Count(string(got), "*") != strings.Count(want, "*") || !strings.HasPrefix(string(got), "> {") {
			t.Errorf("%s: %s, %v; want %s", clearance, got, err, want)
		}
	}
	if got, err := (httplabel.Pass{}).Append(nil, []byte(whole)); err == nil {
		t.Errorf("without a pass: %s", got)
	}
}

func TestARouteClearsItsCallers(t *testing.T) {
	l, h, r := &log{}, http.Header{}, typed
	r.Clears = label.L3
	pass := enter(t, routes(label.L1, l), r, h)
	if pass.Decision != access.Passed || h.Get(label.Header) != "L3" || len(l.seen) != 1 || l.seen[0].Clearance != label.L3 {
		t.Errorf("%+v, %v, %+v", pass, h, l.seen)
	}
}

func TestRaise(t *testing.T) {
	l, h := &log{}, http.Header{}
	pass := enter(t, routes(label.L4, l), typed, h)
	for g, ok := range map[label.Grade]bool{label.L1: true, label.L3: true, label.L4: true, label.Important: false, label.Ungraded: false} {
		h.Set(label.Header, "L3")
		before := len(l.seen)
		err := pass.Raise(t.Context(), h, g)
		if (err == nil) != ok || err != nil && !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", g, err)
		}
		raised := g == label.L4
		if (h.Get(label.Header) == "L4") != raised || (len(l.seen) > before) == (g == label.L1 || g == label.L3) {
			t.Errorf("%s: header %v, %d recorded", g, h, len(l.seen)-before)
		}
	}
	if err := (httplabel.Pass{}).Raise(t.Context(), h, label.L1); err == nil {
		t.Error("raised without a pass")
	}
}

func TestNoGateLetsNobodyIn(t *testing.T) {
	var none *httplabel.Gate
	if _, err := none.Enter(t.Context(), http.Header{}); !errs.Is(err, errs.Internal) {
		t.Errorf("%v", err)
	}
}
