package house_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// moody is a service that can serve or not.
type moody struct{ away atomic.Bool }

func (m *moody) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (m *moody) Ready() error {
	if m.away.Load() {
		return errors.New("gone fishing")
	}
	return nil
}

func (m *moody) service() *qiong.Service {
	return &qiong.Service{Name: "moody", Doc: lang.T("时有时无", "there at times"), Needs: qiong.DB,
		New: func(context.Context, *qiong.Host, any) (qiong.Runner, error) { return m, nil }}
}

// visit gets or posts like a browser that follows nothing.
func visit(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return visit(t, req)
}

// become waits for readyz to answer status: a house is ready a moment after it listens.
func become(t *testing.T, url string, status int) {
	t.Helper()
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		resp, body := get(t, url+"/readyz")
		if resp.StatusCode == status {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("readyz never answered %d: %s", status, body)
		}
	}
}

func TestReadyz(t *testing.T) {
	m := &moody{}
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{m.service()}})
	become(t, h.URL, 200)
	if resp, body := get(t, h.URL+"/healthz"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", resp.StatusCode, body)
	}
	m.away.Store(true)
	if resp, body := get(t, h.URL+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "moody") || strings.Contains(body, "fishing") {
		t.Errorf("away: %d %q; want 503, the name and no reason", resp.StatusCode, body)
	}
	m.away.Store(false)
	if resp, body := get(t, h.URL+"/readyz"); resp.StatusCode != 200 || body != "ready\n" {
		t.Errorf("back: %d %q", resp.StatusCode, body)
	}
	if resp, _ := get(t, h.URL+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("healthz asks no service: %d", resp.StatusCode)
	}
}

func TestALinkSignsInOnce(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{})
	who := auth.Principal{ID: "window", Name: "窗口", Roles: []auth.Role{auth.Official}}
	for _, tt := range []struct{ next, want string }{
		{"", "/"},
		{"/approval/?status=decided", "/approval/?status=decided"},
		{"https://elsewhere.example/", "/"},
		{"//elsewhere.example/", "/"},
		{`/\elsewhere.example`, "/"},
		{"javascript:alert(1)", "/"},
		{"relative", "/"},
	} {
		link, err := h.Link(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := req.URL.Query()
		q.Set("next", tt.next)
		req.URL.RawQuery = q.Encode()
		resp, _ := visit(t, req)
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != tt.want {
			t.Errorf("next=%s: %d to %q; want %q", tt.next, resp.StatusCode, resp.Header.Get("Location"), tt.want)
		}
		cookies := resp.Cookies()
		if len(cookies) != 1 || cookies[0].Name != auth.CookieName || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
			t.Errorf("cookies: %v", cookies)
		}
		again, page := visit(t, req)
		if again.StatusCode != http.StatusUnauthorized || len(again.Cookies()) != 0 || !strings.Contains(page, "令牌无效或已过期") {
			t.Errorf("the second time: %d, %v", again.StatusCode, again.Cookies())
		}
	}
}

func TestLoginPageSpeaksBothLanguages(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{})
	for accept, want := range map[string]string{"": "一次性登录口令", "en": "One-time token"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+"/login?next=/x%22%3E%3Cscript%3E", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Language", accept)
		resp, page := visit(t, req)
		if resp.StatusCode != 200 || !strings.Contains(page, want) || strings.Contains(page, "<script>") {
			t.Errorf("%q: %d\n%s", accept, resp.StatusCode, page)
		}
	}
}

func TestThreeAdministratorsApart(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{})
	create := func(by *client.Client, roles ...auth.Role) error {
		return by.Do(t.Context(), client.Request{Method: "POST", Path: "/api/house/tokens",
			Body: map[string]any{"id": "x", "name": "x", "roles": roles}}, nil)
	}
	security := h.As("security", auth.Security)
	for _, roles := range [][]auth.Role{{auth.Operator}, {auth.Security}, {auth.Auditor}, {auth.Official, auth.Operator}} {
		if err := create(security, roles...); err != nil {
			t.Errorf("%v: %v", roles, err)
		}
	}
	for _, roles := range [][]auth.Role{{auth.Operator, auth.Security}, {auth.Security, auth.Auditor}, {auth.Operator, auth.Auditor},
		{auth.Operator, auth.Security, auth.Auditor}} {
		if err := create(security, roles...); !errs.Is(err, errs.Invalid) || errs.As(err).Code != "token.separation" {
			t.Errorf("%v in one hand: %v", roles, err)
		}
	}
	for _, role := range []auth.Role{auth.Applicant, auth.Official, auth.Agency, auth.Operator, auth.Auditor} {
		if err := create(h.As("other", role), auth.Applicant); !errs.Is(err, errs.Forbidden) {
			t.Errorf("a token from %s: %v; want forbidden", role, err)
		}
	}
	list := client.Request{Method: "GET", Path: "/api/house/tokens"}
	if err := h.As("auditor", auth.Auditor).Do(t.Context(), list, nil); err != nil {
		t.Errorf("the auditor reads: %v", err)
	}
	if err := h.As("operator", auth.Operator).Do(t.Context(), list, nil); !errs.Is(err, errs.Forbidden) {
		t.Errorf("the operator reads: %v", err)
	}
}

func TestListsShowNoSecret(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{})
	security := h.As("security", auth.Security)
	var page struct{ Items []json.RawMessage }
	if err := security.Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/tokens"}, &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || bytes.Contains(page.Items[0], []byte("qiong_")) || bytes.Contains(page.Items[0], []byte("hash")) {
		t.Errorf("listed: %s", page.Items)
	}
	if err := security.Do(t.Context(), client.Request{Method: "DELETE", Path: "/api/house/tokens/absent"}, nil); !errs.Is(err, errs.NotFound) {
		t.Errorf("revoking what is not there: %v", err)
	}
}

// open tries to open a house on dir.
func open(t *testing.T, dir string) error {
	t.Helper()
	sections := house.Sections(nil)
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	if err := config.BindFlags(fs, sections, func(_, en string) string { return en }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fs.Set("house.data", dir), fs.Set("house.listen", "127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(sections, config.Options{Flags: fs})
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.Setup(telemetry.Options{Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	h, err := house.Open(t.Context(), nil, cfg, house.Options{Telemetry: tel})
	if err == nil {
		err = h.Close()
	}
	return err
}

func TestLayoutIsChecked(t *testing.T) {
	for _, tt := range []struct{ content, want string }{
		{"1\n", ""},
		{"2\n", "newer version"},
		{"", "holds no version"},
		{"one\n", "holds no version"},
		{"0\n", "holds no version"},
		{"-1\n", "holds no version"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "layout"), []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := open(t, dir)
		if tt.want == "" && err != nil {
			t.Errorf("layout %q: %v", tt.content, err)
		}
		if tt.want != "" && (!errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("layout %q: %v; want a conflict: %s", tt.content, err, tt.want)
		}
		kept, readErr := os.ReadFile(filepath.Join(dir, "layout"))
		if readErr != nil || string(kept) != tt.content {
			t.Errorf("layout %q became %q, %v", tt.content, kept, readErr)
		}
	}
}

func TestASecondHouseIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	h := qiongtest.Start(t, qiongtest.Options{Data: dir})
	if err := open(t, dir); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second house: %v", err)
	}
	h.Stop()
	if err := open(t, dir); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}
