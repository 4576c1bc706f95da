package sandbox

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// order is a Fault as the control API writes it.
type order struct {
	_        struct{}     `grade:"L1"`
	Kind     FaultKind    `json:"kind" enum:"error500,timeout,lost,duplicate,drip,wrong-signature,down" doc:"故障类型 / the fault"`
	Resource string       `json:"resource,omitempty" maxLength:"64" doc:"仅此资源；缺省为全部 / this resource alone; all by default"`
	Next     int          `json:"next,omitempty" minimum:"0" maximum:"1000000000" doc:"影响多少个请求；0 为不限 / how many requests; 0 is no limit"`
	Seconds  int64        `json:"seconds,omitempty" minimum:"0" maximum:"31536000" doc:"持续多少秒；0 为直到清除 / for how long; 0 is until cleared"`
	Until    beijing.Time `json:"until,omitzero" readOnly:"true" doc:"到此时为止 / until when"`
}

type agencyInput struct {
	_      struct{} `grade:"L1"`
	Agency string   `path:"agency" maxLength:"64" doc:"部门 / the agency"`
}

type orderInput struct {
	Agency string `path:"agency" grade:"L1" maxLength:"64" doc:"部门 / the agency"`
	Body   order
}

type list[T any] struct {
	Body struct {
		Items []T `json:"items"`
	}
}

func listOf[T any](items []T) *list[T] {
	var l list[T]
	l.Body.Items = append([]T{}, items...) // never null
	return &l
}

type effectsInput struct {
	httpapi.PageQuery
}

type effectsOutput struct{ Body httpapi.Page[Effect] }

type summaryOutput struct{ Body Summary }

// Control serves the operator's side of the sandbox on api: who the agencies are, how they shall fail, what happened.
func (s *Sandbox) Control(api *httpapi.API) {
	op := func(method, path, id, zh, en string) httpapi.Operation {
		return httpapi.Operation{Method: method, Path: "/api/sandbox/" + path, ID: id, Tag: "sandbox",
			Summary: lang.T(zh, en), Roles: []auth.Role{auth.Operator}}
	}
	httpapi.Register(api, op(http.MethodGet, "agencies", "list-sandbox-agencies", "列出部门", "List the agencies"),
		func(context.Context, *struct{}) (*list[Agency], error) { return listOf(s.Agencies()), nil })
	httpapi.Register(api, op(http.MethodGet, "agencies/{agency}/faults", "list-sandbox-faults", "列出部门的故障", "List an agency's faults"), s.listFaults)
	httpapi.Register(api, op(http.MethodPut, "agencies/{agency}/faults", "set-sandbox-fault", "设置部门的故障", "Make an agency fail"), s.putFault)
	httpapi.Register(api, op(http.MethodDelete, "agencies/{agency}/faults", "clear-sandbox-faults", "清除部门的故障", "Clear an agency's faults"),
		func(_ context.Context, in *agencyInput) (*struct{}, error) { return nil, s.Clear(in.Agency) })
	httpapi.Register(api, op(http.MethodGet, "effects", "list-sandbox-effects", "列出实际发生的办理与撤销", "List what really happened"), s.listEffects)
	httpapi.Register(api, op(http.MethodGet, "effects/summary", "summarize-sandbox-effects", "汇总实际发生的办理与撤销", "Add up what really happened"),
		func(ctx context.Context, _ *struct{}) (*summaryOutput, error) {
			sum, err := s.Check(ctx)
			return &summaryOutput{sum}, err
		})
	httpapi.Register(api, op(http.MethodPost, "reset", "reset-sandbox", "清空沙箱", "Forget everything"),
		func(ctx context.Context, _ *struct{}) (*struct{}, error) { return nil, s.Reset(ctx) })
}

func (s *Sandbox) listFaults(_ context.Context, in *agencyInput) (*list[order], error) {
	faults, err := s.Faults(in.Agency)
	if err != nil {
		return nil, err
	}
	var orders []order
	for _, f := range faults {
		o := order{Kind: f.Kind, Resource: f.Resource, Next: f.Next}
		if !f.Until.IsZero() {
			o.Until = beijing.At(f.Until)
		}
		orders = append(orders, o)
	}
	return listOf(orders), nil
}

func (s *Sandbox) putFault(ctx context.Context, in *orderInput) (*list[order], error) {
	f := Fault{Kind: in.Body.Kind, Resource: in.Body.Resource, Next: in.Body.Next}
	if in.Body.Until != 0 {
		return nil, errs.New(errs.Invalid, "请用 seconds 指定时长", "say how long with seconds").WithField("until")
	}
	if in.Body.Seconds > 0 {
		f.Until = s.now().Add(time.Duration(in.Body.Seconds) * time.Second)
	}
	if err := s.SetFault(in.Agency, f); err != nil {
		return nil, err
	}
	return s.listFaults(ctx, &agencyInput{Agency: in.Agency})
}

func (s *Sandbox) listEffects(ctx context.Context, in *effectsInput) (*effectsOutput, error) {
	position, err := in.Position()
	if err != nil {
		return nil, err
	}
	after := int64(0)
	if position != "" {
		if after, err = strconv.ParseInt(position, 10, 64); err != nil {
			return nil, errs.New(errs.Invalid, "不是本接口给出的游标", "this cursor is not from here").WithField("cursor")
		}
	}
	rows, err := s.Ledger(ctx, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &effectsOutput{httpapi.PageOf(rows, in.Limit, func(last Effect) string { return strconv.FormatInt(last.ID, 10) })}, nil
}
