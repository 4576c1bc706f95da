package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

const marker = "秘密值4477"

// raw sends a signed PUT with a body of the test's own.
func (w *town) raw(method, path, body string, change func(*http.Request)) (*http.Response, httpapi.Problem, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+Prefix+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Language", "en")
	if err := httpsig.SignRequest(req, []byte(body), w.caller, w.clock.Now(), httpsig.NewNonce()); err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var p httpapi.Problem
	_ = json.Unmarshal(text, &p) // what is no problem has no code
	return resp, p, string(text)
}

func TestBadBodies(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	good, err := json.Marshal(request("r1", ""))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string {
		changed := strings.Replace(string(good), old, new, 1)
		if changed == string(good) {
			t.Fatalf("%q is not in the body", old)
		}
		return changed
	}
	for name, test := range map[string]struct {
		body, code, field string
		status            int
	}{
		"empty":            {"", "json.empty", "", 400},
		"truncated":        {string(good[:40]), "json.truncated", "", 400},
		"not an object":    {`["` + marker + `"]`, "json.wrong-type", "", 400},
		"duplicate key":    {with(`{"requestId"`, `{"case":"`+marker+`","requestId"`), "json.duplicate-key", "case", 400},
		"lone surrogate":   {with("c1", `\ud800`), "json.lone-surrogate", "", 400},
		"unknown field":    {with(`{"requestId"`, `{"colour":"`+marker+`","requestId"`), "json.unknown-field", "colour", 400},
		"missing name":     {with(`"name"`, `"name2"`), "schema.required", "form.enterprise.name", 400},
		"wrong type":       {with(`"employees":3`, `"employees":"`+marker+`"`), "schema.type", "form.enterprise.employees", 400},
		"negative":         {with(`"employees":3`, `"employees":-3`), "schema.minimum", "form.enterprise.employees", 400},
		"short name":       {with("琼海䶮𠮷贸易有限公司", "琼"), "schema.minLength", "form.enterprise.name", 400},
		"long name":        {with("琼海䶮𠮷贸易有限公司", strings.Repeat(marker, 100)), "schema.maxLength", "form.enterprise.name", 400},
		"callback":         {with(`"callback":""`, `"callback":"ftp://`+marker+`"`), "schema.pattern", "callback", 400},
		"form is null":     {with(`"form":{`, `"form":null,"formx":{`), "json.unknown-field", "formx", 400},
		"other request id": {with(`"requestId":"r1"`, `"requestId":"r2"`), "agency.request-id", "requestId", 400},
		"too large":        {strings.Repeat(" ", 1<<20) + string(good), "http.body-too-large", "", 413},
	} {
		t.Run(name, func(t *testing.T) {
			resp, p, text := w.raw("PUT", "hr/insurance-accounts/r1", test.body, nil)
			if resp.StatusCode != test.status || p.Code != test.code || test.field != "" && p.Field != test.field {
				t.Errorf("%s %s", resp.Status, text)
			}
			if strings.Contains(text, marker) {
				t.Errorf("the value came back: %s", text)
			}
			if resp.Header.Get("Signature") == "" {
				t.Error("the problem is not signed")
			}
		})
	}
	_, p, _ := w.raw("PUT", "hr/insurance-accounts/r1", with(`"employees":3`, `"employees":-3`), nil)
	if p.Offset == nil || *p.Offset != int64(strings.Index(string(good), `3},"other"`)) {
		t.Errorf("the offset is %v", p.Offset)
	}
	for name, test := range map[string]struct {
		method, path string
		status       int
	}{
		"unknown resource": {"GET", "hr/rockets/r1", 404},
		"bad id":           {"GET", "hr/insurance-accounts/a%2Fb", 400},
		"bad method":       {"POST", "hr/insurance-accounts/r1", 400},
	} {
		if resp, _, text := w.raw(test.method, test.path, "", nil); resp.StatusCode != test.status {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
	}
	w.wantLedger(0, 0)
}

func TestWhoMayAsk(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	stranger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(request("r1", ""))
	if err != nil {
		t.Fatal(err)
	}
	var kept http.Header
	for _, test := range []struct {
		name, code string
		change     func(*http.Request)
	}{
		{"unsigned", "signature.missing", func(r *http.Request) { r.Header.Del("Signature"); r.Header.Del("Signature-Input") }},
		{"a stranger", "signature.unknown-key", func(r *http.Request) {
			if err := httpsig.SignRequest(r, body, stranger, w.clock.Now(), httpsig.NewNonce()); err != nil {
				t.Fatal(err)
			}
		}},
		{"another body", "signature.digest", func(r *http.Request) {
			other := bytes.Replace(body, []byte("c1"), []byte("c2"), 1)
			r.Body, r.GetBody = io.NopCloser(bytes.NewReader(other)), nil
		}},
		{"another path", "signature.mismatch", func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "r1", "r2", 1) }},
		{"an old one", "signature.expired", func(r *http.Request) {
			if err := httpsig.SignRequest(r, body, w.caller, w.clock.Now().Add(-time.Hour), httpsig.NewNonce()); err != nil {
				t.Fatal(err)
			}
		}},
		{"the first", "", func(r *http.Request) { kept = r.Header.Clone() }},
		{"its replay", "signature.replayed", func(r *http.Request) { r.Header = kept }},
	} {
		resp, p, text := w.raw("PUT", "hr/insurance-accounts/r1", string(body), test.change)
		if p.Code != test.code || (resp.StatusCode == 401) != (test.code != "") {
			t.Errorf("%s: %s %s", test.name, resp.Status, text)
		}
	}
	w.wantLedger(1, 0)
}

