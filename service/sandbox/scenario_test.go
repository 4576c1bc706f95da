package sandbox

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func TestBuiltinScenario(t *testing.T) {
	s, err := LoadScenario(builtin)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := loadDocuments()
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range docs {
		for resource := range doc.schemas {
			if s.resources[key{agency: name, resource: resource}] == nil {
				t.Errorf("%s/%s is described and does not behave", name, resource)
			}
		}
	}
	b := s.resources[key{agency: "market", resource: "registrations"}]
	if b.Latency != (Latency{900 * time.Millisecond, 0.3}) || b.Mode != Now || b.Revocable {
		t.Errorf("registrations behave as %+v", b)
	}
}

func TestLoadScenarioFindings(t *testing.T) {
	const good = "agencies:\n  hr:\n    insurance-accounts:\n      mode: now\n      latency: {median: 1ms, sigma: 0}\n      revocable: true\n      output: {n: \"{digits:3}\"}\n"
	if _, err := LoadScenario([]byte(good)); err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q is not in the text", old)
		}
		return changed
	}
	for name, test := range map[string]struct {
		text  string
		line  int
		field string
	}{
		"empty":               {"", 1, ""},
		"syntax":              {"agencies:\n  hr: {\n", 2, ""},
		"a list":              {"- a\n", 1, ""},
		"two documents":       {good + "---\na: 1\n", 8, ""},
		"unknown top key":     {good + "secret-value: 1\n", 8, "secret-value"},
		"unknown agency":      {with("  hr:", "  moon:"), 3, "agencies.moon"},
		"unknown resource":    {with("insurance-accounts", "rockets"), 3, "agencies.hr.rockets"},
		"bad name":            {with("  hr:", "  HR:"), 2, "agencies.HR"},
		"unknown key":         {with("mode: now", "mode: now\n      colour: red"), 5, "agencies.hr.insurance-accounts.colour"},
		"a key twice":         {with("mode: now", "mode: now\n      mode: poll"), 5, "agencies.hr.insurance-accounts.mode"},
		"unknown mode":        {with("mode: now", "mode: soon"), 4, "agencies.hr.insurance-accounts.mode"},
		"no mode":             {with("      mode: now\n", ""), 4, "agencies.hr.insurance-accounts.mode"},
		"median":              {with("1ms", "fast"), 5, "agencies.hr.insurance-accounts.latency.median"},
		"median too long":     {with("1ms", "11m"), 5, "agencies.hr.insurance-accounts.latency.median"},
		"sigma":               {with("sigma: 0", "sigma: -1"), 5, "agencies.hr.insurance-accounts.latency.sigma"},
		"sigma not a number":  {with("sigma: 0", "sigma: .nan"), 5, "agencies.hr.insurance-accounts.latency.sigma"},
		"revocable":           {with("revocable: true", "revocable: maybe"), 6, "agencies.hr.insurance-accounts.revocable"},
		"placeholder":         {with("digits:3", "digits:x"), 7, "agencies.hr.insurance-accounts.output.n"},
		"unclosed":            {with("{digits:3}", "{digits:3"), 7, "agencies.hr.insurance-accounts.output.n"},
		"stray brace":         {with("{digits:3}", "3}"), 7, "agencies.hr.insurance-accounts.output.n"},
		"fake cannot be set":  {with("{n:", "{fake: false, n:"), 7, "agencies.hr.insurance-accounts.output.fake"},
		"a list as an output": {with("\"{digits:3}\"", "[1]"), 7, "agencies.hr.insurance-accounts.output.n"},
		"infinity":            {with("\"{digits:3}\"", ".inf"), 7, "agencies.hr.insurance-accounts.output.n"},
		"alias":               {with("latency: {median: 1ms, sigma: 0}", "latency: &l {median: 1ms, sigma: 0}\n      faults: *l"), 6, "agencies.hr.insurance-accounts.faults"},
		"unknown fault":       {good + "      faults: {fire: 1}\n", 8, "agencies.hr.insurance-accounts.faults.fire"},
		"odds above one":      {good + "      faults:\n        lost: 0.6\n        down: 0.5\n", 9, "agencies.hr.insurance-accounts.faults"},
		"rules not a list":    {good + "      refuse: {a: 1}\n", 8, "agencies.hr.insurance-accounts.refuse"},
		"rule without test":   {good + "      refuse:\n        - {field: a, code: b, reason: {zh: c, en: d}}\n", 9, "agencies.hr.insurance-accounts.refuse[0]"},
		"rule in one tongue":  {good + "      refuse:\n        - {field: a, equals: x, code: b, reason: {zh: c}}\n", 9, "agencies.hr.insurance-accounts.refuse[0].reason.en"},
		"too large":           {good + strings.Repeat("#", maxScenario), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadScenario([]byte(test.text))
			var e *errs.Error
			if !errors.As(err, &e) || e.Line != test.line || e.Field != test.field || e.In(lang.ZH) == e.In(lang.EN) {
				t.Errorf("got %+v; want line %d, field %q", e, test.line, test.field)
			}
		})
	}
}

