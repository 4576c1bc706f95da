package httpapi

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/apidoc"
	"github.com/qiongdev/qiong/kit/label/httplabel"
)

// Where the API has Options.Grades, every operation stands behind a gate (see httplabel): its grade comes from the types
// it is registered with, the caller's clearance decides what they are shown, X-Data-Grade and the OpenAPI document say
// the grade. An operation that is not wholly graded answers nobody.

// typed is the route of an operation that is registered with types.
func (op Operation) typed(in, body reflect.Type) httplabel.Route {
	r := httplabel.Route{Name: op.route(), In: in, Out: body, Grade: op.Grade, Clears: op.Clears, Policy: access.Mask}
	if body == nil {
		r.Grade = max(r.Grade, label.L1) // a status says nothing of anybody
	}
	if body == nil || op.Refuse {
		r.Policy = access.Refuse
	}
	return r
}

// plain is the route of a plain handler. What it writes can't be masked, but for the events of a stream.
func (op Operation) plain() httplabel.Route {
	r := httplabel.Route{Name: op.route(), In: op.Takes, Out: op.Event, Grade: op.Grade, Clears: op.Clears}
	if op.Event != nil && !op.Refuse {
		r.Policy = access.Mask
	}
	return r
}

func (op Operation) route() string { return op.Method + " " + op.Path }

// Gate returns the gate of a route outside of the API, such as a page's. Where the route is not wholly graded, the gate
// lets nobody in, and Graded tells. It panics where the API has no Grades.
func (api *API) Gate(r httplabel.Route) *httplabel.Gate {
	gate, err := api.o.Grades.Add(r)
	if err != nil {
		api.ungraded = append(api.ungraded, err)
		return nil
	}
	return gate
}

// Graded returns nil where every operation registered so far is wholly graded, otherwise an error that lists every route
// and field without a grade.
func (api *API) Graded() error { return errors.Join(api.ungraded...) }

// grade puts a gate before an operation and its grade into what describes it.
func (api *API) grade(r httplabel.Route, described *huma.Operation) *httplabel.Gate {
	if api.o.Grades == nil {
		return nil
	}
	gate := api.Gate(r)
	if gate == nil {
		return nil
	}
	apidoc.Operation(described, gate.Grade(), r.In, api.o.Grades.Planner())
	for _, p := range described.Parameters { // names of things and the idempotency key, which no type has
		if p.Extensions[apidoc.Grade] == nil {
			p.Extensions = apidoc.Extensions(label.Tag{Grade: label.L1}, p.Extensions)
		}
	}
	return gate
}

// enter asks the gate of the operation.
func (ex *exchange) enter(ctx context.Context) (err error) {
	if ex.api.o.Grades != nil {
		ex.pass, err = ex.gate.Enter(ctx, ex.reply.Header())
	}
	return err
}

// Raise says that the answer to the request of ctx is graver than its type tells, because of what it is about, such as a
// record whose grade somebody configured. The error, for the handler to return, says that the caller is not cleared.
func Raise(ctx context.Context, g label.Grade) error {
	ex := exchangeOf(ctx)
	if ex == nil || ex.api.o.Grades == nil {
		return nil
	}
	return ex.pass.Raise(ctx, ex.reply.Header(), g)
}

// show returns what the caller may see of an answer.
func (ex *exchange) show(v any) (any, error) {
	if ex.api.o.Grades == nil {
		return v, nil
	}
	return ex.pass.Show(v)
}

// resend returns what the caller may see of an answer that was made before.
func (ex *exchange) resend(s Stored) (Stored, error) {
	if ex.api.o.Grades == nil || ex.pass.Decision == access.Passed || len(s.Body) == 0 {
		return s, nil
	}
	var err error
	s.Body, err = ex.pass.Append(nil, s.Body)
	return s, err
}

// lower says that a problem stands where graded data would: it holds none.
func lower(h http.Header) {
	if h[label.Header] != nil {
		h.Set(label.Header, label.L1.String())
	}
}
