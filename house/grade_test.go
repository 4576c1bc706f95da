package house_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/exchange"
	"github.com/qiongdev/qiong/service/sandbox"
)

// all is every service there is.
func all() []*qiong.Service {
	return []*qiong.Service{sandbox.Service, approval.Service, exchange.New(nil)}
}

// schema is what this test reads of a JSON Schema.
type schema struct {
	Ref        string             `json:"$ref"`
	Grade      string             `json:"x-data-grade"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Values     json.RawMessage    `json:"additionalProperties"`
}

type media map[string]struct{ Schema *schema }

type operation struct {
	Grade      string `json:"x-data-grade"`
	Parameters []struct {
		Name  string
		Grade string `json:"x-data-grade"`
	}
	RequestBody struct{ Content media }
	Responses   map[string]struct{ Content media }
}

type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

// ungraded lists the values of a schema without a grade; whole says that a tag further out grades them.
func (d *document) ungraded(s *schema, where string, whole bool, open []string) (all []string) {
	if s == nil {
		return nil
	}
	if s.Grade != "" {
		if _, err := label.ParseGrade(s.Grade); err != nil {
			return []string{where + ": " + s.Grade}
		}
		whole = true
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if slices.Contains(open, name) {
			return nil
		}
		return d.ungraded(d.Components.Schemas[name], where, whole, append(open, name))
	}
	if s.Items != nil {
		return d.ungraded(s.Items, where+"[]", whole, open)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, d.ungraded(s.Properties[name], where+"."+name, whole, open)...)
	}
	if len(s.Properties) == 0 && !whole {
		all = append(all, where)
	}
	return all
}

func (d *document) contents(m media, where string) (all []string) {
	for kind, one := range m {
		if one.Schema != nil {
			all = append(all, d.ungraded(one.Schema, where+" "+kind, false, nil)...)
		}
	}
	return all
}

// A house with a route or field that has no grade does not open, so all that is left to look for is what its document
// does not say.
func TestEverythingInTheAPIIsGraded(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: all()})
	resp, body := get(t, h.URL+"/api/openapi.json")
	var d document
	if err := json.Unmarshal([]byte(body), &d); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	var missing []string
	operations, values := 0, 0
	for path, methods := range d.Paths {
		for method, op := range methods {
			operations++
			where := strings.ToUpper(method) + " " + path
			if _, err := label.ParseGrade(op.Grade); err != nil {
				missing = append(missing, where)
			}
			for _, p := range op.Parameters {
				values++
				if _, err := label.ParseGrade(p.Grade); err != nil {
					missing = append(missing, where+" parameter "+p.Name)
				}
			}
			missing = append(missing, d.contents(op.RequestBody.Content, where+" request")...)
			for status, answer := range op.Responses {
				missing = append(missing, d.contents(answer.Content, where+" "+status)...)
			}
		}
	}
	for _, s := range d.Components.Schemas {
		values += len(s.Properties)
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("without a grade:\n%s", strings.Join(missing, "\n"))
	}
	if operations < 35 || values < 150 { // or this test looks in the wrong places
		t.Errorf("only %d operations and %d values were looked at", operations, values)
	}
	if got := strings.Join([]string{d.Paths["/api/approval/cases"]["post"].Grade, d.Paths["/api/approval/matters"]["get"].Grade, d.Paths["/api/house/redeem"]["post"].Grade}, " "); got != "L3 L1 L4" {
		t.Errorf("the grades of submitting, matters and redeeming are %s", got)
	}
}
