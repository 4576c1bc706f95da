package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/auth/authtest"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

type applicant struct {
	Name  string   `json:"name" minLength:"2" maxLength:"20"`
	Email string   `json:"email,omitempty" format:"email"`
	Share float64  `json:"share,omitempty" minimum:"0" maximum:"100"`
	Kind  string   `json:"kind,omitempty" enum:"person,company"`
	Tags  []string `json:"tags,omitempty" maxItems:"2" uniqueItems:"true"`
}

type submitBody struct {
	Matter     string      `json:"matter"`
	Count      int         `json:"count,omitempty"`
	Applicants []applicant `json:"applicants" minItems:"1"`
}

type submitIn struct{ Body submitBody }

type submitOut struct {
	ETag string `header:"ETag"`
	Body struct {
		ID    string `json:"id"`
		Who   string `json:"who"`
		Count int    `json:"count"`
	}
}

type listIn struct {
	httpapi.PageQuery
	State string `query:"state" enum:"open,done"`
}

type listOut struct{ Body httpapi.Page[int] }

var citizen = &auth.Principal{ID: "u-1", Name: "䶮", Roles: []auth.Role{auth.Applicant}}

// world is an API with one operation of each sort.
type world struct {
	mux    *http.ServeMux
	api    *httpapi.API
	log    bytes.Buffer
	calls  int // how often a handler ran
	submit func(ctx context.Context, in *submitIn) (*submitOut, error)
	plain  func(w http.ResponseWriter, r *http.Request) error
}

