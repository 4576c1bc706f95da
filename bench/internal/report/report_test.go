package report

import (
	"strings"
	"testing"

	"github.com/qiongdev/qiong/bench/internal/measure"
)

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 2: {3, 1, 2}, 2.5: {4, 1, 3, 2}} {
		if got := Median(values); got != want {
			t.Errorf("median %v, want %v", got, want)
		}
	}
}

func TestGoalsAreMediansOfRatios(t *testing.T) {
	r := &Report{Title: "x", Machine: "m"}
	for _, round := range []struct{ ours, theirs, oursP95, theirsP95 float64 }{
		{300, 100, 5, 10}, {100, 100, 9, 10}, {400, 100, 4, 10},
	} {
		r.Add(measure.Sample{System: "a", Load: "l", Ops: int64(round.ours), Seconds: 1, P95: round.oursP95, CPU: map[string]float64{"pg": 7}})
		r.Add(measure.Sample{System: "b", Load: "l", Ops: int64(round.theirs), Seconds: 1, P95: round.theirsP95})
	}
	for _, c := range []struct {
		figure string
		want   float64
		got    float64
		met    bool
	}{
		{"rate", 3, 3, true}, {"rate", 3.1, 3, false}, {"rate", 0, 3, true},
		{"p95", 0.5, 0.5, true}, {"p95", 0.6, 0.5, true}, {"p95", 0.4, 0.5, false},
	} {
		r.Goals = nil
		r.Judge(Goal{Load: "l", System: "a", Peer: "b", Figure: c.figure, Want: c.want})
		if g := r.Goals[0]; g.Got != c.got || g.Met != c.met {
			t.Errorf("%s against %v: got %v, met %v", c.figure, c.want, g.Got, g.Met)
		}
	}
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| l | a | 3 | 300 |", "| l | b | 3 | 100 |", "| ≤ 0.40 | 0.50 | missed |", "pg CPU µs"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestNoVerdictWhereTheGeneratorHadNoRest(t *testing.T) {
	for busy, want := range map[float64]string{0.5: "| 2.00 | met |", 0.97: "| 2.00 | no verdict"} {
		r := &Report{}
		r.Add(measure.Sample{System: "a", Load: "l", Ops: 200, Seconds: 1, Busy: 0.4})
		r.Add(measure.Sample{System: "b", Load: "l", Ops: 100, Seconds: 1, Busy: busy})
		r.Judge(Goal{Load: "l", System: "a", Peer: "b", Figure: "rate", Want: 1})
		var b strings.Builder
		if err := r.Markdown(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "| 40 % |") {
			t.Errorf("a peer whose generator was busy %v: no %q in\n%s", busy, want, b.String())
		}
	}
}
