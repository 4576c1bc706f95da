package jsonmask_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

const id = "11010519491231002X"

// written is in, written in chunks of n bytes.
func written(m *jsonmask.Masker, in []byte, n int) (string, error) {
	var out bytes.Buffer
	w := m.NewWriter(&out)
	for chunk := in; len(chunk) > 0; {
		n := min(n, len(chunk))
		if _, err := w.Write(chunk[:n:n]); err != nil {
			return out.String(), err
		}
		chunk = chunk[n:]
	}
	err := w.Close()
	return out.String(), err
}

func TestChunksMayEndAnywhere(t *testing.T) {
	all := masker(t, jsonmask.Options{Detect: true, Rules: []jsonmask.Rule{
		{Path: "**.name", Mask: label.Keep(1, 0)}, {Path: "n", Mask: label.MaskAll}, {Path: "gone", Mask: label.MaskDrop}}})
	doc := []byte(` {"name":"王\u5c0f明\ud842\udfb7","x":[1.5,-2e3,13800000000,{"name":null,"` + id + `":"\\\"身份证\u0031\u003110519491231002X。"}],"n":13800000000,
		"gone":{"a":[true,false,"\\"]},"琼A":"车牌琼A12345","e":"","f":{},"g":[]} [ "622202 0000 0000 00008" ] ` + "\n7")
	whole, err := all.Append(nil, doc)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(doc); n++ {
		if got, err := written(all, doc, n); err != nil || got != string(whole) {
			t.Fatalf("chunks of %d: %v\n got %s\nwant %s", n, err, got, whole)
		}
	}
	for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(doc)), iotest.HalfReader(bytes.NewReader(doc)), iotest.DataErrReader(bytes.NewReader(doc))} {
		if got, err := io.ReadAll(all.NewReader(r)); err != nil || string(got) != string(whole) {
			t.Errorf("read: %v, %s", err, got)
		}
	}
	if got := string(whole); strings.Contains(got, id) || strings.Contains(got, "12345") || strings.Contains(got, "13800000000") || strings.Contains(got, "5c0f") {
		t.Error(got)
	}
}

