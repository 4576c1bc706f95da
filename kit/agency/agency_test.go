package agency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
	"github.com/qiongdev/qiong/kit/lang"
)

func key(t testing.TB) *gm.PrivateKey {
	t.Helper()
	k, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func only(pub *gm.PublicKey) httpsig.Lookup {
	return func(id string) (*gm.PublicKey, error) {
		if id != gm.KeyID(pub) {
			return nil, errs.New(errs.NotFound, "没有这把密钥", "there is no such key")
		}
		return pub, nil
	}
}

// office is an agency that answers as a test wants, by a real server.
type office struct {
	t        *testing.T
	own      *gm.PrivateKey
	caller   *gm.PrivateKey
	asked    *http.Request
	body     []byte
	status   int
	media    string
	answer   string
	unsigned bool
	tamper   bool
	stranger *gm.PrivateKey
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	if o.body, err = io.ReadAll(r.Body); err != nil {
		o.t.Error(err)
	}
	o.asked = r
	if _, err := httpsig.VerifyRequest(r, o.body, only(o.caller.PublicKey()), time.Now(), agency.Window); err != nil {
		o.t.Errorf("the request does not verify: %v", err)
	}
	w.Header().Set("Content-Type", o.media)
	signer := o.own
	if o.stranger != nil {
		signer = o.stranger
	}
	if !o.unsigned {
		if err := httpsig.SignResponse(w.Header(), o.status, []byte(o.answer), r, signer, time.Now(), httpsig.NewNonce()); err != nil {
			o.t.Error(err)
		}
	}
	if o.tamper {
		o.answer = strings.Replace(o.answer, "done", "dine", 1)
	}
	w.WriteHeader(o.status)
	_, _ = io.WriteString(w, o.answer)
}

func open(t *testing.T) (*office, *agency.Client) {
	o := &office{t: t, own: key(t), caller: key(t), status: 200, media: "application/json"}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	client := agency.NewHTTP(4)
	t.Cleanup(client.CloseIdleConnections)
	return o, &agency.Client{Base: server.URL + "/market/", HTTP: client, Signer: o.caller, KeyOf: only(o.own.PublicKey())}
}

func request() agency.Request {
	return agency.Request{RequestID: "r1.step", Case: "c1", Matter: "open-enterprise", Step: "registration", Form: json.RawMessage(`{"a":"䶮𠮷"}`)}
}

func TestWhatGoesOverTheWire(t *testing.T) {
	o, c := open(t)
	o.answer = `{"requestId":"r1.step","outcome":"done","output":{"n":1}}`
	a, err := c.Do(t.Context(), "registrations", request())
	if err != nil || a.Outcome != agency.Done || string(a.Output) != `{"n":1}` {
		t.Fatalf("%+v, %v", a, err)
	}
	want := `{"requestId":"r1.step","case":"c1","matter":"open-enterprise","step":"registration","callback":"","form":{"a":"䶮𠮷"},"earlier":{}}`
	if o.asked.Method != "PUT" || o.asked.URL.Path != "/market/registrations/r1.step" || string(o.body) != want ||
		o.asked.Header.Get("Content-Type") != "application/json" || o.asked.Header.Get(label.Header) != "L3" || o.asked.Header.Get("Accept-Encoding") != "" {
		t.Errorf("%s %s %v %s", o.asked.Method, o.asked.URL, o.asked.Header, o.body)
	}
	if _, err := c.Undo(t.Context(), "registrations", "r1.step"); err != nil || o.asked.Method != "DELETE" || len(o.body) != 0 {
		t.Errorf("%v, %s %s", err, o.asked.Method, o.body)
	}
	o.status, o.answer = 404, `{"requestId":"r1.step","outcome":"unseen"}`
	if a, err := c.Query(t.Context(), "registrations", "r1.step"); err != nil || a.Outcome != agency.Unseen || o.asked.Method != "GET" {
		t.Errorf("%+v, %v, %s", a, err, o.asked.Method)
	}
	o.status, o.answer = 202, `{"requestId":"r1.step","outcome":"pending","pollAfter":1500}`
	if a, err := c.Query(t.Context(), "registrations", "r1.step"); err != nil || a.PollAfter.Duration() != 1500*time.Millisecond {
		t.Errorf("%+v, %v", a, err)
	}
	o.status, o.answer = 200, `{"requestId":"r1.step","outcome":"refused","code":"name-taken","reason":{"zh":"名称已被占用","en":"The name is taken"}}`
	if a, err := c.Do(t.Context(), "registrations", request()); err != nil || a.Code != "name-taken" || a.Reason != lang.T("名称已被占用", "The name is taken") {
		t.Errorf("%+v, %v", a, err)
	}
}

// The grade in the header is that of what is sent.
func TestGradeIsThatOfTheTypes(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[agency.Request](), reflect.TypeFor[agency.Answer]()} {
		p, err := plan.New(nil).Of(typ)
		if err != nil || p.Grade() != agency.Grade {
			t.Errorf("%s: %v, %v; want %s", typ, p, err, agency.Grade)
		}
	}
	o, c := open(t)
	o.answer = `{"requestId":"r1.step","outcome":"done"}`
	if _, err := c.Undo(t.Context(), "registrations", "r1.step"); err != nil || o.asked.Header.Get(label.Header) != "L1" {
		t.Errorf("undo: %v, of grade %s; it holds nothing of a form", err, o.asked.Header.Get(label.Header))
	}
}

