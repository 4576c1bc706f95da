// Package auth says who asks: it turns a request into a principal, or refuses it.
//
// It promises that a secret is never stored (only its SM3 hash is), that a one-time token works once, that a page's
// session cookie cannot be used from another site, and that guessing is slowed down per address in bounded memory.
// What a principal may do with a particular case is the service's own rule; this package knows roles alone.
package auth

import (
	"context"
	"net/http"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// Role is what somebody is, for deciding what they may do.
type Role string

// The roles. Operator, security and auditor are the three separated administrators that GB/T 22239-2019 asks for at
// level 3 (8.1.5): no token should carry two of them.
const (
	Applicant Role = "applicant" // a citizen or an enterprise
	Official  Role = "official"  // a window official
	Agency    Role = "agency"    // an agency's system
	Operator  Role = "operator"  // system administrator: runs the house
	Security  Role = "security"  // security administrator: grants and revokes
	Auditor   Role = "auditor"   // audit administrator: reads the record
)

// Valid reports whether r is a role this package knows.
func (r Role) Valid() bool {
	return slices.Contains([]Role{Applicant, Official, Agency, Operator, Security, Auditor}, r)
}

// Principal is who asks.
type Principal struct {
	ID    string `json:"id"` // stable; cases belong to it
	Name  string `json:"name"`
	Roles []Role `json:"roles"`
}

// Is reports whether p has one of roles.
func (p *Principal) Is(roles ...Role) bool {
	return p != nil && slices.ContainsFunc(p.Roles, func(r Role) bool { return slices.Contains(roles, r) })
}

// Authenticator tells who sent a request. It returns an error of kind Unauthenticated where nobody can be told,
// Forbidden where the request comes from another site, TooMany where guessing must stop for a while, and Unavailable
// where it cannot look.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (*Principal, error)
}

type contextKey struct{}

// With returns ctx carrying p.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the principal in ctx; nil where there is none.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(contextKey{}).(*Principal)
	return p
}

// Require returns nil if the principal in ctx has one of roles (any principal will do where none is named),
// Unauthenticated where there is no principal, Forbidden otherwise.
func Require(ctx context.Context, roles ...Role) error {
	p := From(ctx)
	switch {
	case p == nil:
		return unauthenticated("auth.missing", "请先登录", "sign in first")
	case len(roles) > 0 && !p.Is(roles...):
		return errs.New(errs.Forbidden, "您没有办理此操作的权限", "you may not do this").WithCode("auth.role")
	}
	return nil
}

func unauthenticated(code, zh, en string) *errs.Error {
	return errs.New(errs.Unauthenticated, zh, en).WithCode(code).
		WithHint("请在 Authorization 请求头中携带有效的令牌", "send a valid token in the Authorization header")
}
