package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		in, code string
		offset   int64
		field    string
	}{
		{"", CodeEmpty, 0, ""},
		{" \n", CodeEmpty, 2, ""},
		{"\ufeff{}", CodeSyntax, 0, ""},
		{`{"a":1,"a":2}`, CodeDuplicateKey, 7, "a"},
		{`{"a":{"b":1,"\u0062":2}}`, CodeDuplicateKey, 12, "a.b"},
		{`{"name":1,"Name":2}`, CodeCaseKey, 10, "Name"},
		{`{"k":1,"` + "\u212a" + `":2}`, CodeCaseKey, 7, "*"},
		{`{"straße":1,"STRAẞE":2}`, CodeCaseKey, 13, "*"},
		{`[{"a":1},{"a":"` + "\xff" + `"}]`, CodeUTF8, 15, "[1].a"},
		{"\"\xed\xa0\x80\"", CodeUTF8, 1, ""},
		{"\"\xc0\x80\"", CodeUTF8, 1, ""},
		{"\"\xf4\x90\x80\x80\"", CodeUTF8, 1, ""},
		{`{"n":["\ud800"]}`, CodeSurrogate, 7, "n[0]"},
		{`"\udc00\ud800"`, CodeSurrogate, 1, ""},
		{`"\ud800A"`, CodeSurrogate, 1, ""},
		{`"\ud800\n"`, CodeSurrogate, 1, ""},
		{`"a` + "\x01" + `"`, CodeControl, 2, ""},
		{"\"12345678\n\"", CodeControl, 9, ""},
		{`"\u0000"`, CodeNUL, 1, ""},
		{`{"a":1} x`, CodeTrailing, 8, ""},
		{`{"a":1}{}`, CodeTrailing, 7, ""},
		{`[1,]`, CodeSyntax, 3, "[1]"},
		{`{"a":1,}`, CodeSyntax, 7, "a"},
		{`{a:1}`, CodeSyntax, 1, ""},
		{`{'a':1}`, CodeSyntax, 1, ""},
		{`01`, CodeTrailing, 1, ""},
		{`+1`, CodeSyntax, 0, ""},
		{`1.e3`, CodeSyntax, 2, ""},
		{`.5`, CodeSyntax, 0, ""},
		{`-`, CodeTruncated, 1, ""},
		{`-x`, CodeSyntax, 1, ""},
		{`1e+`, CodeTruncated, 3, ""},
		{`tru`, CodeTruncated, 3, ""},
		{`trux`, CodeSyntax, 3, ""},
		{`NaN`, CodeSyntax, 0, ""},
		{`"\x41"`, CodeSyntax, 1, ""},
		{`"\u00g0"`, CodeSyntax, 1, ""},
		{`{"110101199003070011":1,"110101199003070011":2}`, CodeDuplicateKey, 24, "*"},
		{`{"some secret sentence":[}`, CodeSyntax, 25, "*[0]"},
		{strings.Repeat("[", 65), CodeDepth, 64, strings.Repeat("[0]", 64)},
	} {
		err := Check([]byte(c.in), Limits{})
		var e *errs.Error
		if !errors.As(err, &e) {
			t.Errorf("Check(%q) = %v, want %s", c.in, err, c.code)
			continue
		}
		if e.Kind != errs.Invalid || e.Code != c.code || e.Offset != c.offset || !e.HasOffset || e.Field != c.field {
			t.Errorf("Check(%q) = %s %s offset %d field %q; want %s offset %d field %q",
				c.in, e.Kind, e.Code, e.Offset, e.Field, c.code, c.offset, c.field)
		}
		if e.Msg.ZH == "" || e.Msg.EN == "" {
			t.Errorf("Check(%q) does not speak both languages", c.in)
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	for _, in := range []string{
		`{}`, `[]`, `0`, `-0.0e-0`, `""`, ` { "a" : [ 1 , 2 ] } `, `"䶮𠮷"`, `"\ud83d\ude00"`, `"` + "\x7f" + `"`,
		`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`, `{"":1}`, strings.Repeat("[", 64) + strings.Repeat("]", 64),
		`"\/\b\f\n\r\t\"\\"`, "null", `[true,false,null]`,
	} {
		if err := Check([]byte(in), Limits{}); err != nil {
			t.Errorf("Check(%q) = %v", in, err)
		}
	}
	if err := Check([]byte(`"\u0000"`), Limits{AllowNUL: true}); err != nil {
		t.Errorf("AllowNUL: %v", err)
	}
}

func TestLimits(t *testing.T) {
	if err := Check([]byte(`[1,2]`), Limits{Size: 4}); !errs.Is(err, errs.TooLarge) {
		t.Errorf("size: %v", err)
	}
	if err := Check([]byte(`[[1]]`), Limits{Depth: 1}); err == nil {
		t.Error("depth 2 passed a limit of 1")
	}
	if err := Check([]byte(`{"a":1,"b":2}`), Limits{Names: 1}); err == nil || errs.As(err).Code != CodeNames {
		t.Errorf("names: %v", err)
	}
}

// Every prefix of a valid document is refused, as truncated and at its end.
func TestTruncatedAtEveryByte(t *testing.T) {
	doc := sample(1)
	for n := range doc {
		err := Check(doc[:n], Limits{})
		if err == nil {
			t.Fatalf("the first %d bytes passed", n)
		}
		e := errs.As(err)
		if n > 0 && (e.Code != CodeTruncated || e.Offset != int64(n)) {
			t.Fatalf("the first %d bytes: %s at %d", n, e.Code, e.Offset)
		}
	}
}

// Large objects go through the index: the last name must still be found to be a duplicate of any other.
func TestDuplicateInLargeObject(t *testing.T) {
	for _, size := range []int{indexFrom - 1, indexFrom, indexFrom + 1, 500} {
		for _, twice := range []int{0, indexFrom - 2, size - 1} {
			var b strings.Builder
			b.WriteString(`{"inner":{"n0":1}`)
			for i := range size {
				fmt.Fprintf(&b, `,"n%d":{"n%d":0}`, i, i)
			}
			if err := Check([]byte(b.String()+"}"), Limits{}); err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			at := b.Len() + 1
			fmt.Fprintf(&b, `,"N%d":0}`, twice)
			err := Check([]byte(b.String()), Limits{})
			if err == nil || errs.As(err).Code != CodeCaseKey || errs.As(err).Offset != int64(at) {
				t.Fatalf("size %d, twice %d: %v", size, twice, err)
			}
		}
	}
}

type person struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
	base
	Tags  []string          `json:"tags"`
	Kids  []person          `json:"kids"`
	Extra map[string]*point `json:"extra"`
	Raw   json.RawMessage   `json:"raw"`
	Skip  string            `json:"-"`
	Plain bool
}

