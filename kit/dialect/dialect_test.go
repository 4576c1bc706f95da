package dialect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/dialect"
)

var update = flag.Bool("update", false, "write the golden files anew")

// brief is what a record says, in a form to compare at a glance.
func brief(r *dialect.Record) string {
	var parts []string
	if r.Time != 0 {
		parts = append(parts, r.Time.String())
	}
	if r.Level != "" {
		parts = append(parts, string(r.Level))
	}
	if r.Trace != "" {
		parts = append(parts, r.Trace)
	}
	for _, e := range r.Events {
		s := e.Code
		if e.Negated {
			s = "!" + s
		}
		if e.Marked {
			s += "(" + e.Note + ")"
		}
		parts = append(parts, s)
	}
	for _, f := range r.Fields {
		parts = append(parts, f.Key+"="+f.Value)
	}
	for _, d := range r.Durations {
		parts = append(parts, d.Key+"~"+d.Value.String())
	}
	for _, f := range r.Findings {
		parts = append(parts, fmt.Sprintf("%s:%q", f.Code, r.Text[f.Offset:f.Offset+f.Size]))
	}
	return strings.Join(parts, " ")
}

// Each line beside what it says.
func check(t *testing.T, p *dialect.Parser, lines [][2]string) {
	t.Helper()
	for _, c := range lines {
		r := p.Parse(c[0])
		if got := brief(r); got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
		if r.Text != c[0] {
			t.Errorf("%s: the text is %s", c[0], r.Text)
		}
		for _, e := range r.Events {
			if r.Text[e.Offset:e.Offset+e.Size] != e.Term {
				t.Errorf("%s: %s is not at byte %d", c[0], e.Term, e.Offset)
			}
		}
	}
}

func TestTerms(t *testing.T) {
	check(t, &dialect.Parser{}, [][2]string{
		{"埋单", "settle"},
		{"用户埋单了", "settle"},
		{"已登录，在屋里", "logged-in"},
		{"user 7 赶海", "bounced-to-sign-in"},
		{"埋单又赶海", "settle bounced-to-sign-in"},
		// negated, before and behind
		{"没埋单", "!settle"},
		{"尚未埋单", "!settle"},
		{"没 埋单", "!settle"},
		{"埋单失败", "!settle"},
		{"埋单 失败", "!settle"},
		{"埋单 failed", "!settle"},
		{"埋单=失败", "!settle 埋单=失败"},
		{"埋单不了", "!settle"},
		{"没埋单失败", "settle"}, // twice negated
		{"分别埋单", "settle"},
		{"没埋单赶海", "!settle bounced-to-sign-in"},
		{"埋单 失败次数=0", "settle 失败次数=0"},
		{"埋单 failedOver", "settle"},
		{"不在屋里", "!logged-in"},
		// longer words are no slang
		{"埋单率", ""},
		{"现在屋里没人", ""},
		{"现在在屋里", "logged-in"},
		{"赶海节当天赶海", "bounced-to-sign-in"},
		// ordinary words count in their context only
		{"消息靠岸", "delivered"},
		{"Message 靠岸", "delivered"},
		{"messages靠岸", `term.ambiguous:"靠岸"`},
		{"渔船靠岸", `term.ambiguous:"靠岸"`},
		// data are no slang; what is said of them is
		{"name=埋单", "name=埋单"},
		{"备注=埋单", "settle 备注=埋单"},
		{"结果：埋单", "settle 结果=埋单"},
		{`msg="用户埋单"`, "settle msg=用户埋单"},
		{"埋单order=8", "settle order=8"},
		// where slang is to be
		{"event=埋单", "settle event=埋单"},
		{"事件=用户赶海", "bounced-to-sign-in 事件=用户赶海"},
		{"事件＝摸虾", `事件=摸虾 term.unknown:"摸虾"`},
		{"event=埋单率", `event=埋单率 term.unknown:"埋单率"`},
		{"event=order.paid", "event=order.paid"},
	})
}

