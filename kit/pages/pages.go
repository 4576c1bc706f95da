// Package pages serves a service's plain pages: signed in, in the reader's language, kept by no cache, with errors shown
// as a page. They work without scripts and are what a house without a console shows.
package pages

import (
	_ "embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed layout.html
var layout string

// Site is the pages of one service.
type Site struct {
	Brand lang.Text
	Home  string // path of the first page
	Nav   []Link
	Who   auth.Authenticator
	Fail  func(w http.ResponseWriter, r *http.Request, err error)
}

// Link is an entry of a site's navigation.
type Link struct {
	Name, Path string
	Text       lang.Text
}

// Page is what every page shows.
type Page struct {
	Site   *Site
	Lang   lang.Lang
	Title  string
	At     string // the Link it belongs to
	Who    string // empty where nobody was asked
	Script string // path of its script, an ES module; none where empty
	query  url.Values
}

// Say returns the words in the page's language.
func (p Page) Say(zh, en string) string { return lang.T(zh, en).In(p.Lang) }

// Other returns the language the page is not in.
func (p Page) Other() lang.Lang {
	if p.Lang == lang.EN {
		return lang.ZH
	}
	return lang.EN
}

// OtherLink returns the link to the same page in the other language.
func (p Page) OtherLink() string {
	q := url.Values{}
	for k, v := range p.query {
		q[k] = v
	}
	q.Set("lang", string(p.Other()))
	return "?" + q.Encode()
}

// Show answers a request for a page.
type Show func(w http.ResponseWriter, r *http.Request, p Page, who *auth.Principal) error

// Handle serves show to principals with one of the roles, or to every principal where there are none.
func (s *Site) Handle(show Show, roles ...auth.Role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.Who.Authenticate(r.Context(), r)
		if errs.Is(err, errs.Unauthenticated) {
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
			return
		}
		if err == nil {
			r = r.WithContext(auth.With(r.Context(), who))
			err = auth.Require(r.Context(), roles...)
		}
		if err == nil {
			w.Header().Set("Cache-Control", "private, no-store")
			err = show(w, r, Page{Site: s, Lang: language(w, r), Who: who.Name, query: r.URL.Query()}, who)
		}
		if err != nil {
			s.Fail(w, r, err)
		}
	}
}

// Public serves show to everyone; nobody is asked who they are.
func (s *Site) Public(show Show) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, no-store")
		if err := show(w, r, Page{Site: s, Lang: language(w, r), query: r.URL.Query()}, nil); err != nil {
			s.Fail(w, r, err)
		}
	}
}

const langCookie = "qiong_lang"

// language is the one asked for by ?lang=, which is remembered, or remembered, or preferred by the browser.
func language(w http.ResponseWriter, r *http.Request) lang.Lang {
	if l, ok := lang.Parse(r.URL.Query().Get("lang")); ok {
		http.SetCookie(w, &http.Cookie{Name: langCookie, Value: string(l), Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true,
			SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
		return l
	}
	if c, err := r.Cookie(langCookie); err == nil {
		if l, ok := lang.Parse(c.Value); ok {
			return l
		}
	}
	return lang.FromAccept(r.Header.Get("Accept-Language"))
}

// Set is a site's templates by name, each between the head and the foot that all pages share.
type Set map[string]*template.Template

// Parse reads the files <name>.html in the folder pages. It panics where one is wrong: that is a defect of the program.
func Parse(files fs.FS, names ...string) Set {
	all := Set{}
	for _, name := range names {
		all[name] = template.Must(template.Must(template.New("layout").Parse(layout)).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}

// Render writes a page. Its data embeds Page.
func (s Set) Render(w http.ResponseWriter, name string, data any) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return s[name].ExecuteTemplate(w, name+".html", data)
}

// Clock writes a time, in milliseconds since 1970, for people: to the second; nothing for 0.
func Clock(ms int64) string {
	if ms == 0 {
		return ""
	}
	return beijing.FromMilli(ms).Format("2006-01-02 15:04:05")
}