// operator is an Authenticator of tests: the bearer token is the role.
type operator struct{}

func (operator) Authenticate(_ context.Context, r *http.Request) (*auth.Principal, error) {
	role, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, errs.New(errs.Unauthenticated, "未登录", "not signed in")
	}
	return &auth.Principal{ID: "p", Name: "p", Roles: []auth.Role{auth.Role(role)}}, nil
}

func TestControl(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	mux := http.NewServeMux()
	mux.Handle(Prefix, w.Handler())
	w.Control(httpapi.New(httpapi.Options{Mux: mux, Auth: operator{}, Log: quiet}))
	server := httptest.NewServer(mux)
	defer server.Close()
	call := func(role auth.Role, method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, server.URL+"/api/sandbox/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+string(role))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for range 3 {
		w.raw("DELETE", "hr/insurance-accounts/r0", "", nil) // empty compensation: no effect
	}
	for _, id := range []string{"r1", "r2", "r3"} {
		if _, err := w.client("hr").Do(t.Context(), "insurance-accounts", request(id, "")); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		role               auth.Role
		method, path, body string
		status             int
		want               string
	}{
		{auth.Applicant, "GET", "agencies", "", 403, ""},
		{auth.Applicant, "POST", "reset", "", 403, ""},
		{auth.Operator, "GET", "agencies", "", 200, `"name":"fund"`},
		{auth.Operator, "GET", "agencies/hr/faults", "", 200, `"items":[]`},
		{auth.Operator, "PUT", "agencies/hr/faults", `{"kind":"fire"}`, 400, `"field":"kind"`},
		{auth.Operator, "PUT", "agencies/moon/faults", `{"kind":"lost"}`, 404, `"field":"agency"`},
		{auth.Operator, "PUT", "agencies/hr/faults", `{"kind":"lost","next":3}`, 200, `"next":3`},
		{auth.Operator, "PUT", "agencies/hr/faults", `{"kind":"down","seconds":3600}`, 200, `"until":"20`},
		{auth.Operator, "DELETE", "agencies/hr/faults", "", 204, ""},
		{auth.Operator, "GET", "agencies/hr/faults", "", 200, `"items":[]`},
		{auth.Operator, "GET", "effects/summary", "", 200, `"done":3,"undone":0,"doubles":0`},
		{auth.Operator, "GET", "effects?cursor=x", "", 400, `"field":"cursor"`},
	} {
		status, text := call(test.role, test.method, test.path, test.body)
		if status != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s %s as %s: %d %s", test.method, test.path, test.role, status, text)
		}
	}
	var ids []string
	for cursor := ""; ; {
		_, text := call(auth.Operator, "GET", "effects?limit=2&cursor="+cursor, "")
		var page httpapi.Page[Effect]
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err, text)
		}
		for _, e := range page.Items {
			ids = append(ids, e.RequestID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if strings.Join(ids, " ") != "r1 r2 r3" {
		t.Errorf("the pages hold %v", ids)
	}
	if status, text := call(auth.Operator, "POST", "reset", ""); status != 204 {
		t.Errorf("reset: %d %s", status, text)
	}
	w.wantLedger(0, 0)
}