func TestDetection(t *testing.T) {
	for in, want := range map[string]string{
		`"` + id + `"`:                         `"110***********002X"`,
		`{"` + id + `":1}`:                     `{"110***********002X":1}`,
		`"\u0031\u0031010519491231002X"`:       `"110***********002X"`,
		`"1\u0031010519491231002\u0058，\"好\""`: `"110***********002X，\"好\""`,
		`13800000000`:                          `"138****0000"`,
		`1.38e10`:                              `"138****0000"`,
		`-13800000000.00`:                      `"138****0000"`,
		`138000000000e-1`:                      `"138****0000"`,
		`0.138e11`:                             `"138****0000"`,
		`440524188001010014`:                   `"440***********0014"`,
		`0.4111111111111111`:                   `0.4111111111111111`,
		`13800000000.5`:                        `13800000000.5`,
		`1e999999`:                             `1e999999`,
		`4111111111111111`:                     `"4111********1111"`,
		`1717171717171717171`:                  `1717171717171717171`,
		`["nothing","\u4e2d\ud83d"]`:           `["nothing","\u4e2d\ud83d"]`,
		`true`:                                 `true`,
	} {
		if got, err := jsonmask.Detecting().Append(nil, []byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
}

func TestLongStringsAreSeenInPieces(t *testing.T) {
	m := masker(t, jsonmask.Options{Detect: true, Rules: []jsonmask.Rule{{Path: "all", Mask: label.MaskAll}, {Path: "drop"}, {Path: "pass", Pass: true}}})
	han := strings.Repeat("海南省海口市龙华区", 20_000)
	escapes := strings.Repeat(`\u6d77\n`, 30_000)
	for _, filler := range []string{han, escapes, strings.Repeat("a, ", 60_000), strings.Repeat("x", 150_000), strings.Repeat(`\\\"`, 40_000)} {
		digits := ""
		for _, c := range id {
			digits += fmt.Sprintf(`\u%04x`, c)
		}
		doc := []byte(fmt.Sprintf(`{"all":"%[1]s","drop":"%[1]s","pass":"%[1]s","see":"%[1]s,%[2]s,%[1]s,%[3]s","%[1]s":1}`, filler, id, digits))
		whole, err := m.Append(nil, doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{10_007, 65_536, 100_001} {
			got, err := written(m, doc, n)
			if err != nil || strings.Contains(got, id) || strings.Contains(got, digits) || strings.Count(got, "110***********002X") != 2 {
				t.Fatalf("chunks of %d: %v, %d bytes", n, err, len(got))
			}
			var a, b any
			if err := json.Unmarshal(whole, &a); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(got), &b); err != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("chunks of %d say something else: %v", n, err)
			}
		}
	}
}

func TestOtherwise(t *testing.T) {
	m := masker(t, jsonmask.Options{Otherwise: label.MaskDrop, Rules: []jsonmask.Rule{{Path: "a.b", Pass: true}}})
	got, err := m.Append([]byte("> "), []byte(`{"a":{"b":{"c":1},"d":2},"e":[3,{"b":4}]}`))
	if err != nil || string(got) != `> {"a":{"b":{"c":1},"d":null},"e":[null,{"b":null}]}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWhatIsNotJSON(t *testing.T) {
	m := masker(t, jsonmask.Options{MaxDepth: 4})
	for in, at := range map[string]int64{
		`{`: 1, `{"a"}`: 4, `{"a":}`: 5, `{"a":1,}`: 7, `[1,]`: 3, `[1 2]`: 3, `}`: 0, `{]`: 1, `[}`: 1, `{"a":1]`: 6, `tru`: 0, `01`: 0, `1.`: 0, `-`: 0,
		`1e`: 0, `"a`: 2, `{a:1}`: 1, `[[[[[]]]]]`: 4, `nul]`: 0, "\x00": 0, `[+1]`: 1, `{"a" "b"}`: 5, `"a\`: 3, `[.5]`: 1, `{"a":1 "b":2}`: 7,
	} {
		got, err := m.Append([]byte("x"), []byte(in))
		e := errs.As(err)
		if !errs.Is(err, errs.Invalid) || e.Offset != at || string(got) != "x" {
			t.Errorf("%q: %v, %q", in, err, got)
		}
		for n := 1; n <= len(in); n++ {
			if _, err := written(m, []byte(in), n); !errs.Is(err, errs.Invalid) || errs.As(err).Offset != at {
				t.Errorf("%q in chunks of %d: %v", in, n, err)
			}
		}
	}
}

func TestRulesThatAreWrong(t *testing.T) {
	for _, path := range []string{"a..b", ".", "a*", "***", "a."} {
		if _, err := jsonmask.New(jsonmask.Options{Rules: []jsonmask.Rule{{Path: path}}}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
	var many []jsonmask.Rule
	for i := range 40 {
		many = append(many, jsonmask.Rule{Path: fmt.Sprintf("**.a%d.**.b%d.**.c%d", i, i, i)})
	}
	if _, err := jsonmask.New(jsonmask.Options{Rules: many}); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestAWriterIsUsedAgain(t *testing.T) {
	one := masker(t, jsonmask.Options{Rules: []jsonmask.Rule{{Path: "x", Pass: true}, {Path: "name", Mask: label.Keep(1, 0)}}})
	other := masker(t, jsonmask.Options{Rules: []jsonmask.Rule{{Path: "name"}, {Path: "x", Mask: label.MaskAll}}})
	var out bytes.Buffer
	w := one.NewWriter(&out)
	for _, m := range []*jsonmask.Masker{one, other, one, jsonmask.Detecting(), other} {
		w.Reset(m, &out)
		if _, err := w.Write([]byte(`{"name":"ab","13800000000":"y","x":"z","name":"cd"}`)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first := `{"name":"a*","13800000000":"y","x":"z","name":"c*"}`
	second := `{"name":null,"13800000000":"y","x":"******","name":null}`
	if got := out.String(); got != first+second+first+`{"name":"ab","138****0000":"y","x":"z","name":"cd"}`+second {
		t.Errorf("%s", got)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	m := masker(t, jsonmask.Options{Rules: rules, Detect: true})
	in, dst := document(), make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := m.Append(dst, in); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever comes: the writer agrees with Append for any chunks, JSON stays JSON, and no number that the scanner would
// find is in what it says.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"name":"王小明","a":[13800000000,"\u0031",{"b":null}],"secret":{"x":true}}`), uint8(3))
	f.Add([]byte(`"`+id+`"`), uint8(1))
	m := masker(f, jsonmask.Options{Rules: rules, Detect: true})
	plain := masker(f, jsonmask.Options{})
	f.Fuzz(func(t *testing.T, in []byte, n uint8) {
		whole, err := m.Append(nil, in)
		got, writeErr := written(m, in, int(n)+1)
		if (err == nil) != (writeErr == nil) || err == nil && got != string(whole) {
			t.Fatalf("append: %q, %v\nwriter: %q, %v", whole, err, got, writeErr)
		}
		if json.Valid(in) && (err != nil || !json.Valid(whole)) {
			t.Fatalf("%q became %q, %v", in, whole, err)
		}
		if same, err := plain.Append(nil, in); err == nil && !bytes.Equal(same, in) {
			t.Fatalf("%q passed as %q", in, same)
		}
		if again, err2 := m.Append(nil, whole); err == nil && err2 != nil {
			t.Fatalf("%q can't be read: %v, %q", whole, err2, again)
		}
		var v any
		if json.Unmarshal(whole, &v) == nil {
			look(t, v, "")
		}
	})
}

// look fails where a value that is looked through still says a number.
func look(t *testing.T, v any, path string) {
	switch v := v.(type) {
	case string:
		if m, ok := label.Find(v, 0); ok && !strings.HasSuffix(v[:m.Start], "*") {
			t.Fatalf("%s says a %s", path, m.Category)
		}
	case []any:
		for _, item := range v {
			look(t, item, path)
		}
	case map[string]any:
		for name, item := range v {
			if strings.EqualFold(name, "open") && path == "" {
				continue
			}
			look(t, name, path)
			look(t, item, path+"."+name)
		}
	}
}
