package plan_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
)

type text struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

type base struct {
	ID int64 `json:"id" grade:"L1"`
}

type person struct {
	base
	Name    string            `json:"name" grade:"L2,pii=name"`
	IDCard  string            `json:"idCard" grade:"L3,pii=id_card,mask=3-4"`
	Phones  []string          `json:"phones" grade:"L2,pii=phone"`
	Title   text              `json:"title" grade:"L1"`
	Born    *time.Time        `json:"born,omitempty" grade:"L2,pii=birthday"`
	Photo   []byte            `json:"photo,omitempty" grade:"L4,pii=biometric"`
	Form    json.RawMessage   `json:"form,omitempty" grade:"L3,mask=detect"`
	Any     any               `json:"any" grade:"L3"`
	By      map[string]string `json:"by" grade:"L3"`
	Friends map[string]person `json:"friends,omitempty" grade:"L1"`
	Next    *person           `json:"next,omitempty"`
	Pair    [2]string         `json:"pair" grade:"L4,mask=all"`
	hidden  string
	Skipped string `json:"-"`
}

func sample() person {
	born := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	p := person{
		base: base{7}, Name: "王小明", IDCard: "11010519491231002X", Phones: []string{"13800000000", ""}, Title: text{"题", "t"},
		Born: &born, Photo: []byte{1}, Form: json.RawMessage(`{"a":["身份证 11010519491231002X"]}`), Any: map[string]int{"a": 1},
		By: map[string]string{"a": "b"}, Pair: [2]string{"x", "y"}, hidden: "h", Skipped: "s",
	}
	p.Friends = map[string]person{"f": {Name: "李四", Any: 1}}
	p.Next = &person{IDCard: "11010519491231002X", Next: &person{Name: "赵六"}}
	return p
}

func made(t testing.TB, v any) *plan.Plan {
	t.Helper()
	p, err := plan.New(nil).Of(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMaskByClearance(t *testing.T) {
	p := made(t, person{})
	if p.Grade() != label.L4 || !p.Recursive() {
		t.Errorf("grade %s, recursive %v", p.Grade(), p.Recursive())
	}
	whole, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for clearance, want := range map[label.Grade]string{
		label.Core: string(whole),
		label.L4:   string(whole),
		label.L2: `{"id":7,"name":"王小明","idCard":"110***********002X","phones":["13800000000",""],"title":{"zh":"题","en":"t"},` +
			`"born":"1990-01-01T00:00:00Z","form":{"a":["身份证 110***********002X"]},"any":null,"by":null,` +
			`"friends":{"f":{"id":0,"name":"李四","idCard":"","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,"pair":["",""]}},` +
			`"next":{"id":0,"name":"","idCard":"110***********002X","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,` +
			`"next":{"id":0,"name":"赵六","idCard":"","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,"pair":["",""]},"pair":["",""]},` +
			`"pair":["******","******"]}`,
		label.L1: `{"id":7,"name":"王**","idCard":"110***********002X","phones":["138****0000",""],"title":{"zh":"题","en":"t"},` +
			`"form":{"a":["身份证 110***********002X"]},"any":null,"by":null,` +
			`"friends":{"f":{"id":0,"name":"李*","idCard":"","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,"pair":["",""]}},` +
			`"next":{"id":0,"name":"","idCard":"110***********002X","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,` +
			`"next":{"id":0,"name":"赵*","idCard":"","phones":null,"title":{"zh":"","en":""},"any":null,"by":null,"pair":["",""]},"pair":["",""]},` +
			`"pair":["******","******"]}`,
	} {
		v := sample()
		got, err := p.Marshal(v, clearance)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", clearance, err, got, want)
		}
		if after, _ := json.Marshal(v); string(after) != string(whole) {
			t.Errorf("%s: the value was changed: %s", clearance, after)
		}
	}
	for _, none := range []label.Grade{label.Ungraded, 200} {
		got, err := p.Marshal(sample(), none)
		if err != nil || strings.Contains(string(got), "题") || !strings.HasPrefix(string(got), `{"id":0,`) {
			t.Errorf("clearance %d: %s, %v", none, got, err)
		}
	}
}

func TestUngradedFailsClosed(t *testing.T) {
	type inner struct{ X, Y string }
	type bad struct {
		A string
		B []inner
		C string `grade:"L9"`
		D string `grade:"L1,pii=id_card"`
		E string `grade:"L1,pii=nonsense"`
		F int    `grade:"L1,mask=3-4"`
		G string `grade:"L1"`
		H string `json:"-"`
		I map[string]int
		J any
		K string `json:"*" grade:"L1"`
	}
	_, err := plan.For[bad](plan.New(nil))
	if !errs.Is(err, errs.Internal) {
		t.Fatal(err)
	}
	for _, name := range []string{"bad.A", "inner.X", "inner.Y", "bad.C", "bad.D", "bad.E", "bad.F", "bad.I", "bad.J", "bad.K"} {
		if !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%s is not listed in %v", name, err)
		}
	}
	for _, name := range []string{"bad.G", "bad.H"} {
		if strings.Contains(err.Error(), name) {
			t.Errorf("%s is listed in %v", name, err)
		}
	}
}

// A planner and its plans serve many at once.
func TestManyAtOnce(t *testing.T) {
	planner := plan.New(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				p, err := plan.For[person](planner)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := p.Marshal(person{Name: "王小明", Phones: []string{"13800000000"}}, label.L1+label.Grade(i%2))
				if want := []string{"王**", "王小明"}[i%2]; err != nil || !strings.Contains(string(got), `"name":"`+want+`"`) {
					t.Errorf("%s, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
