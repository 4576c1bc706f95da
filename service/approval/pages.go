package approval

import (
	"context"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/kit/saga"
)

//go:embed pages
var pageFiles embed.FS

var templates = pages.Parse(pageFiles, "cases", "case", "notices")

func (a *Approval) pageRoutes() {
	mux := a.host.Mux
	site := &pages.Site{
		Brand: lang.T("一网通办", "One-stop approval"), Home: "/approval/", Who: a.host.Who, Fail: a.host.API.Fail,
		Nav: []pages.Link{
			{Name: "cases", Path: "/approval/", Text: lang.T("办件", "Cases")},
			{Name: "notices", Path: "/approval/notices", Text: lang.T("通知", "Notices")},
		},
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/approval/", http.StatusSeeOther)
	})
	handle := func(route httplabel.Route, show graded) {
		mux.HandleFunc(route.Name, site.Handle(a.behind(route, show)))
	}
	handle(httplabel.Route{Name: "GET /approval/{$}", Grade: label.L2}, a.casesPage)
	handle(httplabel.Route{Name: "GET /approval/cases/{id}", Out: reflect.TypeFor[CaseView](), Policy: access.Mask}, a.casePage)
	handle(httplabel.Route{Name: "GET /approval/notices", Grade: label.L2}, a.noticesPage)
	handle(httplabel.Route{Name: "POST /approval/cases/{id}/withdraw", Grade: label.L1}, a.withdrawPage)
	mux.HandleFunc("GET /approval/live.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "pages/live.js")
	})
}

// graded is a page behind a gate.
type graded func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, pass httplabel.Pass) error

// behind puts a page behind the gate of its route: pages show no more than the API does.
func (a *Approval) behind(route httplabel.Route, show graded) pages.Show {
	gate := a.host.API.Gate(route)
	return func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal) error {
		pass, err := gate.Enter(r.Context(), w.Header())
		if err != nil {
			return err
		}
		return show(w, r, p, who, pass)
	}
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

type caseRow struct{ ID, Subject, Matter, Status, Tone, Submitted string }

type option struct {
	Value, Text string
	Chosen      bool
}

func (a *Approval) casesPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
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
		pages.Page
		Cases    []caseRow
		Statuses []option
		Status   Status
		Next     string
	}{Page: p, Status: status}
	for _, s := range []Status{Draft, Processing, Decided, Refused, Withdrawn} {
		data.Statuses = append(data.Statuses, option{string(s), s.Text().In(p.Lang), s == status})
	}
	list := httpapi.PageOf(rows, 50, func(c *Case) string { return c.ID })
	data.Next = list.Next
	for _, c := range list.Items {
		data.Cases = append(data.Cases, caseRow{c.ID, c.Subject, a.matterTitle(c).In(p.Lang), c.Status.Text().In(p.Lang), c.Status.tone(), pages.Clock(c.Submitted)})
	}
	return templates.Render(w, "cases", data)
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

func (a *Approval) casePage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, pass httplabel.Pass) error {
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
	shown, err := pass.Show(v)
	if err != nil {
		return err
	}
	v = shown.(CaseView) // from here on nothing is read from c, m and in but what everybody may know
	p.Title, p.At = v.Subject, "cases"
	if v.Status == Processing {
		p.Script = "/approval/live.js"
	}
	return templates.Render(w, "case", struct {
		pages.Page
		Case                 CaseView
		Matter, Tone, Reason string
		Line                 []mark
		Receipts             []receiptRow
	}{p, v, a.matterTitle(c).In(p.Lang), v.Status.tone(), reasonText(v.Reason).In(p.Lang), line(p, c, m, in, v), a.receipts(r.Context(), p, c.ID)})
}

// receiptRow is the receipt of an act as the page shows it.
type receiptRow struct{ Record, Title, State, Tone string }

// receipts returns those of a case; none where no service keeps evidence, or it can't be asked now.
func (a *Approval) receipts(ctx context.Context, p pages.Page, id string) (rows []receiptRow) {
	proofs, err := a.host.Proofs(ctx, a.host.Name, id)
	if err != nil {
		return nil
	}
	for _, f := range proofs {
		row := receiptRow{Record: f.Record, Title: f.Type}
		for _, e := range events {
			if f.Type == fmt.Sprintf("%s/%d", e.Type, e.Version) {
				row.Title = e.Doc.In(p.Lang)
			}
		}
		switch stateOf(f) {
		case "complete":
			row.State, row.Tone = p.Say("应签者均已签署", "all have signed"), "good"
		case "provisional":
			row.State, row.Tone = p.Say("尚有应签者未签", "some still owe"), "busy"
		default:
			row.State, row.Tone, row.Record = p.Say("等待签署", "waiting"), "busy", ""
		}
		rows = append(rows, row)
	}
	return rows
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
func line(p pages.Page, c *Case, m *Matter, in *saga.Instance, v CaseView) []mark {
	all := []mark{{Title: p.Say("新建", "Created"), Tone: "good", When: pages.Clock(c.Created)}}
	if c.Submitted > 0 {
		all = append(all, mark{Title: p.Say("提交", "Submitted"), Tone: "good", When: pages.Clock(c.Submitted)})
	}
	for i, s := range v.Steps {
		st := in.Steps[i]
		k := mark{Title: s.Title, Who: s.AgencyName, Status: s.StatusText, Tone: s.tone(), When: pages.Clock(st.BeganAt),
			Took: took(st), Note: s.Reason, Calls: s.Calls}
		k.Issued, k.Fake = issued(s.Issued, m.Labels, p.Lang)
		all = append(all, k)
	}
	if c.Decided > 0 {
		all = append(all, mark{Title: v.StatusText, Tone: v.Status.tone(), When: pages.Clock(c.Decided)})
	}
	return all
}

func (s StepView) tone() string {
	if s.Parked {
		return "warn"
	}
	switch s.Status {
	case string(saga.StepDone), string(saga.StepSkipped):
		return "good"
	case string(saga.StepRefused):
		return "bad"
	case "waiting", string(saga.StepUndone):
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

func (a *Approval) withdrawPage(w http.ResponseWriter, r *http.Request, _ pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	err := a.withdraw(r.Context(), httpapi.Call{Principal: who}, r.PathValue("id"))
	var e *errs.Error
	if err != nil && !(errors.As(err, &e) && e.Code == "saga.past-pivot") { // the page shows that it went on
		return err
	}
	http.Redirect(w, r, "/approval/cases/"+url.PathEscape(r.PathValue("id")), http.StatusSeeOther)
	return nil
}

func (a *Approval) noticesPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	rows, err := a.store.notices(r.Context(), who.ID, 1<<62, 100)
	if err != nil {
		return err
	}
	type shown struct{ Case, Text, When, Tone string }
	p.Title, p.At = p.Say("通知", "Notices"), "notices"
	data := struct {
		pages.Page
		Notices []shown
	}{Page: p}
	tones := map[string]string{EventDecided: "good", EventRefused: "bad", EventParked: "warn"}
	for _, n := range rows {
		data.Notices = append(data.Notices, shown{n.Case, noticeText(n).In(p.Lang), pages.Clock(n.Created), tones[n.Kind]})
	}
	return templates.Render(w, "notices", data)
}
