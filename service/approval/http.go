package approval

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/saga/engine"
)

const base = "/api/approval"

func (a *Approval) routes() {
	op := func(method, path, id, zh, en string, set ...func(*httpapi.Operation)) httpapi.Operation {
		o := httpapi.Operation{Method: method, Path: base + path, ID: id, Tag: "approval", Summary: lang.T(zh, en)}
		for _, f := range set {
			f(&o)
		}
		return o
	}
	status := func(code int) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Status = code } }
	idempotent := func(o *httpapi.Operation) { o.Idempotent = true }
	ownRules := func(o *httpapi.Operation) { o.OwnRules = true }
	operator := func(o *httpapi.Operation) { o.Roles = []auth.Role{auth.Operator} }
	public := func(o *httpapi.Operation) { o.Public = true }

	httpapi.Register(a.host.API, op("GET", "/matters", "list-matters", "列出事项", "List the matters", public), a.listMatters)
	httpapi.Register(a.host.API, op("GET", "/matters/{matter}", "get-matter", "查看事项及其表单", "Show a matter and its form", public), a.getMatter)
	httpapi.Register(a.host.API, op("POST", "/cases", "create-case", "新建办件，可同时提交", "Create a case, and submit it where asked", status(201), idempotent, ownRules), a.postCase)
	httpapi.Register(a.host.API, op("GET", "/cases", "list-cases", "列出办件，最新的在前", "List cases, newest first"), a.listCases)
	httpapi.Register(a.host.API, op("GET", "/cases/{id}", "get-case", "查看办件", "Show a case"), a.getCase)
	httpapi.Register(a.host.API, op("PUT", "/cases/{id}/form", "put-form", "修改草稿的表单", "Replace a draft's form"), a.replaceForm)
	httpapi.Register(a.host.API, op("POST", "/cases/{id}/submit", "submit-case", "提交草稿", "Submit a draft", idempotent), a.postSubmit)
	httpapi.Register(a.host.API, op("POST", "/cases/{id}/withdraw", "withdraw-case", "撤回办件", "Withdraw a case", status(202)), a.postWithdraw)
	httpapi.Handle(a.host.API, op("POST", "/cases/{id}/attachments", "add-attachment", "上传附件（?name=文件名）", "Add an attachment (?name=)", status(201), func(o *httpapi.Operation) {
		o.MaxBody = 1 << 30 // the matter's own limit is lower, and is told in its own words
		o.Grade = label.L2
	}), a.upload)
	httpapi.Handle(a.host.API, op("GET", "/cases/{id}/attachments/{file}", "get-attachment", "下载附件", "Download an attachment", func(o *httpapi.Operation) {
		o.Grade = label.L3 // as the form: nobody knows what a file holds
	}), a.download)
	httpapi.Handle(a.host.API, op("GET", "/cases/{id}/events", "watch-case", "办件进度（SSE）", "Watch a case (server-sent events)", func(o *httpapi.Operation) {
		o.Produces, o.Event = "text/event-stream", reflect.TypeFor[CaseView]()
	}), a.stream)
	httpapi.Handle(a.host.API, op("GET", "/cases/{id}/picture", "draw-case", "办件流程图（Mermaid）", "Draw a case (Mermaid)", func(o *httpapi.Operation) {
		o.Produces, o.Grade = "text/plain", label.L2
	}), a.picture)
	httpapi.Register(a.host.API, op("GET", "/cases/{id}/receipt", "get-receipts", "办件各事项的回执与原文", "The receipts of a case's acts, with their originals"), a.getReceipts)
	httpapi.Handle(a.host.API, op("GET", "/cases/{id}/receipt/{record}", "download-receipt", "下载回执文件", "Download a receipt", func(o *httpapi.Operation) {
		o.Produces, o.Grade = "text/plain", label.L1
	}), a.receiptFile(false))
	httpapi.Handle(a.host.API, op("GET", "/cases/{id}/original/{record}", "download-original", "下载原文文件", "Download an original", func(o *httpapi.Operation) {
		o.Produces, o.Grade = "text/plain", label.L2
	}), a.receiptFile(true))
	httpapi.Register(a.host.API, op("GET", "/notices", "list-notices", "我的通知", "My notices"), a.listNotices)
	httpapi.Handle(a.host.API, op("POST", "/callbacks/{agency}", "callback", "部门回调（SM2 签名）", "An agency's callback (signed with SM2)", public, status(204), func(o *httpapi.Operation) {
		o.Grade = label.L1 // of the answer, which has nothing in it
	}), a.callback)

	httpapi.Register(a.host.API, op("GET", "/stuck", "list-stuck", "列出停滞的办件", "List the cases that do not get on", operator), a.listStuck)
	httpapi.Register(a.host.API, op("POST", "/retry", "retry-steps", "立即重试等待中的环节", "Retry waiting steps now", operator), a.retry)
	httpapi.Register(a.host.API, op("POST", "/cases/{id}/skip", "skip-step", "跳过停放的环节", "Skip a parked step", operator, status(204)), a.skip)
	httpapi.Register(a.host.API, op("GET", "/dead", "list-dead", "列出死信", "List the dead letters", operator), a.listDead)
	httpapi.Register(a.host.API, op("POST", "/requeue", "requeue", "重发死信", "Send dead letters anew", operator), a.requeue)
}

