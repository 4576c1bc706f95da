package result

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/ledger"
)

// Outcome is what a verdict says.
type Outcome string

// The outcomes.
const (
	None    Outcome = ""        // nothing was required
	Met     Outcome = "met"     // all that was required holds
	Missed  Outcome = "missed"  // something does not
	Refused Outcome = "refused" // the generator was the bottleneck, or the run incomplete: nobody can say
)

// Verdict is a run held to what was required of it.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // of Refused: generator, calibration, incomplete
	Rules   []Rule  `json:"rules,omitempty"`
}

// Rule is a threshold with what it was held against.
type Rule struct {
	Text  string  `json:"rule"`
	Got   float64 `json:"got"`
	Known bool    `json:"known"` // the run has such a figure
	Met   bool    `json:"met"`
}

// Threshold is a rule that was read: a figure, a sign and a bound, perhaps for one phase alone.
type Threshold struct {
	Text   string
	Phase  string // empty: every phase of an open loop, or, where there is none, every phase
	Figure string
	Sign   string
	Bound  float64
}

var (
	rule   = regexp.MustCompile(`^(?:([^\s:]+):)?([a-z0-9_.]+)\s*(<=|>=|==|<|>)\s*(\S+)$`)
	status = regexp.MustCompile(`^status_[1-9][0-9]{0,2}$`)
)

// figures are those a phase has, with the unit of their bound: ms, bytes, or a number.
var figures = map[string]string{
	"rate": "", "sent": "", "done": "", "errors": "", "error_rate": "%", "late": "", "dropped": "", "bytes": "bytes", "connects": "", "busy": "%",
	"cpu_client": "µs", "cpu_server": "µs", "rss": "bytes",
	"oversold": "", "lost": "", "double": "",
}

var times = map[string]func(Times) float64{
	"mean": func(t Times) float64 { return t.Mean }, "p50": func(t Times) float64 { return t.P50 }, "p90": func(t Times) float64 { return t.P90 },
	"p99": func(t Times) float64 { return t.P99 }, "p99.9": func(t Times) float64 { return t.P999 }, "p99.99": func(t Times) float64 { return t.P9999 }, "max": func(t Times) float64 { return t.Max },
}

// ParseThreshold reads a rule such as p99<=250ms, steady:rate>=8000, error_rate<0.1%, rss<=2GiB or errors==0.
func ParseThreshold(text string) (Threshold, error) {
	m := rule.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return Threshold{}, wrongRule()
	}
	t := Threshold{Text: text, Phase: m[1], Figure: m[2], Sign: m[3]}
	unit, ok := figures[t.Figure]
	if name := strings.TrimPrefix(strings.TrimPrefix(t.Figure, "service_"), "lag_"); times[name] != nil {
		unit, ok = "ms", true
	}
	if !ok && !status.MatchString(t.Figure) {
		names := slices.Sorted(maps.Keys(figures))
		return t, wrongRule().WithHint("指标有 "+strings.Join(names, "、")+"，以及 status_NNN、p50…p99.99、mean、max（可加 service_ 或 lag_）", "figures are "+strings.Join(names, ", ")+", status_NNN and p50…p99.99, mean, max (with service_ or lag_ before them)")
	}
	if t.Bound, ok = bound(m[4], unit); !ok {
		return t, wrongRule()
	}
	return t, nil
}

func wrongRule() *errs.Error {
	return errs.New(errs.Invalid, "阈值应写作 p99<=250ms、errors==0、rate>=8000 等", "a threshold is written p99<=250ms, errors==0, rate>=8000 and so on").WithField("require")
}

// bound reads a bound in the unit of its figure.
func bound(s, unit string) (float64, bool) {
	number := func(s string, by float64) (float64, bool) {
		v, err := strconv.ParseFloat(s, 64)
		return v * by, err == nil && v >= 0 && v < 1e18
	}
	switch unit {
	case "ms":
		d, err := time.ParseDuration(s)
		return float64(d) / float64(time.Millisecond), err == nil && d >= 0
	case "µs":
		if d, err := time.ParseDuration(s); err == nil {
			return float64(d) / float64(time.Microsecond), d >= 0
		}
	case "%":
		if s, ok := strings.CutSuffix(s, "%"); ok {
			return number(s, 0.01)
		}
	case "bytes":
		for i, suffix := range []string{"KiB", "MiB", "GiB"} {
			if s, ok := strings.CutSuffix(s, suffix); ok {
				return number(s, float64(int64(1)<<(10*(i+1))))
			}
		}
	}
	return number(s, 1)
}

