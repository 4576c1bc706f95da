package approval

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
)

//go:embed pages
var pageFiles embed.FS

var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"cases", "case", "notices"} {
		all[name] = template.Must(template.ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html"))
	}
	return all
}()

// page is what every page shows.
type page struct {
	Lang  lang.Lang
	Title string
	At    string
	Who   string
	Watch bool
}

// Say returns the words in the page's language.
func (p page) Say(zh, en string) string { return lang.T(zh, en).In(p.Lang) }

// Other returns the language the page is not in.
func (p page) Other() lang.Lang {
	if p.Lang == lang.EN {
		return lang.ZH
	}
	return lang.EN
}

func (a *Approval) pageRoutes() {
	mux := a.host.Mux
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/approval/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /approval/{$}", a.page(a.casesPage))
	mux.HandleFunc("GET /approval/cases/{id}", a.page(a.casePage))
	mux.HandleFunc("GET /approval/notices", a.page(a.noticesPage))
	mux.HandleFunc("POST /approval/cases/{id}/withdraw", a.page(a.withdrawPage))
	mux.HandleFunc("GET /approval/live.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "pages/live.js")
	})
}

const langCookie = "qiong_lang"

// page signs the reader in, chooses the language, and shows errors as a page.
func (a *Approval) page(show func(w http.ResponseWriter, r *http.Request, p page, who *auth.Principal) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := a.host.Who.Authenticate(r.Context(), r)
		if errs.Is(err, errs.Unauthenticated) {
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
			return
		}
		if err == nil {
			r = r.WithContext(auth.With(r.Context(), who))
			w.Header().Set("Cache-Control", "private, no-store")
			err = show(w, r, page{Lang: pageLang(w, r), Who: who.Name}, who)
		}
		if err != nil {
			a.host.API.Fail(w, r, err)
		}
	}
}

// pageLang is the language asked for by ?lang=, which is remembered, or remembered, or preferred by the browser.
func pageLang(w http.ResponseWriter, r *http.Request) lang.Lang {
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

func render(w http.ResponseWriter, name string, data any) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pages[name].ExecuteTemplate(w, name+".html", data)
}

// tone is the colour of a status.
func (s Status) tone() string {
	switch s {
	case Decided:
		return "good"
	case Refused:
		return "bad"
	case Processing:
		return "busy"
	}
	return "idle"
}

// clock writes a time for people: to the second.
func clock(ms int64) string {
	if ms == 0 {
		return ""
	}
	return beijing.FromMilli(ms).Format("2006-01-02 15:04:05")
}

type caseRow struct{ ID, Subject, Matter, Status, Tone, Submitted string }

type option struct {
	Value, Text string
	Chosen      bool
}

func (a *Approval) casesPage(w http.ResponseWriter, r *http.Request, p page, who *auth.Principal) error {
	q := r.URL.Query()
	status := Status(q.Get("status"))
	f := filter{status: status, limit: 51}
	if cursor := q.Get("cursor"); cursor != "" {
		var err error
		if f.before, err = httpapi.DecodeCursor(cursor); err != nil {
			return err
		}
	}
	if !who.Is(auth.Official, auth.Operator) {
		f.owner = who.ID
	}
	rows, err := a.store.list(r.Context(), f)
	if err != nil {
		return err
	}
	p.Title, p.At = p.Say("办件", "Cases"), "cases"
	data := struct {
		page
		Cases    []caseRow
		Statuses []option
		Status   Status
		Next     string
	}{page: p, Status: status}
	for _, s := range []Status{Draft, Processing, Decided, Refused, Withdrawn} {
		data.Statuses = append(data.Statuses, option{string(s), s.Text().In(p.Lang), s == status})
	}
	list := httpapi.PageOf(rows, 50, func(c *Case) string { return c.ID })
	data.Next = list.Next
	for _, c := range list.Items {
		data.Cases = append(data.Cases, caseRow{c.ID, c.Subject, a.matterTitle(c).In(p.Lang), c.Status.Text().In(p.Lang), c.Status.tone(), clock(c.Submitted)})
	}
	return render(w, "cases", data)
}

func (a *Approval) matterTitle(c *Case) lang.Text {
	if m := a.matters[matterKey{c.Matter, c.Version}]; m != nil {
		return m.Title
	}
	return lang.T(c.Matter, c.Matter)
}

// mark is one entry of a time line.
type mark struct {
	Title, Who, Status, Tone, When, Took, Note string
	Calls                                      int
	Issued                                     []field
	Fake                                       bool // the sandbox issued it
}

type field struct{ Name, Value string }

