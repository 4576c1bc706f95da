package result

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/ledger"
	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// phase is 1000 requests of an open loop: 990 take 10 ms, ten 500 ms.
func phase(t *testing.T) *Phase {
	t.Helper()
	y := tally.New([]string{"x"}, time.Second)
	for i := range 1000 {
		due := time.Duration(i) * time.Millisecond
		took := 10 * time.Millisecond
		if i%100 == 99 {
			took = 500 * time.Millisecond
		}
		y.SendAt(due, due, due)
		y.Answer(0, 200+i%2, 7, due, due, due+took, i != 0)
	}
	y.Sum()
	return Of("steady", load.Plan{Conns: 5, Workers: 2, Schedule: schedule.Constant(1000, time.Second)}, &load.Outcome{Tally: y, Took: time.Second, Busy: 0.5})
}

func whole(t *testing.T) *Result {
	return &Result{Format: Format, Complete: true, Phases: []*Phase{{Name: "top", Loop: "closed", Rate: 5}, phase(t)}}
}

func TestThresholds(t *testing.T) {
	for text, want := range map[string]Outcome{
		"p50<=11ms": Met, "p99<=11ms": Met, "p99.9<=11ms": Missed, "max<1s": Met, "max<500ms": Missed, "mean>5ms": Met,
		"service_p50<=0.011s": Met, "lag_max==0ms": Met, "rate>=1000": Met, "rate>1000": Missed, "errors==0": Missed, "errors==1": Met,
		"error_rate<=0.1%": Met, "error_rate<0.001": Missed, "dropped==0": Met, "late == 0": Met, "status_200==500": Met, "status_404==0": Met, "bytes<=7KiB": Met,
		"busy<=50%": Met, "top:rate==5": Met, "steady:rate==1000": Met, "nowhere:rate==1": Missed,
		"cpu_server<=25us": Missed, "rss<2GiB": Missed, "oversold==0": Missed, // not known
	} {
		rule, err := ParseThreshold(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r := whole(t)
		if r.Judge([]Threshold{rule}); r.Verdict.Outcome != want {
			t.Errorf("%s: %s, %+v", text, r.Verdict.Outcome, r.Verdict.Rules)
		}
	}
	for _, text := range []string{"", "p99", "p99<=", "p99<=250", "p99=<250ms", "p98<=1ms", "errors==none", "errors==-1", "rate>=1e400", "error_rate<=x%", "status_0==1", "rss<=2GB", "p99<=-1ms", "rate>=NaN"} {
		if _, err := ParseThreshold(text); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	good, err := ParseThreshold("rate>=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		rules  []Threshold
		change func(r *Result)
		want   Outcome
		reason string
	}{
		{"nothing required", nil, func(*Result) {}, None, ""},
		{"met", []Threshold{good}, func(*Result) {}, Met, ""},
		{"lag", []Threshold{good}, func(r *Result) { r.Phases[1].Limited = true }, Refused, "generator"},
		{"lag, nothing required", nil, func(r *Result) { r.Phases[1].Limited = true }, Refused, "generator"},
		{"calibration", []Threshold{good}, func(r *Result) { r.Calibration = &Calibration{} }, Refused, "calibration"},
		{"calibrated", []Threshold{good}, func(r *Result) { r.Calibration = &Calibration{Enough: true} }, Met, ""},
		{"cut short", []Threshold{good}, func(r *Result) { r.Complete = false }, Refused, "incomplete"},
		{"clean ledger", nil, func(r *Result) { r.Check = &ledger.Report{} }, Met, ""},
		{"oversold", []Threshold{good}, func(r *Result) { r.Check = &ledger.Report{Oversold: 1} }, Missed, ""},
		{"lost, however slow the generator", nil, func(r *Result) { r.Check, r.Phases[1].Limited = &ledger.Report{Lost: 1}, true }, Missed, ""},
	} {
		r := whole(t)
		c.change(r)
		if r.Judge(c.rules); r.Verdict.Outcome != c.want || r.Verdict.Reason != c.reason {
			t.Errorf("%s: %+v", c.name, r.Verdict)
		}
	}
}

// The generator is the bottleneck where it was late itself, or had no time to wait; never because the server was slow.
func TestLimited(t *testing.T) {
	for _, c := range []struct {
		lag, response, busy float64
		want                bool
	}{
		{0.1, 5000, 0.5, false}, {9, 9, 0.5, false}, {11, 12, 0.5, true}, {20, 5000, 0.5, false}, {600, 5000, 0.1, true}, {0, 1, 0.96, true},
	} {
		p := &Phase{Lag: Times{P99: c.lag}, Response: Times{P99: c.response}, Busy: c.busy}
		if p.Limit(TooLate); p.Limited != c.want {
			t.Errorf("%+v: %v", c, !c.want)
		}
	}
}

func TestResultsComeBack(t *testing.T) {
	r := whole(t)
	r.Judge(nil)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	h, err := back.Phases[1].Response.Distribution()
	if err != nil || h.TotalCount() != 1000 || math.Abs(float64(h.ValueAtQuantile(99.5))-500_000) > 500 {
		t.Errorf("%v, %v", err, h)
	}
	if _, err := (Times{Histogram: "AAAA"}).Distribution(); err == nil {
		t.Error("no histogram was read as one")
	}
	for _, bad := range []string{"", "[]", "{}", `{"format":1}`, `{"format":2,"phases":[{}]}`, `{"format":1,"phases":[null]}`} {
		if _, err := Parse([]byte(bad)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCompare(t *testing.T) {
	before, after := whole(t), whole(t)
	after.Phases[1].Rate = 2000
	after.Phases[1].Errors = 0
	changes := after.Compare(before)
	found := map[string]Change{}
	for _, c := range changes {
		if c.Phase == "steady" {
			found[c.Figure] = c
		}
	}
	if c := found["rate"]; c.Ratio != 2 || c.Before != 1000 || c.After != 2000 {
		t.Errorf("%+v", c)
	}
	if c, known := found["rss"]; known {
		t.Errorf("nobody knows of memory: %+v", c)
	}
	after.Phases[0].Name, after.Phases[1].Name = "x", "y"
	if changes := after.Compare(before); len(changes) != 0 {
		t.Errorf("phases of other names: %+v", changes)
	}
}

func TestRatios(t *testing.T) {
	v := &Versus{}
	for i := range 5 {
		v.RoundsA = append(v.RoundsA, &Phase{Rate: float64(100 * (i + 1))}) // the machine gets faster meanwhile
		v.RoundsB = append(v.RoundsB, &Phase{Rate: float64(200*(i+1)) + []float64{0, 50, 0, -40, 0}[i]})
	}
	v.Rate()
	if len(v.Ratios) != 1 || v.Ratios[0].Figure != "rate" || v.Ratios[0].Median != 2 || v.Ratios[0].Low != 1.9 || v.Ratios[0].High != 2.25 || v.Limited {
		t.Errorf("%+v", v.Ratios)
	}
}

func FuzzParseThreshold(f *testing.F) {
	f.Add("steady:p99<=250ms")
	f.Add("error_rate<0.1%")
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := ParseThreshold(text)
		if err != nil {
			if errs.KindOf(err) != errs.Invalid {
				t.Fatal(err)
			}
			return
		}
		if math.IsNaN(rule.Bound) || math.IsInf(rule.Bound, 0) || rule.Bound < 0 {
			t.Fatalf("%q has the bound %v", text, rule.Bound)
		}
		r := &Result{Phases: []*Phase{{}}}
		r.Judge([]Threshold{rule})
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"format":1,"phases":[{"name":"x","response":{"histogram":"AAAA"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		r.Compare(r)
		for _, p := range r.Phases {
			_, _ = p.Response.Distribution()
		}
	})
}
