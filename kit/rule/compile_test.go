package rule

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
)

// What is no part of the language, or does not fit the schemas, is refused where it stands.
func TestCompileRefuses(t *testing.T) {
	for expression, at := range map[string]int64{
		"":                                             -1,
		"facts.misspelt > 0":                           5,
		"b.y > 0":                                      1, // a fact of the other type
		"unknown":                                      0,
		"facts":                                        -2, // no truth
		"facts.x":                                      -2,
		"facts.x > 0 &&":                               14,
		"facts.x > 1.0":                                8,
		"1.0 == 1.0":                                   0,
		"1u == 1u":                                     0,
		"b'x' == b'x'":                                 0,
		"facts.x == facts.yes":                         8,
		"facts.x == facts.code":                        8,
		"facts.k == facts.code":                        8,
		"facts.k == '" + keyA + "'":                    8,
		"facts.at > facts.x":                           9,
		"facts.code < 'B'":                             11,
		"facts.code + 'B' == 'AB'":                     11,
		"facts.k < facts.k2":                           8,
		"facts.yes < true":                             10,
		"has(facts.x)":                                 3,
		"[1, 2].all(x, x > 0)":                         10,
		"[1, 2].exists(x, x > 0)":                      13,
		"[1].map(x, x + 1) == [2]":                     7,
		"size(facts.code) > 1":                         4,
		"facts.code.matches('(a+)+')":                  18,
		"facts.code.startsWith('A')":                   21,
		"facts.code.contains('A')":                     19,
		"facts.at.getHours() > 8":                      17,
		"facts.at.getHours('Asia/Tokyo') > 8":          17,
		"int(facts.at) > 0":                            3,
		"string(facts.x) == '7'":                       6,
		"double(facts.x) > 0.5":                        6,
		"dyn(facts.x) == 7":                            3,
		"type(facts.x) == int":                         4,
		"now() > facts.at":                             3,
		"duration('1.5h') > duration('1h')":            8,
		"duration('') == duration('0s')":               8,
		"duration('-1h') < duration('1h')":             8,
		"duration('999999999h') > duration('1h')":      8,
		"duration(facts.code) > duration('1h')":        8,
		"timestamp(facts.code) > facts.at":             9,
		"timestamp('2026-11-22T00:00:00Z') > facts.at": 9,
		"timestamp('2026-11-31T00:00:00.000+08:00') > facts.at": 9,
		"timestamp('1969-11-22T00:00:00.000+08:00') > facts.at": 9,
		"timestamp(1) > facts.at":                               9,
		"facts == null":                                         0,
		".facts == null":                                        1,
		"b == c":                                                0, // identities of records are no facts
		"null == null":                                          0,
		"facts.at == null":                                      12,
		"(b == null ? b : c) == null":                           -2,
		"(facts.yes ? b : c).x > 0":                             -2, // any column
		"[1, 2, 3][0] == 1":                                     9,
		"[1] == [1]":                                            0,
		"{'A': 1} == {'A': 1}":                                  0,
		"{'A': 1}.A == 1":                                       -2,
		"facts['x'] == 7":                                       5,
		"facts.?x == 7":                                         5,
		"facts.x in []":                                         11,
		"facts.x in [facts.y]":                                  17,
		"facts.x in [1, 'A']":                                   15,
		"facts.code in [facts.code]":                            20,
		"facts.x in [1+1]":                                      13,
		"facts.x in b":                                          8,
		"facts.code == 'lower'":                                 14,
		"facts.code == ''":                                      14,
		"facts.code == '" + label.FakeIDCard(1) + "'":           14,
		"facts.x > 9223372036854775808":                         10,
		"facts.x > 0 // why":                                    12,
		"facts.x >\n0":                                          9,
		"facts.x > 0 \u00a0":                                    12,
		strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40): -2,
		strings.Repeat("!", 201) + "true ? 1":                      -2,
		strings.Repeat("1+", 512) + "1 > 0":                        -1,
	} {
		_, err := Compile(about(expression), small)
		e := errs.As(err)
		if !errs.Is(err, errs.Invalid) || e.Field != "clauses[0].holds" || e.Code != CodeExpression || at >= 0 && (!e.HasOffset || e.Offset != at) {
			t.Errorf("%s: %v (%s), want byte %d", expression, e, e.Code, at)
		}
		if err != nil && len(expression) > 8 && strings.Contains(e.In(lang.EN), expression) {
			t.Errorf("%s is repeated to whoever asked", expression)
		}
	}
}

