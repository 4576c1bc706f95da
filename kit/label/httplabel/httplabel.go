// Package httplabel keeps graded data behind HTTP to those who are cleared for it.
//
// A route's grade is computed from the types of its request and answer when it is added; a type with a field that has no
// grade, or a route that names neither types nor a grade, is refused then. At each request the caller's clearance is
// compared with the grade of the answer: the answer passes, is masked, or is refused, the access is recorded, and the
// header X-Data-Grade says how grave what was sent is.
//
// Handlers that return Go values ask a [Gate] to show them; any other handler is wrapped, and its JSON is masked on its
// way out. What a wrapped handler answers beyond its declared type is dropped, and an answer that can't be masked is
// refused.
package httplabel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
	"github.com/qiongdev/qiong/kit/label/plan"
)

// Options configure a set of routes.
type Options struct {
	Guard   access.Guard  // its Clearance is required
	Planner *plan.Planner // default plan.New(nil)

	// Refuse answers a refused request; by default with a problem (RFC 9457) in both languages.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}

// Route is what a route takes and gives.
type Route struct {
	Name   string       // such as "GET /api/approval/cases/{id}"
	In     reflect.Type // of the request: parameters and body; nil where there are none
	Out    reflect.Type // of the answer's JSON; nil where it has none, or another form
	Grade  label.Grade  // at least; required where Out is nil
	Policy access.Policy

	// Clears is what passing the route's own rules clears a caller for, whatever their clearance elsewhere: for answers that
	// are the caller's by their nature, such as a credential that has just been issued. Accesses are recorded all the same.
	Clears label.Grade

	// Masker masks answers whose type nobody has, such as those of a proxied server, under the policy access.Mask.
	Masker *jsonmask.Masker
}

// Routes makes gates.
type Routes struct {
	o    Options
	idle sync.Pool // *writer
}

// New returns Routes. It panics without a Clearance.
func New(o Options) *Routes {
	if o.Guard.Clearance == nil {
		panic("httplabel: Options.Guard.Clearance is required")
	}
	if o.Planner == nil {
		o.Planner = plan.New(nil)
	}
	if o.Refuse == nil {
		o.Refuse = refuse
	}
	rs := &Routes{o: o}
	rs.idle.New = func() any { return new(writer) }
	return rs
}

// Gate stands before one route.
type Gate struct {
	routes *Routes
	guard  access.Guard
	route  Route
	in     *plan.Plan
	out    *plan.Plan
	shown  label.Grade // of the answer
	grade  label.Grade // of the answer and the request
	header [label.Core + 1][]string
	masks  [label.Core + 1]*jsonmask.Masker // by clearance
}

// Add returns the gate of a route. The error, of kind Internal, lists every field without a grade.
func (rs *Routes) Add(r Route) (*Gate, error) {
	g := &Gate{routes: rs, guard: clearing(rs.o.Guard, r.Clears), route: r, shown: r.Grade}
	var found []error
	for _, side := range []struct {
		typ  reflect.Type
		plan **plan.Plan
	}{{r.In, &g.in}, {r.Out, &g.out}} {
		if side.typ == nil {
			continue
		}
		p, err := rs.o.Planner.Of(side.typ)
		if err != nil {
			found = append(found, err)
			continue
		}
		*side.plan = p
	}
	if r.Out == nil && r.Grade == label.Ungraded {
		found = append(found, errs.New(errs.Internal, "路由未定级", "the route has no grade").WithCode("grade.missing").WithField(r.Name))
	}
	if len(found) > 0 {
		return nil, errs.Wrap(errors.Join(found...), errs.Internal, "路由未完整定级", "a route is not wholly graded").
			WithCode("grade.missing").WithField(r.Name)
	}
	if g.out != nil {
		g.shown = max(g.shown, g.out.Grade())
	}
	if g.grade = g.shown; g.in != nil {
		g.grade = max(g.grade, g.in.Grade())
	}
	for c := range g.header {
		g.header[c] = []string{min(g.shown, max(label.Grade(c), label.L1)).String()}
	}
	return g, g.compile()
}

// clearing is a guard to whom everybody is cleared for c at least.
func clearing(g access.Guard, c label.Grade) access.Guard {
	if c == label.Ungraded {
		return g
	}
	known := g.Clearance
	g.Clearance = func(ctx context.Context) (string, label.Grade) {
		who, own := known(ctx)
		return who, max(own, c)
	}
	return g
}

// Planner returns what makes the plans of the routes.
func (rs *Routes) Planner() *plan.Planner { return rs.o.Planner }

// compile makes the maskers of wrapped handlers.
func (g *Gate) compile() error {
	if g.route.Policy != access.Mask {
		return nil
	}
	if g.out == nil && g.route.Masker == nil {
		return errs.New(errs.Internal, "无类型的应答不能逐字段掩码", "an answer without a type can't be masked").WithCode("grade.mask").WithField(g.route.Name)
	}
	for c := label.L1; c < g.shown; c++ {
		if g.route.Masker != nil {
			g.masks[c] = g.route.Masker
			continue
		}
		m, err := jsonmask.New(Rules(g.out, c))
		if err != nil {
			return err
		}
		g.masks[c] = m
	}
	return nil
}

// Rules returns the rules by which JSON of a planned type is shown to somebody of clearance c. What the type does not
// have is dropped.
func Rules(p *plan.Plan, c label.Grade) jsonmask.Options {
	o := jsonmask.Options{Otherwise: label.MaskDrop}
	var pass []jsonmask.Rule
	for _, f := range p.Fields() {
		switch {
		case !c.Clears(f.Tag.Grade):
			o.Rules = append(o.Rules, jsonmask.Rule{Path: f.Path, Mask: f.Tag.Mask})
		case !f.Keys:
			pass = append(pass, jsonmask.Rule{Path: f.Path, Pass: true})
		}
	}
	o.Rules = append(o.Rules, pass...)
	return o
}

// Grade returns the grade of the route: of the gravest field of its request and answer.
func (g *Gate) Grade() label.Grade { return g.grade }

// Plan returns the plan of the answer; nil where it has no type.
func (g *Gate) Plan() *plan.Plan { return g.out }

// Pass is a request that was let in.
type Pass struct {
	gate      *Gate
	Decision  access.Decision
	Clearance label.Grade
}

// Enter decides about a request, records it, and sets X-Data-Grade among h. The errors are those of access.Guard.Enter. A
// nil Gate, which is what a route that could not be added has, lets nobody in.
func (g *Gate) Enter(ctx context.Context, h http.Header) (Pass, error) {
	if g == nil {
		return Pass{}, errs.New(errs.Internal, "路由未完整定级", "the route is not wholly graded").WithCode("grade.missing")
	}
	d, c, err := g.guard.Enter(ctx, g.route.Name, g.shown, g.grade, g.route.Policy)
	if err != nil {
		return Pass{}, err
	}
	h[label.Header] = g.header[min(c, label.Core)]
	return Pass{g, d, c}, nil
}

// Raise says that this one answer is graver than the route's type tells, because of what it is about: it is decided and
// recorded anew, and X-Data-Grade among h raised. The errors are those of access.Guard.Enter; without one the answer may
// be shown as before. What has no grade is for nobody.
func (p Pass) Raise(ctx context.Context, h http.Header, g label.Grade) error {
	if p.gate == nil {
		return notLetOut()
	}
	if g != label.Ungraded && g <= p.gate.shown {
		return nil
	}
	if _, _, err := p.gate.guard.Enter(ctx, p.gate.route.Name, g, g, access.Refuse); err != nil {
		return err
	}
	h.Set(label.Header, g.String())
	return nil
}

// Show returns the answer v as the caller may see it; see plan.Plan.Mask. A zero Pass shows nothing.
func (p Pass) Show(v any) (any, error) {
	switch {
	case p.Decision == access.Passed:
		return v, nil
	case p.Decision == access.Masked && p.gate.out != nil:
		return p.gate.out.Mask(v, p.Clearance)
	}
	return nil, notLetOut()
}

// Marshal returns in JSON what Show returns, without a copy of v; see plan.Plan.Marshal.
func (p Pass) Marshal(v any) ([]byte, error) {
	if p.gate == nil || p.gate.out == nil || p.Decision == access.Refused {
		shown, err := p.Show(v)
		if err != nil {
			return nil, err
		}
		return json.Marshal(shown)
	}
	clearance := p.Clearance
	if p.Decision == access.Passed {
		clearance = label.Core
	}
	return p.gate.out.Marshal(v, clearance)
}

// Append appends an answer that is in JSON already, whole documents of the route's type, to dst as the caller may see it.
func (p Pass) Append(dst, body []byte) ([]byte, error) {
	switch {
	case p.Decision == access.Passed:
		return append(dst, body...), nil
	case p.Decision == access.Masked:
		return p.gate.masks[p.Clearance].Append(dst, body)
	}
	return nil, notLetOut()
}

// notLetOut is the error of an answer that no gate let out.
func notLetOut() error {
	return errs.New(errs.Internal, "应答未经放行", "the answer was not let out").WithCode("grade.mask")
}
