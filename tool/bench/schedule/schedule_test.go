package schedule

import (
	"math"
	"slices"
	"testing"
	"time"
)

// all returns every moment of a part.
func all(c *Cursor) (moments []time.Duration) {
	for due, ok := c.Next(); ok; due, ok = c.Next() {
		moments = append(moments, due)
	}
	return moments
}

func TestConstant(t *testing.T) {
	got := all(Constant(1000, time.Second).Part(0, 1, 1))
	if len(got) != 1000 {
		t.Fatalf("%d requests", len(got))
	}
	for i, due := range got {
		if want := time.Duration(i) * time.Millisecond; (due - want).Abs() > time.Microsecond {
			t.Fatalf("request %d is due at %v, want %v", i, due, want)
		}
	}
}

func TestStepsAndRamps(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []Step
		want  int
		at    map[int]time.Duration // when some of them are due
	}{
		{"stairs", []Step{{10, 10, time.Second}, {20, 20, time.Second}}, 30, map[int]time.Duration{0: 0, 9: 900 * time.Millisecond, 10: time.Second, 11: 1050 * time.Millisecond}},
		{"up from nothing", []Step{{0, 100, 2 * time.Second}}, 100, map[int]time.Duration{0: 0, 25: time.Second}},
		{"down to nothing", []Step{{100, 0, 2 * time.Second}}, 100, map[int]time.Duration{0: 0, 75: time.Second}},
		{"a pause between", []Step{{10, 10, time.Second}, {0, 0, time.Second}, {10, 10, time.Second}}, 20, map[int]time.Duration{10: 2 * time.Second}},
		{"opening rush", []Step{{0, 8000, time.Second}, {8000, 8000, time.Second}}, 12000, map[int]time.Duration{4000: time.Second, 8000: 1500 * time.Millisecond}},
		{"nothing", []Step{{0, 0, time.Second}}, 0, nil},
	} {
		s := Schedule{Steps: c.steps}
		got := all(s.Part(0, 1, 1))
		if len(got) != c.want || math.Abs(s.Expected()-float64(c.want)) > 1e-6 || !slices.IsSorted(got) {
			t.Errorf("%s: %d requests, expected %v", c.name, len(got), s.Expected())
			continue
		}
		for i, want := range c.at {
			if (got[i] - want).Abs() > time.Microsecond {
				t.Errorf("%s: request %d is due at %v, want %v", c.name, i, got[i], want)
			}
		}
	}
}

// Parts together are the whole: nothing missing, nothing twice.
func TestPartsAreTheWhole(t *testing.T) {
	s := Schedule{Steps: []Step{{100, 5000, time.Second}, {5000, 5000, 500 * time.Millisecond}, {5000, 0, time.Second}}}
	whole := all(s.Part(0, 1, 1))
	for _, parts := range []int{2, 3, 7, 30} {
		var got []time.Duration
		for i := range parts {
			part := all(s.Part(i, parts, 1))
			if d := len(part) - len(whole)/parts; d < 0 || d > 1 {
				t.Errorf("part %d of %d has %d of %d requests", i, parts, len(part), len(whole))
			}
			got = append(got, part...)
		}
		slices.Sort(got)
		if !slices.Equal(got, whole) {
			t.Errorf("%d parts are not the whole: %d and %d requests", parts, len(got), len(whole))
		}
	}
}

// Gaps of Poisson arrivals are exponential: their mean and standard deviation are both 1/rate. The seeds are fixed, and the
// bounds five standard errors.
func TestPoisson(t *testing.T) {
	s := Constant(2000, 50*time.Second)
	s.Poisson = true
	var got []time.Duration
	for i := range 4 {
		got = append(got, all(s.Part(i, 4, 7))...)
	}
	slices.Sort(got)
	n := float64(len(got))
	if math.Abs(n-100_000) > 5*math.Sqrt(100_000) {
		t.Errorf("%v requests, expected 100000", n)
	}
	var sum, squares float64
	for i := 1; i < len(got); i++ {
		gap := (got[i] - got[i-1]).Seconds() * 2000
		sum += gap
		squares += gap * gap
	}
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	if math.Abs(mean-1) > 5/math.Sqrt(n) || math.Abs(deviation-1) > 10/math.Sqrt(n) {
		t.Errorf("gaps have mean %v and deviation %v of 1/rate", mean, deviation)
	}
	if again := all(s.Part(1, 4, 7)); !slices.Equal(again, all(s.Part(1, 4, 7))) || slices.Equal(again, all(s.Part(1, 4, 8))) {
		t.Error("a seed does not give the same moments, or another gives them too")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(10.0, 1000.0, int64(time.Second), 3, false)
	f.Add(0.0, 0.0, int64(time.Second), 1, true)
	f.Add(1e6, 0.0, int64(time.Millisecond), 2, true)
	f.Fuzz(func(t *testing.T, from, to float64, d int64, parts int, poisson bool) {
		if !(from >= 0 && from <= 1e6 && to >= 0 && to <= 1e6) || d <= 0 || d > int64(time.Second) || parts < 1 || parts > 8 {
			t.Skip()
		}
		s := Schedule{Steps: []Step{{from, to, time.Duration(d)}, {to, from, time.Duration(d)}}, Poisson: poisson}
		if s.Expected() > 1e5 {
			t.Skip()
		}
		total := 0
		for i := range parts {
			got := all(s.Part(i, parts, 1))
			if total += len(got); !slices.IsSorted(got) || len(got) > 0 && (got[0] < 0 || got[len(got)-1] > s.Duration()) {
				t.Fatalf("out of order or of bounds: %v", got)
			}
		}
		if !poisson && math.Abs(float64(total)-s.Expected()) > 1 {
			t.Fatalf("%d requests, expected %v", total, s.Expected())
		}
	})
}
