package rule

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// source draws the same facts on every machine: PCG is specified to the bit, and nothing else of its package is used.
type source struct{ rand.PCG }

func (s *source) below(n int) int { return int(s.Uint64() % uint64(n)) }

// value draws a fact, as JSON, from a few that clauses tell apart, and now and then from all there are.
func (s *source) value(kind Kind) string {
	switch kind {
	case Bool:
		return strconv.FormatBool(s.below(5) > 0)
	case Code:
		return strconv.Quote([]string{"QUALITY", "QUALITY", "DAMAGED", "OTHER"}[s.below(4)])
	case Key:
		return strconv.Quote(base64.StdEncoding.EncodeToString(append(make([]byte, 31), byte(s.below(2)))))
	case Time:
		at := beijing.Time(1795276800000 + int64(s.below(14))*86_400_000 + int64(s.below(3)))
		if s.below(40) == 0 {
			at = beijing.Time(s.Uint64() % uint64(lastTime+1))
		}
		return strconv.Quote(at.String())
	}
	switch s.below(40) {
	case 0:
		return strconv.FormatInt(int64(s.Uint64()), 10)
	case 1:
		return []string{"9223372036854775807", "-9223372036854775808", "0", "-1"}[s.below(4)]
	}
	return strconv.Itoa(19000 + s.below(9)*250)
}

func (s *source) facts(t testing.TB, schema *Schema) *Facts {
	var b strings.Builder
	for i, name := range schema.names() {
		fmt.Fprintf(&b, `%c"%s":%s`, "{,"[min(i, 1)], name, s.value(schema.Facts[name]))
	}
	return facts(t, schema, b.String()+"}")
}

// records draws a record of a rule and the earlier ones that are found.
func (s *source) records(t testing.TB, c *Compiled) (*Facts, map[string]*Facts) {
	earlier := map[string]*Facts{}
	for _, l := range c.lookups {
		often := 2 // of eight
		if l.Type != c.rule.For {
			often = 7
		}
		if s.below(8) < often {
			earlier[l.name] = s.facts(t, l.schema)
		}
	}
	return s.facts(t, c.self), earlier
}

// ends is a rule on which arithmetic often fails.
func ends() *Rule {
	r := about("facts.x / (facts.y - 19000) >= 0")
	r.Clauses[0].Name = "quotient"
	for _, more := range [][2]string{{"product", "facts.x * facts.y > facts.x"}, {"sum", "b == null || facts.x + b.x > facts.y"}} {
		c := r.Clauses[0]
		c.Name, c.Holds = more[0], more[1]
		r.Clauses = append(r.Clauses, c)
	}
	r.When = "facts.x % 7 != 3 || facts.yes"
	return r
}

// TestGenerated evaluates 10,000 records and compares the SM3 of their outcomes with the one on file, which amd64 made and
// arm64 and loong64 are held to. QIONG_RECORD=1 records it anew.
func TestGenerated(t *testing.T) {
	known := readSchemas(t)
	all := []*Compiled{compile(t, ends(), small)}
	for _, name := range rules {
		all = append(all, compile(t, readRule(t, name), known))
	}
	s := &source{*rand.NewPCG(2026, 4)}
	var out strings.Builder
	seen := map[string]int{}
	for i := range 10_000 {
		c := all[i%len(all)]
		f, earlier := s.records(t, c)
		found := c.rule.Name + " " + outcome(t, c, f, earlier)
		seen[found]++
		fmt.Fprintf(&out, "%s %s\n", f.JSON(), found)
	}
	for _, c := range all {
		for _, clause := range c.rule.Clauses {
			if n := seen[c.rule.Name+" failed "+clause.Name]; n < 5 {
				t.Errorf("%s: %s failed %d times: too few to tell anything", c.rule.Name, clause.Name, n)
			}
		}
		if n := seen[c.rule.Name+" passed"]; n < 5 || seen[c.rule.Name+" n/a"] == 0 && c.rule.When != "" {
			t.Errorf("%s: passed %d times, did not apply %d times", c.rule.Name, n, seen[c.rule.Name+" n/a"])
		}
	}
	const file = "testdata/generated.sm3"
	got := fmt.Sprintf("%x\n", gm.SM3([]byte(out.String())))
	if os.Getenv("QIONG_RECORD") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("the outcomes have the SM3 %s, on file is %s, %v; %v", got, want, err, seen)
	}
}

