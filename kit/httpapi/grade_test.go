package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
)

// person is graded data.
type person struct {
	ID     string          `json:"id" grade:"L1"`
	Name   string          `json:"name" grade:"L2,pii=name"`
	IDCard string          `json:"idCard" grade:"L3,pii=id_card"`
	Form   json.RawMessage `json:"form,omitempty" grade:"L3"`
}

type personOut struct {
	ETag string `header:"ETag"`
	Body person
}

type named struct {
	ID string `path:"id" grade:"L1"`
}

var somebody = person{ID: "p1", Name: "符小明", IDCard: label.FakeIDCard(7), Form: json.RawMessage(`{"a":1}`)}

// byHeader authenticates each request as the role it names.
type byHeader struct{}

func (byHeader) Authenticate(_ context.Context, r *http.Request) (*auth.Principal, error) {
	return &auth.Principal{ID: "u-" + r.Header.Get("Role"), Roles: []auth.Role{auth.Role(r.Header.Get("Role"))}}, nil
}

// keeper is a recorder.
type keeper struct {
	kept []access.Access
	err  error
}

func (k *keeper) Record(_ context.Context, a access.Access) error {
	k.kept = append(k.kept, a)
	return k.err
}

// graded is an API whose data are graded: officials are cleared for L3, operators for L2, anybody for L1, and "none" for
// nothing beyond that.
type gradedWorld struct {
	mux    *http.ServeMux
	api    *httpapi.API
	record keeper
}

func newGraded() *gradedWorld {
	x := &gradedWorld{mux: http.NewServeMux()}
	x.api = httpapi.New(httpapi.Options{Title: lang.T("测试接口", "Test API"), Mux: x.mux, Auth: byHeader{}, Log: slog.New(slog.DiscardHandler),
		Grades: httplabel.New(httplabel.Options{Guard: access.Guard{Recorder: &x.record,
			Clearance: access.Roles{"": label.L1, auth.Official: label.L3, auth.Operator: label.L2}.Clearance}})})
	return x
}

func (x *gradedWorld) get(role, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Role", role)
	r.Header.Set("Accept-Language", "en")
	w := httptest.NewRecorder()
	x.mux.ServeHTTP(w, r)
	return w
}

func op(path string) httpapi.Operation {
	return httpapi.Operation{Method: "GET", Path: path, ID: strings.Trim(strings.NewReplacer("/", "-", "{", "", "}", "").Replace(path), "-"),
		Summary: lang.T("测试", "Test")}
}

