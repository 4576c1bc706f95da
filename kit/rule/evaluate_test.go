package rule

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/qiongdev/qiong/kit/errs"
)

type fields = map[string]json.RawMessage

// table is a rule with a record that it passes, and what each change to it comes to.
type table struct {
	Rule    string            `json:"rule"`
	Facts   fields            `json:"facts"`
	Earlier map[string]fields `json:"earlier"`
	Cases   []struct {
		Name    string            `json:"name"`
		Set     fields            `json:"set"`
		Without string            `json:"without"`
		Earlier map[string]fields `json:"earlier"`
		Outcome string            `json:"outcome"`
	} `json:"cases"`
}

func TestOutcomes(t *testing.T) {
	data, err := os.ReadFile("testdata/outcomes.json")
	if err != nil {
		t.Fatal(err)
	}
	var tables []table
	if err := json.Unmarshal(data, &tables); err != nil {
		t.Fatal(err)
	}
	known, done := readSchemas(t), map[string]bool{}
	for _, tab := range tables {
		done[tab.Rule] = true
		c := compile(t, readRule(t, tab.Rule), known)
		missed := map[string]bool{"passed": true, "n/a": true}
		for _, clause := range c.Rule().Clauses {
			missed["failed "+clause.Name] = true
		}
		for _, cas := range tab.Cases {
			own, before := maps.Clone(tab.Facts), maps.Clone(tab.Earlier)
			maps.Copy(own, cas.Set)
			maps.Copy(before, cas.Earlier)
			delete(before, cas.Without)
			earlier := map[string]*Facts{}
			for name, theirs := range before {
				earlier[name] = record(t, known[c.Rule().Lookups[name].Type], theirs)
			}
			got := outcome(t, c, record(t, known[c.Rule().For], own), earlier)
			if got != cas.Outcome {
				t.Errorf("%s, %s: %s, want %s", tab.Rule, cas.Name, got, cas.Outcome)
			}
			delete(missed, got)
		}
		if len(missed) > 0 {
			t.Errorf("%s: no case comes to %v", tab.Rule, missed)
		}
	}
	for _, name := range rules {
		if !done[name] {
			t.Errorf("no cases of %s", name)
		}
	}
}

func record(t *testing.T, s *Schema, of fields) *Facts {
	t.Helper()
	data, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return facts(t, s, string(data))
}

// What arithmetic does at its ends, what errors do to logic, and what a record that was not found does.
func TestExpressions(t *testing.T) {
	f := facts(t, small["a/1"], factsA)
	const most, least = "9223372036854775807", "(-9223372036854775808)"
	for expression, want := range map[string]string{
		"facts.x == 7 && facts.y == -2":                          "passed",
		"facts.x / facts.y == -3 && facts.x % facts.y == 1":      "passed", // toward zero
		"-7 / 2 == -3 && -7 % 2 == -1":                           "passed",
		most + " + 1 > 0":                                        "failed c",
		"!(" + most + " + 1 > 0)":                                "failed c",
		most + " + 0 == " + most:                                 "passed",
		least + " - 1 < 0":                                       "failed c",
		"-" + least + " > 0":                                     "failed c",
		least + " / -1 > 0":                                      "failed c",
		least + " % -1 == 0":                                     "failed c",
		most + " * 2 > 0":                                        "failed c",
		least + " * -1 > 0":                                      "failed c",
		"3037000499 * 3037000499 > 0":                            "passed",
		"3037000500 * 3037000500 > 0":                            "failed c",
		"facts.x / 0 == 0":                                       "failed c",
		"facts.x % (facts.x - 7) == 0":                           "failed c",
		"true || 1 / 0 == 0":                                     "passed", // CEL's logic does not mind which side errs
		"1 / 0 == 0 || true":                                     "passed",
		"1 / 0 == 0 || false":                                    "failed c",
		"!(1 / 0 == 0 && false)":                                 "passed",
		"1 / 0 == 0 ? true : true":                               "failed c",
		"facts.yes ? true : 1 / 0 == 0":                          "passed",
		"facts.until - facts.at == duration('1ms')":              "passed",
		"facts.at - facts.until < duration('0s')":                "passed",
		"facts.at + duration('24h1ms') > facts.until":            "passed",
		"facts.at - duration('2562047h') < facts.at":             "passed",
		"duration('2562047h') + duration('1h') > duration('0s')": "failed c",
		"facts.at >= timestamp('2026-11-22T00:00:00.000+08:00')": "passed",
		"timestamp('9999-12-31T23:59:59.999+08:00') - timestamp('1970-01-01T08:00:00.000+08:00') > duration('0s')": "failed c",
		"timestamp('9999-12-31T23:59:59.999+08:00') + duration('9h') > facts.at":                                   "failed c",
		"facts.code == 'HK-1' && facts.code != 'HK-2'":                                                             "passed",
		"facts.code in ['A', 'HK-1'] && facts.x in [1, 7]":                                                         "passed",
		"facts.code in ['A']":                       "failed c",
		"facts.k == facts.k && facts.k != facts.k2": "passed",
		"facts.k == b.k":                            "failed c",
		"b == null && null == b && !(b != null)":    "passed",
		"b != null && b.x > 0":                      "failed c",
		"b == null || b.x > 0":                      "passed",
		"b.x > 0 || b == null":                      "passed",
		"facts.x > 0 && (b != null ? b.x : 5) == 5": "passed",
		"facts.x + (facts.yes ? 1 : 0) == 8":        "passed",
	} {
		c := compile(t, about(expression), small)
		if got := outcome(t, c, f, nil); got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
		c = compile(t, about("facts.x == 7 && ("+expression+")"), small)
		if got := outcome(t, c, f, nil); got != want {
			t.Errorf("%s, in brackets: %s, want %s", expression, got, want)
		}
	}
}

