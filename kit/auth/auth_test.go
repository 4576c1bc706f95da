package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/auth/authtest"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// clock is a time that a test moves by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.at.Load()) }
func (c *clock) forward(d time.Duration) { c.at.Add(d.Milliseconds()) }

func setUp() (*auth.Tokens, *clock) {
	c := &clock{}
	c.at.Store(1_790_000_000_000)
	return &auth.Tokens{Store: &authtest.Memory{}, Clock: c.now}, c
}

var official = auth.Principal{ID: "u1", Name: "窗口", Roles: []auth.Role{auth.Official}}

func TestMemory(t *testing.T) {
	authtest.Exercise(t, func(*testing.T) auth.TokenStore { return &authtest.Memory{} })
}

func TestSecretForm(t *testing.T) {
	tokens, _ := setUp()
	seen := map[string]bool{}
	for range 200 {
		secret, _, err := tokens.Issue(t.Context(), official, time.Hour, false, "")
		if err != nil || !auth.WellFormed(secret) || len(secret) != 45 || !strings.HasPrefix(secret, "qiong_") {
			t.Fatalf("bad secret of %d bytes, %v", len(secret), err)
		}
		if seen[secret] {
			t.Fatal("the same secret twice")
		}
		seen[secret] = true
		for i := range secret {
			other := byte('x')
			if secret[i] == 'x' {
				other = 'y'
			}
			if auth.WellFormed(secret[:i] + string(other) + secret[i+1:]) {
				t.Fatalf("a mistyped character %d goes unnoticed", i)
			}
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	tokens, _ := setUp()
	for name, c := range map[string]struct {
		p       auth.Principal
		life    time.Duration
		oneTime bool
	}{
		"no id":             {auth.Principal{Roles: []auth.Role{auth.Agency}}, time.Hour, false},
		"no role":           {auth.Principal{ID: "x"}, time.Hour, false},
		"unknown role":      {auth.Principal{ID: "x", Roles: []auth.Role{"root"}}, time.Hour, false},
		"two admins in one": {auth.Principal{ID: "x", Roles: []auth.Role{auth.Operator, auth.Auditor}}, time.Hour, false},
		"eternal one-time":  {official, 0, true},
		"negative life":     {official, -1, false},
	} {
		if _, _, err := tokens.Issue(t.Context(), c.p, c.life, c.oneTime, ""); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenLife(t *testing.T) {
	tokens, clock := setUp()
	ctx := t.Context()
	secret, tok, err := tokens.Issue(ctx, official, time.Hour, false, "note")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tokens.Verify(ctx, secret); err != nil || got.Principal.ID != "u1" {
		t.Fatalf("Verify = %+v, %v", got, err)
	}
	clock.forward(time.Hour)
	if _, err := tokens.Verify(ctx, secret); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("expired: %v", err)
	}
	clock.forward(-time.Minute)
	if err := tokens.Store.Revoke(ctx, tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Verify(ctx, secret); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

func TestOneTime(t *testing.T) {
	tokens, clock := setUp()
	ctx := t.Context()
	once, _, err := tokens.Issue(ctx, official, time.Minute, true, "bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Verify(ctx, once); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("a one-time token is no bearer token: %v", err)
	}
	secret, _, err := tokens.Exchange(ctx, once, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := tokens.Verify(ctx, secret); err != nil || tok.Principal.ID != "u1" {
		t.Errorf("exchanged: %+v, %v", tok, err)
	}
	if _, _, err := tokens.Exchange(ctx, once, time.Hour); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("exchanged twice: %v", err)
	}
	if _, _, err := tokens.Exchange(ctx, secret, time.Hour); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("an ordinary token was exchanged: %v", err)
	}
	late, _, _ := tokens.Issue(ctx, official, time.Minute, true, "")
	clock.forward(time.Minute)
	if _, _, err := tokens.Exchange(ctx, late, time.Hour); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("exchanged too late: %v", err)
	}
}

type broken struct{ authtest.Memory }

func (*broken) Lookup(context.Context, auth.Hash) (auth.Token, error) {
	return auth.Token{}, errors.New("disk I/O error")
}

func TestStoreFailureIsNotARefusal(t *testing.T) {
	tokens, _ := setUp()
	secret, _, _ := tokens.Issue(t.Context(), official, 0, false, "")
	tokens.Store = &broken{}
	_, err := tokens.Verify(t.Context(), secret)
	if !errs.Is(err, errs.Unavailable) || strings.Contains(errs.As(err).In(lang.EN), "disk") {
		t.Errorf("got %v", err)
	}
}

func request(method, authorization string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://qiong.test/x", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestBearer(t *testing.T) {
	tokens, _ := setUp()
	secret, _, _ := tokens.Issue(t.Context(), official, time.Hour, false, "")
	cookie := auth.CookieName + "=" + secret
	for _, c := range []struct {
		name string
		r    *http.Request
		want errs.Kind
		ok   bool
	}{
		{"header", request("POST", "Bearer "+secret), 0, true},
		{"scheme in lower case", request("POST", "bearer "+secret), 0, true},
		{"nothing", request("GET", ""), errs.Unauthenticated, false},
		{"Basic", request("GET", "Basic eDp5"), errs.Unauthenticated, false},
		{"mistyped", request("GET", "Bearer "+secret[:44]), errs.Unauthenticated, false},
		{"cookie", request("GET", "", "Cookie", cookie), 0, true},
		{"cookie, same origin", request("POST", "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"), 0, true},
		{"cookie, other site", request("POST", "", "Cookie", cookie, "Sec-Fetch-Site", "cross-site"), errs.Forbidden, false},
		{"cookie, other origin", request("POST", "", "Cookie", cookie, "Origin", "https://evil.test"), errs.Forbidden, false},
		{"cookie, reading from a link", request("GET", "", "Cookie", cookie, "Sec-Fetch-Site", "cross-site"), 0, true},
		{"header, other site", request("POST", "Bearer "+secret, "Sec-Fetch-Site", "cross-site"), 0, true},
		{"bad header, good cookie", request("GET", "Bearer x", "Cookie", cookie), errs.Unauthenticated, false},
	} {
		p, err := auth.NewBearer(tokens).Authenticate(t.Context(), c.r)
		if c.ok && (err != nil || p.ID != "u1") || !c.ok && !errs.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, p, err)
		}
	}
}

func TestFailuresAreLimited(t *testing.T) {
	tokens, clock := setUp()
	secret, _, _ := tokens.Issue(t.Context(), official, 0, false, "")
	b := auth.NewBearer(tokens)
	for range 20 {
		if _, err := b.Authenticate(t.Context(), request("GET", "Bearer wrong")); !errs.Is(err, errs.Unauthenticated) {
			t.Fatal(err)
		}
	}
	_, err := b.Authenticate(t.Context(), request("GET", "Bearer wrong"))
	if !errs.Is(err, errs.TooMany) || errs.As(err).RetryAfter != time.Minute {
		t.Fatalf("after 20 failures: %v", err)
	}
	if _, err := b.Authenticate(t.Context(), request("GET", "Bearer "+secret)); err != nil {
		t.Errorf("who shares the address pays for it: %v", err)
	}
	other := request("GET", "Bearer wrong")
	other.RemoteAddr = "198.51.100.7:1"
	if _, err := b.Authenticate(t.Context(), other); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("another address pays for it: %v", err)
	}
	clock.forward(time.Minute)
	if _, err := b.Authenticate(t.Context(), request("GET", "Bearer wrong")); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("still blocked after the window: %v", err)
	}
}