type base struct {
	ID string `json:"id"`
}

type point struct{ X, Y float64 }

func TestUnmarshal(t *testing.T) {
	var p person
	in := `{"name":"堃","age":3,"id":"x","kids":[{"name":"喆"}],"extra":{"any name":{"X":1}},"raw":{"a":{}},"Plain":true}`
	if err := Unmarshal([]byte(in), &p); err != nil {
		t.Fatal(err)
	}
	if p.Name != "堃" || p.ID != "x" || p.Kids[0].Name != "喆" || p.Extra["any name"].X != 1 || !p.Plain {
		t.Errorf("got %+v", p)
	}
	for _, c := range []struct {
		in, code, field string
		offset          int64
	}{
		{`{"name":"a","nope":"geheim"}`, CodeUnknownField, "nope", 12},
		{`{"Name":"geheim"}`, CodeUnknownField, "Name", 1},
		{`{"Skip":"geheim"}`, CodeUnknownField, "Skip", 1},
		{`{"kids":[{},{"tagz":["geheim"]}]}`, CodeUnknownField, "kids[1].tagz", 13},
		{`{"extra":{"p":{"x":1}}}`, CodeUnknownField, "extra.p.x", 15},
		{`{"age":"geheim"}`, CodeType, "age", 7},
		{`{"age": 1.5}`, CodeType, "age", 8},
		{`{"age":99999999999999999999}`, CodeType, "age", 7},
		{`{"tags":{"geheim":1}}`, CodeType, "tags", 8},
		{`{"age":1,"age":2}`, CodeDuplicateKey, "age", 9},
	} {
		var p person
		err := Unmarshal([]byte(c.in), &p)
		if err == nil {
			t.Errorf("Unmarshal(%s) passed", c.in)
			continue
		}
		e := errs.As(err)
		if e.Code != c.code || e.Field != c.field || e.Offset != c.offset {
			t.Errorf("Unmarshal(%s) = %s %q at %d; want %s %q at %d", c.in, e.Code, e.Field, e.Offset, c.code, c.field, c.offset)
		}
		if strings.Contains(e.Error(), "geheim") || strings.Contains(e.In(lang.ZH), "geheim") {
			t.Errorf("Unmarshal(%s) echoes the value: %v", c.in, e)
		}
	}
	err := Unmarshal([]byte(`{"NAME":"x"}`), &p)
	if !strings.Contains(errs.As(err).Hint.EN, "name") {
		t.Errorf("no hint at the right spelling: %v", errs.As(err).Hint)
	}
}

