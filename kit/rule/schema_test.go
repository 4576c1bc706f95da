package rule

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

func TestParse(t *testing.T) {
	s := small["a/1"]
	f := facts(t, s, factsA)
	const want = `{"at":"2026-11-22T00:00:00.000+08:00","code":"HK-1","k":"` + keyA + `","k2":"` + keyB +
		`","until":"2026-11-22T00:00:00.001+08:00","x":7,"y":-2,"yes":true}`
	if got := string(f.JSON()); got != want {
		t.Errorf("JSON = %s", got)
	}
	if again := facts(t, s, " {\n"+want[1:]); string(again.JSON()) != want {
		t.Errorf("JSON of JSON = %s", again.JSON())
	}
	for name, want := range map[string]any{"x": int64(7), "yes": true, "code": "HK-1", "k2": [32]byte{31: 1},
		"at": beijing.Time(1795276800000)} {
		if got, ok := f.Value(name); !ok || got != want {
			t.Errorf("Value(%s) = %v, %v", name, got, ok)
		}
	}
	if _, ok := f.Value("z"); ok {
		t.Error("there is a value that is not there")
	}
	if _, ok := f.Key("code"); ok {
		t.Error("a code is a key")
	}
	if f.Type() != "a/1" {
		t.Errorf("Type = %s", f.Type())
	}
}

func TestParseRefuses(t *testing.T) {
	s := small["a/1"]
	with := func(old, now string) string {
		t.Helper()
		if !strings.Contains(factsA, old) {
			t.Fatalf("%s is not in the facts", old)
		}
		return strings.Replace(factsA, old, now, 1)
	}
	for _, c := range []struct{ name, text, field string }{
		{"nothing", "", ""},
		{"no object", "[]", ""},
		{"a second document", factsA + "{}", ""},
		{"unknown", with(`"x":7`, `"x":7,"zz":1`), "zz"},
		{"in another case", with(`"x":7`, `"X":7`), "X"},
		{"missing", with(`"yes":true,`, ``), "yes"},
		{"twice", with(`"x":7`, `"x":7,"x":7`), "x"},
		{"null", with(`"x":7`, `"x":null`), "x"},
		{"a fraction", with(`"x":7`, `"x":7.0`), "x"},
		{"an exponent", with(`"x":7`, `"x":7e0`), "x"},
		{"minus nought", with(`"x":7`, `"x":-0`), "x"},
		{"too large", with(`"x":7`, `"x":9223372036854775808`), "x"},
		{"too small", with(`"x":7`, `"x":-9223372036854775809`), "x"},
		{"a number in quotes", with(`"x":7`, `"x":"7"`), "x"},
		{"a number for a truth", with(`true`, `1`), "yes"},
		{"a truth in quotes", with(`true`, `"true"`), "yes"},
		{"a truth for a time", with(`"2026-11-22T00:00:00.000+08:00"`, `false`), "at"},
		{"another zone", with(`00:00:00.000+08:00`, `00:00:00.000Z`), "at"},
		{"no such day", with(`2026-11-22T00:00:00.000`, `2026-11-31T00:00:00.000`), "at"},
		{"before 1970", with(`2026-11-22T00:00:00.000`, `1970-01-01T07:59:59.999`), "at"},
		{"a number for a code", with(`"HK-1"`, `1`), "code"},
		{"a small letter", with(`HK-1`, `hk-1`), "code"},
		{"no code", with(`HK-1`, ``), "code"},
		{"a long code", with(`HK-1`, strings.Repeat("A", 33)), "code"},
		{"Chinese", with(`HK-1`, `琼`), "code"},
		{"an identity number", with(`HK-1`, label.FakeIDCard(1)), "code"},
		{"an organization's number", with(`HK-1`, label.FakeCreditCode(1)), "code"},
		{"a mobile number", with(`HK-1`, "138"+"00138000"), "code"},
		{"a mobile number with hyphens", with(`HK-1`, "138-"+"0013-8000"), "code"},
		{"a bank card", with(`HK-1`, "4111"+"111111111111"), "code"},
		{"the shape of a passport", with(`HK-1`, "E"+"00000000"), "code"},
		{"a short key", with(keyA, "AAAA"), "k"},
		{"a key without padding", with(keyA, keyA[:43]), "k"},
		{"a key in the other alphabet", with(keyA, "_"+keyA[1:]), "k"},
		{"a key over two lines", with(keyA, keyA[:20]+`\n`+keyA[20:]), "k"},
		{"a key with spare bits", with(keyA, keyA[:42]+"B="), "k"},
		{"an object", with(`"x":7`, `"x":{"x":7}`), "x"},
	} {
		f, err := s.Parse([]byte(c.text))
		if e := errs.As(err); !errs.Is(err, errs.Invalid) || c.field != "" && e.Field != c.field || f != nil {
			t.Errorf("%s: %v, at %q, want %q", c.name, err, errs.As(err).Field, c.field)
		}
	}
	if _, err := s.Parse([]byte(strings.Repeat(" ", MaxSize) + factsA)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a long document: %v", err)
	}
}

