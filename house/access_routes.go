package house

import (
	"context"
	"errors"
	"net/http"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
)

// grades holds the house's graded data to those whom the configuration clears, on record.
func (h *House) grades() *httplabel.Routes {
	return httplabel.New(httplabel.Options{Guard: access.Guard{
		Clearance: h.Config.Clearance.roles().Clearance, Recorder: record{h.audit}, From: h.Config.AuditGrade,
	}})
}

// graded refuses a house in which anything has no grade, and lists it: routes and fields, events, and consumers that are
// not cleared for what they ask for.
func (h *House) graded() error {
	all := []error{h.api.Graded()}
	grades := map[string]label.Grade{}
	for _, s := range h.Services {
		for _, e := range s.Events {
			g, err := label.ParseGrade(e.Grade)
			if err != nil {
				all = append(all, errs.Wrap(err, errs.Internal, "事件未定级", "an event has no grade").WithCode("grade.missing").WithField(e.Type))
			}
			grades[e.Type] = g
		}
	}
	for _, r := range h.rooms {
		subs, _ := r.host.Registered()
		for _, s := range subs {
			if g, known := grades[s.Event]; known && !s.Clearance.Clears(g) {
				all = append(all, notCleared(s, g))
			}
		}
	}
	return errors.Join(all...)
}

func notCleared(s qiong.Subscription, g label.Grade) error {
	return errs.Newf(errs.Internal, "%s 的权限是 %s，而事件 %s 是 %s", "%s is cleared for %s, and the event %s is of grade %s", s.Consumer, s.Clearance, s.Event, g).
		WithCode("grade.clearance")
}

// AccessView is an access to graded data as it is listed.
type AccessView struct {
	Who       string       `json:"who,omitempty" grade:"L2,pii=account" doc:"主体标识；留空为未登录 / id of the principal; empty where nobody was signed in"`
	Route     string       `json:"route" grade:"L1"`
	Object    string       `json:"object,omitempty" grade:"L1" doc:"路径中的标识 / ids in the path"`
	Grade     string       `json:"grade" grade:"L1" doc:"路由的级别 / of the route"`
	Clearance string       `json:"clearance" grade:"L1" doc:"当时的权限级别 / of who asked, then"`
	Decision  string       `json:"decision" grade:"L1" enum:"passed,masked,refused"`
	Trace     string       `json:"traceId,omitempty" grade:"L1"`
	At        beijing.Time `json:"at" grade:"L1"`
}

type accessPage struct{ Body httpapi.Page[AccessView] }

func (h *House) accessRoutes() {
	httpapi.Register(h.api, httpapi.Operation{
		Method: http.MethodGet, Path: "/api/house/accesses", ID: "list-accesses", Tag: "house", Roles: []auth.Role{auth.Auditor},
		Summary: lang.T("列出对分级数据的访问，最新的在前", "List accesses to graded data, newest first"),
	}, h.listAccesses)
}

func (h *House) listAccesses(ctx context.Context, in *struct {
	httpapi.PageQuery
	Who      string `query:"who" maxLength:"100" grade:"L2,pii=account" doc:"只列此主体 / of this principal alone"`
	Route    string `query:"route" maxLength:"200" grade:"L1" doc:"只列此路由 / of this route alone"`
	Decision string `query:"decision" enum:"passed,masked,refused" grade:"L1"`
}) (*accessPage, error) {
	page, err := h.auditPage(ctx, in.PageQuery, audit.Filter{What: audit.Access, Who: in.Who, Route: in.Route, Outcome: in.Decision})
	if err != nil {
		return nil, err
	}
	out := &accessPage{httpapi.Page[AccessView]{Items: []AccessView{}, Next: page.Next}}
	for _, e := range page.Items {
		out.Body.Items = append(out.Body.Items, AccessView{Who: e.Who, Route: e.Route, Object: e.Object, Grade: e.Grade, Clearance: e.Clearance,
			Decision: e.Outcome, Trace: e.Trace, At: e.Time})
	}
	return out, nil
}