func TestMarkedComments(t *testing.T) {
	check(t, &dialect.Parser{}, [][2]string{
		{"// 【琼】 埋单: 结算后才发券", "settle(结算后才发券)"},
		{"/* 【琼】埋单：结算 */", "settle(结算 */)"},
		{"【琼】 埋单 : 失败时重试", "settle(失败时重试)"},
		{"【琼】埋单", "settle()"},
		{"【琼】埋单失败 order=8", "!settle(失败 order=8) order=8"},
		{"【琼】埋单失败: 余额不足", "!settle(余额不足)"},
		{"【琼】没埋单: 余额不足", "!settle(余额不足)"},
		{"【琼】 赶海: 不算埋单", "bounced-to-sign-in(不算埋单) settle"},
		{"【琼】 摸螺: 捡回来", `term.unknown:"摸螺"`},
		{"【琼】 大埋单: 一次结清", `term.unknown:"大埋单"`},
		{"【琼】 埋单了: 一次结清", `term.unknown:"埋单了"`},
		{"【琼】 埋单率: 比例", `term.unknown:"埋单率"`},
		{"【琼】 靠岸: 送达", `term.ambiguous:"靠岸"`},
		{"【琼】：没有词", `term.missing:"【琼】"`},
		{"【琼】", `term.missing:"【琼】"`},
		{"埋单 【琼】 赶海: 甲 【琼】 限渡: 乙", "settle bounced-to-sign-in(甲) rate-limited(乙)"},
	})
}

func TestHead(t *testing.T) {
	const at = "2026-02-13T09:23:45.000+08:00"
	check(t, &dialect.Parser{Naive: beijing.Assume}, [][2]string{
		{"2026-02-13T09:23:45.000+08:00 INFO x", at + " info"},
		{"2026-02-13T01:23:45Z [WARN] x", at + " warn"},
		{"[2026-02-13 09:23:45] [error ] x", at + " error"},
		{"【警告】2026-02-13 09:23:45 x", at + " warn"},
		{"INFO 2026/2/13 9:23:45 main.go:35: x", at + " info"},
		{"2026-02-13 09:23:45,000 | DEBUG | x", at + " debug"},
		{"2026-02-13 09:23:45.000 [main] INFO  house - x", at + " info"},
		{"2026-02-13 09:23:45.000 [main] house INFO", at},
		{"2026-02-30 09:23:45 WARN x", `warn time.syntax:"2026-02-30 09:23:45"`},
		{"2026-02-13 09:23:45 +0800 调试 x", at + " debug"},
		{"2026-02-13 09:23:45: 错误：x", at + " error"},
		{"2026年2月13日 9时23分45秒 严重 x", at + " fatal"},
		{"20260213092345 x", at},
		{" 2026-02-13 09:23:45 ", at},
		{"20260213 092345 info: x", at + " info"},
		{"time=2026-02-13T01:23:45Z level=Info msg=x", at + " info msg=x"},
		{`{"a":1}`, ""},
		{"错误码 5", ""},
		{"information", ""},
		{"2026-02-13 上线", ""},
		{"2026.1-rc2 上线", ""},
		{"12345678901 x", ""},
		{"2026-02-30 09:23:45 x", `time.syntax:"2026-02-30 09:23:45"`},
		{"2026-02-13T25:23:45Z x", `time.syntax:"2026-02-13T25:23:45Z"`},
		{"time=2026-02-13T25:23:45Z", `time=2026-02-13T25:23:45Z time.syntax:"2026-02-13T25:23:45Z"`},
	})
	check(t, &dialect.Parser{}, [][2]string{
		{"2026-02-13 09:23:45 INFO x", `info time.naive:"2026-02-13 09:23:45"`},
		{"2026-02-13 09:23:45+08:00 INFO x", at + " info"},
	})
}

func TestFields(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	check(t, &dialect.Parser{}, [][2]string{
		{"a=1,b=2, c=3;d=4", "a=1 b=2 c=3 d=4"},
		{"用户＝7，订单：8899。", "用户=7 订单=8899"},
		{`a="x \"y\" \u4e2d" b='1 2' c=“三 四” d=「五」`, `a=x "y" 中 b=1 2 c=三 四 d=五`},
		{"tags=[a,b,c] m={x:1} (n=5)", "tags=[a,b,c] m={x:1} n=5"},
		{"list=a,b,c", "list=a,b,c"},
		{"empty= next=1", "empty= next=1"},
		{"a==b c!=d e>=f x=>y", ""},
		{"GET http://h/p?a=1&b=2", ""},
		{"url=http://h/p?a=1&b=2", "url=http://h/p?a=1&b=2"},
		{"注意： 空格之后不是值", ""},
		{"a=1 a=2", `a=1 field.repeated:"a"`},
		{`a="open b=1`, `a=open b=1 quote.unclosed:"\"open b=1"`},
		{"trace_id=" + strings.ToUpper(trace), trace},
		{"[trace=" + trace + "] x", trace},
		{"追踪号：" + trace, trace},
		{"traceparent=00-" + trace + "-00f067aa0ba902b7-01", trace},
		{"traceId=4bf92f35-77b3-4da6-a3ce-929d0e0e4736", trace},
		{"trace_id=7", `trace_id=7 trace.syntax:"7"`},
		{"trace_id=00000000000000000000000000000000", `trace_id=00000000000000000000000000000000 trace.syntax:"00000000000000000000000000000000"`},
		{"trace=on", "trace=on"},
	})
}

