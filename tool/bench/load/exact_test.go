package load

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/tool/bench/schedule"
)

// stub is a server in a world where time stands still while anything runs: it answers after took, and nothing between
// stops and goes on.
type stub struct {
	took          time.Duration
	stops, goesOn time.Time
}

func (s *stub) dial(context.Context, *Plan, int) ([]caller, error) { return []caller{s}, nil }

func (s *stub) close() {}

func (s *stub) call(ctx context.Context, r Request) (answer, error) {
	wait := s.took
	if now := time.Now(); !now.Before(s.stops) && now.Before(s.goesOn) {
		wait += s.goesOn.Sub(now)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return answer{status: 200}, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// plain is a source of one request without anything in it.
type plain struct{ Request }

func (plain) Next() Request                                 { return plain{} }
func (plain) Judge(kind, status int, body, tag []byte) bool { return status == 200 }
func (plain) Kind() int                                     { return 0 }
func (plain) AppendTag(dst []byte) []byte                   { return dst }

func plan(s *stub, conns int, of schedule.Schedule) Plan {
	return Plan{Conns: conns, Workers: 1, Schedule: of, Timeout: 5 * time.Second, Kinds: []string{"x"}, Portable: true, dial: s.dial,
		Source: func(int, int) Source { return plain{} }}
}

// A server that stops for a second, at 100 requests a second on one connection: a hundred requests were due meanwhile, and
// their response times are 1000 ms, 990 ms, … 10 ms and the time to catch up. Measured from the moment of sending there is
// one slow request.
func TestCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{stops: time.Now().Add(time.Second), goesOn: time.Now().Add(2 * time.Second)}
		o, err := Run(t.Context(), plan(s, 1, schedule.Constant(100, 3*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		response, service := o.Tally.Response, o.Tally.Service
		if response.TotalCount() != 300 || o.Tally.Sent != 300 {
			t.Fatalf("%d of 300 requests", response.TotalCount())
		}
		slow := func(limit time.Duration) (responses, services int64) {
			for _, bar := range response.Distribution() {
				if bar.From >= limit.Microseconds() {
					responses += bar.Count
				}
			}
			for _, bar := range service.Distribution() {
				if bar.From >= limit.Microseconds() {
					services += bar.Count
				}
			}
			return responses, services
		}
		for limit, want := range map[time.Duration]int64{5 * time.Millisecond: 100, 105 * time.Millisecond: 90, 505 * time.Millisecond: 50, 985 * time.Millisecond: 2} {
			got, sent := slow(limit)
			if got != want || sent != 1 {
				t.Errorf("over %v: %d response times, want %d; %d service times, want 1", limit, got, want, sent)
			}
		}
		if p := response.ValueAtQuantile(50); p > 1000 {
			t.Errorf("the median is %d µs", p)
		}
		if o.Tally.Lag.Max() != 0 {
			t.Errorf("the lag is %d µs: what waits for the server is not the generator's", o.Tally.Lag.Max())
		}
		if o.Tally.Late != 99 {
			t.Errorf("%d are late, want 99", o.Tally.Late)
		}
	})
}

// Whoever waits longer than the time-out for a connection is dropped, and counted.
func TestWhatNobodyWouldWaitForIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{stops: time.Now().Add(time.Second), goesOn: time.Now().Add(time.Hour)}
		o, err := Run(t.Context(), plan(s, 2, schedule.Constant(10, 10*time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		y := o.Tally
		if y.Sent+y.Dropped != 100 || y.Response.TotalCount() != 100 || y.Done() != 10 || y.Failures[2] != y.Sent-10 || y.Dropped == 0 {
			t.Errorf("%d sent, %d dropped, %d done, failures %v; all 100 must be in the response times: %d", y.Sent, y.Dropped, y.Done(), y.Failures, y.Response.TotalCount())
		}
	})
}

// Every request of a schedule goes out at its moment where connections are free.
func TestScheduleIsKept(t *testing.T) {
	for _, conns := range []int{20, 50} {
		t.Run(fmt.Sprint(conns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stub{took: 10 * time.Millisecond}
				o, err := Run(t.Context(), plan(s, conns, schedule.Schedule{Steps: []schedule.Step{{From: 0, To: 1000, For: time.Second}, {From: 1000, To: 1000, For: time.Second}}}))
				if err != nil {
					t.Fatal(err)
				}
				y := o.Tally
				if y.Sent != 1500 || y.Late != 0 || y.Response.Max() > 10_010 || y.Response.Min() < 9_990 || y.Lag.Max() > 0 {
					t.Errorf("%d sent, %d late; response from %d to %d µs, lag %d µs", y.Sent, y.Late, y.Response.Min(), y.Response.Max(), y.Lag.Max())
				}
				if o.Took < 2*time.Second || o.Took > 2*time.Second+20*time.Millisecond {
					t.Errorf("it took %v", o.Took)
				}
			})
		})
	}
}

// A closed loop asks again as soon as it is answered, and counts no queueing.
func TestClosedLoopIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stub{took: 10 * time.Millisecond}
		p := plan(s, 4, schedule.Schedule{})
		p.Closed = time.Second
		o, err := Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if o.Tally.Done() != 400 || o.Tally.Late != 0 || !o.Tally.Response.Equals(o.Tally.Service) {
			t.Errorf("%d done, %d late", o.Tally.Done(), o.Tally.Late)
		}
	})
}

// What was done until the context ended is told.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1005*time.Millisecond)
		defer cancel()
		o, err := Run(ctx, plan(&stub{took: time.Millisecond}, 2, schedule.Constant(100, time.Hour)))
		if err != nil || !o.Ended || o.Tally.Done() != 101 || o.Took > 1100*time.Millisecond {
			t.Errorf("%v; ended %v after %v with %d done", err, o.Ended, o.Took, o.Tally.Done())
		}
	})
}

// Generators that share a load draw all of it.
func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := int64(0)
		for shard := range 3 {
			p := plan(&stub{}, 5, schedule.Constant(100, time.Second))
			p.Shard, p.Shards = shard, 3
			o, err := Run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			total += o.Tally.Sent
		}
		if total != 100 {
			t.Errorf("%d requests of 100", total)
		}
	})
}
