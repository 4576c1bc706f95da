package house

import (
	"context"
	"net/http"

	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// AuditView is an entry of the audit log as it is listed.
type AuditView struct {
	Leaf      int64        `json:"leaf" grade:"L1" doc:"所在的组 / the leaf it stands in"`
	Time      beijing.Time `json:"time" grade:"L1"`
	Who       string       `json:"who,omitempty" grade:"L2,pii=account" doc:"主体标识；house 为系统自身，留空为未登录 / id of the principal; house is the house itself, empty nobody who signed in"`
	What      string       `json:"what" grade:"L1" doc:"如 token.issue / such as token.issue"`
	Object    string       `json:"object,omitempty" grade:"L1"`
	Outcome   string       `json:"outcome" grade:"L1" doc:"done、begun、refused；访问为 passed、masked、refused / of accesses passed, masked or refused"`
	Route     string       `json:"route,omitempty" grade:"L1"`
	Grade     string       `json:"grade,omitempty" grade:"L1"`
	Clearance string       `json:"clearance,omitempty" grade:"L1"`
	Detail    string       `json:"detail,omitempty" grade:"L2,mask=all"`
	Trace     string       `json:"traceId,omitempty" grade:"L1"`
}

// AuditState is the state of the audit log.
type AuditState struct {
	_        struct{}     `grade:"L1"`
	Origin   string       `json:"origin" doc:"日志名 / the log's name"`
	Leaves   int64        `json:"leaves"`
	Expired  int64        `json:"expired" doc:"其中已归档的 / of them, those in the archive"`
	Checked  beijing.Time `json:"checked,omitzero" doc:"最近一次核验无误的时间 / when it was last found whole"`
	Checking int64        `json:"checking,omitempty" doc:"正在进行的核验已完成的组数 / leaves that the check under way has done"`
	Broken   string       `json:"broken,omitempty" doc:"发现的问题；没有即完好 / what was found; absent where nothing was"`
	Note     string       `json:"note,omitempty" doc:"最近一次联署的检查点 / the newest cosigned checkpoint"`
	Trust    string       `json:"trust" doc:"验证所用的公钥 / the public keys to verify with"`
	// Witnesses and Gaps are of other houses, and of restores.
	Witnesses []AuditWitness `json:"witnesses,omitempty"`
	Gaps      []string       `json:"gaps,omitempty" doc:"由备份恢复的签署声明 / signed statements of restores"`
}

// AuditWitness is how far a witness in another house has cosigned.
type AuditWitness struct {
	_       struct{}     `grade:"L1"`
	Name    string       `json:"name"`
	Leaves  int64        `json:"leaves" doc:"已联署到 / cosigned up to"`
	At      beijing.Time `json:"at,omitzero" doc:"最近一次联署的时间 / when it has cosigned last"`
	Problem string       `json:"problem,omitempty" doc:"未能继续的原因 / why it has not cosigned more"`
}

// AuditSpan is a run of leaves with the proof of it.
type AuditSpan struct {
	_     struct{} `grade:"L1"`
	From  int64    `json:"from"`
	To    int64    `json:"to" doc:"不含 / exclusive"`
	Proof string   `json:"proof,omitempty"`
}

// AuditLeaf is a leaf as it was signed.
type AuditLeaf struct {
	Leaf int64  `json:"leaf" grade:"L1"`
	Text string `json:"text" grade:"L2,mask=all" doc:"规范写法的条目，一行一条 / entries in their canonical form, one a line"`
}

type (
	auditPage  struct{ Body httpapi.Page[AuditView] }
	auditState struct{ Body AuditState }
	auditSpan  struct{ Body AuditSpan }
	auditRead  struct{ Body httpapi.Page[AuditLeaf] }
)

func (h *House) auditRoutes() {
	get := func(path, id, zh, en string) httpapi.Operation {
		return httpapi.Operation{Method: http.MethodGet, Path: "/api/house/audit" + path, ID: id, Tag: "house", Roles: []auth.Role{auth.Auditor}, Summary: lang.T(zh, en)}
	}
	httpapi.Register(h.api, get("", "list-audit", "列出审计日志，最新的在前", "List the audit log, newest first"), h.listAudit)
	httpapi.Register(h.api, get("/state", "audit-state", "查看审计日志的状态", "Show the state of the audit log"), func(ctx context.Context, _ *struct{}) (*auditState, error) { return h.auditState(ctx) })
	check := get("/check", "check-audit", "立即核验审计日志", "Check the audit log now")
	check.Method = http.MethodPost
	httpapi.Register(h.api, check, h.checkAudit)
	restored := get("/restored", "restore-audit", "登记审计日志曾由备份恢复", "Enter that the audit log was put back from a backup")
	restored.Method = http.MethodPost
	httpapi.Register(h.api, restored, h.restoredAudit)
	httpapi.Register(h.api, get("/span", "audit-span", "一段时间的审计日志及其证明", "The leaves of a time, with their proof"), h.spanAudit)
	httpapi.Register(h.api, get("/leaves", "audit-leaves", "读取审计日志的原文，从某组起", "Read leaves as they were signed, from one on"), h.readAudit)
}

func (h *House) listAudit(ctx context.Context, in *struct {
	httpapi.PageQuery
	Who     string `query:"who" maxLength:"100" grade:"L2,pii=account"`
	What    string `query:"what" maxLength:"100" grade:"L1"`
	Outcome string `query:"outcome" maxLength:"20" grade:"L1"`
	Since   string `query:"since" maxLength:"40" grade:"L1" doc:"北京时间 / Beijing time"`
	Until   string `query:"until" maxLength:"40" grade:"L1" doc:"北京时间，不含 / Beijing time, exclusive"`
}) (*auditPage, error) {
	f := audit.Filter{Who: in.Who, What: in.What, Outcome: in.Outcome}
	var err error
	if f.Since, f.Until, err = period(in.Since, in.Until); err != nil {
		return nil, err
	}
	page, err := h.auditPage(ctx, in.PageQuery, f)
	return &auditPage{page}, err
}

// auditPage lists a page of the audit log.
func (h *House) auditPage(ctx context.Context, q httpapi.PageQuery, f audit.Filter) (page httpapi.Page[AuditView], err error) {
	text, err := q.Position()
	if err != nil {
		return page, err
	}
	before, err := audit.ParsePosition(text)
	if err != nil {
		return page, err
	}
	found, next, err := h.audit.List(ctx, f, before, q.Limit)
	if err != nil {
		return page, err
	}
	page.Items = []AuditView{}
	for _, e := range found {
		page.Items = append(page.Items, AuditView{Leaf: int64(e.Leaf), Time: e.Time, Who: e.Who, What: e.What, Object: e.Object, Outcome: e.Outcome,
			Route: e.Route, Grade: e.Grade, Clearance: e.Clearance, Detail: e.Detail, Trace: e.Trace})
	}
	if next != nil {
		page.Next = httpapi.EncodeCursor(next.String())
	}
	return page, nil
}

func period(since, until string) (from, to beijing.Time, err error) {
	for _, p := range []struct {
		text, field string
		at          *beijing.Time
	}{{since, "since", &from}, {until, "until", &to}} {
		if p.text == "" {
			continue
		}
		t, err := beijing.Parse(p.text)
		if err != nil {
			return 0, 0, errs.As(err).WithField(p.field)
		}
		*p.at = beijing.At(t)
	}
	return from, to, nil
}

func (h *House) auditState(ctx context.Context) (*auditState, error) {
	s := h.audit.Status()
	out := &auditState{AuditState{Origin: h.audit.Last().Origin, Leaves: int64(s.Size), Expired: int64(s.Expired), Checked: s.Checked,
		Checking: int64(s.Progress), Trust: string(h.audit.Trust().Marshal())}}
	if s.Broken != nil {
		out.Body.Broken = errs.As(s.Broken).Msg.ZH + " / " + errs.As(s.Broken).Msg.EN
	}
	witnesses, err := h.audit.Outside(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range witnesses {
		v := AuditWitness{Name: w.Name, Leaves: int64(w.Size), At: w.At}
		if !w.Problem.IsZero() {
			v.Problem = w.Problem.ZH + " / " + w.Problem.EN
		}
		out.Body.Witnesses = append(out.Body.Witnesses, v)
	}
	gaps, err := h.audit.Gaps(ctx)
	if err != nil && !audit.Broken(err) { // which the check tells
		return nil, err
	}
	for _, g := range gaps {
		out.Body.Gaps = append(out.Body.Gaps, string(g.Marshal()))
	}
	note, err := h.audit.Note(ctx)
	if errs.Is(err, errs.NotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := note.Marshal()
	out.Body.Note = string(text)
	return out, err
}

// checkAudit checks the log while the caller waits. That it is broken is an answer, and no error.
func (h *House) checkAudit(ctx context.Context, _ *struct{}) (*auditState, error) {
	err := h.audit.Flush(ctx)
	if err == nil {
		err = h.audit.Sign(ctx)
	}
	if err == nil {
		err = h.audit.Check(ctx, nil)
	}
	if err != nil && h.audit.Status().Broken == nil {
		return nil, err
	}
	return h.auditState(ctx)
}

// restoredAudit has the log go on after a restore, in the name of the auditor who enters it.
func (h *House) restoredAudit(ctx context.Context, in *struct {
	Body struct {
		Reason string `json:"reason" grade:"L2,mask=all" minLength:"1" maxLength:"200" doc:"为什么恢复、用的哪份备份 / why it was restored, and from which backup"`
	}
}) (*auditState, error) {
	if _, err := h.audit.Restored(ctx, auth.From(ctx).ID, in.Body.Reason); err != nil {
		return nil, err
	}
	return h.auditState(ctx)
}

func (h *House) spanAudit(ctx context.Context, in *struct {
	Since string `query:"since" maxLength:"40" grade:"L1" doc:"北京时间 / Beijing time"`
	Until string `query:"until" maxLength:"40" grade:"L1" doc:"北京时间，不含 / Beijing time, exclusive"`
}) (*auditSpan, error) {
	since, until, err := period(in.Since, in.Until)
	if err != nil {
		return nil, err
	}
	if err := h.audit.Flush(ctx); err != nil {
		return nil, err
	}
	if err := h.audit.Sign(ctx); err != nil {
		return nil, err
	}
	from, to, err := h.audit.Span(ctx, since, until)
	out := &auditSpan{AuditSpan{From: int64(from), To: int64(to)}}
	if err != nil || from == to {
		return out, err
	}
	p, err := h.audit.Prove(ctx, from, to)
	if err != nil {
		return nil, err
	}
	text, err := p.Marshal()
	out.Body.Proof = string(text)
	return out, err
}

func (h *House) readAudit(ctx context.Context, in *struct {
	From  int64 `query:"from" minimum:"0" grade:"L1" doc:"自哪一组起 / the first leaf"`
	Limit int   `query:"limit" grade:"L1" minimum:"1" maximum:"200" default:"100"`
}) (*auditRead, error) {
	leaves, err := h.audit.Leaves(ctx, uint64(in.From), in.Limit)
	out := &auditRead{httpapi.Page[AuditLeaf]{Items: []AuditLeaf{}}}
	for i, leaf := range leaves {
		out.Body.Items = append(out.Body.Items, AuditLeaf{in.From + int64(i), string(leaf)})
	}
	return out, err
}
