package shard

import (
	"context"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// Result is what became of a request.
type Result struct {
	View    ledger.View
	Fresh   bool        // it was made now, and not by the same key before
	Refused *errs.Error // why there is none
}

// job is what one caller wants of the writer.
type job struct {
	requests []ledger.Request
	results  []Result
	work     func(now int64, state *ledger.State, emit ledger.Emit)
	err      error
	done     chan struct{} // of capacity 1: the writer never waits
}

func (j *job) end(err error) {
	j.err = err
	j.done <- struct{}{}
}

var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

// Ask is one request on its way, whose memory is used again. Fill in what Request returns, Do it, and Release it.
type Ask struct{ j *job }

// NewAsk returns an empty ask for n requests.
func NewAsk(n int) Ask {
	j := jobs.Get().(*job)
	if cap(j.requests) < n {
		j.requests, j.results = make([]ledger.Request, n), make([]Result, n)
	}
	j.requests, j.results = j.requests[:n], j.results[:n]
	return Ask{j}
}

// Request returns the i-th request, to be filled in whole.
func (a Ask) Request(i int) *ledger.Request { return &a.j.requests[i] }

// Result returns what became of the i-th request, once Do has returned nil.
func (a Ask) Result(i int) *Result { return &a.j.results[i] }

// Release gives the ask's memory to the next. It must not be called where Do returned its context's error.
func (a Ask) Release() {
	clear(a.j.requests)
	clear(a.j.results)
	a.j.err = nil
	jobs.Put(a.j)
}

// Book asks for bookings. Its error says that nobody knows, or that nothing was looked at (TooMany, Unavailable); what
// became of each request is in its result. They are decided together and in order, and each by itself.
func (s *Shard) Book(ctx context.Context, a Ask) error {
	if s.soldOut(a.j) {
		return nil
	}
	for i := range a.j.requests {
		s.keys.add(a.j.requests[i].Key) // before it can have booked
	}
	return s.ask(ctx, a.j)
}

// soldOut answers a single request for which there are no places without asking the writer, unless its key may have made
// a booking before.
func (s *Shard) soldOut(j *job) bool {
	if len(j.requests) != 1 {
		return false
	}
	r := &j.requests[0]
	if r.Slot.Left(r.Channel) >= max(r.Places, 1) || s.keys.has(r.Key) || r.Slot.Closed() || s.cause.Load() != nil {
		return false
	}
	j.results[0] = Result{Refused: ledger.ErrSoldOut}
	s.counts.SoldOut.Add(1)
	return true
}

// Do has the writer do something, and returns when what it came to is durable. It must not emit more than a thousand
// events.
func (s *Shard) Do(ctx context.Context, work func(now int64, state *ledger.State, emit ledger.Emit)) error {
	return s.ask(ctx, &job{work: work, done: make(chan struct{}, 1)})
}

// ErrTurned is what callers are told before a full intake.
var ErrTurned = errs.New(errs.TooMany, "预约人数过多，请稍后再试", "too many are booking: try again in a moment").
	WithCode("booking.busy").WithRetryAfter(time.Second)

func (s *Shard) ask(ctx context.Context, j *job) error {
	if err := s.enter(j); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter puts a job before the writer, unless the intake is full.
func (s *Shard) enter(j *job) error {
	s.shut.RLock()
	defer s.shut.RUnlock()
	if cause := s.cause.Load(); cause != nil {
		return *cause
	}
	select {
	case s.intake <- j:
		return nil
	default:
		s.counts.Turned.Add(1)
		return ErrTurned
	}
}
