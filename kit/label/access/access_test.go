package access_test

import (
	"context"
	"errors"
	"testing"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
)

func TestRoles(t *testing.T) {
	roles := access.Roles{"": label.L1, auth.Official: label.L3, auth.Auditor: label.L2}
	for want, p := range map[label.Grade]*auth.Principal{
		label.L1: nil,
		label.L2: {ID: "a", Roles: []auth.Role{auth.Applicant, auth.Auditor}},
		label.L3: {ID: "b", Roles: []auth.Role{auth.Official, auth.Auditor}},
	} {
		ctx, who := t.Context(), ""
		if p != nil {
			ctx, who = auth.With(ctx, p), p.ID
		}
		if name, c := roles.Clearance(ctx); c != want || name != who {
			t.Errorf("%+v: %s, %s", p, name, c)
		}
	}
	if _, c := (access.Roles{}).Clearance(t.Context()); c != label.Ungraded {
		t.Errorf("nobody has %s", c)
	}
}

// records keeps accesses, and fails where err is set.
type records struct {
	all []access.Access
	err error
}

func (r *records) Record(_ context.Context, a access.Access) error {
	r.all = append(r.all, a)
	return r.err
}

func TestEnter(t *testing.T) {
	for _, c := range []struct {
		name         string
		clearance    label.Grade
		shown, grade label.Grade
		policy       access.Policy
		want         access.Decision
		kind         errs.Kind
		recorded     bool
	}{
		{"cleared", label.L3, label.L3, label.L3, access.Refuse, access.Passed, 0, true},
		{"below what is recorded", label.L2, label.L2, label.L2, access.Refuse, access.Passed, 0, false},
		{"the request is graver", label.L1, label.L1, label.L4, access.Refuse, access.Passed, 0, true},
		{"masked", label.L1, label.L3, label.L3, access.Mask, access.Masked, 0, true},
		{"refused", label.L2, label.L3, label.L3, access.Refuse, access.Refused, errs.Forbidden, true},
		{"nobody", label.Ungraded, label.L1, label.L1, access.Mask, access.Refused, errs.Forbidden, false},
		{"ungraded", label.Core, label.Ungraded, label.Ungraded, access.Mask, access.Refused, errs.Forbidden, true},
	} {
		var r records
		g := access.Guard{Clearance: func(context.Context) (string, label.Grade) { return "u", c.clearance }, Recorder: &r}
		d, got, err := g.Enter(t.Context(), "route", c.shown, c.grade, c.policy)
		if d != c.want || got != c.clearance || (err != nil) != (c.kind != 0) || err != nil && !errs.Is(err, c.kind) {
			t.Errorf("%s: %s, %s, %v", c.name, d, got, err)
		}
		if (len(r.all) == 1) != c.recorded || c.recorded && r.all[0] != (access.Access{Route: "route", Who: "u", Grade: c.grade, Clearance: c.clearance, Decision: c.want}) {
			t.Errorf("%s: recorded %+v", c.name, r.all)
		}
	}
	g := access.Guard{Clearance: func(context.Context) (string, label.Grade) { return "u", label.Core }, Recorder: &records{err: errors.New("disk full")}}
	if d, _, err := g.Enter(t.Context(), "route", label.L3, label.L3, access.Mask); d != access.Refused || !errs.Is(err, errs.Unavailable) {
		t.Errorf("without a record: %s, %v", d, err)
	}
}