// What an evaluation really costs is never more than was estimated.
func TestCostIsBounded(t *testing.T) {
	known := readSchemas(t)
	s := &source{*rand.NewPCG(1, 2)}
	for _, name := range append([]string{""}, rules...) {
		r, schemas := ends(), small
		if name != "" {
			r, schemas = readRule(t, name), known
		}
		c, most := compile(t, r, schemas), uint64(0)
		for range 500 {
			f, earlier := s.records(t, c)
			in, err := c.activation(f, earlier)
			if err != nil {
				t.Fatal(err)
			}
			cost := uint64(0)
			for _, p := range append([]cel.Program{c.when}, c.clauses...) {
				_, details, _ := p.Eval(in)
				cost += *details.ActualCost()
			}
			most = max(most, cost)
		}
		if most > c.Cost() || most < c.Cost()/3 {
			t.Errorf("%s: cost %d, estimated %d", r.Name, most, c.Cost())
		}
	}
}

// One compilation serves many at once.
func TestManyAtOnce(t *testing.T) {
	c := compile(t, ends(), small)
	var records []*Facts
	var want []string
	s := &source{*rand.NewPCG(3, 4)}
	for range 200 {
		f, _ := s.records(t, c)
		records, want = append(records, f), append(want, outcome(t, c, f, nil))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i, f := range records {
				if r, err := c.Evaluate(f, nil); err != nil || strings.TrimSpace(string(r.Outcome)+" "+r.Clause) != want[i] {
					t.Errorf("%s: %+v, %v, alone %s", f.JSON(), r, err, want[i])
				}
			}
		})
	}
	all.Wait()
}

// FuzzCompile: no expression makes compiling or evaluating panic, and two compilations come to the same.
func FuzzCompile(f *testing.F) {
	for _, name := range rules {
		for _, c := range readRule(f, name).Clauses {
			f.Add(c.Holds, int64(1), int64(-1))
		}
	}
	f.Add("facts.x / facts.y == b.x && !facts.yes || facts.code in ['HK-1']", int64(math.MinInt64), int64(-1))
	f.Add("duration('1h') + (facts.at - facts.until) > duration('0s') ? b == null : facts.k == b.k", int64(0), int64(0))
	b := facts(f, small["b/1"], `{"x":1,"k":"`+keyA+`"}`)
	f.Fuzz(func(t *testing.T, expression string, x, y int64) {
		one, err := Compile(about(expression), small)
		if err != nil {
			if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		two := compile(t, about(expression), small)
		text := strings.NewReplacer(`"x":7`, fmt.Sprintf(`"x":%d`, x), `"y":-2`, fmt.Sprintf(`"y":%d`, y)).Replace(factsA)
		in := facts(t, small["a/1"], text)
		for _, earlier := range []map[string]*Facts{nil, {"b": b}, {"b": b, "c": b, "a": in}} {
			if a, b := outcome(t, one, in, earlier), outcome(t, two, in, earlier); a != b {
				t.Fatalf("%s with %d and %d is %s and %s", expression, x, y, a, b)
			}
		}
	})
}

// FuzzEvaluate draws records by a seed: two compilations of every rule come to the same.
func FuzzEvaluate(f *testing.F) {
	known := readSchemas(f)
	one, two := []*Compiled{compile(f, ends(), small)}, []*Compiled{compile(f, ends(), small)}
	for _, name := range rules {
		one, two = append(one, compile(f, readRule(f, name), known)), append(two, compile(f, readRule(f, name), known))
	}
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		s := &source{*rand.NewPCG(a, b)}
		for i := range one {
			in, earlier := s.records(t, one[i])
			if x, y := outcome(t, one[i], in, earlier), outcome(t, two[i], in, earlier); x != y {
				t.Fatalf("%s is %s and %s", in.JSON(), x, y)
			}
		}
	})
}
