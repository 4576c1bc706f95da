package schema

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// short is a format of the tests: at most three bytes.
var formats = Formats{"short": func(s string) error {
	if len(s) > 3 {
		return errs.New(errs.Invalid, "太长", "is too long").WithCode("test.long").WithOffset(3)
	}
	return nil
}, "plain": func(s string) error {
	if strings.Contains(s, "!") {
		return errors.New("not for people: " + s)
	}
	return nil
}}

const everyKeyword = `{
	"type": "object", "additionalProperties": false, "required": ["a", "b"], "title": "t", "description": "d",
	"properties": {
		"a": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z䶮𠮷]+$"},
		"b": {"type": "integer", "minimum": -3, "exclusiveMaximum": 1000000000000},
		"c": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 100},
		"d": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/pair"}},
		"e": {"enum": ["x", "y"]},
		"f": {"const": "z"},
		"g": {"format": "short"},
		"h": {"type": "boolean"},
		"i": {},
		"j": {"allOf": [{"minLength": 1}, {"maxLength": 2}]},
		"k": {"format": "plain"},
		"l": {"$ref": "#"}
	},
	"$defs": {"pair": {
		"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["p", "q"]}, "v": {"type": "string"}},
		"if": {"properties": {"kind": {"const": "p"}}}, "then": {"properties": {"v": {"maxLength": 1}}},
		"else": {"properties": {"v": {"minLength": 2}}}
	}}
}`

var good = []string{
	`{"a": "ab", "b": 1}`,
	` { "b" : -3 , "a" : "䶮𠮷" } `,
	`{"a": "abcde", "b": 999999999999, "c": 0.001, "d": [{"kind": "p", "v": "1"}, {"v": "22", "kind": "q"}, {"kind": "q"}]}`,
	`{"a": "ab", "b": 0, "c": null, "e": "y", "f": "z", "g": "abc", "h": true, "i": [1, {"x": [null]}, "\n"], "j": "ab", "k": ""}`,
	`{"a": "ab", "b": 0, "c": 100, "h": false, "i": false, "l": {"a": "ab", "b": 1, "l": {"a": "ab", "b": 1}}}`,
}