// figure returns a figure of a phase.
func (p *Phase) figure(name string, check *ledger.Report) (float64, bool) {
	if check != nil {
		switch name {
		case "oversold":
			return float64(check.Oversold), true
		case "lost":
			return float64(check.Lost), true
		case "double":
			return float64(check.Double), true
		}
	}
	if code, ok := strings.CutPrefix(name, "status_"); ok {
		n, err := strconv.Atoi(code)
		return float64(p.Status[n]), err == nil
	}
	of, which := p.Response, name
	if rest, ok := strings.CutPrefix(name, "service_"); ok {
		of, which = p.Service, rest
	} else if rest, ok := strings.CutPrefix(name, "lag_"); ok {
		of, which = p.Lag, rest
	}
	if read := times[which]; read != nil {
		return read(of), true
	}
	switch name {
	case "rate":
		return p.Rate, true
	case "sent":
		return float64(p.Sent), true
	case "done":
		return float64(p.Done), true
	case "errors":
		return float64(p.Errors), true
	case "error_rate":
		return float64(p.Errors+p.Dropped) / float64(max(p.Sent+p.Dropped, 1)), true
	case "late":
		return float64(p.Late), true
	case "dropped":
		return float64(p.Dropped), true
	case "bytes":
		return float64(p.Bytes), true
	case "connects":
		return float64(p.Connects), true
	case "busy":
		return p.Busy, true
	case "cpu_client":
		return p.Usage.Client, p.Usage.Client > 0
	case "cpu_server":
		return p.Usage.Server, p.Usage.Server > 0
	case "rss":
		return float64(p.Usage.ServerRSS), p.Usage.ServerRSS > 0
	}
	return 0, false
}

func (t Threshold) holds(got float64) bool {
	switch t.Sign {
	case "<=":
		return got <= t.Bound
	case ">=":
		return got >= t.Bound
	case "<":
		return got < t.Bound
	case ">":
		return got > t.Bound
	}
	return got == t.Bound
}

// Judge holds the result to thresholds. A figure that the run does not have is missed. Where the generator was the
// bottleneck, or the run was cut short, it refuses to say.
func (r *Result) Judge(rules []Threshold) {
	v := Verdict{}
	for _, t := range rules {
		v.Rules = append(v.Rules, r.hold(t)...)
	}
	switch {
	case r.Check != nil && !r.Check.Clean(): // whoever was the bottleneck
		v.Outcome = Missed
	case r.Calibration != nil && !r.Calibration.Enough:
		v.Outcome, v.Reason = Refused, "calibration"
	case slices.ContainsFunc(r.Phases, func(p *Phase) bool { return p.Limited }):
		v.Outcome, v.Reason = Refused, "generator"
	case !r.Complete && len(rules) > 0:
		v.Outcome, v.Reason = Refused, "incomplete"
	case slices.ContainsFunc(v.Rules, func(r Rule) bool { return !r.Met }):
		v.Outcome = Missed
	case len(rules) > 0 || r.Check != nil:
		v.Outcome = Met
	}
	r.Verdict = v
}

// hold holds every phase that a threshold is for to it.
func (r *Result) hold(t Threshold) (all []Rule) {
	open := slices.ContainsFunc(r.Phases, func(p *Phase) bool { return p.Loop == "open" })
	for _, p := range r.Phases {
		if t.Phase == "" && open && p.Loop != "open" || t.Phase != "" && t.Phase != p.Name {
			continue
		}
		text := t.Text
		if t.Phase == "" && len(r.Phases) > 1 {
			text = fmt.Sprintf("%s:%s", p.Name, t.Text)
		}
		got, known := p.figure(t.Figure, r.Check)
		all = append(all, Rule{text, got, known, known && t.holds(got)})
	}
	if len(all) == 0 {
		all = append(all, Rule{Text: t.Text})
	}
	return all
}