func TestCompileBoundsTheCost(t *testing.T) {
	long := "facts.x == 1" + strings.Repeat(" || facts.x == 1", 60)
	r := about(long)
	once, err := Compile(r, small)
	if err != nil {
		t.Fatal(err)
	}
	enough := int(MaxCost / once.Cost())
	for i := range enough {
		clause := r.Clauses[0]
		clause.Name += strings.Repeat("x", i+1)
		r.Clauses = append(r.Clauses, clause)
	}
	_, err = Compile(r, small)
	if e := errs.As(err); !errs.Is(err, errs.Invalid) || e.Code != CodeCost || e.Field != fmt.Sprintf("clauses[%d].holds", enough) {
		t.Errorf("Compile = %v", err)
	}
}

func TestCompileRefusesRules(t *testing.T) {
	long := strings.Repeat("字", MaxTitle+1)
	for name, c := range map[string]struct {
		change func(*Rule)
		field  string
	}{
		"no name":               {func(r *Rule) { r.Name = "" }, "rule"},
		"a name with blanks":    {func(r *Rule) { r.Name = "a b" }, "rule"},
		"no version":            {func(r *Rule) { r.Version = 0 }, "version"},
		"a version too large":   {func(r *Rule) { r.Version = 1 << 31 }, "version"},
		"no type":               {func(r *Rule) { r.For = "" }, "for"},
		"a type without schema": {func(r *Rule) { r.For = "c/1" }, "for"},
		"no clauses":            {func(r *Rule) { r.Clauses = nil }, "clauses"},
		"too many clauses":      {func(r *Rule) { r.Clauses = make([]Clause, MaxClauses+1) }, "clauses"},
		"a clause without name": {func(r *Rule) { r.Clauses[0].Name = "" }, "clauses[0].name"},
		"the clause when":       {func(r *Rule) { r.Clauses[0].Name = "when" }, "clauses[0].name"},
		"a clause twice":        {func(r *Rule) { r.Clauses = append(r.Clauses, r.Clauses[0]) }, "clauses[1].name"},
		"no Chinese title":      {func(r *Rule) { r.Clauses[0].Title.ZH = "" }, "clauses[0].title.zh"},
		"no English title":      {func(r *Rule) { r.Clauses[0].Title.EN = "" }, "clauses[0].title.en"},
		"a title of two lines":  {func(r *Rule) { r.Clauses[0].Title.EN = "a\nb" }, "clauses[0].title.en"},
		"a title too long":      {func(r *Rule) { r.Clauses[0].Title.ZH = long }, "clauses[0].title.zh"},
		"a title in no Unicode": {func(r *Rule) { r.Clauses[0].Title.EN = "a\xff" }, "clauses[0].title.en"},
		"when without truth":    {func(r *Rule) { r.When = "facts.x" }, "when"},
		"a lookup named facts":  {func(r *Rule) { r.Lookups["facts"] = r.Lookups["b"] }, "lookups"},
		"a lookup named in":     {func(r *Rule) { r.Lookups["in"] = r.Lookups["b"] }, "lookups"},
		"a lookup with a dot":   {func(r *Rule) { r.Lookups["b.x"] = r.Lookups["b"] }, "lookups"},
		"lookups but for case":  {func(r *Rule) { r.Lookups["bB"], r.Lookups["bb"] = r.Lookups["b"], r.Lookups["b"] }, "lookups"},
		"a lookup of no type":   {func(r *Rule) { r.Lookups["b"] = Lookup{"c/1", "k"} }, "lookups.b.type"},
		"a lookup by a number":  {func(r *Rule) { r.Lookups["b"] = Lookup{"b/1", "x"} }, "lookups.b.by"},
		"a lookup by one's own": {func(r *Rule) { r.Lookups["b"] = Lookup{"b/1", "k2"} }, "lookups.b.by"},
		"a lookup by nothing":   {func(r *Rule) { r.Lookups["b"] = Lookup{"b/1", ""} }, "lookups.b.by"},
		"too many lookups": {func(r *Rule) {
			for _, name := range strings.Split("d e f g h i j k l", " ") {
				r.Lookups[name] = r.Lookups["b"]
			}
		}, "lookups"},
	} {
		r := about("true")
		c.change(r)
		if _, err := Compile(r, small); !errs.Is(err, errs.Invalid) || errs.As(err).Field != c.field {
			t.Errorf("%s: %v, want it at %s", name, err, c.field)
		}
	}
}

