package shard

import (
	"context"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// tick is how often the writer looks at the clock when nobody comes, and maxBatch how many jobs share a batch.
const (
	tick     = 100 * time.Millisecond
	maxBatch = 8192
)

// Run is the writer. It returns when ctx ends, with what was taken in before durable, or with the log's error.
func (s *Shard) Run(ctx context.Context) error {
	defer s.freezes.Wait()
	defer s.reject()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case j := <-s.intake:
			s.batch(j)
		case f := <-s.between:
			f()
		case <-s.again:
			s.batch(nil)
		case <-ticker.C:
			if s.forward(); s.now/1000 != s.second {
				s.batch(nil)
			}
		case <-s.stopped:
			return s.Err()
		case <-ctx.Done():
			s.fail(errs.New(errs.Unavailable, "预约服务正在停止", "the booking service is stopping").WithCode("booking.stopping").WithRetryAfter(2 * time.Second))
			return s.settle()
		}
	}
}

// settle waits for what is on its way.
func (s *Shard) settle() error {
	done := make(chan error, 1)
	s.log.Commit(s.log.Batch(), func(err error) { done <- err })
	return <-done
}

// fail makes the shard refuse everything from now on.
func (s *Shard) fail(err error) {
	if s.cause.CompareAndSwap(nil, &err) {
		close(s.stopped)
	}
}

// reject answers those who wait when the writer has gone. It goes on while callers may still be at the intake.
func (s *Shard) reject() {
	s.shut.Lock() // nobody stands between asking whether the shard stopped and the intake
	defer s.shut.Unlock()
	for {
		select {
		case j := <-s.intake:
			j.end(s.Err())
		default:
			return
		}
	}
}

// forward moves the writer's clock, which never goes back.
func (s *Shard) forward() { s.now = max(s.now, s.o.Now().UnixMilli()) }

// turn is a batch being formed.
type turn struct {
	s       *Shard
	batch   *wal.Batch
	scratch []byte
	touched uint64 // of memory; nobody reads it
	jobs    []*job // that wait for it to be durable
}

// emit implements ledger.Emit.
func (t *turn) emit(e *ledger.Event) uint64 {
	t.scratch = e.Append(t.scratch[:0])
	t.s.last = t.batch.Append(t.scratch)
	switch e.Kind {
	case ledger.Booked:
		if e.Wait > 0 {
			t.s.keys.add(e.Key) // nobody asks for it now
		}
		if e.Status == ledger.Held {
			t.s.wheel.add(ledger.NumberOf(t.s.o.Number, e.Slot, e.N), e.Until)
		}
	case ledger.SlotClosed, ledger.SlotOver:
		t.s.sweeps[e.Slot] = 0
	}
	return t.s.last
}

// room reports whether the batch can take another job, whatever it comes to.
func (t *turn) room() bool {
	return len(t.jobs) < maxBatch && t.batch.Room() > maxWork && t.batch.Bytes() < maxBytes
}

// A job comes to maxWork bytes at most, and a batch is closed beyond maxBytes.
const (
	maxWork  = sweep * 1 << 10
	maxBytes = 4 << 20
)

// batch decides on what waits, first and what came after it, and commits it.
func (s *Shard) batch(first *job) {
	t := s.turns.Get().(*turn)
	t.s, t.batch = s, s.log.Batch() // while all buffers are busy, those who wait grow more
	s.forward()
	if err := s.log.Health(); err != nil {
		if first != nil {
			first.end(err)
		}
		first = nil
	} else if second := s.now / 1000; second != s.second {
		if s.pass(t) {
			s.second = second
		} else {
			s.goOn()
		}
	}
	for j := first; j != nil; j = s.next(t) {
		if t.decide(j) {
			t.jobs = append(t.jobs, j)
		} else {
			j.end(nil)
		}
	}
	s.counts.Batches.Add(1)
	s.log.Commit(t.batch, func(err error) { s.landed(t, err) })
	s.freeze()
}

// goOn has the writer come back, whether somebody comes or not.
func (s *Shard) goOn() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// next returns the next job of a batch; nil where it is to be committed. While the log is busy with the one before, a
// batch that is not large yet waits for those who come meanwhile: they share its sync.
func (s *Shard) next(t *turn) *job {
	for t.room() {
		select {
		case j := <-s.intake:
			return j
		default:
		}
		if t.batch.Bytes() >= large || !s.log.Busy() {
			return nil
		}
		select {
		case j := <-s.intake:
			s.forward()
			return j
		case <-s.log.Idle():
		}
	}
	return nil
}

// large is from how many bytes on a batch is better sealed while the one before it is written.
const large = 64 << 10

// landed answers those whose batch is durable, or will never be.
func (s *Shard) landed(t *turn, err error) {
	if err == nil && !s.o.Valid() {
		err = errs.New(errs.Unavailable, "本机已不再负责这些预约", "this server is not in charge of these bookings any more").
			WithCode("booking.moved").WithRetryAfter(time.Second)
	}
	if err != nil {
		s.fail(err)
	}
	for i, j := range t.jobs {
		j.end(err)
		t.jobs[i] = nil
	}
	t.jobs = t.jobs[:0]
	s.turns.Put(t)
}

// decide does a job, and reports whether its caller must wait for the batch.
func (t *turn) decide(j *job) (wait bool) {
	before := t.batch.Len()
	if j.work != nil {
		j.work(t.s.now, t.s.state, t.emit)
		return true // it may have seen what is not durable yet
	}
	if len(j.requests) > 1 {
		t.touched += t.s.state.Warm(j.requests)
	}
	for i := range j.requests {
		r := &j.results[i]
		r.View, r.Fresh, r.Refused = t.s.state.Book(t.s.now, &j.requests[i], t.emit)
		wait = wait || r.Refused == nil
		t.s.counts.count(r)
	}
	return wait || t.batch.Len() > before
}

func (c *Counts) count(r *Result) {
	switch {
	case r.Refused == ledger.ErrSoldOut:
		c.SoldOut.Add(1)
	case r.Refused != nil:
		c.Refused.Add(1)
	case r.Fresh:
		c.Booked.Add(1)
	default:
		c.Replayed.Add(1)
	}
}