func newWorld(t testing.TB, who auth.Authenticator) *world {
	t.Helper()
	x := &world{mux: http.NewServeMux()}
	x.api = httpapi.New(httpapi.Options{
		Title: lang.T("测试接口", "Test API"), Version: "1", Mux: x.mux, Auth: who, MaxBody: 4096,
		Log: slog.New(slog.NewJSONHandler(&x.log, nil)),
	})
	x.submit = func(ctx context.Context, in *submitIn) (*submitOut, error) {
		out := &submitOut{ETag: httpapi.VersionETag(1)}
		out.Body.ID, out.Body.Count = "c1", in.Body.Count
		if p := auth.From(ctx); p != nil {
			out.Body.Who = p.ID
		}
		return out, nil
	}
	httpapi.Register(x.api, httpapi.Operation{
		Method: "POST", Path: "/api/cases", ID: "submit-case", Status: 201, Idempotent: true, Tag: "cases",
		Summary: lang.T("提交办件", "Submit a case"), Doc: lang.T("提交后返回编号。", "Answers the number."),
		Roles: []auth.Role{auth.Applicant, auth.Official},
	}, func(ctx context.Context, in *submitIn) (*submitOut, error) {
		x.calls++
		return x.submit(ctx, in)
	})
	httpapi.Register(x.api, httpapi.Operation{
		Method: "GET", Path: "/api/cases", ID: "list-cases", Summary: lang.T("办件列表", "List cases"), Tag: "cases",
	}, func(_ context.Context, in *listIn) (*listOut, error) {
		x.calls++
		if _, err := in.Position(); err != nil {
			return nil, err
		}
		out := &listOut{}
		out.Body = httpapi.PageOf([]int{1, 2, 3}, min(in.Limit, 2), func(last int) string { return fmt.Sprint(last) })
		return out, nil
	})
	httpapi.Handle(x.api, httpapi.Operation{
		Method: "PUT", Path: "/api/files/{name}", ID: "upload", MaxBody: 1 << 20, Accepts: []string{"application/pdf"},
		Summary: lang.T("上传附件", "Upload a file"), Status: 201,
	}, func(w http.ResponseWriter, r *http.Request) error {
		x.calls++
		return x.plain(w, r)
	})
	httpapi.Register(x.api, httpapi.Operation{
		Method: "GET", Path: "/api/hello", ID: "hello", Public: true, Summary: lang.T("问候", "Hello"),
	}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	return x
}

const good = `{"matter":"open-enterprise","count":7,"applicants":[{"name":"䶮𠮷","email":"a@example.org","share":12.5,"kind":"person","tags":["x"]}]}`

// do sends a request and returns its answer; headers come in pairs.
func (x *world) do(method, path string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	x.mux.ServeHTTP(w, r)
	return w
}

func problem(t *testing.T, w *httptest.ResponseRecorder) httpapi.Problem {
	t.Helper()
	var p httpapi.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("status %d, no problem document: %v\n%s", w.Code, err, w.Body)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if p.Status != w.Code {
		t.Errorf("problem says %d, the answer %d", p.Status, w.Code)
	}
	return p
}

func TestGoodRequest(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	w := x.do("POST", "/api/cases", strings.NewReader(good))
	if w.Code != 201 || w.Header().Get("Etag") != `"v1"` || strings.TrimSpace(w.Body.String()) != `{"id":"c1","who":"u-1","count":7}` {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := x.do("GET", "/api/hello", nil); w.Code != 204 {
		t.Errorf("hello: %d", w.Code)
	}
}

// The submitted values of bad requests all hold this word; no answer may.
const mark = "geheim"

func TestBadBodies(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	with := func(member string) string {
		return `{"matter":"geheim","applicants":[{"name":"geheim",` + member + `}]}`
	}
	for _, c := range []struct {
		name, body, code, field string
		offset                  int64 // -1: none expected
	}{
		{"empty", ``, "http.missing-body", "", -1},
		{"not JSON", `geheim`, "json.syntax", "", 0},
		{"duplicate key", `{"matter":"geheim","matter":"geheim"}`, "json.duplicate-key", "matter", 19},
		{"two cases of a key", `{"matter":"geheim","Matter":"geheim"}`, "json.case-key", "Matter", 19},
		{"another case of a key", `{"Matter":"geheim","applicants":[{"name":"geheim"}]}`, "json.unknown-field", "Matter", 1},
		{"unknown field", with(`"nope":"geheim"`), "json.unknown-field", "applicants[0].nope", 50},
		{"a value as a name", with(`"geheim geheim":1`), "json.unknown-field", "applicants[0].*", 50},
		{"missing field", `{"matter":"geheim"}`, "validation.required", "applicants", -1},
		{"missing inner field", `{"matter":"geheim","applicants":[{}]}`, "validation.required", "applicants[0].name", -1},
		{"lone surrogate", with(`"kind":"geheim\ud800"`), "json.lone-surrogate", "applicants[0].kind", 64},
		{"control character", with("\"kind\":\"geheim\x07\""), "json.control", "applicants[0].kind", 64},
		{"NUL", with(`"kind":"geheim\u0000"`), "json.nul", "applicants[0].kind", 64},
		{"invalid UTF-8", with("\"kind\":\"geheim\xff\""), "json.invalid-utf8", "applicants[0].kind", 64},
		{"wrong type", with(`"share":"geheim"`), "validation", "applicants[0].share", 58},
		{"string for integer", `{"matter":"m","count":"geheim","applicants":[{"name":"nn"}]}`, "validation", "count", 22},
		{"fraction for integer", `{"matter":"m","count":1.5,"applicants":[{"name":"nn"}]}`, "validation", "count", 22},
		{"not an e-mail", with(`"email":"geheim"`), "validation", "applicants[0].email", 58},
		{"not in the enum", with(`"kind":"geheim"`), "validation", "applicants[0].kind", 57},
		{"too short", `{"matter":"geheim","applicants":[{"name":"g"}]}`, "validation", "applicants[0].name", 41},
		{"too long", `{"matter":"m","applicants":[{"name":"geheimgeheimgeheimgeheim"}]}`, "validation", "applicants[0].name", 36},
		{"too large a number", with(`"share":100.5`), "validation", "applicants[0].share", 58},
		{"too many items", with(`"tags":["geheim","b","c"]`), "validation", "applicants[0].tags", 57},
		{"the same item twice", with(`"tags":["geheim","geheim"]`), "validation", "applicants[0].tags", 57},
		{"too few items", `{"matter":"geheim","applicants":[]}`, "validation", "applicants", 32},
		{"null for an object", `null`, "validation", "body", 0},
		{"an array for an object", `["geheim"]`, "validation", "body", 0},
		{"trailing data", good + `"geheim"`, "json.trailing-data", "", int64(len(good))},
		{"deep", strings.Repeat("[", 100), "json.too-deep", strings.Repeat("[0]", 64), 64},
	} {
		for _, l := range []lang.Lang{lang.ZH, lang.EN} {
			w := x.do("POST", "/api/cases", strings.NewReader(c.body), "Accept-Language", string(l))
			p := problem(t, w)
			if p.Kind != "invalid" || w.Code != 400 || p.Code != c.code || p.Field != c.field {
				t.Errorf("%s: %d %s %s field %q: %s", c.name, w.Code, p.Kind, p.Code, p.Field, p.Detail)
			}
			if got := offset(p); got != c.offset {
				t.Errorf("%s: offset %d, want %d", c.name, got, c.offset)
			}
			if strings.Contains(w.Body.String(), mark) {
				t.Errorf("%s: the answer echoes the value: %s", c.name, w.Body)
			}
			if speaks(p.Detail) != l || speaks(p.Title) != l || w.Header().Get("Content-Language") != string(l) {
				t.Errorf("%s in %s: %q, %q", c.name, l, p.Title, p.Detail)
			}
		}
	}
	if x.calls != 0 {
		t.Errorf("a handler saw %d bad requests", x.calls)
	}
	if strings.Contains(x.log.String(), mark) {
		t.Errorf("the log holds a submitted value: %s", x.log.String())
	}
}

func offset(p httpapi.Problem) int64 {
	if p.Offset == nil {
		return -1
	}
	return *p.Offset
}

// speaks tells the language of text by whether it has Han characters.
func speaks(text string) lang.Lang {
	for _, r := range text {
		if r >= 0x4e00 && r <= 0x9fff {
			return lang.ZH
		}
	}
	return lang.EN
}

func TestSeveralFindings(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	p := problem(t, x.do("POST", "/api/cases", strings.NewReader(`{"count":"geheim","applicants":[{"name":"g"}]}`), "Accept-Language", "en"))
	fields := map[string]bool{}
	for _, f := range p.Errors {
		fields[f.Field] = true
	}
	if len(p.Errors) != 3 || !fields["matter"] || !fields["count"] || !fields["applicants[0].name"] {
		t.Errorf("findings %+v", p.Errors)
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	for n := 1; n < len(good); n++ {
		p := problem(t, x.do("POST", "/api/cases", strings.NewReader(good[:n])))
		if p.Code != "json.truncated" || offset(p) != int64(n) {
			t.Fatalf("first %d bytes: %s at %d", n, p.Code, offset(p))
		}
	}
	if x.calls != 0 {
		t.Errorf("%d calls", x.calls)
	}
}

func TestContentType(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	for media, want := range map[string]int{
		"application/json": 201, "application/json; charset=UTF-8": 201, "Application/JSON": 201,
		"": 415, "text/plain": 415, "application/json; charset=gb18030": 415, "application/xml": 415, ";;": 415,
		"application/x-www-form-urlencoded": 415,
	} {
		w := x.do("POST", "/api/cases", strings.NewReader(good), "Content-Type", media)
		if w.Code != want {
			t.Errorf("%q: %d", media, w.Code)
		}
		if want == 415 && problem(t, w).Code != "http.content-type" {
			t.Errorf("%q: %s", media, w.Body)
		}
	}
	if w := x.do("POST", "/api/cases", strings.NewReader(good), "Content-Encoding", "gzip"); w.Code != 415 {
		t.Errorf("gzip: %d", w.Code)
	}
	if w := x.do("GET", "/api/hello", strings.NewReader("{}")); w.Code != 400 || problem(t, w).Code != "http.unexpected-body" {
		t.Errorf("a body where none belongs: %d", w.Code)
	}
}

// zeros is an endless body that counts what is read of it.
type zeros struct{ read, size int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.read >= z.size {
		return 0, io.EOF
	}
	clear(p)
	n := min(int64(len(p)), z.size-z.read)
	z.read += n
	return int(n), nil
}

func TestHugeBody(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	const huge = 100 << 20
	streamed := &zeros{size: huge}
	r := httptest.NewRequest("POST", "/api/cases", streamed)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	x.mux.ServeHTTP(w, r)
	if p := problem(t, w); w.Code != 413 || p.Code != "http.body-too-large" {
		t.Errorf("streamed: %d %s", w.Code, p.Code)
	}
	if streamed.read > 64<<10 {
		t.Errorf("%d bytes were read of a body that may have 4096", streamed.read)
	}
	declared := &zeros{size: huge}
	r = httptest.NewRequest("POST", "/api/cases", declared)
	r.ContentLength = huge
	w = httptest.NewRecorder()
	x.mux.ServeHTTP(w, r)
	if w.Code != 413 || declared.read != 0 {
		t.Errorf("declared: %d, %d bytes read", w.Code, declared.read)
	}
	exact := good + strings.Repeat(" ", 4096-len(good))
	if w := x.do("POST", "/api/cases", strings.NewReader(exact)); w.Code != 201 {
		t.Errorf("a body of exactly the limit: %d %s", w.Code, w.Body)
	}
	if w := x.do("POST", "/api/cases", strings.NewReader(exact+" ")); w.Code != 413 {
		t.Errorf("one byte more: %d", w.Code)
	}
}

func TestIncompleteBodyOverTheWire(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	server := httptest.NewServer(x.mux)
	defer server.Close()
	pr, pw := io.Pipe()
	go func() {
		_, _ = io.WriteString(pw, good[:20])
		pw.CloseWithError(errors.New("the client's cable was cut"))
	}()
	req, _ := http.NewRequest("POST", server.URL+"/api/cases", pr)
	req.Header.Set("Content-Type", "application/json")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	server.Close()
	if x.calls != 0 {
		t.Error("the handler saw half a body")
	}
}

func TestParameters(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	cursor := httpapi.EncodeCursor("2")
	for query, want := range map[string]struct{ code, field string }{
		"":                           {},
		"limit=1&cursor=" + cursor:   {},
		"state=open":                 {},
		"cursor=geheim":              {"http.cursor", "cursor"},
		"cursor=" + cursor[:4]:       {"http.cursor", "cursor"},
		"cursor=" + cursor + "AA":    {"http.cursor", "cursor"},
		"cursor=%2e%2e%2fgeheim":     {"http.cursor", "cursor"},
		"limit=0":                    {"validation", "limit"},
		"limit=201":                  {"validation", "limit"},
		"limit=geheim":               {"validation", "limit"},
		"state=geheim":               {"validation", "state"},
		"geheim%20geheim=1":          {"validation", "*"},
		"nope=geheim":                {"validation", "nope"},
		"limit=99999999999999999999": {"validation", "limit"},
	} {
		for _, l := range []lang.Lang{lang.ZH, lang.EN} {
			w := x.do("GET", "/api/cases?"+query, nil, "Accept-Language", string(l))
			if want.code == "" {
				if w.Code != 200 || !strings.Contains(w.Body.String(), `"items":[1`) {
					t.Errorf("%q: %d %s", query, w.Code, w.Body)
				}
				continue
			}
			p := problem(t, w)
			if w.Code != 400 || p.Code != want.code || p.Field != want.field || speaks(p.Detail) != l {
				t.Errorf("%q: %d %s %q %s", query, w.Code, p.Code, p.Field, p.Detail)
			}
			if strings.Contains(w.Body.String(), mark) {
				t.Errorf("%q is echoed: %s", query, w.Body)
			}
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	var call httpapi.Call
	x.submit = func(ctx context.Context, in *submitIn) (*submitOut, error) {
		call = httpapi.CallFrom(ctx)
		return &submitOut{}, nil
	}
	w := x.do("POST", "/api/cases", strings.NewReader(good), "Idempotency-Key", "k-1", "Accept-Language", "en")
	if w.Code != 201 || call.Key != "k-1" || call.Route != "POST /api/cases" || call.Principal.ID != "u-1" ||
		call.Lang != lang.EN || call.BodySM3 != sm3.Sum([]byte(good)) {
		t.Errorf("%d, call %+v", w.Code, call)
	}
	for name, keys := range map[string][]string{
		"empty": {""}, "long": {strings.Repeat("k", 256)}, "blank": {"a b"}, "Chinese": {"键geheim"}, "control": {"a\x01"}, "two": {"a", "b"},
	} {
		r := httptest.NewRequest("POST", "/api/cases", strings.NewReader(good))
		r.Header["Content-Type"] = []string{"application/json"}
		r.Header["Idempotency-Key"] = keys
		w := httptest.NewRecorder()
		x.mux.ServeHTTP(w, r)
		if p := problem(t, w); w.Code != 400 || p.Field != "Idempotency-Key" || strings.Contains(w.Body.String(), mark) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if (httpapi.CallFrom(t.Context()) != httpapi.Call{}) {
		t.Error("a Call out of nothing")
	}
}

func TestReplay(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	stored, err := httpapi.Encode(201, http.Header{"Location": {"/api/cases/c1"}}, map[string]string{"id": "c1"})
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for i, send := range []func(httpapi.Stored) error{httpapi.Send, httpapi.Resend} {
		x.submit = func(context.Context, *submitIn) (*submitOut, error) { return nil, send(stored) }
		w := x.do("POST", "/api/cases", strings.NewReader(good))
		if w.Code != 201 || w.Header().Get("Location") != "/api/cases/c1" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if replayed := w.Header().Get("Idempotency-Replayed") == "true"; replayed != (i == 1) {
			t.Errorf("answer %d: replayed is %v", i, replayed)
		}
		answers = append(answers, w.Body.String())
	}
	if answers[0] != `{"id":"c1"}` || answers[0] != answers[1] {
		t.Errorf("answers %q", answers)
	}
	if x.log.Len() > 0 {
		t.Errorf("a replay is no failure: %s", x.log.String())
	}
}

func TestWhoMayCall(t *testing.T) {
	for _, c := range []struct {
		who  *auth.Principal
		code int
	}{{nil, 401}, {&auth.Principal{ID: "a", Roles: []auth.Role{auth.Auditor}}, 403}, {citizen, 201}} {
		x := newWorld(t, authtest.Always{P: c.who})
		w := x.do("POST", "/api/cases", strings.NewReader(good))
		if w.Code != c.code || (x.calls == 1) != (c.code == 201) {
			t.Errorf("%v: %d, %d calls", c.who, w.Code, x.calls)
		}
		if c.code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Error("401 without WWW-Authenticate")
		}
		if w := x.do("GET", "/api/hello", nil); w.Code != 204 {
			t.Errorf("public: %d", w.Code)
		}
	}
}

func TestHandlerErrors(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	inner := errors.New("pq: password geheim refused")
	for _, c := range []struct {
		err    error
		status int
		logged bool
	}{
		{inner, 500, true},
		{fmt.Errorf("load: %w", inner), 500, true},
		{errs.Wrap(inner, errs.Unavailable, "数据库暂不可用", "the database is away").WithRetryAfter(1500 * time.Millisecond), 503, true},
		{errs.New(errs.NotFound, "没有此办件", "no such case").WithHint("请核对编号", "check the number"), 404, false},
		{context.DeadlineExceeded, 504, true},
		{errs.New(errs.Full, "存储已满", "storage is full"), 507, true},
	} {
		x.log.Reset()
		x.submit = func(context.Context, *submitIn) (*submitOut, error) { return nil, c.err }
		w := x.do("POST", "/api/cases", strings.NewReader(good), "Accept-Language", "en")
		p := problem(t, w)
		if w.Code != c.status || strings.Contains(w.Body.String(), mark) || strings.Contains(w.Body.String(), "pq:") {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
		if got := strings.Count(x.log.String(), "\n"); (got == 1) != c.logged {
			t.Errorf("%v: logged %d times", c.err, got)
		}
		if c.status == 503 && w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
		if c.status == 404 && (p.Hint != "check the number" || p.Type != "urn:qiong:problem:not-found") {
			t.Errorf("problem %+v", p)
		}
	}
}

func TestPanic(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	x.submit = func(context.Context, *submitIn) (*submitOut, error) { panic("geheim inside") }
	w := x.do("POST", "/api/cases", strings.NewReader(good))
	if p := problem(t, w); w.Code != 500 || p.Kind != "internal" || strings.Contains(w.Body.String(), mark) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(x.log.String(), "httpapi_test.go") || strings.Count(x.log.String(), "\n") != 1 {
		t.Errorf("the log lacks the stack, or holds it twice: %s", x.log.String())
	}
	if w := x.do("GET", "/api/hello", nil); w.Code != 204 {
		t.Errorf("after a panic: %d", w.Code)
	}
}

func TestPlainHandler(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	x.plain = func(w http.ResponseWriter, r *http.Request) error {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if auth.From(r.Context()) == nil {
			return errors.New("no principal")
		}
		w.WriteHeader(201)
		_, err = fmt.Fprint(w, r.PathValue("name"), " ", n)
		return err
	}
	put := func(body io.Reader) *httptest.ResponseRecorder {
		return x.do("PUT", "/api/files/a.pdf", body, "Content-Type", "application/pdf")
	}
	if w := put(&zeros{size: 1 << 20}); w.Code != 201 || w.Body.String() != "a.pdf 1048576" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := put(&zeros{size: 1<<20 + 1}); w.Code != 413 || problem(t, w).Code != "http.body-too-large" {
		t.Errorf("over the limit: %d %s", w.Code, w.Body)
	}
	if w := x.do("PUT", "/api/files/a", strings.NewReader("x"), "Content-Type", "image/png"); w.Code != 415 {
		t.Errorf("wrong type: %d", w.Code)
	}
	x.plain = func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.WriteString(w, "half")
		return errors.New("the disk went away")
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("half an answer must break the connection")
			}
		}()
		put(strings.NewReader("x"))
	}()
}

func TestNoSuchRoute(t *testing.T) {
	x := newWorld(t, authtest.Always{P: citizen})
	if w := x.do("GET", "/api/geheim", nil); w.Code != 404 || problem(t, w).Code != "http.no-route" || strings.Contains(w.Body.String(), mark) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := x.do("DELETE", "/api/cases", nil)
	if w.Code != 405 || w.Header().Get("Allow") != "GET, POST" || problem(t, w).Code != "http.method" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}
