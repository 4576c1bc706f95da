package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// anyone is an authenticator that knows one token.
type anyone struct{}

func (anyone) Authenticate(_ context.Context, r *http.Request) (*auth.Principal, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer agency":
		return &auth.Principal{ID: "a", Roles: []auth.Role{auth.Agency}}, nil
	case "Bearer applicant":
		return &auth.Principal{ID: "b", Roles: []auth.Role{auth.Applicant}}, nil
	}
	return nil, errs.New(errs.Unauthenticated, "请先登录", "sign in first").WithCode("auth.missing")
}

// lane counts what it watches.
type lane struct{ begun, ended, status atomic.Int64 }

func (l *lane) Begin() { l.begun.Add(1) }
func (l *lane) End(_ *http.Request, status int, _ time.Duration) {
	l.ended.Add(1)
	l.status.Store(int64(status))
}

func TestHotOperations(t *testing.T) {
	mux, said := http.NewServeMux(), &strings.Builder{}
	api := httpapi.New(httpapi.Options{Title: lang.T("甲", "A"), Version: "1", Mux: mux, Auth: anyone{}, Log: slog.New(slog.NewTextHandler(said, nil))})
	full := errs.New(errs.TooMany, "满", "full").WithCode("x.full").WithRetryAfter(1500 * time.Millisecond)
	httpapi.HandleHot(api, httpapi.Operation{Method: "POST", Path: "/api/x/hot", ID: "hot", Summary: lang.T("热", "hot"), Roles: []auth.Role{auth.Agency},
		Accepts: []string{"application/json"}, Produces: "application/json"},
		func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			switch string(body) {
			case `"full"`:
				return full
			case `"other"`:
				return errs.New(errs.Conflict, "别的", "another").WithCode("x.other")
			case `"panic"`:
				panic("secret")
			}
			_, err = w.Write([]byte(p.ID))
			return err
		}, full)
	l := &lane{}
	lanes := map[string]*lane{}
	front := api.Front(mux, func(pattern string) httpapi.Lane { lanes[pattern] = l; return l })
	ask := func(h http.Handler, method, token, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/api/x/hot", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept-Language", "en")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct {
		token, body, want string
		status            int
	}{
		{"agency", `"x"`, "a", 200},
		{"agency", `"full"`, `"code":"x.full"`, 429},
		{"agency", `"other"`, `"code":"x.other"`, 409},
		{"agency", `"panic"`, `"kind":"internal"`, 500},
		{"applicant", `"x"`, `"code":"auth.role"`, 403},
		{"nobody", `"x"`, `"code":"auth.missing"`, 401},
	} {
		short, long := ask(front, "POST", c.token, c.body), ask(mux, "POST", c.token, c.body)
		if short.Code != c.status || !strings.Contains(short.Body.String(), c.want) || strings.Contains(short.Body.String(), "secret") {
			t.Errorf("%s, %s: %d %s", c.token, c.body, short.Code, short.Body)
		}
		if long.Code != short.Code || long.Header().Get("Content-Type") != short.Header().Get("Content-Type") || long.Header().Get("Retry-After") != short.Header().Get("Retry-After") ||
			long.Header().Get("Content-Language") != short.Header().Get("Content-Language") {
			t.Errorf("%s, %s: the short way answers %d %v, the long one %d %v", c.token, c.body, short.Code, short.Header(), long.Code, long.Header())
		}
		if l.status.Load() != int64(c.status) {
			t.Errorf("%s, %s: the lane saw %d", c.token, c.body, l.status.Load())
		}
	}
	if got := ask(front, "GET", "agency", ""); got.Code != http.StatusMethodNotAllowed && got.Code != http.StatusNotFound {
		t.Errorf("GET: %d", got.Code)
	}
	if lanes["POST /api/x/hot"] != l || l.begun.Load() != 6 || l.ended.Load() != 6 {
		t.Errorf("%d begun, %d ended", l.begun.Load(), l.ended.Load())
	}
	if !strings.Contains(said.String(), "panic in a handler") {
		t.Errorf("the log says %s", said)
	}
}