// serve registers the ways in which one and the same answer is made.
func (x *gradedWorld) serve(t *testing.T) {
	answer := func(context.Context, *named) (*personOut, error) { return &personOut{`"v1"`, somebody}, nil }
	httpapi.Register(x.api, op("/api/typed/{id}"), answer)
	refusing := op("/api/refusing/{id}")
	refusing.Refuse = true
	httpapi.Register(x.api, refusing, answer)
	clearing := op("/api/clearing/{id}")
	clearing.Clears = label.L4
	httpapi.Register(x.api, clearing, answer)
	httpapi.Register(x.api, op("/api/stored/{id}"), func(context.Context, *named) (*personOut, error) {
		stored, err := httpapi.Encode(200, nil, somebody)
		if err != nil {
			t.Error(err)
		}
		return nil, httpapi.Resend(stored)
	})
	stream := op("/api/stream/{id}")
	stream.Event = reflect.TypeFor[person]()
	httpapi.Handle(x.api, stream, func(w http.ResponseWriter, r *http.Request) error {
		return httpapi.Stream(w, r, func(_ context.Context, send httpapi.SendFunc) error {
			if err := send("", "", somebody); err != nil {
				return err
			}
			return errs.New(errs.Conflict, "到此为止", "that is all")
		})
	})
	file := op("/api/file/{id}")
	file.Grade = label.L3
	httpapi.Handle(x.api, file, func(w http.ResponseWriter, r *http.Request) error {
		_, err := fmt.Fprint(w, somebody.IDCard)
		return err
	})
	raised := op("/api/raised/{id}")
	raised.Clears = label.L4
	raising := func(ctx context.Context, in *named) (*personOut, error) {
		grade := map[string]label.Grade{"p1": label.L2, "grave": label.L4, "core": label.Core}[in.ID]
		return &personOut{`"v1"`, somebody}, httpapi.Raise(ctx, grade)
	}
	httpapi.Register(x.api, raised, raising)
	httpapi.Register(x.api, op("/api/raising/{id}"), raising)
	httpapi.Register(x.api, op("/api/absent/{id}"), func(context.Context, *named) (*personOut, error) {
		return nil, errs.New(errs.NotFound, "没有", "there is none")
	})
	if err := x.api.Graded(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsShownDependsOnTheClearance(t *testing.T) {
	x := newGraded()
	x.serve(t)
	whole, hidden := somebody.IDCard, somebody.IDCard[3:14]
	for _, tt := range []struct {
		role, path string
		status     int
		grade      string // X-Data-Grade
		has, lacks []string
	}{
		{"official", "typed", 200, "L3", []string{whole, "符小明", `"form"`}, nil},
		{"operator", "typed", 200, "L2", []string{"符小明", whole[:3] + "***"}, []string{hidden, `"form"`}},
		{"none", "typed", 200, "L1", []string{`"符**"`}, []string{hidden, "小明", `"form"`}},
		{"official", "refusing", 200, "L3", []string{whole}, nil},
		{"operator", "refusing", 403, "L1", []string{"clearance"}, []string{hidden, "小明"}},
		{"none", "clearing", 200, "L3", []string{whole}, nil},
		{"official", "stored", 200, "L3", []string{whole, `"form":{"a":1}`}, nil},
		{"operator", "stored", 200, "L2", []string{"符小明", whole[:3] + "***"}, []string{hidden, `"a":1`}},
		{"official", "stream", 200, "L3", []string{whole, "event: problem"}, nil},
		{"operator", "stream", 200, "L2", []string{"符小明", "event: problem", "that is all"}, []string{hidden, `"form"`}},
		{"official", "file", 200, "L3", []string{whole}, nil},
		{"operator", "file", 403, "L1", nil, []string{hidden}},
		{"official", "absent", 404, "L1", []string{"there is none"}, nil},
		{"official", "raising", 200, "L3", []string{whole}, nil},
		{"official", "raising/grave", 403, "L1", []string{"clearance"}, []string{hidden}},
		{"official", "raising/unknown", 403, "L1", []string{"clearance"}, []string{hidden}},
		{"none", "raised/grave", 200, "L4", []string{whole}, nil},
		{"none", "raised/core", 403, "L1", []string{"clearance"}, []string{hidden}},
	} {
		path := "/api/" + tt.path
		if !strings.Contains(tt.path, "/") {
			path += "/p1"
		}
		w := x.get(tt.role, path)
		grade := w.Header().Get(label.Header)
		if tt.status == 403 && grade == "" {
			grade = "L1" // nothing was entered
		}
		if w.Code != tt.status || grade != tt.grade {
			t.Errorf("%s %s: %d of grade %s; want %d, %s: %s", tt.role, tt.path, w.Code, grade, tt.status, tt.grade, w.Body)
		}
		for _, s := range tt.has {
			if !strings.Contains(w.Body.String(), s) {
				t.Errorf("%s %s lacks %s: %s", tt.role, tt.path, s, w.Body)
			}
		}
		for _, s := range tt.lacks {
			if strings.Contains(w.Body.String(), s) {
				t.Errorf("%s %s shows %s: %s", tt.role, tt.path, s, w.Body)
			}
		}
	}
}

func TestThePageAndTheDocumentSayTheGrade(t *testing.T) {
	x := newGraded()
	x.serve(t)
	if page := x.get("", "/api/?lang=en").Body.String(); !strings.Contains(page, "Data grade: L3") {
		t.Error("the page says no grade")
	}
	var d struct {
		Paths      map[string]map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]map[string]any }
		}
	}
	if err := json.Unmarshal(x.get("", "/api/openapi.json").Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if got := d.Paths["/api/file/{id}"]["get"]["x-data-grade"]; got != "L3" {
		t.Errorf("the file is of grade %v", got)
	}
	if got := d.Components.Schemas["Person"].Properties["idCard"]; got["x-data-grade"] != "L3" || got["x-data-category"] != "id_card" || got["x-data-mask"] != "3-4" {
		t.Errorf("idCard: %v", got)
	}
}

