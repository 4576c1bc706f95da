package room

import (
	"container/heap"
	"time"
)

// Admit lets in as many as the inlet allows, first the first in the queue, and returns their numbers; call it several
// times a second. Admissions that have expired return to the inlet first. Before [Room.Begin] nobody goes in.
func (r *Room) Admit(now time.Time, s Signal) []uint32 {
	r.expire(now)
	if r.draw == nil {
		return nil
	}
	r.soldOut = s.Stock == 0
	n := r.inlet.allow(now, s, r.waiting(), r.admitted.len())
	until := now.Add(r.inlet.Hold).UnixMilli()
	var in []uint32
	for len(in) < n && int(r.head) < len(r.queue) {
		number := r.at(r.head)
		if p := &r.places[number-1]; p.state == Waiting {
			r.queue.add(int(r.head), -1)
			p.state = Admitted
			r.admitted.add(number, until)
			in = append(in, number)
		}
		r.head++
	}
	return in
}

func (r *Room) waiting() int { return r.queue.before(len(r.queue)) }

// expire ends admissions whose time is over.
func (r *Room) expire(now time.Time) {
	for number := range r.admitted.over(now.UnixMilli()) {
		r.places[number-1].state = Expired
		r.live--
	}
}

// Admission returns the admission of an admitted place for the person it belongs to, and until when it holds. It is false
// for everyone else. It only reads.
func (r *Room) Admission(now time.Time, number uint32, person []byte) (token string, until time.Time, ok bool) {
	ms, admitted := r.admitted.until[number]
	if !admitted || now.UnixMilli() >= ms || r.aliases[number-1] != r.tokens.alias(person) {
		return "", time.Time{}, false
	}
	return r.tokens.checker.issue(r.cfg.Sale, person, number, ms), time.UnixMilli(ms), true
}

// Use takes in that an admission was used, so that it no longer counts as under way. A place that is not admitted stays as
// it is, but that an expired one becomes used: its booking was under way when it expired. A number that is nobody's, as
// of an admission from before a restart with an older export, is no error; one that never was is of kind NotFound.
func (r *Room) Use(number uint32) error {
	if number < 1 || int64(number) > int64(len(r.places)) {
		return noPlace()
	}
	switch p := &r.places[number-1]; p.state {
	case Admitted:
		r.admitted.remove(number)
		r.live--
		p.state = Used
	case Expired:
		p.state = Used
	}
	return nil
}

// Status is what a visitor can be told of a place.
type Status struct {
	State State
	Ahead int           // who goes in first; of a place in the draw 0
	Total int           // places in draw, waiting or admitted
	Wait  time.Duration // estimated; negative where nothing is known yet
	Until time.Time     // of an admission
}

// Status returns where a place stands. It only reads, in O(log n).
func (r *Room) Status(now time.Time, number uint32) (Status, error) {
	p, err := r.row(number)
	if err != nil {
		return Status{}, err
	}
	s := Status{State: p.state, Total: r.live, Wait: -1}
	switch p.state {
	case InDraw:
		if r.list == nil {
			s.Wait = max(r.cfg.Opens.Sub(now), 0)
		}
	case Waiting:
		s.Ahead = int(p.rank)
		if r.draw != nil {
			s.Ahead = r.queue.before(int(p.rank))
		}
		s.Wait = r.estimate(s.Ahead)
		if r.soldOut {
			s.State, s.Wait = SoldOut, -1
		}
	case Admitted:
		until := r.admitted.until[number]
		s.Until, s.Wait = time.UnixMilli(until), 0
		if now.UnixMilli() >= until {
			s.State = Expired
		}
	}
	return s, nil
}

// longestWait bounds an estimate: beyond it a number says nothing.
const longestWait = 24 * time.Hour

// estimate returns how long the next place waits while ahead people are before it, at the rate of the last seconds.
func (r *Room) estimate(ahead int) time.Duration {
	rate := r.inlet.entering
	if r.draw == nil || rate <= 0 {
		return -1
	}
	return time.Duration(min(float64(ahead+1)/rate, longestWait.Seconds()) * float64(time.Second))
}

// outstanding are the admissions that are neither used nor expired, the first to expire on top. One that was removed
// stays in the heap until its time, and is known by until.
type outstanding struct {
	until map[uint32]int64
	heap  expiries
}

type expiry struct {
	until  int64
	number uint32
}

func newOutstanding() outstanding { return outstanding{until: map[uint32]int64{}} }

func (o *outstanding) len() int { return len(o.until) }

func (o *outstanding) add(number uint32, until int64) {
	o.until[number] = until
	heap.Push(&o.heap, expiry{until, number})
}

func (o *outstanding) remove(number uint32) { delete(o.until, number) }

// over removes and yields what has expired.
func (o *outstanding) over(now int64) func(yield func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for len(o.heap) > 0 && o.heap[0].until <= now {
			e := heap.Pop(&o.heap).(expiry)
			if o.until[e.number] != e.until {
				continue
			}
			delete(o.until, e.number)
			if !yield(e.number) {
				return
			}
		}
	}
}

type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].until < h[j].until }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(e any)        { *h = append(*h, e.(expiry)) }
func (h *expiries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
