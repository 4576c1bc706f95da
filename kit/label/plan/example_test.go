package plan_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
)

func Example() {
	type Applicant struct {
		Name   string `json:"name" grade:"L2,pii=name"`
		IDCard string `json:"idCard" grade:"L3,pii=id_card,mask=3-4"`
		Matter string `json:"matter" grade:"L1"`
	}
	p, err := plan.For[Applicant](plan.New(nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	applicant := Applicant{"王小明", label.FakeIDCard(1), "开办企业"}
	for _, clearance := range []label.Grade{label.L1, label.L2} {
		shown, err := p.Marshal(applicant, clearance)
		fmt.Println(p.Grade(), "as", clearance, string(shown), err)
	}
	// Output:
	// L3 as L1 {"name":"王**","idCard":"900***********7573","matter":"开办企业"} <nil>
	// L3 as L2 {"name":"王小明","idCard":"900***********7573","matter":"开办企业"} <nil>
}

func ExamplePlanner_Of() {
	type Careless struct {
		Phone string `json:"phone"`
	}
	_, err := plan.For[Careless](plan.New(nil))
	fmt.Println(err)
	// Output:
	// the type plan_test.Careless has fields without a grade or with a wrong tag: plan_test.Careless.Phone (no grade)
}
