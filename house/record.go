package house

import (
	"context"

	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/label/access"
)

// record keeps accesses to graded data in the audit log. They are gathered in memory and written together a moment later,
// so that no request pays for a commit; where they can't be kept, there is no access.
type record struct{ log *audit.Log }

var _ access.Recorder = record{}

// Record implements access.Recorder.
func (r record) Record(ctx context.Context, a access.Access) error {
	e := audit.Entry{Who: a.Who, What: audit.Access, Route: a.Route, Grade: a.Grade.String(), Clearance: a.Clearance.String(), Outcome: a.Decision.String()}
	if path, ok := ctx.Value(pathKey{}).(string); ok {
		e.Object = objectOf(a.Route, path)
	}
	return r.log.Record(ctx, e)
}