func TestAccessesAreRecordedOrThereAreNone(t *testing.T) {
	x := newGraded()
	x.serve(t)
	x.get("official", "/api/typed/p1")
	x.get("operator", "/api/typed/p1")
	x.get("operator", "/api/file/p1")
	var got []string
	for _, a := range x.record.kept {
		got = append(got, fmt.Sprint(a.Who, " ", a.Route, " ", a.Grade, " ", a.Decision))
	}
	want := "u-official GET /api/typed/{id} L3 passed|u-operator GET /api/typed/{id} L3 masked|u-operator GET /api/file/{id} L3 refused"
	if strings.Join(got, "|") != want {
		t.Errorf("recorded: %s", got)
	}
	x.record.err = errors.New("the disk is full")
	if w := x.get("official", "/api/typed/p1"); w.Code != 503 || strings.Contains(w.Body.String(), "小明") || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("without a record: %d %s", w.Code, w.Body)
	}
}

func TestWhatHasNoGradeAnswersNobody(t *testing.T) {
	x := newGraded()
	ran := false
	httpapi.Register(x.api, op("/api/field"), func(context.Context, *struct {
		Asked string `query:"asked"`
	}) (*struct {
		Body struct {
			Known   string `grade:"L1"`
			Unknown string
		}
	}, error) {
		ran = true
		return nil, nil
	})
	httpapi.Handle(x.api, op("/api/route"), func(http.ResponseWriter, *http.Request) error { ran = true; return nil })
	for _, path := range []string{"/api/field", "/api/route"} {
		if w := x.get("official", path); w.Code != 500 || ran {
			t.Errorf("%s: %d, ran %v", path, w.Code, ran)
		}
	}
	err := x.api.Graded()
	for _, s := range []string{"GET /api/field", ".Asked", ".Unknown", "GET /api/route"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("the list lacks %s: %v", s, err)
		}
	}
	if strings.Contains(err.Error(), ".Known") {
		t.Errorf("the list has what is graded: %v", err)
	}
	if w := x.get("", "/api/openapi.json"); w.Code != 200 {
		t.Errorf("the document: %d", w.Code)
	}
}

func BenchmarkGate(b *testing.B) {
	x := newGraded()
	stored, err := httpapi.Encode(200, nil, somebody)
	if err != nil {
		b.Fatal(err)
	}
	answer := func(context.Context, *named) (*personOut, error) { return nil, httpapi.Resend(stored) }
	httpapi.Register(x.api, op("/api/graded/{id}"), answer)
	bare := http.NewServeMux()
	httpapi.Register(httpapi.New(httpapi.Options{Mux: bare, Auth: byHeader{}}), op("/api/graded/{id}"), answer)
	for name, h := range map[string]http.Handler{"without": bare, "with": x.mux} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("GET", "/api/graded/p1", nil)
			r.Header.Set("Role", "official")
			w := &discard{h: http.Header{}}
			for b.Loop() {
				x.record.kept = x.record.kept[:0]
				h.ServeHTTP(w, r)
				if w.code != 200 {
					b.Fatal(w.code)
				}
			}
		})
	}
}