// MatterView is a matter as its API shows it.
type MatterView struct {
	_           struct{}        `grade:"L1"`
	Name        string          `json:"name"`
	Version     int             `json:"version"`
	Title       lang.Text       `json:"title"`
	Form        json.RawMessage `json:"form,omitempty" doc:"JSON Schema"`
	Attachments *struct {
		Max   int      `json:"max"`
		Size  int64    `json:"size"`
		Types []string `json:"types"`
	} `json:"attachments,omitempty"`
	Picture string `json:"picture,omitempty" doc:"Mermaid"`
}

type mattersAnswer struct {
	Body struct {
		Items []MatterView `json:"items"`
	}
}

func (a *Approval) listMatters(context.Context, *struct{}) (*mattersAnswer, error) {
	out := &mattersAnswer{}
	for _, m := range a.current {
		out.Body.Items = append(out.Body.Items, MatterView{Name: m.Name, Version: m.Version, Title: m.Title})
	}
	slices.SortFunc(out.Body.Items, func(x, y MatterView) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

type matterAnswer struct{ Body MatterView }

func (a *Approval) getMatter(ctx context.Context, in *struct {
	Matter string `path:"matter" maxLength:"64" grade:"L1"`
}) (*matterAnswer, error) {
	m, err := a.matter(in.Matter)
	if err != nil {
		return nil, err
	}
	v := MatterView{Name: m.Name, Version: m.Version, Title: m.Title, Form: m.form.json,
		Picture: saga.Mermaid(m.saga, nil, httpapi.CallFrom(ctx).Lang)}
	v.Attachments = &struct {
		Max   int      `json:"max"`
		Size  int64    `json:"size"`
		Types []string `json:"types"`
	}{m.Attachments.Max, int64(m.Attachments.Size), m.Attachments.Types}
	return &matterAnswer{v}, nil
}

type caseAnswer struct {
	ETag string `header:"ETag"`
	Body CaseView
}

type newCase struct {
	Body struct {
		Matter string          `json:"matter" grade:"L1" minLength:"1" maxLength:"64" doc:"事项 / the matter"`
		Form   json.RawMessage `json:"form" grade:"L3" doc:"表单，见事项的 form / as the matter's form says"`
		Submit bool            `json:"submit,omitempty" grade:"L1" doc:"同时提交 / submit it at once"`
	}
}

// Validate implements the check of httpapi.
func (n *newCase) Validate() error {
	switch {
	case n.Body.Matter == "":
		return errs.New(errs.Invalid, "必须填写", "is required").WithField("matter")
	case len(n.Body.Form) == 0:
		return errs.New(errs.Invalid, "必须填写", "is required").WithField("form")
	}
	return nil
}

func (a *Approval) postCase(ctx context.Context, in *newCase) (*caseAnswer, error) {
	return nil, a.create(ctx, httpapi.CallFrom(ctx), in.Body.Matter, in.Body.Form, in.Body.Submit)
}

type casesAnswer struct{ Body httpapi.Page[CaseView] }

func (a *Approval) listCases(ctx context.Context, in *struct {
	httpapi.PageQuery
	Status string `query:"status" grade:"L1" enum:"draft,processing,decided,refused,withdrawn" doc:"只列此状态 / only of this status"`
	Matter string `query:"matter" grade:"L1" maxLength:"64" doc:"只列此事项 / only of this matter"`
}) (*casesAnswer, error) {
	call := httpapi.CallFrom(ctx)
	before, err := in.Position()
	if err != nil {
		return nil, err
	}
	f := filter{status: Status(in.Status), matter: in.Matter, before: before, limit: in.Limit + 1}
	if !call.Principal.Is(auth.Official, auth.Operator) {
		f.owner = call.Principal.ID
	}
	rows, err := a.store.list(ctx, f)
	if err != nil {
		return nil, err
	}
	views := make([]CaseView, len(rows))
	for i, c := range rows {
		views[i] = view(c, nil, nil, call.Lang)
	}
	return &casesAnswer{httpapi.PageOf(views, in.Limit, func(v CaseView) string { return v.ID })}, nil
}

type caseID struct {
	ID string `path:"id" grade:"L1" maxLength:"64"`
}

func (a *Approval) getCase(ctx context.Context, in *caseID) (*caseAnswer, error) {
	call := httpapi.CallFrom(ctx)
	c, m, s, err := a.load(ctx, call.Principal, in.ID)
	if err != nil {
		return nil, err
	}
	v := view(c, m, s, call.Lang)
	if v.Form, err = a.openForm(c); err != nil {
		return nil, err
	}
	v.FormSM3 = hex.EncodeToString(c.formSM3)
	files, err := a.store.files(ctx, a.host.DB, c.ID)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		v.Files = append(v.Files, f.view())
	}
	v.Withdraw = (v.Withdraw || c.Status == Draft) && c.Owner == call.Principal.ID
	return &caseAnswer{httpapi.VersionETag(c.Rev), v}, nil
}

func (a *Approval) replaceForm(ctx context.Context, in *struct {
	ID      string `path:"id" grade:"L1" maxLength:"64"`
	IfMatch string `header:"If-Match" grade:"L1" maxLength:"100"`
	Body    struct {
		Form json.RawMessage `json:"form" grade:"L3"`
	}
}) (*caseAnswer, error) {
	call := httpapi.CallFrom(ctx)
	c, err := a.putForm(ctx, call, in.ID, in.IfMatch, in.Body.Form)
	if err != nil {
		return nil, err
	}
	return &caseAnswer{httpapi.VersionETag(c.Rev), view(c, nil, nil, call.Lang)}, nil
}

func (a *Approval) postSubmit(ctx context.Context, in *caseID) (*caseAnswer, error) {
	return nil, a.submit(ctx, httpapi.CallFrom(ctx), in.ID)
}

func (a *Approval) postWithdraw(ctx context.Context, in *caseID) (*caseAnswer, error) {
	if err := a.withdraw(ctx, httpapi.CallFrom(ctx), in.ID); err != nil {
		return nil, err
	}
	return a.getCase(ctx, in)
}

func (a *Approval) picture(w http.ResponseWriter, r *http.Request) error {
	_, m, in, err := a.load(r.Context(), auth.From(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = fmt.Fprint(w, saga.Mermaid(m.saga, in, lang.FromAccept(r.Header.Get("Accept-Language"))))
	return err
}

// NoticeView is a notice.
type NoticeView struct {
	_       struct{}     `grade:"L1"`
	ID      string       `json:"id"`
	Case    string       `json:"case"`
	Kind    string       `json:"kind" doc:"事件类型 / type of the event"`
	Text    string       `json:"text" grade:"L2"`
	Created beijing.Time `json:"created"`
}

func noticeText(n note) lang.Text {
	say := func(zh, en string) lang.Text { return lang.T("「"+n.Subject+"」"+zh, n.Subject+": "+en) }
	switch n.Kind {
	case EventDecided:
		return say("已办结。", "decided.")
	case EventRefused:
		return say("不予办理。", "refused.")
	case EventWithdrawn:
		return say("已撤回。", "withdrawn.")
	}
	return say("有环节需要人工处理，我们会跟进。", "a step needs a person; we see to it.")
}

type noticesAnswer struct{ Body httpapi.Page[NoticeView] }

func (a *Approval) listNotices(ctx context.Context, in *struct{ httpapi.PageQuery }) (*noticesAnswer, error) {
	call := httpapi.CallFrom(ctx)
	before, err := position(in.PageQuery, 1<<62)
	if err != nil {
		return nil, err
	}
	rows, err := a.store.notices(ctx, call.Principal.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	views := make([]NoticeView, len(rows))
	for i, n := range rows {
		views[i] = NoticeView{ID: strconv.FormatInt(n.ID, 10), Case: n.Case, Kind: n.Kind, Text: noticeText(n).In(call.Lang), Created: beijing.Time(n.Created)}
	}
	return &noticesAnswer{httpapi.PageOf(views, in.Limit, func(v NoticeView) string { return v.ID })}, nil
}

// position reads a cursor that holds a number; first is what an absent one stands for.
func position(q httpapi.PageQuery, first int64) (int64, error) {
	p, err := q.Position()
	if err != nil || p == "" {
		return first, err
	}
	n, err := strconv.ParseInt(p, 10, 64)
	if err != nil {
		return 0, errs.New(errs.Invalid, "分页游标无效", "the cursor is not valid").WithField("cursor")
	}
	return n, nil
}

// stuckView is a saga that does not get on.
type stuckView struct {
	engine.Stuck `grade:"L1"`
}

type stuckAnswer struct{ Body httpapi.Page[stuckView] }

func (a *Approval) listStuck(ctx context.Context, in *struct{ httpapi.PageQuery }) (*stuckAnswer, error) {
	after, err := in.Position()
	if err != nil {
		return nil, err
	}
	rows, err := a.host.Sagas.ListStuck(ctx, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	views := make([]stuckView, len(rows))
	for i, s := range rows {
		views[i] = stuckView{s}
	}
	return &stuckAnswer{httpapi.PageOf(views, in.Limit, func(s stuckView) string { return s.Position })}, nil
}

type countAnswer struct {
	Body struct {
		Count int64 `json:"count" grade:"L1"`
	}
}

func (a *Approval) retry(ctx context.Context, in *struct {
	Body struct {
		Agency string `json:"agency,omitempty" grade:"L1" maxLength:"64" doc:"该部门的全部环节 / all steps of this agency"`
		Case   string `json:"case,omitempty" grade:"L1" maxLength:"64"`
		Step   string `json:"step,omitempty" grade:"L1" maxLength:"64"`
	}
}) (*countAnswer, error) {
	n, err := a.host.Sagas.Retry(ctx, engine.Match{Saga: in.Body.Case, Participant: in.Body.Agency, Step: in.Body.Step})
	if err != nil {
		return nil, err
	}
	a.host.Log.InfoContext(ctx, "steps retried by hand", "by", auth.From(ctx).ID, "agency", in.Body.Agency, "case", in.Body.Case, "steps", n)
	out := &countAnswer{}
	out.Body.Count = int64(n)
	return out, nil
}

func (a *Approval) skip(ctx context.Context, in *struct {
	ID   string `path:"id" grade:"L1" maxLength:"64"`
	Body struct {
		Step   string `json:"step" grade:"L1" minLength:"1" maxLength:"64"`
		Reason string `json:"reason" grade:"L2" minLength:"1" maxLength:"500"`
	}
}) (*struct{}, error) {
	err := a.host.Sagas.Skip(ctx, in.ID, in.Body.Step, in.Body.Reason)
	if err == nil {
		a.host.Log.InfoContext(ctx, "a step was skipped by hand", "by", auth.From(ctx).ID, "case", in.ID, "step", in.Body.Step)
	}
	return nil, err
}

type deadAnswer struct{ Body httpapi.Page[outbox.Dead] }

func (a *Approval) listDead(ctx context.Context, in *struct{ httpapi.PageQuery }) (*deadAnswer, error) {
	after, err := position(in.PageQuery, 0)
	if err != nil {
		return nil, err
	}
	rows, err := a.host.Box.ListDead(ctx, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &deadAnswer{httpapi.PageOf(rows, in.Limit, func(d outbox.Dead) string { return strconv.FormatInt(d.Message, 10) })}, nil
}

func (a *Approval) requeue(ctx context.Context, in *struct {
	Body struct {
		Consumer string `json:"consumer,omitempty" grade:"L1" maxLength:"100" doc:"留空为全部 / all where absent"`
		Message  int64  `json:"message,string,omitempty" grade:"L1" doc:"只重发这一条 / this one alone"`
	}
}) (*countAnswer, error) {
	n, err := a.host.Box.Requeue(ctx, in.Body.Consumer, in.Body.Message)
	out := &countAnswer{}
	out.Body.Count = n
	return out, err
}

// revision names what is shown of a case: its own revision and that of its saga.
func revision(c *Case, in *saga.Instance) string {
	if in == nil {
		return fmt.Sprint(c.Rev)
	}
	return fmt.Sprintf("%d.%d", c.Rev, in.Rev)
}