func TestDurations(t *testing.T) {
	check(t, &dialect.Parser{}, [][2]string{
		{"took=35ms", "took=35ms took~35ms"},
		{"耗时：1.5秒", "耗时=1.5秒 耗时~1.5s"},
		{"took=5m", "took=5m took~5m0s"},
		{"took=35", "took=35"},
		{"took=35msx", "took=35msx"},
		{"共耗时2m30s，等了3分20秒", "~2m30s ~3m20s"},
		{"停1小时30分钟，30天后", "~1h30m0s ~720h0m0s"},
		{"0.25µs 250ns 3微秒", "~250ns ~250ns ~3µs"},
		{"长5m 得5分 v2s 3s2 1.2.3s 10-20ms 9/5s", ""},
		{"99999999999999999天", ""},
	})
}

func TestBadText(t *testing.T) {
	r := (&dialect.Parser{}).Parse("用户\xff埋单 a=\xfe")
	if len(r.Findings) != 1 || r.Findings[0] != (dialect.Finding{Code: dialect.BadText, Offset: 6, Size: len("\xff埋单 a=\xfe")}) {
		t.Errorf("%+v", r.Findings)
	}
	if len(r.Events) != 1 || r.Events[0].Offset != 7 {
		t.Errorf("%+v", r.Events)
	}
}

// A line of the greatest length, of what is looked up again and again, is still read at once.
func TestLongLines(t *testing.T) {
	var many strings.Builder
	for i := 0; many.Len() < dialect.MaxLine; i++ {
		fmt.Fprintf(&many, "k%d=%d ", i, i)
	}
	fields := strings.Count(many.String(), "=")
	for unit, want := range map[string]int{"靠岸": 0, "埋单 ": dialect.MaxLine / len("埋单 "), "a=,": 0, "【琼】": 0, `a="`: 0, "a：": 0, "1.2": 0, "埋单   = ": dialect.MaxLine / len("埋单   = ")} {
		if r := (&dialect.Parser{}).Parse(strings.Repeat(unit, dialect.MaxLine/len(unit))); len(r.Events) != want {
			t.Errorf("%q: %d events", unit, len(r.Events))
		}
	}
	many.WriteString("k7=8")
	if r := (&dialect.Parser{}).Parse(many.String()); len(r.Fields) != fields || len(r.Findings) != 1 || r.Findings[0].Code != dialect.RepeatedField {
		t.Errorf("%d fields, %d findings", len(r.Fields), len(r.Findings))
	}
}

