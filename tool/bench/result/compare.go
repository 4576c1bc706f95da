package result

import (
	"math"
	"slices"
)

// Change is a figure of a phase set against the same of an earlier run.
type Change struct {
	Phase  string  `json:"phase"`
	Figure string  `json:"figure"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Ratio  float64 `json:"ratio"` // after by before; 0 where before is 0
}

// compared are the figures that are set against each other.
var compared = []string{"rate", "p50", "p99", "p99.9", "service_p99", "errors", "dropped", "cpu_client", "cpu_server", "rss"}

// Compare sets the phases of a result against those of the same name in an earlier one.
func (r *Result) Compare(earlier *Result) []Change {
	all := []Change{}
	for _, p := range r.Phases {
		i := slices.IndexFunc(earlier.Phases, func(e *Phase) bool { return e.Name == p.Name })
		if i < 0 {
			continue
		}
		for _, name := range compared {
			before, known := earlier.Phases[i].figure(name, nil)
			after, too := p.figure(name, nil)
			if !known || !too {
				continue
			}
			c := Change{Phase: p.Name, Figure: name, Before: before, After: after}
			if before > 0 {
				c.Ratio = after / before
			}
			all = append(all, c)
		}
	}
	return all
}

// Ratios are what rounds of B by A came to.
type Ratios struct {
	Figure string    `json:"figure"`
	Median float64   `json:"median"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	All    []float64 `json:"all"` // in the order of the rounds
}

// Versus is two servers measured by turns.
type Versus struct {
	Format  int      `json:"format"`
	A       string   `json:"a"`
	B       string   `json:"b"`
	Machine string   `json:"machine"`
	Rounds  int      `json:"rounds"`
	Ratios  []Ratios `json:"ratios"` // of B by A
	RoundsA []*Phase `json:"roundsA"`
	RoundsB []*Phase `json:"roundsB"`
	Limited bool     `json:"limited"` // the generator was the bottleneck in some round
}

// Rate computes the ratios of the rounds, round by round, so that what the machine did meanwhile weighs on both alike.
func (v *Versus) Rate() {
	v.Rounds = min(len(v.RoundsA), len(v.RoundsB))
	for _, name := range []string{"rate", "p50", "p90", "p99", "p99.9", "cpu_client", "cpu_server", "rss"} {
		r := Ratios{Figure: name}
		for i := range v.Rounds {
			a, known := v.RoundsA[i].figure(name, nil)
			b, too := v.RoundsB[i].figure(name, nil)
			if ratio := b / a; known && too && !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
				r.All = append(r.All, ratio)
			}
		}
		if len(r.All) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(r.All))
		r.Median, r.Low, r.High = Median(sorted), sorted[0], sorted[len(sorted)-1]
		v.Ratios = append(v.Ratios, r)
	}
	for _, p := range slices.Concat(v.RoundsA, v.RoundsB) {
		v.Limited = v.Limited || p.Limited
	}
}

// Median returns the middle of sorted values; of an even number, the mean of the two in the middle.
func Median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
