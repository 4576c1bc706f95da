package dialect_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/dialect"
	"github.com/qiongdev/qiong/kit/errs"
)

// The terms that the house promises, and every example of the glossary, mean what they are to mean.
func TestBuiltin(t *testing.T) {
	g := dialect.Builtin()
	codes := map[string]string{}
	for _, term := range g.Terms() {
		codes[term.Term] = term.Code
		if len(term.Examples) == 0 {
			t.Errorf("%s has no example", term.Term)
		}
		for _, example := range term.Examples {
			r := (&dialect.Parser{}).Parse(example)
			if !slices.ContainsFunc(r.Events, func(e dialect.Event) bool { return e.Code == term.Code }) || len(r.Findings) > 0 {
				t.Errorf("%s: %+v, %+v", example, r.Events, r.Findings)
			}
		}
	}
	for term, code := range map[string]string{"埋单": "settle", "在屋里": "logged-in", "赶海": "bounced-to-sign-in"} {
		if codes[term] != code {
			t.Errorf("%s is %q", term, codes[term])
		}
	}
	if g.Version() != "1" {
		t.Errorf("version %s", g.Version())
	}
}

const entry = "  - {term: 起锚, code: started, kind: event, speech: verb, meaning: {zh: 启动, en: started}}\n"

func TestParseGlossary(t *testing.T) {
	g, err := dialect.ParseGlossary([]byte(`version: 3
negation: {before: [冇], after: [唔成]}
words: [起锚机]
terms:
` + entry + `  - {term: 埋单, code: paid, kind: event, speech: verb, meaning: {zh: 支付, en: paid}}
  - {term: 翻船, code: crashed, kind: event, speech: verb, meaning: {zh: 崩溃, en: crashed}, context: [进程]}
  - {term: 翻船, code: rolled-back, kind: event, speech: verb, meaning: {zh: 回滚, en: rolled back}, context: [版本]}
  - {term: 靠岸, code: landed, kind: event, speech: verb, meaning: {zh: 到达, en: landed}}
  - {term: Chill, code: idle, kind: state, speech: adjective, meaning: {zh: 空闲, en: idle}, examples: [worker chill]}
  - {term: 起锚机, code: starter, kind: state, speech: noun, meaning: {zh: 启动器, en: starter}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if g.Version() != "1+3" {
		t.Errorf("version %s", g.Version())
	}
	check(t, &dialect.Parser{Glossary: g}, [][2]string{
		{"起锚", "started"},
		{"冇起锚", "!started"},
		{"起锚唔成", "!started"},
		{"起锚机", "starter"}, // the team has made it a term
		{"埋单", "paid"},     // replaced
		{"埋单率", ""},
		{"船靠岸", "landed"},
		{"赶海", "bounced-to-sign-in"},
		{"进程翻船", "crashed"},
		{"版本翻船", "rolled-back"},
		{"翻船", `term.ambiguous:"翻船"`},
		{"进程换版本，翻船", `term.ambiguous:"翻船"`},
	})
	for line, want := range map[string]int{"worker CHILL": 1, "chill了": 1, "chilling": 0, "un-chill": 0, "chill_out": 0} {
		if r := (&dialect.Parser{Glossary: g}).Parse(line); len(r.Events) != want {
			t.Errorf("%s: %+v", line, r.Events)
		}
	}
	if got := (&dialect.Parser{}).Parse("起锚"); len(got.Events) != 0 {
		t.Error("the built-in glossary was changed")
	}
}

func TestParseGlossaryRefuses(t *testing.T) {
	with := func(change ...string) string {
		return "version: 1\nterms:\n" + strings.NewReplacer(change...).Replace(entry)
	}
	for text, line := range map[string]int{
		"":                                  1,
		"# nothing\n":                       1,
		"[]":                                1,
		"terms: []":                         1,
		"version: 0":                        1,
		"version: 01":                       1,
		"version: one":                      1,
		"version: [1]":                      1,
		"version: 1\nversion: 2":            2,
		"version: 1\nslang: []":             2,
		"version: 1\n---\nversion: 2":       1,
		"version: 1\nterms: {}":             2,
		"version: 1\nterms:\n  - 埋单":        3,
		"version: 1\nwords: 埋单":             2,
		"version: 1\nwords: ['a b']":        2,
		"version: 1\nwords: [&a 甲, *a]":     2,
		"version: 1\nnegation: {never: x}":  2,
		"version: 1\n\tx: 1":                2,
		with("起锚", "起 锚"):                   3,
		with("起锚", "123"):                   3,
		with("起锚", strings.Repeat("锚", 17)): 3,
		with("started,", "Started,"):        3,
		with("event", "action"):             3,
		with("verb", "adverb"):              3,
		with(", en: started", ""):           3,
		with("启动", "' '"):                   3,
		with("{term", "{<<: {}, term"):      3,
		with("code: started, ", ""):         3,
		with("}}", "}, context: 甲}"):        3,
		with("}}", "}, context: [锚]}"):      3,
		with("}}", "}, examples: [起船]}"):    3,
		with("}}", "}, mood: sad}"):         3,
		with() + entry:                      4,
	} {
		_, err := dialect.ParseGlossary([]byte(text))
		if errs.KindOf(err) != errs.Invalid || errs.As(err).Line != line || errs.As(err).Code != "glossary.invalid" {
			t.Errorf("%q: %v, want line %d", text, err, line)
		}
	}
	_, err := dialect.ParseGlossary([]byte("version: 0\nslang: []\nterms: {}\n"))
	if errs.KindOf(err) != errs.Invalid || len(errs.As(err).Also) != 2 {
		t.Errorf("not everything is told of: %v", err)
	}
}

// The glossary that the document shows is one.
func TestDocumentedGlossary(t *testing.T) {
	page, err := os.ReadFile("../../doc/dialect.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	g, err := dialect.ParseGlossary([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	check(t, &dialect.Parser{Glossary: g}, [][2]string{{"预约服务起锚 pid=31", "started pid=31"}, {"起锚机", ""}})
}

// FuzzParseGlossary: what is taken finds its own terms.
func FuzzParseGlossary(f *testing.F) {
	f.Add([]byte("version: 1\nterms:\n" + entry))
	f.Add([]byte("version: 2\nwords: [a1]\nnegation: {before: [no], after: [了]}\nterms:\n" + entry + entry))
	slug := regexp.MustCompile(`^[a-z0-9-]+$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := dialect.ParseGlossary(text)
		if err != nil {
			if errs.KindOf(err) != errs.Invalid || errs.As(err).Line < 1 {
				t.Fatal(err)
			}
			return
		}
		for _, term := range g.Terms() {
			line := strings.Join(append(slices.Clone(term.Context), term.Term), "，")
			r := (&dialect.Parser{Glossary: g}).Parse(line)
			if !slug.MatchString(term.Code) || len(r.Events)+len(r.Findings) == 0 {
				t.Fatalf("%q finds %+v", line, r)
			}
		}
	})
}

func ExampleParseGlossary() {
	g, err := dialect.ParseGlossary([]byte(`version: 1
terms:
  - term: 起锚
    code: started
    kind: event
    speech: verb
    meaning: {zh: 启动, en: started}
    examples: [预约服务起锚 pid=31]
`))
	if err != nil {
		panic(err)
	}
	r := (&dialect.Parser{Glossary: g}).Parse("预约服务起锚 pid=31")
	fmt.Println(g.Version(), r.Events[0].Code, r.Fields)
	// Output: 1+1 started [{pid 31 23}]
}