func TestErrorInWhenFailsWhen(t *testing.T) {
	r := about("true")
	r.When = "facts.x / (facts.y + 2) > 0"
	c := compile(t, r, small)
	for text, want := range map[string]string{factsA: "failed when", strings.Replace(factsA, `"y":-2`, `"y":-1`, 1): "passed",
		strings.Replace(factsA, `"y":-2`, `"y":-3`, 1): "n/a"} {
		if got := outcome(t, c, facts(t, small["a/1"], text), nil); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestEvaluateHoldsFactsToTheirSchemas(t *testing.T) {
	c := compile(t, about("b.x == 1"), small)
	a, b := facts(t, small["a/1"], factsA), facts(t, small["b/1"], `{"x":1,"k":"`+keyA+`"}`)
	other := &Schema{Type: "b/1", Facts: map[string]Kind{"x": Int, "k": Key, "more": Int}}
	for name, in := range map[string]struct {
		facts *Facts
		b     *Facts
	}{
		"none":          {nil, b},
		"of another":    {b, b},
		"a wrong other": {a, a},
		"more facts":    {a, facts(t, other, `{"x":1,"more":2,"k":"`+keyA+`"}`)},
	} {
		if r, err := c.Evaluate(in.facts, map[string]*Facts{"b": in.b}); !errs.Is(err, errs.Internal) || r.Outcome != "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	equal := &Schema{Type: "b/1", Facts: maps.Clone(small["b/1"].Facts)}
	if got := outcome(t, c, a, map[string]*Facts{"b": facts(t, equal, `{"x":1,"k":"`+keyA+`"}`), "unknown": a, "c": nil}); got != "passed" {
		t.Errorf("with an equal schema: %s", got)
	}
}

func TestSearches(t *testing.T) {
	c := compile(t, about("true"), small)
	got := c.Searches(facts(t, small["a/1"], strings.Replace(factsA, keyA, keyB, 1)))
	want := []Search{{"a", "a/1", "k", [32]byte{31: 1}}, {"b", "b/1", "k", [32]byte{31: 1}}, {"c", "b/1", "k", [32]byte{31: 1}}}
	if len(got) != len(want) {
		t.Fatalf("Searches = %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("Searches[%d] = %v, want %v", i, got[i], want[i])
		}
	}
	if all := c.Searches(facts(t, small["b/1"], `{"x":1,"k":"`+keyA+`"}`)); all != nil {
		t.Errorf("of another type: %v", all)
	}
}

// Over the limit of cost a clause fails. No rule that was compiled gets there, so here the limit is lowered.
func TestCostFailsTheClause(t *testing.T) {
	r := about("facts.x == 7 && facts.y == -2 && facts.yes")
	c, f := compile(t, r, small), facts(t, small["a/1"], factsA)
	env, err := r.environment(schemas(small))
	if err != nil {
		t.Fatal(err)
	}
	checked, found := env.Compile(r.Clauses[0].Holds)
	if found.Err() != nil {
		t.Fatal(found.Err())
	}
	for limit, want := range map[uint64]string{2: "failed c", c.Cost(): "passed"} {
		if c.clauses[0], err = env.Program(checked, cel.CostLimit(limit)); err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, c, f, nil); got != want {
			t.Errorf("with a limit of %d: %s, want %s", limit, got, want)
		}
	}
}
