package house

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
)

// TokenView is a token as it is listed: never its secret.
type TokenView struct {
	_         struct{}       `grade:"L1"`
	ID        string         `json:"id"`
	Principal auth.Principal `json:"principal" grade:"L2,pii=name"`
	OneTime   bool           `json:"oneTime"`
	Note      string         `json:"note,omitempty" grade:"L2,mask=all"`
	Created   beijing.Time   `json:"created"`
	Expires   beijing.Time   `json:"expires,omitzero"`
}

type newToken struct {
	Body struct {
		_       struct{}    `grade:"L1"`
		ID      string      `json:"id" minLength:"1" maxLength:"100" doc:"主体标识，办件归属于它 / whose cases they are" grade:"L2,pii=account"`
		Name    string      `json:"name" grade:"L2,pii=name" minLength:"1" maxLength:"100"`
		Roles   []auth.Role `json:"roles" minItems:"1" maxItems:"3" enum:"applicant,official,agency,operator,security,auditor"`
		Days    int         `json:"days,omitempty" minimum:"1" maximum:"3650" doc:"有效天数，默认 90 / days it lives, default 90"`
		OneTime bool        `json:"oneTime,omitempty" doc:"一次性登录口令，一小时内有效 / signs in once, within an hour"`
		Note    string      `json:"note,omitempty" maxLength:"200" grade:"L2,mask=all"`
	}
}

// Validate keeps the three administrators apart (GB/T 22239-2019, 8.1.5).
func (n *newToken) Validate() error {
	admins := 0
	for _, r := range n.Body.Roles {
		if r == auth.Operator || r == auth.Security || r == auth.Auditor {
			admins++
		}
	}
	if admins > 1 {
		return errs.New(errs.Invalid, "系统、安全、审计管理员必须由不同的人担任", "the system, security and audit administrators must be different people").
			WithField("roles").WithCode("token.separation")
	}
	return nil
}

type secretAnswer struct {
	Body struct {
		Token string `json:"token" grade:"L4,pii=secret" doc:"只显示这一次 / shown this once"`
		Link  string `json:"link,omitempty" grade:"L4,pii=secret"`
	}
}

func (h *House) tokenRoutes() {
	security := []auth.Role{auth.Security}
	httpapi.Register(h.api, httpapi.Operation{
		Method: http.MethodPost, Path: "/api/house/tokens", ID: "create-token", Tag: "house", Roles: security, Status: http.StatusCreated,
		Clears:  label.L4, // what was just issued is handed on by whoever issued it
		Summary: lang.T("签发令牌", "Issue a token"),
	}, h.createToken)
	httpapi.Register(h.api, httpapi.Operation{
		Method: http.MethodGet, Path: "/api/house/tokens", ID: "list-tokens", Tag: "house", Roles: append(security, auth.Auditor),
		Summary: lang.T("列出令牌", "List tokens"),
	}, h.listTokens)
	httpapi.Register(h.api, httpapi.Operation{
		Method: http.MethodDelete, Path: "/api/house/tokens/{id}", ID: "revoke-token", Tag: "house", Roles: security,
		Summary: lang.T("吊销令牌", "Revoke a token"),
	}, h.revokeToken)
	httpapi.Register(h.api, httpapi.Operation{
		Method: http.MethodPost, Path: "/api/house/redeem", ID: "redeem-token", Tag: "house", Public: true,
		Clears:  label.L4, // the token belongs to whoever gives the one-time token for it
		Summary: lang.T("用一次性令牌换取普通令牌（30 天）", "Exchange a one-time token for an ordinary one (30 days)"),
	}, h.redeem)
	h.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h.mux.HandleFunc("GET /house.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(styleSheet)
	})
}

func (h *House) createToken(ctx context.Context, in *newToken) (*secretAnswer, error) {
	b := in.Body
	if b.Days == 0 {
		b.Days = 90
	}
	life := time.Duration(b.Days) * 24 * time.Hour
	p := auth.Principal{ID: b.ID, Name: b.Name, Roles: b.Roles}
	out := &secretAnswer{}
	var err error
	if b.OneTime {
		out.Body.Token, err = h.Issue(ctx, p, time.Hour, true, b.Note)
		out.Body.Link = h.URL() + "/login?once=" + out.Body.Token
	} else {
		out.Body.Token, err = h.Issue(ctx, p, life, false, b.Note)
	}
	if err != nil {
		return nil, err
	}
	h.telemetry.Log.InfoContext(ctx, "a token was issued", "by", auth.From(ctx).ID, "for", b.ID, "roles", b.Roles)
	return out, nil
}

type tokenPage struct{ Body httpapi.Page[TokenView] }

func (h *House) listTokens(ctx context.Context, in *struct{ httpapi.PageQuery }) (*tokenPage, error) {
	after, err := in.Position()
	if err != nil {
		return nil, err
	}
	all, err := h.tokens.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	views := []TokenView{}
	for _, t := range all {
		v := TokenView{ID: t.ID, Principal: t.Principal, OneTime: t.OneTime, Note: t.Note, Created: beijing.At(t.Created)}
		if !t.Expires.IsZero() {
			v.Expires = beijing.At(t.Expires)
		}
		if after == "" {
			views = append(views, v)
		} else if t.ID == after {
			after = ""
		}
	}
	return &tokenPage{httpapi.PageOf(views[:min(len(views), in.Limit+1)], in.Limit, func(v TokenView) string { return v.ID })}, nil
}

func (h *House) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"100" grade:"L1"`
}) (*struct{}, error) {
	err := h.tokens.Store.Revoke(ctx, in.ID)
	if errors.Is(err, auth.ErrNoToken) {
		return nil, errs.New(errs.NotFound, "没有这个令牌", "there is no such token")
	}
	if err != nil {
		return nil, err
	}
	h.telemetry.Log.InfoContext(ctx, "a token was revoked", "by", auth.From(ctx).ID, "id", in.ID)
	return nil, h.did(ctx, audit.TokenRevoke, in.ID, "")
}

func (h *House) redeem(ctx context.Context, in *struct {
	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"100" grade:"L4,pii=secret"`
	}
}) (*secretAnswer, error) {
	secret, token, err := h.tokens.Exchange(ctx, in.Body.Token, 30*24*time.Hour)
	if err != nil {
		if kept := h.audit.Record(ctx, audit.Entry{What: audit.TokenRedeem, Outcome: audit.Refused}); kept != nil {
			return nil, kept
		}
		return nil, err
	}
	if err := h.audit.Commit(ctx, audit.Entry{Who: token.Principal.ID, What: audit.TokenRedeem, Object: token.ID, Outcome: audit.Done}); err != nil {
		return nil, err
	}
	out := &secretAnswer{}
	out.Body.Token = secret
	return out, nil
}