func (a *Approval) casePage(w http.ResponseWriter, r *http.Request, p page, who *auth.Principal) error {
	c, m, in, err := a.load(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return err
	}
	v := view(c, m, in, p.Lang)
	v.FormSM3 = hex.EncodeToString(c.formSM3)
	v.Withdraw = (v.Withdraw || c.Status == Draft) && c.Owner == who.ID
	files, err := a.store.files(r.Context(), a.host.DB, c.ID)
	if err != nil {
		return err
	}
	for _, f := range files {
		v.Files = append(v.Files, f.view())
	}
	p.Title, p.At = c.Subject, "cases"
	p.Watch = c.Status == Processing
	return render(w, "case", struct {
		page
		Case                 CaseView
		Matter, Tone, Reason string
		Line                 []mark
	}{p, v, a.matterTitle(c).In(p.Lang), c.Status.tone(), reasonText(c.Reason).In(p.Lang), line(p, c, m, in, v)})
}

func reasonText(reason string) lang.Text {
	switch reason {
	case reasonWithdrawn:
		return lang.T("申请人撤回", "withdrawn by the applicant")
	case "deadline":
		return lang.T("超过办理期限", "the time limit has passed")
	}
	return lang.T(reason, reason)
}

// line is the time line of a case: made, submitted, its steps, its end.
func line(p page, c *Case, m *Matter, in *saga.Instance, v CaseView) []mark {
	all := []mark{{Title: p.Say("新建", "Created"), Tone: "good", When: clock(c.Created)}}
	if c.Submitted > 0 {
		all = append(all, mark{Title: p.Say("提交", "Submitted"), Tone: "good", When: clock(c.Submitted)})
	}
	for i, s := range v.Steps {
		st := in.Steps[i]
		k := mark{Title: s.Title, Who: s.AgencyName, Status: s.StatusText, Tone: stepTone(st), When: clock(st.BeganAt),
			Took: took(st), Note: st.Reason, Calls: st.Calls}
		k.Issued, k.Fake = issued(s.Issued, m.Labels, p.Lang)
		all = append(all, k)
	}
	if c.Decided > 0 {
		all = append(all, mark{Title: c.Status.Text().In(p.Lang), Tone: c.Status.tone(), When: clock(c.Decided)})
	}
	return all
}

func stepTone(st saga.StepState) string {
	switch {
	case st.Parked:
		return "warn"
	case st.Status == saga.StepDone || st.Status == saga.StepSkipped:
		return "good"
	case st.Status == saga.StepRefused:
		return "bad"
	case st.Status == saga.StepWaiting || st.Status == saga.StepUndone:
		return "idle"
	}
	return "busy"
}

func took(st saga.StepState) string {
	if st.EndedAt == 0 || st.BeganAt == 0 {
		return ""
	}
	d := time.Duration(st.EndedAt-st.BeganAt) * time.Millisecond
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// issued lists what an agency issued, under the names that the matter has for it, and whether it is marked as fake.
func issued(raw json.RawMessage, labels map[string]lang.Text, l lang.Lang) (all []field, fake bool) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name == "fake" {
			fake = object[name] == true
			continue
		}
		title := labels[name].In(l)
		if title == "" {
			title = name
		}
		all = append(all, field{title, fmt.Sprint(object[name])})
	}
	return all, fake
}

func (a *Approval) withdrawPage(w http.ResponseWriter, r *http.Request, _ page, who *auth.Principal) error {
	err := a.withdraw(r.Context(), httpapi.Call{Principal: who}, r.PathValue("id"))
	var e *errs.Error
	if err != nil && !(errors.As(err, &e) && e.Code == "saga.past-pivot") { // the page shows that it went on
		return err
	}
	http.Redirect(w, r, "/approval/cases/"+url.PathEscape(r.PathValue("id")), http.StatusSeeOther)
	return nil
}

func (a *Approval) noticesPage(w http.ResponseWriter, r *http.Request, p page, who *auth.Principal) error {
	rows, err := a.store.notices(r.Context(), who.ID, 1<<62, 100)
	if err != nil {
		return err
	}
	type shown struct{ Case, Text, When, Tone string }
	p.Title, p.At = p.Say("通知", "Notices"), "notices"
	data := struct {
		page
		Notices []shown
	}{page: p}
	tones := map[string]string{EventDecided: "good", EventRefused: "bad", EventParked: "warn"}
	for _, n := range rows {
		data.Notices = append(data.Notices, shown{n.Case, noticeText(n).In(p.Lang), clock(n.Created), tones[n.Kind]})
	}
	return render(w, "notices", data)
}