func TestEveryFindingAtOnce(t *testing.T) {
	_, err := LoadScenario([]byte("agencies:\n  hr:\n    insurance-accounts:\n      mode: x\n      latency: {median: y, sigma: z}\n      revocable: 1\n      output: []\n"))
	e := errs.As(err)
	lines := []int{e.Line}
	for _, also := range e.Also {
		lines = append(lines, also.Line)
	}
	if !slices.Equal(lines, []int{4, 5, 5, 6, 7}) {
		t.Errorf("findings at lines %v", lines)
	}
}

func FuzzLoadScenario(f *testing.F) {
	f.Add(string(builtin))
	f.Add("agencies: {hr: {insurance-accounts: {mode: now}}}")
	f.Add("a: &a [*a]")
	f.Add("? [x]\n: y\n---\n")
	f.Add("<<: {a: b}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := LoadScenario([]byte(text))
		if err != nil {
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.TooLarge {
				t.Fatalf("%v: %v", k, err)
			}
			return
		}
		for k, b := range s.resources { // what loads can be used
			if b.Mode == "" || math.IsNaN(b.Latency.Sigma) {
				t.Fatalf("%v behaves as %+v", k, b)
			}
			if _, err := output(b.output, 1, k, application{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLatencyIsLognormal(t *testing.T) {
	l := Latency{900 * time.Millisecond, 0.3}
	var logs []float64
	for i := range 20000 {
		d := l.sample(draw(1, key{"market", "registrations", string(rune('a' + i))}, "latency"), 1)
		logs = append(logs, math.Log(d.Seconds()))
	}
	slices.Sort(logs)
	var sum, squares float64
	for _, x := range logs {
		sum += x
		squares += x * x
	}
	n := float64(len(logs))
	sigma := math.Sqrt(squares/n - sum*sum/n/n)
	if median := math.Exp(logs[len(logs)/2]); math.Abs(median-0.9) > 0.01 || math.Abs(sigma-0.3) > 0.005 {
		t.Errorf("median %.3f s, sigma %.3f; want 0.9 s and 0.3", median, sigma)
	}
	if d := l.sample(draw(1, key{}, ""), 0); d != 0 {
		t.Errorf("at speed 0 it takes %v", d)
	}
	if d := (Latency{maxLatency, 2}).sample(draw(1, key{}, ""), 1000); d != maxLatency {
		t.Errorf("the tail is not bounded: %v", d)
	}
}

func TestFaultsFollowTheirOdds(t *testing.T) {
	want := []odds{{Lost, 0.2}, {Drip, 0.1}}
	count := map[FaultKind]int{}
	const n = 20000
	for i := range n {
		count[sampleFault(draw(3, key{"hr", "x", string(rune('a' + i))}, "fault"), want)]++
	}
	for _, o := range append(want, odds{"", 0.7}) {
		if share := float64(count[o.kind]) / n; math.Abs(share-o.p) > 0.015 {
			t.Errorf("%q strikes %.3f of the requests, not %.3f", o.kind, share, o.p)
		}
	}
}
