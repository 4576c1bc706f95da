package rule

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
)

// The rules of testdata, as an author wrote them.
var rules = []string{"return-voucher", "container-manifest", "approval-decided"}

// readYAML decodes a file of testdata as kit/yamlfile would: no field that is not there.
func readYAML(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readSchemas(t testing.TB) map[string]*Schema {
	t.Helper()
	var all []*Schema
	readYAML(t, "schemas.yaml", &all)
	known := map[string]*Schema{}
	for _, s := range all {
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		known[s.Type] = s
	}
	return known
}

func readRule(t testing.TB, name string) *Rule {
	t.Helper()
	r := new(Rule)
	readYAML(t, name+".yaml", r)
	return r
}

func compile(t testing.TB, r *Rule, known map[string]*Schema) *Compiled {
	t.Helper()
	c, err := Compile(r, known)
	if err != nil {
		t.Fatalf("%s: %v", r.Name, err)
	}
	return c
}

// The small schemas and the rule of tests that are about expressions.
var small = map[string]*Schema{
	"a/1": {Type: "a/1", Facts: map[string]Kind{"x": Int, "y": Int, "at": Time, "until": Time, "yes": Bool, "code": Code, "k": Key, "k2": Key}},
	"b/1": {Type: "b/1", Facts: map[string]Kind{"x": Int, "k": Key}},
}

// about returns a rule of one clause.
func about(expression string) *Rule {
	return &Rule{Name: "r", Version: 1, For: "a/1",
		Lookups: map[string]Lookup{"b": {Type: "b/1", By: "k"}, "c": {Type: "b/1", By: "k"}, "a": {Type: "a/1", By: "k"}},
		Clauses: []Clause{{Name: "c", Title: lang.T("成立", "it holds"), Holds: expression}}}
}

const (
	keyA   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	keyB   = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
	factsA = `{"x":7,"y":-2,"at":"2026-11-22T00:00:00.000+08:00","until":"2026-11-22T00:00:00.001+08:00","yes":true,"code":"HK-1","k":"` +
		keyA + `","k2":"` + keyB + `"}`
)

func facts(t testing.TB, s *Schema, text string) *Facts {
	t.Helper()
	f, err := s.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

// outcome is how a receipt says it: passed, failed clause, n/a.
func outcome(t testing.TB, c *Compiled, f *Facts, earlier map[string]*Facts) string {
	t.Helper()
	r, err := c.Evaluate(f, earlier)
	if err != nil {
		t.Fatal(err)
	}
	record := receipt.Record{ID: "x", Type: f.Type(), Needs: []string{"x"}, Rule: &r}
	if _, err := record.Marshal(); err != nil {
		t.Fatalf("a record does not take the outcome %+v: %v", r, err)
	}
	return strings.TrimSpace(string(r.Outcome) + " " + r.Clause)
}