func TestRuleHasOneForm(t *testing.T) {
	for _, name := range rules {
		r := readRule(t, name)
		data, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseRule(data)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%s: ParseRule = %+v, %v", name, back, err)
		}
		for what, other := range map[string]string{
			"a blank":        " " + string(data),
			"a line":         string(data) + "\n",
			"an escape":      strings.Replace(string(data), "=", `\u003d`, 1),
			"another order":  strings.Replace(string(data), `"rule":"`+name+`",`, "", 1),
			"another field":  strings.Replace(string(data), `{"rule"`, `{"more":1,"rule"`, 1),
			"an empty field": strings.Replace(string(data), `"clauses"`, `"when":"","clauses"`, 1),
		} {
			if other == string(data) {
				t.Fatalf("%s changes nothing", what)
			}
			if _, err := ParseRule([]byte(other)); !errs.Is(err, errs.Invalid) {
				t.Errorf("%s with %s: %v", name, what, err)
			}
		}
	}
	const want = `{"rule":"r","version":1,"for":"a/1","lookups":{"a":{"type":"a/1","by":"k"},"b":{"type":"b/1","by":"k"},"c":{"type":"b/1","by":"k"}},` +
		`"clauses":[{"name":"c","title":{"zh":"成立","en":"it holds"},"holds":"1 < 2 && 2 > 1"}]}`
	if data, err := about("1 < 2 && 2 > 1").JSON(); string(data) != want {
		t.Errorf("JSON = %s, %v", data, err)
	}
	large := about("true")
	large.Clauses = nil
	for i := range MaxClauses {
		large.Clauses = append(large.Clauses, Clause{Name: "c" + strings.Repeat("x", i), Title: lang.T("字", "c"),
			Holds: "true" + strings.Repeat(" && true", 120)})
	}
	if _, err := large.JSON(); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large rule: %v", err)
	}
	if _, err := ParseRule(make([]byte, MaxRule+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large document: %v", err)
	}
}

// A schema under a wrong name is not the schema of that name.
func TestCompileHoldsSchemasToTheirNames(t *testing.T) {
	wrong := maps.Clone(small)
	wrong["b/1"] = small["a/1"]
	if _, err := Compile(about("true"), wrong); !errs.Is(err, errs.Invalid) {
		t.Errorf("Compile = %v", err)
	}
	wrong["b/1"] = &Schema{Type: "b/1", Facts: map[string]Kind{"k": Key, "x": "text"}}
	if _, err := Compile(about("true"), wrong); !errs.Is(err, errs.Invalid) {
		t.Errorf("Compile = %v", err)
	}
}

func FuzzParseRule(f *testing.F) {
	for _, name := range rules {
		data, err := readRule(f, name).JSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRule(data)
		if err != nil {
			return
		}
		if again, err := r.JSON(); err != nil || string(again) != string(data) {
			t.Fatalf("%s is written %s, %v", data, again, err)
		}
	})
}
