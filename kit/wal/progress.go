package wal

import (
	"context"
	"math"
	"sync"
)

// progress is how far a log has come: written, synced here, acknowledged by standbys, and, from these, durable.
type progress struct {
	mu       sync.Mutex
	written  uint64
	here     uint64            // synced on this disk
	acked    map[string]uint64 // by standby
	required []string
	reached  uint64 // all that is required have it
	durable  uint64 // as far as reached ever was: what was durable stays so when another standby is required
	closing  bool   // nobody waits for standbys any more
	err      error  // why nothing more will come
	changed  chan struct{}
}

func newProgress(last uint64) *progress {
	return &progress{written: last, here: last, reached: last, durable: last, acked: map[string]uint64{}, changed: make(chan struct{})}
}

// view is a progress at a moment.
type view struct {
	written, here    uint64
	reached, durable uint64
	closing          bool
	err              error
	changed          <-chan struct{} // closed when any of it has changed
}

func (p *progress) now() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return view{p.written, p.here, p.reached, p.durable, p.closing, p.err, p.changed}
}

// update changes p and wakes who waits.
func (p *progress) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	if p.err == nil {
		p.reached = p.here
		for _, name := range p.required {
			p.reached = min(p.reached, p.acked[name])
		}
		p.durable = max(p.durable, p.reached)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) wrote(lsn uint64)  { p.update(func() { p.written = lsn }) }
func (p *progress) synced(lsn uint64) { p.update(func() { p.here = lsn }) }

// fail has all who wait hear err, and returns the first error that came.
func (p *progress) fail(err error) error {
	p.update(func() {
		if p.err == nil {
			p.err = err
		}
		err = p.err
	})
	return err
}

// wait returns when lsn is durable.
func (p *progress) wait(ctx context.Context, lsn uint64) error {
	for {
		v := p.now()
		switch {
		case v.durable >= lsn:
			return nil
		case v.err != nil:
			return v.err
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settled returns when all that are required now have lsn, which is synced here, or will not be heard of.
func (p *progress) settled(lsn uint64) error {
	for {
		v := p.now()
		switch {
		case v.reached >= lsn:
			return nil
		case v.err != nil:
			return v.err
		case v.closing:
			return closed()
		}
		<-v.changed
	}
}

// forever is beyond every record.
const forever = math.MaxUint64