// Whatever is not surely the agency's answer to this request is unknown: an error of a kind that is tried again.
func TestUnknown(t *testing.T) {
	const good = `{"requestId":"r1.step","outcome":"done"}`
	for name, test := range map[string]struct {
		change func(*office)
		code   string
	}{
		"unsigned":            {func(o *office) { o.unsigned = true }, "agency.signature"},
		"a stranger":          {func(o *office) { o.stranger = key(o.t) }, "agency.signature"},
		"tampered":            {func(o *office) { o.tamper = true }, "agency.signature"},
		"an unsigned problem": {func(o *office) { o.status, o.unsigned, o.media = 400, true, "application/problem+json" }, "agency.signature"},
		"a redirect":          {func(o *office) { o.status = 307 }, "agency.answer"},
		"5xx":                 {func(o *office) { o.status = 502; o.unsigned = true }, "agency.down"},
		"another request":     {func(o *office) { o.answer = `{"requestId":"r2","outcome":"done"}` }, "agency.answer"},
		"an unknown field":    {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"done","x":1}` }, "agency.answer"},
		"a key twice":         {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"refused","outcome":"done"}` }, "agency.answer"},
		"an unknown outcome":  {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"maybe"}` }, "agency.answer"},
		"unseen to a do":      {func(o *office) { o.status, o.answer = 404, `{"requestId":"r1.step","outcome":"unseen"}` }, "agency.answer"},
		"pending with 200":    {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"pending"}` }, "agency.answer"},
		"done with 202":       {func(o *office) { o.status = 202 }, "agency.answer"},
		"refused, no reason":  {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"refused","code":"x"}` }, "agency.answer"},
		"output is a list":    {func(o *office) { o.answer = `{"requestId":"r1.step","outcome":"done","output":[]}` }, "agency.answer"},
		"another media type":  {func(o *office) { o.media = "text/html" }, "agency.answer"},
		"too long":            {func(o *office) { o.answer = strings.Repeat(" ", agency.MaxBody) + good }, "agency.answer"},
		"nonsense as problem": {func(o *office) { o.media = "application/problem+json" }, "agency.answer"},
		"poll after a century": {func(o *office) {
			o.status, o.answer = 202, `{"requestId":"r1.step","outcome":"pending","pollAfter":3155760000000}`
		}, "agency.answer"},
	} {
		t.Run(name, func(t *testing.T) {
			o, c := open(t)
			o.answer = good
			test.change(o)
			a, err := c.Do(t.Context(), "registrations", request())
			var e *errs.Error
			if !errors.As(err, &e) || e.Kind != errs.Unavailable || e.Code != test.code || a.Outcome != "" {
				t.Errorf("%+v, %v; want %s", a, err, test.code)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cut") {
			panic(http.ErrAbortHandler)
		}
		<-block
	}))
	defer server.Close()
	defer close(block)
	c := &agency.Client{Base: server.URL, HTTP: agency.NewHTTP(1), Signer: key(t), KeyOf: only(key(t).PublicKey())}
	if _, err := c.Query(t.Context(), "x", "cut"); !errs.Is(err, errs.Unavailable) {
		t.Errorf("cut: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Query(ctx, "x", "hang"); !errs.Is(err, errs.Timeout) {
		t.Errorf("timed out: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := c.Query(ctx, "x", "hang"); !errs.Is(err, errs.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestProblem(t *testing.T) {
	o, c := open(t)
	o.status, o.media = 400, "application/problem+json"
	o.answer = `{"status":400,"detail":"秘密 is wrong","code":"schema.required","field":"form.enterprise.name"}`
	_, err := c.Do(t.Context(), "registrations", request())
	var e *errs.Error
	if !errors.As(err, &e) || e.Kind != errs.Invalid || e.Code != "schema.required" || e.Field != "form.enterprise.name" {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), "秘密") {
		t.Errorf("the agency's words are repeated: %v", err)
	}
	o.status, o.answer = 429, `{"code":"秘密"}`
	if _, err := c.Do(t.Context(), "registrations", request()); !errs.Is(err, errs.TooMany) || strings.Contains(err.Error(), "秘密") {
		t.Errorf("%v", err)
	}
	o.status, o.answer = 409, `not json`
	if _, err := c.Do(t.Context(), "registrations", request()); !errs.Is(err, errs.Conflict) {
		t.Errorf("%v", err)
	}
}

func TestNeverSent(t *testing.T) {
	o, c := open(t)
	long := request()
	long.Form = json.RawMessage(`"` + strings.Repeat("x", agency.MaxBody) + `"`)
	broken := request()
	broken.Form = json.RawMessage(`{`)
	for name, ask := range map[string]func() (agency.Answer, error){
		"path":     func() (agency.Answer, error) { return c.Query(t.Context(), "registrations", "../r1") },
		"no id":    func() (agency.Answer, error) { return c.Query(t.Context(), "registrations", "") },
		"resource": func() (agency.Answer, error) { return c.Query(t.Context(), "a/b", "r1") },
		"too long": func() (agency.Answer, error) { return c.Do(t.Context(), "registrations", long) },
		"no JSON":  func() (agency.Answer, error) { return c.Do(t.Context(), "registrations", broken) },
	} {
		var e *errs.Error
		if _, err := ask(); !errors.As(err, &e) || e.Code != "agency.request" || o.asked != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string][2]bool{ // as an id, as a name
		"": {}, "a": {true, true}, "a-b1": {true, true}, "A": {true, false}, "1": {true, false}, ".": {}, "..": {}, "a.b_c": {true, false},
		"a/b": {}, "-a": {}, "é": {}, "a b": {}, strings.Repeat("a", 64): {true, true}, strings.Repeat("a", 65): {true, false},
		strings.Repeat("a", 128): {true, false}, strings.Repeat("a", 129): {},
	} {
		if got := [2]bool{agency.ValidID(s), agency.ValidName(s)}; got != want {
			t.Errorf("%.20q: %v, want %v", s, got, want)
		}
	}
}

func callback(t testing.TB, by *gm.PrivateKey, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "http://house.test/callbacks", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if err := httpsig.SignRequest(r, []byte(body), by, time.Now(), httpsig.NewNonce()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerifyCallback(t *testing.T) {
	own := key(t)
	const done = `{"requestId":"r1","outcome":"done","output":{"n":1}}`
	for name, test := range map[string]struct {
		body string
		by   *gm.PrivateKey
		sent func(r *http.Request, body []byte) []byte
		kind errs.Kind
	}{
		"done":             {body: done},
		"refused":          {body: `{"requestId":"r1","outcome":"refused","code":"x","reason":{"zh":"否","en":"no"}}`},
		"pending":          {body: `{"requestId":"r1","outcome":"pending"}`, kind: errs.Invalid},
		"unseen":           {body: `{"requestId":"r1","outcome":"unseen"}`, kind: errs.Invalid},
		"unknown field":    {body: `{"requestId":"r1","outcome":"done","x":1}`, kind: errs.Invalid},
		"not JSON":         {body: `{`, kind: errs.Invalid},
		"a forged one":     {body: done, by: key(t), kind: errs.Unauthenticated},
		"another body":     {body: done, sent: func(_ *http.Request, b []byte) []byte { return bytes.Replace(b, []byte("1}"), []byte("2}"), 1) }, kind: errs.Unauthenticated},
		"another type":     {body: done, sent: func(r *http.Request, b []byte) []byte { r.Header.Set("Content-Type", "text/plain"); return b }, kind: errs.Unauthenticated},
		"longer than 1MiB": {body: strings.Repeat(" ", agency.MaxBody) + done, kind: errs.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			by := own
			if test.by != nil {
				by = test.by
			}
			r, body := callback(t, by, test.body), []byte(test.body)
			if test.sent != nil {
				body = test.sent(r, body)
			}
			c, err := agency.VerifyCallback(r, body, only(own.PublicKey()), time.Now())
			if test.kind == errs.Internal {
				if err != nil || c.RequestID != "r1" || c.Signed.KeyID != gm.KeyID(own.PublicKey()) {
					t.Errorf("%+v, %v", c, err)
				}
			} else if !errs.Is(err, test.kind) || c.Outcome != "" {
				t.Errorf("%+v, %v; want %v", c, err, test.kind)
			}
		})
	}
}

func FuzzVerifyCallback(f *testing.F) {
	own := key(f)
	f.Add(`{"requestId":"r1","outcome":"done","output":{"n":1}}`)
	f.Add(`{"requestId":"r1","outcome":"refused","code":"x","reason":{"zh":"否","en":"no"}}`)
	f.Add(`{"requestId":"r1","outcome":"pending","pollAfter":-1}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		c, err := agency.VerifyCallback(callback(t, own, body), []byte(body), only(own.PublicKey()), time.Now())
		if err != nil {
			return
		}
		if c.Check() != nil || c.Outcome != agency.Done && c.Outcome != agency.Refused {
			t.Fatalf("%+v passed", c)
		}
		again, err := json.Marshal(c.Answer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := agency.VerifyCallback(callback(t, own, string(again)), again, only(own.PublicKey()), time.Now()); err != nil {
			t.Fatalf("what it reads it does not write: %v", err)
		}
	})
}
