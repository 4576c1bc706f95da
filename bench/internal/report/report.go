// Package report sets what a benchmark measured against its goals, as a Markdown section and as JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/tool/bench/result"
)

// Report is a benchmark's results. Samples stand in the order they were taken; the n-th sample of a system under a load
// is of the n-th round.
type Report struct {
	Title   string           `json:"title"`
	Machine string           `json:"machine"`
	Notes   []string         `json:"notes"`
	Samples []measure.Sample `json:"samples"`
	Goals   []Goal           `json:"goals"`
}

// Goal sets a figure of one system against that of another.
type Goal struct {
	Load   string  `json:"load"`
	System string  `json:"system"`
	Peer   string  `json:"peer"`
	Figure string  `json:"figure"` // "rate", "p95" or "p99"
	Want   float64 `json:"want"`   // at least for a rate, at most for a latency; 0 to report only
	Got    float64 `json:"got"`    // median over the rounds of System's figure by Peer's
	Met    bool    `json:"met"`
	Bound  bool    `json:"bound,omitempty"` // the generator was the bottleneck of one of the two: there is no verdict
}

// New returns an empty report of this machine.
func New(title string, notes ...string) *Report {
	return &Report{Title: title, Machine: proc.Machine(), Notes: notes}
}

// Add takes a sample in.
func (r *Report) Add(s measure.Sample) { r.Samples = append(r.Samples, s) }

// Judge appends a goal, with the median of the ratios of the rounds.
func (r *Report) Judge(g Goal) {
	figure := measure.Sample.Rate
	switch g.Figure {
	case "p95":
		figure = func(s measure.Sample) float64 { return s.P95 }
	case "p99":
		figure = func(s measure.Sample) float64 { return s.P99 }
	}
	ours, theirs := r.of(g.System, g.Load), r.of(g.Peer, g.Load)
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, figure(ours[i])/figure(theirs[i]))
	}
	if len(ratios) == 0 {
		return
	}
	g.Got = Median(ratios)
	g.Met = g.Got >= g.Want
	if g.Figure != "rate" {
		g.Met = g.Got <= g.Want
	}
	g.Bound = max(median(ours, busy), median(theirs, busy)) > result.TooBusy
	g.Met = g.Met && !g.Bound
	r.Goals = append(r.Goals, g)
}

func (r *Report) of(system, load string) []measure.Sample {
	var all []measure.Sample
	for _, s := range r.Samples {
		if s.System == system && s.Load == load {
			all = append(all, s)
		}
	}
	return all
}

func busy(s measure.Sample) float64 { return s.Busy }

func median(samples []measure.Sample, figure func(measure.Sample) float64) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, figure(s))
	}
	return Median(values)
}

// Median returns the middle of values, which it sorts; of an even number, the mean of the two in the middle.
func Median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Markdown writes the report as a section.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n", r.Title, r.Machine)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n- %s", n)
	}
	r.table(&b)
	r.goals(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) table(b *strings.Builder) {
	who := map[string]bool{}
	busiest := false
	for _, s := range r.Samples {
		for name := range s.CPU {
			who[name] = true
		}
		busiest = busiest || s.Busy > 0
	}
	names := slices.Sorted(maps.Keys(who))
	b.WriteString("\n\n| load | system | rounds | per second | p50 ms | p95 ms | p99 ms |")
	for _, n := range names {
		fmt.Fprintf(b, " %s CPU µs |", n)
	}
	columns := len(names)
	if busiest {
		b.WriteString(" generator's busiest worker |")
		columns++
	}
	b.WriteString("\n|---|---|--:|--:|--:|--:|--:|" + strings.Repeat("--:|", columns) + "\n")
	seen := map[[2]string]bool{}
	for _, s := range r.Samples {
		if key := [2]string{s.Load, s.System}; !seen[key] {
			seen[key] = true
			r.row(b, s, names, busiest)
		}
	}
}

// row writes the medians over all rounds of first's system under its load.
func (r *Report) row(b *strings.Builder, first measure.Sample, names []string, busiest bool) {
	all := r.of(first.System, first.Load)
	fmt.Fprintf(b, "| %s | %s | %d | %.0f | %.2f | %.2f | %.2f |", first.Load, first.System, len(all),
		median(all, measure.Sample.Rate),
		median(all, func(s measure.Sample) float64 { return s.P50 }),
		median(all, func(s measure.Sample) float64 { return s.P95 }),
		median(all, func(s measure.Sample) float64 { return s.P99 }))
	for _, n := range names {
		if _, ok := first.CPU[n]; !ok {
			b.WriteString(" |")
			continue
		}
		fmt.Fprintf(b, " %.0f |", median(all, func(s measure.Sample) float64 { return s.CPU[n] }))
	}
	switch share := median(all, busy); {
	case share > 0:
		fmt.Fprintf(b, " %.0f %% |", 100*share)
	case busiest:
		b.WriteString(" |")
	}
	b.WriteString("\n")
}

func (r *Report) goals(b *strings.Builder) {
	if len(r.Goals) == 0 {
		return
	}
	b.WriteString("\n| load | median of ratios | goal | got | |\n|---|---|--:|--:|---|\n")
	for _, g := range r.Goals {
		want, verdict := "", ""
		if g.Want > 0 {
			sign := "≥"
			if g.Figure != "rate" {
				sign = "≤"
			}
			want, verdict = fmt.Sprintf("%s %.2f", sign, g.Want), "missed"
			switch {
			case g.Bound:
				verdict = "no verdict: the generator was the bottleneck"
			case g.Met:
				verdict = "met"
			}
		}
		fmt.Fprintf(b, "| %s | %s of %s by %s | %s | %.2f | %s |\n", g.Load, g.Figure, g.System, g.Peer, want, g.Got, verdict)
	}
}

// Write prints the Markdown to w and, where path is not empty, the JSON to that file.
func (r *Report) Write(w io.Writer, path string) error {
	if err := r.Markdown(w); err != nil || path == "" {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