func TestLocate(t *testing.T) {
	doc := []byte(` { "a" : [ 1, {"b\n":"}]", "c": -1.5e3 }, "x" ], "d":null }`)
	for path, want := range map[string]string{
		"": "{", "a": "[", "a[0]": "1,", "a[1].c": "-1.5e3", `a[2]`: `"x"`, "d": "null",
	} {
		at, ok := Locate(doc, path)
		if !ok || !bytes.HasPrefix(doc[at:], []byte(want)) {
			t.Errorf("Locate(%q) = %d, %v", path, at, ok)
		}
	}
	for _, path := range []string{"b", "a[3]", "a.b", "d.e", "a[x]", "[0]", "a[1].c.d"} {
		if at, ok := Locate(doc, path); ok {
			t.Errorf("Locate(%q) = %d, want none", path, at)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,"\u00e9\ud83d\ude00"],"A":null}`, "\"\xff\"", `{"a":1,"a":2}`, string(sample(1))} {
		f.Add([]byte(seed))
	}
	// What encoding/json lets pass and this package must not.
	stricter := map[string]bool{CodeDuplicateKey: true, CodeCaseKey: true, CodeUTF8: true, CodeSurrogate: true,
		CodeNUL: true, CodeDepth: true, CodeNames: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Check(data, Limits{})
		valid := json.Valid(data)
		if err == nil {
			if !valid {
				t.Fatalf("encoding/json refuses %q", data)
			}
			var v any
			if err := Unmarshal(data, &v); err != nil {
				t.Fatalf("Unmarshal(%q) = %v", data, err)
			}
			c := NewCursor(data)
			c.Skip()
			if c.Peek() != 0 {
				t.Fatalf("Skip stopped at %d of %q", c.pos, data)
			}
			_ = Fields(data, reflect.TypeFor[person]())
			return
		}
		e := errs.As(err)
		if valid && !stricter[e.Code] {
			t.Fatalf("refused %q as %s, which encoding/json accepts", data, e.Code)
		}
		if !e.HasOffset || e.Offset < 0 || e.Offset > int64(len(data)) {
			t.Fatalf("offset %d of %d", e.Offset, len(data))
		}
	})
}

func FuzzLocate(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1}]}`), "a[0].b")
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		if at, ok := Locate(data, path); ok && (at < 0 || at >= int64(len(data))) {
			t.Fatalf("offset %d of %d", at, len(data))
		}
	})
}

// A scanner that has seen a document of the size reads the next without allocating. (The pool itself is left out: under
// the race detector it drops at random.)
func TestAllocations(t *testing.T) {
	doc := sample(20)
	s := scanners.New().(*scanner)
	n := testing.AllocsPerRun(100, func() {
		s.reset(doc, Limits{Depth: defaultDepth, Names: defaultNames})
		if err := s.document(); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%.1f allocations a document", n)
	}
}

// sample returns a document like a real application, of about n kilobytes.
func sample(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"matter":"open-enterprise","applicant":{"name":"䶮𠮷","id":"fake"},"members":[`)
	for i := 0; b.Len() < n*1000 || i == 0; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"name":"海口示例科技有限公司 %d","address":"海南省海口市龙华区滨海大道","email":"someone@example.org",`+
			`"share":%d.25,"active":true,"note":"line one\nline two \u7434","roles":["legal","finance"],"phone":null}`, i, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{2, 20, 100} {
		doc := sample(n)
		b.Run(fmt.Sprintf("%dKB", n), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(doc, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodingJSONValid(b *testing.B) {
	doc := sample(20)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if !json.Valid(doc) {
			b.Fatal("invalid")
		}
	}
}
