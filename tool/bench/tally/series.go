package tally

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Series is what was answered in each interval of a run. Intervals have coarser histograms (two digits), so that a worker
// can keep every interval of a run.
type Series struct {
	Interval time.Duration
	Points   []Point
}

// Point is one interval.
type Point struct {
	Done, Failed int64
	Response     *hdrhistogram.Histogram // nil where nothing was answered
}

// maxPoints bounds a series; what comes later is counted with the last.
const maxPoints = 300

// NewSeries returns an empty series.
func NewSeries(interval time.Duration) *Series { return &Series{Interval: interval} }

// IntervalOf returns the interval with which a run of a length has at most about 100 points: a second, where that does.
func IntervalOf(run time.Duration) time.Duration {
	return max(time.Second, (run/100 + time.Second - 1).Truncate(time.Second))
}

func (s *Series) add(now, response time.Duration, failed bool) {
	p := s.at(int(now / s.Interval))
	if failed {
		p.Failed++
	} else {
		p.Done++
	}
	record(p.Response, response)
}

// at returns the point of an interval, ready to be added to.
func (s *Series) at(i int) *Point {
	i = min(max(i, 0), maxPoints-1)
	for len(s.Points) <= i {
		s.Points = append(s.Points, Point{})
	}
	p := &s.Points[i]
	if p.Response == nil {
		p.Response = hdrhistogram.New(100, Longest.Microseconds(), 2)
	}
	return p
}

func (s *Series) merge(o *Series) {
	for i, p := range o.Points {
		if p.Response == nil {
			continue
		}
		into := s.at(i)
		into.Done += p.Done
		into.Failed += p.Failed
		into.Response.Merge(p.Response)
	}
}
