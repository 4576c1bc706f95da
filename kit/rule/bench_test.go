package rule

import "testing"

// BenchmarkEvaluate is a rule that all clauses of hold, with one earlier record found.
func BenchmarkEvaluate(b *testing.B) {
	known := readSchemas(b)
	c := compile(b, readRule(b, "return-voucher"), known)
	in, earlier := voucher(b, known)
	if got := outcome(b, c, in, earlier); got != "passed" {
		b.Fatal(got)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Evaluate(in, earlier); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse reads the facts of a voucher.
func BenchmarkParse(b *testing.B) {
	known := readSchemas(b)
	in, _ := voucher(b, known)
	data := in.JSON()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.schema.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompile is what accepting a rule, or starting with it, takes.
func BenchmarkCompile(b *testing.B) {
	known := readSchemas(b)
	r := readRule(b, "return-voucher")
	b.ReportAllocs()
	for b.Loop() {
		compile(b, r, known)
	}
}

func voucher(b *testing.B, known map[string]*Schema) (*Facts, map[string]*Facts) {
	in := facts(b, known["trade.return/1"], `{"order":"`+keyB+`","amount":19900,"at":"2026-11-22T20:11:57.123+08:00","reason":"QUALITY"}`)
	order := facts(b, known["trade.order/1"], `{"order":"`+keyB+`","amount":39900,"at":"2026-11-01T09:00:00.000+08:00"}`)
	return in, map[string]*Facts{"order": order}
}
