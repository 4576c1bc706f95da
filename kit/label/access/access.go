// Package access decides who may see data of a grade, and leaves a record: the same way for HTTP, gRPC and messages.
//
// It promises that nothing is shown that was not decided, and nothing at or above a set grade that was not recorded:
// where the record can't be kept, there is no access.
package access

import (
	"context"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// Clearance returns who asks, for the record, and the highest grade they may see whole. Ungraded allows nothing.
type Clearance func(ctx context.Context) (who string, c label.Grade)

// Roles maps what somebody is to their clearance; the role "" is anybody, signed in or not.
type Roles map[auth.Role]label.Grade

// Clearance is the highest clearance among the roles of the principal in ctx.
func (r Roles) Clearance(ctx context.Context) (who string, c label.Grade) {
	c = r[""]
	p := auth.From(ctx)
	if p == nil {
		return "", c
	}
	for _, role := range p.Roles {
		c = max(c, r[role])
	}
	return p.ID, c
}

// Policy is what becomes of data above somebody's clearance.
type Policy uint8

// The policies.
const (
	Refuse Policy = iota // nothing is shown
	Mask                 // what is above is shown masked
)

// Decision is what became of a request.
type Decision uint8

// The decisions.
const (
	Refused Decision = iota
	Masked
	Passed
)

// String returns "refused", "masked" or "passed".
func (d Decision) String() string {
	return [...]string{"refused", "masked", "passed"}[min(d, Passed)]
}

// Access is one request for data, as it is recorded. It has nothing of the data.
type Access struct {
	Route     string // such as "GET /api/approval/cases/{id}", or a gRPC method or an event
	Who       string // empty where nobody is signed in
	Grade     label.Grade
	Clearance label.Grade
	Decision  Decision
}

// Recorder keeps accesses for the auditor. An error says that it could not, and the access is refused.
type Recorder interface {
	Record(ctx context.Context, a Access) error
}

// Guard decides and records. Clearance is required.
type Guard struct {
	Clearance Clearance
	Recorder  Recorder    // may be nil
	From      label.Grade // accesses at or above it are recorded, refused ones too; Ungraded stands for L3
}

// Enter decides about a request on a route: shown is the grade of what the answer may hold, grade that of the answer and
// the request. The error is of kind Forbidden where the caller's clearance does not do, and Unavailable where there is no
// record of the access. It allocates nothing where the caller passes.
func (g *Guard) Enter(ctx context.Context, route string, shown, grade label.Grade, p Policy) (Decision, label.Grade, error) {
	who, c := g.Clearance(ctx)
	d := Refused
	switch {
	case c.Clears(shown):
		d = Passed
	case p == Mask && c.Clears(label.L1) && shown != label.Ungraded:
		d = Masked
	}
	from := g.From
	if from == label.Ungraded {
		from = label.L3
	}
	if g.Recorder != nil && (grade >= from || grade == label.Ungraded) {
		if err := g.Recorder.Record(ctx, Access{route, who, grade, c, d}); err != nil {
			return Refused, c, errs.Wrap(err, errs.Unavailable, "访问无法留痕，暂不提供数据", "the access can't be recorded, so there is no data").
				WithCode("grade.record")
		}
	}
	if d == Refused {
		return d, c, errs.New(errs.Forbidden, "您的数据权限低于此数据的级别", "your clearance is below the grade of this data").
			WithCode("grade.clearance").WithHint("请向安全管理员申请", "ask the security administrator")
	}
	return d, c, nil
}