// The sample log and its records. Read it beside testdata/haikou.ndjson.
func TestSampleLog(t *testing.T) {
	log, err := os.ReadFile("testdata/haikou.log")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	lines := dialect.NewReader(iotest.OneByteReader(bytes.NewReader(log)), &dialect.Parser{Naive: beijing.Assume})
	for r := new(dialect.Record); ; {
		err := lines.Next(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(log[r.Offset:], []byte(r.Text)) {
			t.Errorf("line %d is not at byte %d", r.Line, r.Offset)
		}
		for _, f := range r.Findings {
			if m := f.Message(); m.ZH == "" || m.EN == "" {
				t.Errorf("%s has no words", f.Code)
			}
		}
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	const golden = "testdata/haikou.ndjson"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the records have changed; if that is meant, run go test -update\n%s", got.String())
	}
}

func TestReader(t *testing.T) {
	long := strings.Repeat("埋", dialect.MaxLine) // three times too long
	log := "\ufeffa=1\r\n\n  \n" + long + "\nlast"
	lines := dialect.NewReader(strings.NewReader(log), &dialect.Parser{})
	r := new(dialect.Record)
	for _, want := range []struct {
		line, offset int64
		size         int
		finding      string
	}{{1, 3, 3, ""}, {4, 12, dialect.MaxLine - 1, dialect.LongLine}, {5, 13 + int64(len(long)), 4, ""}} {
		if err := lines.Next(r); err != nil {
			t.Fatal(err)
		}
		if r.Line != want.line || r.Offset != want.offset || len(r.Text) != want.size {
			t.Errorf("line %d at %d, %d bytes; want %+v", r.Line, r.Offset, len(r.Text), want)
		}
		if len(r.Findings) > 1 || (len(r.Findings) == 1) != (want.finding != "") || want.finding != "" && r.Findings[0].Code != want.finding {
			t.Errorf("line %d: %+v", r.Line, r.Findings)
		}
	}
	if err := lines.Next(r); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	broken := errors.New("broken")
	lines = dialect.NewReader(io.MultiReader(strings.NewReader("a=1\nb="), iotest.ErrReader(broken)), &dialect.Parser{})
	if err := lines.Next(r); err != nil {
		t.Fatal(err)
	}
	if err := lines.Next(r); !errors.Is(err, broken) {
		t.Errorf("half a line was read: %v, %s", err, r.Text)
	}
}

// A record is used again without what it said before, and without new memory for its parts.
func TestReuse(t *testing.T) {
	p, r := &dialect.Parser{}, new(dialect.Record)
	const line = "2026-02-13T09:23:45.000+08:00 INFO 用户埋单 order=8899 耗时=35ms"
	p.ParseInto(r, line)
	p.ParseInto(r, "x")
	if got := brief(r); got != "" || r.Text != "x" {
		t.Errorf("%s", got)
	}
	if n := testing.AllocsPerRun(100, func() { p.ParseInto(r, line) }); n > 3 {
		t.Errorf("%v allocations a line", n)
	}
}

func FuzzParse(f *testing.F) {
	log, err := os.ReadFile("testdata/haikou.log")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	codes := map[string]bool{}
	for _, term := range dialect.Builtin().Terms() {
		codes[term.Code] = true
	}
	f.Fuzz(func(t *testing.T, line string) {
		r := (&dialect.Parser{Naive: beijing.Assume}).Parse(line)
		for _, e := range r.Events {
			if !codes[e.Code] || !strings.EqualFold(line[e.Offset:e.Offset+e.Size], e.Term) {
				t.Fatalf("%q: %+v", line, e)
			}
		}
		seen := map[string]bool{}
		for _, field := range r.Fields {
			if seen[field.Key] || field.Key == "" || !strings.Contains(line, field.Key) || field.Offset > len(line) {
				t.Fatalf("%q: %+v", line, field)
			}
			seen[field.Key] = true
		}
		for _, found := range r.Findings {
			if found.Size < 0 || found.Offset < 0 || found.Offset+found.Size > len(line) || found.Message().IsZero() {
				t.Fatalf("%q: %+v", line, found)
			}
		}
		for _, d := range r.Durations {
			if d.Value < 0 || d.Offset >= len(line) {
				t.Fatalf("%q: %+v", line, d)
			}
		}
		if text, err := json.Marshal(r); err != nil || !json.Valid(text) {
			t.Fatalf("%q: %v", line, err)
		}
	})
}

// FuzzReader: whatever the pieces a log arrives in, its lines are the same, and stand where they say.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\ufeffa=1\r\n\n埋单\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		whole := dialect.NewReader(bytes.NewReader(log), &dialect.Parser{})
		pieces := dialect.NewReader(iotest.HalfReader(bytes.NewReader(log)), &dialect.Parser{})
		for {
			var a, b dialect.Record
			err := whole.Next(&a)
			if other := pieces.Next(&b); !errors.Is(other, err) || a.Text != b.Text || a.Line != b.Line || a.Offset != b.Offset {
				t.Fatalf("%v at %d:%d %q, and %v at %d:%d %q", err, a.Line, a.Offset, a.Text, other, b.Line, b.Offset, b.Text)
			}
			if err != nil {
				return
			}
			if !bytes.HasPrefix(log[a.Offset:], []byte(a.Text)) {
				t.Fatalf("line %d is not at byte %d", a.Line, a.Offset)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	const line = "2026-02-13T09:23:45.000+08:00 INFO 用户埋单 order=8899 耗时=35ms trace_id=4bf92f3577b34da6a3ce929d0e0e4736"
	p, r := &dialect.Parser{}, new(dialect.Record)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		p.ParseInto(r, line)
	}
}

func ExampleParser_Parse() {
	p := &dialect.Parser{}
	r := p.Parse("2026-02-13T09:23:45.120+08:00 WARN 埋单失败：余额不足，订单＝8899，耗时1.5秒")
	fmt.Println(r.Time, r.Level)
	for _, e := range r.Events {
		fmt.Println(e.Code, "negated:", e.Negated)
	}
	order, _ := r.Fields.Get("订单")
	fmt.Println(order, r.Durations[0].Value == 1500*time.Millisecond)

	r = p.Parse("// 【琼】 摸螺: 从死信里捡回来")
	for _, f := range r.Findings {
		fmt.Println(f.Code, r.Text[f.Offset:f.Offset+f.Size], f.Message().EN)
	}
	// Output:
	// 2026-02-13T09:23:45.120+08:00 warn
	// settle negated: true
	// 8899 true
	// term.unknown 摸螺 the glossary has no such term
}
