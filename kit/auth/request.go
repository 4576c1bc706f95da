package auth

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// CookieName is the name of a page session's cookie.
const CookieName = "qiong_session"

// Bearer authenticates by a token: in the Authorization header, or in a page session's cookie. Use NewBearer.
type Bearer struct {
	tokens *Tokens
	limit  *Limiter
	cross  *http.CrossOriginProtection
}

// NewBearer returns a Bearer on tokens. It allows each remote address 20 failures a minute; good tokens count for none.
func NewBearer(tokens *Tokens) *Bearer {
	return &Bearer{tokens: tokens, limit: NewLimiter(20, time.Minute, tokens.now), cross: http.NewCrossOriginProtection()}
}

// Authenticate implements Authenticator. An Authorization header goes before the cookie. A request with the cookie
// that could change something must come from the page's own origin (Sec-Fetch-Site, or Origin).
func (b *Bearer) Authenticate(ctx context.Context, r *http.Request) (*Principal, error) {
	secret, fromCookie, err := secretOf(r)
	if err != nil {
		return nil, err
	}
	if fromCookie {
		if err := b.cross.Check(r); err != nil {
			return nil, errs.Wrap(err, errs.Forbidden, "该请求来自其他网站，已被拒绝", "this request comes from another site").
				WithCode("auth.cross-origin")
		}
	}
	tok, err := b.tokens.Verify(ctx, secret)
	if err != nil {
		return nil, b.failed(r, err)
	}
	return &tok.Principal, nil
}

// failed counts a secret that nobody has against its address, and slows the address down once it has failed too often.
// Who has a good secret is let in all the same: many people share an address behind a carrier or a proxy, and none of
// them is to be locked out by a stranger.
func (b *Bearer) failed(r *http.Request, err error) error {
	if !errs.Is(err, errs.Unauthenticated) {
		return err
	}
	address := RemoteIP(r)
	if wait := b.limit.Blocked(address); wait > 0 {
		return errs.New(errs.TooMany, "认证失败次数过多，请稍后再试", "too many failed attempts; try again later").
			WithCode("auth.too-many").WithRetryAfter(wait)
	}
	b.limit.Failed(address)
	return err
}

// secretOf finds the secret in r.
func secretOf(r *http.Request) (secret string, fromCookie bool, err error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", false, unauthenticated("auth.scheme", "只支持 Bearer 令牌", "only Bearer tokens are known here")
		}
		return strings.TrimSpace(secret), false, nil
	}
	if cookie, err := r.Cookie(CookieName); err == nil {
		return cookie.Value, true, nil
	}
	return "", false, unauthenticated("auth.missing", "请先登录", "sign in first")
}

// Login exchanges a one-time secret for a page session that lives for life, and sets its cookie.
func (b *Bearer) Login(w http.ResponseWriter, r *http.Request, oneTime string, life time.Duration) (*Principal, error) {
	secret, tok, err := b.tokens.Exchange(r.Context(), oneTime, life)
	if err != nil {
		return nil, b.failed(r, err)
	}
	SetSession(w, r, secret, life)
	return &tok.Principal, nil
}

// Logout revokes the page session of r and clears its cookie. It is no error to have none.
func (b *Bearer) Logout(w http.ResponseWriter, r *http.Request) error {
	SetSession(w, r, "", -1)
	cookie, err := r.Cookie(CookieName)
	if err != nil {
		return nil
	}
	tok, err := b.tokens.Verify(r.Context(), cookie.Value)
	if errs.Is(err, errs.Unauthenticated) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.tokens.Store.Revoke(r.Context(), tok.ID)
}

// SetSession sets the session cookie to secret for life; a life below zero clears it. The cookie is HttpOnly and
// SameSite=Strict, and Secure where the request came over TLS.
func SetSession(w http.ResponseWriter, r *http.Request, secret string, life time.Duration) {
	age := int(life / time.Second)
	if life < 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: CookieName, Value: secret, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// RemoteIP returns the address of the peer of r's connection. It does not believe X-Forwarded-For, which anyone can
// write; behind a proxy, the proxy must limit.
func RemoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
