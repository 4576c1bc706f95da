package tally

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// count has tallies take in the same requests: one of them all, and a few by turns.
func count(t *testing.T, parts int) (one *Tally, many []*Tally) {
	t.Helper()
	kinds := []string{"reserve", "ask"}
	one = New(kinds, time.Second)
	for range parts {
		many = append(many, New(kinds, time.Second))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		due := time.Duration(i) * 250 * time.Microsecond
		sent := due + time.Duration(r.ExpFloat64()*float64(time.Millisecond))
		now := sent + time.Duration(r.ExpFloat64()*float64(20*time.Millisecond))
		kind, status := i%2, 200+i%3
		for _, to := range []*Tally{one, many[i%parts]} {
			switch {
			case i%100 == 0:
				to.Drop(due, now)
			case i%77 == 0:
				to.SendAt(due, due, sent)
				to.Fail(kind, Failure(i%4), due, now)
			default:
				to.SendAt(due, due, sent)
				to.Answer(kind, status, 10, due, sent, now, i%50 != 0)
			}
		}
	}
	return one, many
}

func text(t *testing.T, one *Tally) string {
	t.Helper()
	b, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMergedTalliesAreOne(t *testing.T) {
	for _, parts := range []int{1, 2, 7} {
		one, many := count(t, parts)
		merged := New([]string{"reserve", "ask"}, time.Second)
		for _, part := range many {
			merged.Merge(part)
		}
		one.Sum()
		if !merged.Response.Equals(one.Response) || !merged.Service.Equals(one.Service) || !merged.Lag.Equals(one.Lag) || !merged.Kinds[1].Response.Equals(one.Kinds[1].Response) {
			t.Errorf("%d parts: the histograms differ", parts)
		}
		if text(t, merged) != text(t, one) {
			t.Errorf("%d parts:\n%s\nare not\n%s", parts, text(t, merged), text(t, one))
		}
	}
}

func TestWhatTravelsArrives(t *testing.T) {
	one, _ := count(t, 1)
	var back Tally
	if err := json.Unmarshal([]byte(text(t, one)), &back); err != nil {
		t.Fatal(err)
	}
	if text(t, &back) != text(t, one) || !back.Response.Equals(one.Response) {
		t.Error("a tally came back as another")
	}
}

func TestFailuresAndDropsAreInTheResponseTimes(t *testing.T) {
	one := New([]string{"x"}, time.Second)
	one.SendAt(0, 0, 0)
	one.Fail(0, TimedOut, 0, 10*time.Second)
	one.Drop(0, 20*time.Second)
	one.SendAt(time.Second, 5*time.Second, 6*time.Second)
	one.Answer(0, 200, 1, time.Second, 6*time.Second, 7*time.Second, true)
	one.Sum()
	if n := one.Response.TotalCount(); n != 3 || one.Service.TotalCount() != 1 || one.Late != 1 || one.Dropped != 1 || one.Failed() != 1 {
		t.Errorf("%d response times, %d service times, %d late, %d dropped, %d failed", n, one.Service.TotalCount(), one.Late, one.Dropped, one.Failed())
	}
	if max := one.Response.Max(); max < 19_900_000 || max > 20_100_000 {
		t.Errorf("the longest is %d µs", max)
	}
	if lag := one.Lag.Max(); lag < 999_000 || lag > 1_001_000 {
		t.Errorf("the lag is %d µs: it runs from when a connection was free", lag)
	}
}

func TestLongRunsHaveFewPoints(t *testing.T) {
	for _, run := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		if n := int(run / IntervalOf(run)); n > 100 {
			t.Errorf("%v has %d points", run, n)
		}
	}
	s := NewSeries(time.Second)
	s.add(time.Hour, time.Second, false)
	if len(s.Points) > maxPoints {
		t.Errorf("%d points", len(s.Points))
	}
}

func FuzzUnmarshal(f *testing.F) {
	one := New([]string{"x"}, time.Second)
	one.Answer(0, 200, 1, 0, 0, time.Millisecond, true)
	b, err := json.Marshal(one)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"Response":"AAAA","Kinds":[{"Name":"x"}],"Interval":1000000000}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var back Tally
		if json.Unmarshal(data, &back) == nil {
			back.Merge(New([]string{"x"}, time.Second))
		}
	})
}
