package house

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed login.html house.css
var pages embed.FS

var loginPage = template.Must(template.ParseFS(pages, "login.html"))

var styleSheet = func() []byte {
	css, err := pages.ReadFile("house.css")
	if err != nil {
		panic(err) // embedded above
	}
	return css
}()

const sessionLife = 12 * time.Hour

// routes registers what belongs to no service.
func (h *House) routes() {
	h.api = httpapi.New(httpapi.Options{
		Title: lang.T("琼 接口", "Qiong API"), Version: Version().Version, Mux: h.mux, Auth: h.who, Log: h.telemetry.Log,
		Grades: h.grades(),
	})
	h.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	h.mux.HandleFunc("GET /readyz", h.readyz(h.newProbe()))
	h.mux.Handle("GET /metrics", h.telemetry.Handler())
	h.mux.HandleFunc("GET /login", h.showLogin)
	h.mux.HandleFunc("POST /login", h.login)
	h.mux.HandleFunc("POST /logout", h.logout)
	h.tokenRoutes()
	h.accessRoutes()
	h.auditRoutes()
	httpapi.Handle(h.api, httpapi.Operation{
		Method: http.MethodGet, Path: "/api/house/goroutines", ID: "list-goroutines", Tag: "house", Roles: []auth.Role{auth.Operator},
		Grade: label.L2, Produces: "application/json",
		Summary: lang.T("列出协程及其归属（qiong leak 所用）", "List goroutines and whose they are (for qiong leak)"),
		Doc:     lang.T("?profile=leak 只列运行时判定永远阻塞的；同时只采集一次，否则 429", "?profile=leak lists those alone that the runtime finds blocked for ever; one collection at a time, otherwise 429"),
	}, h.telemetry.Labels.Serve())
}

func (h *House) handler() http.Handler {
	return h.elsewhere(h.api.Front(httpapi.SecureHeaders(named(h.telemetry.Middleware(h.mux))),
		func(pattern string) httpapi.Lane { return h.telemetry.Lane(pattern) }))
}

// readyz answers 200 when every database and service can serve, 503 with their names otherwise.
func (h *House) readyz(signer *probe) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		away := h.away(r.Context())
		if signer != nil && signer.do() != nil {
			away = append(away, "signer")
		}
		if !h.ready.Load() {
			away = append(away, "house")
		}
		if len(away) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not ready: " + strings.Join(away, ", ") + "\n"))
			return
		}
		_, _ = w.Write([]byte("ready\n" + h.behind()))
	}
}

// away names what of the house can't serve.
func (h *House) away(ctx context.Context) (away []string) {
	for _, db := range h.dbs {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		if _, err := sqldb.Value[int64](ctx, db, "SELECT 1"); err != nil {
			away = append(away, "database")
		}
		cancel()
	}
	for _, room := range h.rooms {
		if readier, ok := room.runner.(qiong.Readier); ok {
			if err := readier.Ready(); err != nil {
				away = append(away, room.service.Name)
			}
		}
	}
	if h.audit.Status().Broken != nil {
		away = append(away, "audit")
	}
	return away
}

// behind tells of what does not keep the house from serving.
func (h *House) behind() string {
	if h.Config.AuditWitness == "" {
		return ""
	}
	w := h.witnessed()
	if w.Problem.IsZero() {
		return ""
	}
	return fmt.Sprintf("audit witness %s is %d leaves behind: %s\n", w.Name, h.audit.Status().Size-w.Size, w.Problem.EN)
}

// loginView is what the page shows.
type loginView struct {
	Lang    lang.Lang
	Problem string
	Next    string
}

// Say returns the words in the page's language.
func (v loginView) Say(zh, en string) string { return lang.T(zh, en).In(v.Lang) }

// showLogin shows the form, or signs in by the one-time secret of a link. The secret is spent on use.
func (h *House) showLogin(w http.ResponseWriter, r *http.Request) {
	if secret := r.URL.Query().Get("once"); secret != "" {
		h.signIn(w, r, secret)
		return
	}
	h.renderLogin(w, r, nil)
}

func (h *House) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	h.signIn(w, r, strings.TrimSpace(r.PostFormValue("once")))
}

func (h *House) signIn(w http.ResponseWriter, r *http.Request, secret string) {
	if err := h.enter(w, r, secret); err != nil {
		h.renderLogin(w, r, err)
		return
	}
	http.Redirect(w, r, next(r.FormValue("next")), http.StatusSeeOther)
}

// enter begins a page session, which is on record before its cookie is sent.
func (h *House) enter(w http.ResponseWriter, r *http.Request, secret string) error {
	p, err := h.bearer.Login(w, r, secret, sessionLife)
	if err != nil {
		if kept := h.signedIn(r, audit.SignIn, "", err); kept != nil {
			return kept
		}
		return err
	}
	if err := h.signedIn(r, audit.SignIn, p.ID, nil); err != nil {
		w.Header().Del("Set-Cookie")
		return err
	}
	return nil
}

// next keeps a redirect inside the house.
func next(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, "\\") {
		return "/"
	}
	return path
}

func (h *House) renderLogin(w http.ResponseWriter, r *http.Request, err error) {
	v := loginView{Lang: lang.FromAccept(r.Header.Get("Accept-Language")), Next: next(r.FormValue("next"))}
	status := http.StatusOK
	if err != nil {
		e := errs.As(err)
		v.Problem, status = e.In(v.Lang), e.Kind.HTTP()
		if hint := e.Hint.In(v.Lang); hint != "" {
			v.Problem += lang.T("。", ". ").In(v.Lang) + hint
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := loginPage.Execute(w, v); err != nil {
		h.telemetry.Log.WarnContext(r.Context(), "a page was not sent", "err", err)
	}
}

func (h *House) logout(w http.ResponseWriter, r *http.Request) {
	p, _ := h.bearer.Authenticate(r.Context(), r) // nobody is signed in where it fails
	err := h.bearer.Logout(w, r)
	if err == nil && p != nil {
		err = h.signedIn(r, audit.SignOut, p.ID, nil)
	}
	if err != nil {
		h.api.Fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// Issue returns a token for p that lives so long; one that is one-time only signs in.
func (h *House) Issue(ctx context.Context, p auth.Principal, life time.Duration, oneTime bool, note string) (string, error) {
	secret, token, err := h.tokens.Issue(ctx, p, life, oneTime, note)
	if err != nil {
		return "", err
	}
	once := ""
	if oneTime {
		once = ", signs in once"
	}
	return secret, h.did(ctx, audit.TokenIssue, token.ID, fmt.Sprintf("for %s, roles %v%s", p.ID, p.Roles, once))
}

// Link returns the address that signs p in once, within an hour.
func (h *House) Link(ctx context.Context, p auth.Principal) (string, error) {
	secret, err := h.Issue(ctx, p, time.Hour, true, "link")
	if err != nil {
		return "", err
	}
	return h.URL() + "/login?once=" + url.QueryEscape(secret), nil
}