func TestLimiterMemoryIsBounded(t *testing.T) {
	c := &clock{}
	l := auth.NewLimiter(3, time.Minute, c.now)
	for i := range 50_000 {
		l.Failed("stranger-" + strconv.Itoa(i))
	}
	if n := l.Len(); n > 8193 {
		t.Errorf("%d addresses remembered", n)
	}
	if l.Blocked("stranger-49999") == 0 {
		t.Error("strangers of a flood must share one count")
	}
	c.forward(2 * time.Minute)
	if l.Blocked("stranger-49999") != 0 {
		t.Error("the flood is over")
	}
	for range 3 {
		l.Failed("2001:db8::1")
	}
	if l.Blocked("2001:db8::ffff") == 0 {
		t.Error("one /64 is one subscriber")
	}
	if l.Blocked("2001:db8:0:1::1") != 0 {
		t.Error("another /64 is another")
	}
}

func TestPageSession(t *testing.T) {
	tokens, _ := setUp()
	b := auth.NewBearer(tokens)
	once, _, _ := tokens.Issue(t.Context(), official, time.Minute, true, "")
	w := httptest.NewRecorder()
	if _, err := b.Login(w, request("POST", ""), once, time.Hour); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	if cookie.Name != auth.CookieName || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.MaxAge != 3600 {
		t.Errorf("cookie %+v", cookie)
	}
	page := request("GET", "")
	page.AddCookie(cookie)
	if p, err := b.Authenticate(t.Context(), page); err != nil || p.ID != "u1" {
		t.Fatalf("page: %v, %v", p, err)
	}
	w = httptest.NewRecorder()
	if err := b.Logout(w, page); err != nil {
		t.Fatal(err)
	}
	if got := w.Result().Cookies()[0]; got.MaxAge >= 0 {
		t.Errorf("logout leaves the cookie: %+v", got)
	}
	if _, err := b.Authenticate(t.Context(), page); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("after logout: %v", err)
	}
	if err := b.Logout(httptest.NewRecorder(), page); err != nil {
		t.Errorf("logging out twice: %v", err)
	}
	if _, err := b.Login(httptest.NewRecorder(), request("POST", ""), once, time.Hour); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("one-time token twice: %v", err)
	}
}

func TestRequire(t *testing.T) {
	ctx := t.Context()
	if err := auth.Require(ctx); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
	ctx = auth.With(ctx, &official)
	if err := auth.Require(ctx); err != nil {
		t.Errorf("anybody: %v", err)
	}
	if err := auth.Require(ctx, auth.Agency, auth.Official); err != nil {
		t.Errorf("one of two: %v", err)
	}
	if err := auth.Require(ctx, auth.Auditor); !errs.Is(err, errs.Forbidden) {
		t.Errorf("another role: %v", err)
	}
}

func FuzzWellFormed(f *testing.F) {
	tokens, _ := setUp()
	secret, _, _ := tokens.Issue(context.Background(), official, 0, false, "")
	f.Add(secret)
	f.Add("qiong_" + strings.Repeat("z", 39))
	f.Fuzz(func(t *testing.T, s string) {
		if auth.WellFormed(s) && len(s) != len(secret) {
			t.Fatalf("%q is well-formed", s)
		}
	})
}