func compile(t testing.TB, document string) *Schema {
	t.Helper()
	s, err := Compile("test", []byte(document), formats)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The plan must take what is good by itself, or it is no use.
func TestThePlanAcceptsWhatIsGood(t *testing.T) {
	s := compile(t, everyKeyword)
	if s.plan == nil {
		t.Fatal("no plan")
	}
	for _, doc := range good {
		if !s.plan.accept([]byte(doc)) {
			t.Errorf("left to the library: %s", doc)
		}
		if err := s.Check([]byte(doc), "form"); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// What the plan cannot decide is good all the same.
func TestTheLibraryAcceptsWhatThePlanLeaves(t *testing.T) {
	s := compile(t, everyKeyword)
	for _, doc := range []string{
		`{"\u0061": "ab", "b": 1}`, `{"a": "\u0061b", "b": 1}`, `{"a": "ab", "b": 1e2}`, `{"a": "ab", "b": 2.0}`,
		`{"a": "ab", "b": 1, "c": 0.00000000000000001}`, `{"a": "ab", "b": 1, "d": [{"kind": "\u0070", "v": "1"}]}`,
	} {
		if s.plan.accept([]byte(doc)) {
			t.Errorf("the plan accepts %s", doc)
		}
		if err := s.Check([]byte(doc), "form"); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	s := compile(t, everyKeyword)
	for doc, want := range map[string]string{
		`[]`:                                    "form.form form",
		`{"b": 1}`:                              "form.required form.a",
		`{"a": "ab", "b": 1, "zzz": 1}`:         "form.unknown form",
		`{"a": "a", "b": 1}`:                    "form.form form.a",
		`{"a": "abcdef", "b": 1}`:               "form.form form.a",
		`{"a": "ABC", "b": 1}`:                  "form.form form.a",
		`{"a": "ab", "b": -4}`:                  "form.form form.b",
		`{"a": "ab", "b": 1.5}`:                 "form.form form.b",
		`{"a": "ab", "b": 1000000000000}`:       "form.form form.b",
		`{"a": "ab", "b": 1, "c": 0}`:           "form.form form.c",
		`{"a": "ab", "b": 1, "c": 100.0000001}`: "form.form form.c",
		`{"a": "ab", "b": 1, "c": 100.00000000000000000001}`:              "form.form form.c",
		`{"a": "ab", "b": 1, "d": []}`:                                    "form.form form.d",
		`{"a": "ab", "b": 1, "d": [{"kind": "p"}, {"kind": "r"}]}`:        "form.form form.d[1].kind",
		`{"a": "ab", "b": 1, "d": [{"kind": "p", "v": "12"}]}`:            "form.form form.d[0].v",
		`{"a": "ab", "b": 1, "d": [{"kind": "q", "v": "1"}]}`:             "form.form form.d[0].v",
		`{"a": "ab", "b": 1, "e": "z"}`:                                   "form.form form.e",
		`{"a": "ab", "b": 1, "e": 1}`:                                     "form.form form.e",
		`{"a": "ab", "b": 1, "g": "abcd"}`:                                "test.long form.g",
		`{"a": "ab", "b": 1, "h": "true"}`:                                "form.form form.h",
		`{"a": "ab", "b": 1, "j": "abc"}`:                                 "form.form form.j",
		`{"a": "ab", "b": 1, "k": "!"}`:                                   "form.format form.k",
		`{"a": "ab", "b": 1, "l": {"a": "ab", "b": 1, "l": {"a": "ab"}}}`: "form.required form.l.l.b",
	} {
		err := s.Check([]byte(doc), "form")
		e := errs.As(err)
		if got := e.Code + " " + e.Field; err == nil || got != want {
			t.Errorf("%s: %q (%v), want %q", doc, got, err, want)
		}
		if e.HasOffset || strings.Contains(e.Error(), "!") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// A schema with a keyword that no plan knows is still a schema.
func TestRarerKeywords(t *testing.T) {
	for _, tc := range []struct{ schema, good, bad string }{
		{`{"anyOf": [{"type": "string"}, {"type": "null"}]}`, `null`, `1`},
		{`{"not": {"type": "string"}}`, `1`, `"a"`},
		{`{"type": "array", "uniqueItems": true}`, `[1, 2]`, `[1, 1.0]`},
		{`{"multipleOf": 0.01}`, `1.23`, `1.234`},
		{`{"minimum": 0.1}`, `0.1`, `0.09`},
		{`{"enum": [1, "a"]}`, `1.0`, `2`},
		{`{"enum": ["a", "b"], "const": "a"}`, `"a"`, `"b"`},
		{`{"properties": {"a": false}}`, `{}`, `{"a": 1}`},
		{`{"additionalProperties": {"type": "string"}}`, `{"a": "b"}`, `{"a": 1}`},
		{`{"patternProperties": {"^x": {"type": "string"}}}`, `{"xa": "b"}`, `{"xa": 1}`},
		{`{"if": {"required": ["a"]}, "then": {"required": ["b"]}}`, `{"c": 1}`, `{"a": 1}`},
		{`{"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}`, `{"a": 2}`, `{"a": 1}`},
		{`{"maxProperties": 1}`, `{"a": 1}`, `{"a": 1, "b": 2}`},
		{`{"properties": {"a": {"contains": {"const": 1}}}}`, `{"a": [1]}`, `{"a": [2]}`},
	} {
		s := compile(t, tc.schema)
		if s.plan != nil {
			t.Errorf("%s has a plan", tc.schema)
		}
		if err := s.Check([]byte(tc.good), ""); err != nil {
			t.Errorf("%s refuses %s: %v", tc.schema, tc.good, err)
		}
		if s.Check([]byte(tc.bad), "") == nil {
			t.Errorf("%s accepts %s", tc.schema, tc.bad)
		}
	}
}

func TestOtherDocumentsAreRefused(t *testing.T) {
	for _, ref := range []string{"other.json", "file:///etc/passwd", "https://example.com/schema"} {
		if _, err := Compile("test", []byte(`{"$ref": "`+ref+`"}`), nil); err == nil {
			t.Errorf("a schema may refer to %s", ref)
		}
	}
	if _, err := Compile("test", []byte(`{"type": "strin`), nil); err == nil {
		t.Error("a broken schema compiles")
	}
}

// A document that refers its schema to itself too deeply is left to the library, which has no such bound.
func TestDepth(t *testing.T) {
	s := compile(t, `{"type": "object", "additionalProperties": false, "properties": {"l": {"$ref": "#"}}}`)
	doc := []byte(strings.Repeat(`{"l": `, 100) + `{}` + strings.Repeat(`}`, 100))
	if s.plan.accept(doc) || s.Check(doc, "") != nil {
		t.Error("100 levels")
	}
}

// FuzzPlan holds the plan to the library: whatever the one accepts, the other must.
func FuzzPlan(f *testing.F) {
	for _, doc := range good {
		f.Add(doc)
	}
	f.Add(`{"a": "ab", "b": 1, "c": 99.9999999999999, "d": [{"kind": "p", "v": "1"}], "e": "x", "g": "ab", "j": "a"}`)
	s := compile(f, everyKeyword)
	f.Fuzz(func(t *testing.T, doc string) {
		data := []byte(doc)
		if strictjson.Check(data, strictjson.Limits{}) != nil {
			return
		}
		accepted := s.plan.accept(data)
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%q passed strictjson: %v", doc, err)
		}
		if err := s.full.Validate(parsed); accepted && err != nil {
			t.Errorf("the plan accepts %q, the library says %v", doc, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	s := compile(b, everyKeyword)
	doc := []byte(good[2])
	for name, plan := range map[string]*plan{"plan": s.plan, "library": nil} {
		b.Run(name, func(b *testing.B) {
			s := &Schema{full: s.full, plan: plan}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Check(doc, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
