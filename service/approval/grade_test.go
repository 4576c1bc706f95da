package approval_test

import (
	"reflect"
	"testing"

	"github.com/qiongdev/qiong/kit/label/plan"
	"github.com/qiongdev/qiong/service/approval"
)

// The grade that an event is declared with, and sent with, is that of its data.
func TestEventsHaveTheGradeOfTheirData(t *testing.T) {
	data := map[string]reflect.Type{approval.EventRetrying: reflect.TypeFor[approval.StepEvent](), approval.EventParked: reflect.TypeFor[approval.StepEvent]()}
	for _, e := range approval.Service.Events {
		typ := data[e.Type]
		if typ == nil {
			typ = reflect.TypeFor[approval.CaseEvent]()
		}
		p, err := plan.New(nil).Of(typ)
		if err != nil || p.Grade().String() != e.Grade {
			t.Errorf("%s is declared %s; its data: %v", e.Type, e.Grade, err)
		}
	}
}