// Codes as ports, customs and offices have them are no numbers of people.
func TestCheckCodeTakesCodes(t *testing.T) {
	for _, code := range []string{"A", "0", "CSQU3054383", "HN-884213", "8517130000", "64020000", "CNHAK", "QUALITY", "2026-11-22", "CNY"} {
		if err := CheckCode(code); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	many := map[string]Kind{}
	for i := range MaxFacts + 1 {
		many[fmt.Sprint("x", i)] = Int
	}
	for name, s := range map[string]*Schema{
		"no type":            {Facts: map[string]Kind{"x": Int}},
		"no version":         {Type: "a", Facts: map[string]Kind{"x": Int}},
		"version 0":          {Type: "a/0", Facts: map[string]Kind{"x": Int}},
		"version 01":         {Type: "a/01", Facts: map[string]Kind{"x": Int}},
		"no facts":           {Type: "a/1"},
		"too many":           {Type: "a/1", Facts: many},
		"an unknown kind":    {Type: "a/1", Facts: map[string]Kind{"x": "text"}},
		"a capital":          {Type: "a/1", Facts: map[string]Kind{"X": Int}},
		"a digit":            {Type: "a/1", Facts: map[string]Kind{"1x": Int}},
		"an underscore":      {Type: "a/1", Facts: map[string]Kind{"x_y": Int}},
		"a word of CEL":      {Type: "a/1", Facts: map[string]Kind{"return": Int}},
		"only in their case": {Type: "a/1", Facts: map[string]Kind{"xy": Int, "xY": Int}},
	} {
		if err := s.Validate(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.JSON(); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestSchemaHasOneForm(t *testing.T) {
	s := &Schema{Type: "trade.order/1", Facts: map[string]Kind{"order": Key, "at": Time, "amount": Int}}
	const want = `{"type":"trade.order/1","facts":{"amount":"int","at":"time","order":"key"}}`
	data, err := s.JSON()
	if err != nil || string(data) != want {
		t.Fatalf("JSON = %s, %v", data, err)
	}
	back, err := ParseSchema(data)
	if err != nil || back.Type != s.Type || !maps.Equal(back.Facts, s.Facts) {
		t.Errorf("ParseSchema = %+v, %v", back, err)
	}
	for _, text := range []string{"", "{}", " " + want, want + "\n", strings.Replace(want, `"amount":"int","at":"time"`, `"at":"time","amount":"int"`, 1),
		strings.Replace(want, `{"type`, `{"more":1,"type`, 1), strings.Replace(want, "int", "Int", 1)} {
		if _, err := ParseSchema([]byte(text)); !errs.Is(err, errs.Invalid) {
			t.Errorf("ParseSchema(%s): %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(factsA)
	f.Add(`{"x":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := small["a/1"]
		parsed, err := s.Parse([]byte(text))
		if err != nil {
			if kind := errs.KindOf(err); kind != errs.Invalid && kind != errs.TooLarge {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := s.Parse(parsed.JSON())
		if err != nil || string(again.JSON()) != string(parsed.JSON()) {
			t.Fatalf("%s is written %s, which is read as %v", text, parsed.JSON(), err)
		}
	})
}
