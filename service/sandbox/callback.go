package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/label"
)

const (
	maxDeliveries   = 64               // callbacks under way at a time
	deliveryTimeout = 10 * time.Second // of one attempt
	firstBackoff    = 500 * time.Millisecond
	maxBackoff      = time.Minute
	owedPoll        = time.Second // repair: how often the table is looked at without being woken
	pausedRetry     = time.Second // while the agency is down
)

// Run delivers callbacks until ctx ends, beginning with those that a former life still owes, and returns when the last
// delivery has ended. It is called once.
func (s *Sandbox) Run(ctx context.Context) error {
	defer s.end.Do(func() { close(s.ended) })
	d := dispatcher{s: s, busy: map[key]bool{}, slots: make(chan struct{}, maxDeliveries)}
	defer d.wg.Wait()
	for {
		next, err := d.dispatch(ctx)
		if err != nil && ctx.Err() == nil {
			s.deps.Log.ErrorContext(ctx, "owed callbacks could not be read", "error", err)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// notify wakes Run.
func (s *Sandbox) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// dispatcher hands owed callbacks to goroutines, each request to one at a time.
type dispatcher struct {
	s     *Sandbox
	wg    sync.WaitGroup
	slots chan struct{}

	mu   sync.Mutex
	busy map[key]bool
}

// dispatch starts what is due and returns when to look again.
func (d *dispatcher) dispatch(ctx context.Context) (time.Duration, error) {
	owed, err := d.s.store.owed(ctx, 4*maxDeliveries)
	if err != nil {
		return owedPoll, err
	}
	for _, e := range owed {
		if left := fromMilli(e.nextAt).Sub(d.s.now()); left > 0 {
			return min(left, owedPoll), nil // the rest is due later
		}
		if !d.claim(e.key) {
			continue
		}
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return 0, nil
		}
		d.wg.Go(func() {
			d.s.deliver(ctx, e.key)
			d.release(e.key)
			<-d.slots
			d.s.notify()
		})
	}
	return owedPoll, nil
}

func (d *dispatcher) claim(k key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[k] {
		return false
	}
	d.busy[k] = true
	return true
}

func (d *dispatcher) release(k key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, k)
}

// deliver sends one callback, if it is still due, and stores when it is due again.
func (s *Sandbox) deliver(ctx context.Context, k key) {
	log := s.deps.Log.With("agency", k.agency, "request", k.id)
	e, _, err := find(ctx, s.store.db, k)
	if err != nil || e.nextAt == 0 || e.nextAt > s.now().UnixMilli() {
		return // delivered, undone or forgotten since the table was read; or it will be tried again
	}
	attempts, next := e.attempts, s.now().Add(pausedRetry)
	if !s.faults.holds(Down, e.agency, e.resource, s.now()) {
		attempts++
		err := s.post(ctx, e)
		switch {
		case ctx.Err() != nil:
			return // it is owed still
		case err == nil:
			next = time.Time{}
		case attempts >= int64(s.cfg.CallbackAttempts):
			log.WarnContext(ctx, "a callback is given up", "attempts", attempts, "error", err)
			next = time.Time{}
		default:
			next = s.now().Add(min(maxBackoff, firstBackoff<<min(attempts-1, 10)))
			log.DebugContext(ctx, "a callback was not taken", "attempts", attempts, "error", err)
		}
	}
	nextAt := int64(0)
	if !next.IsZero() {
		nextAt = next.UnixMilli()
	}
	if err := s.store.postpone(ctx, e.key, attempts, nextAt); err != nil {
		log.ErrorContext(ctx, "a delivery could not be recorded", "error", err)
	}
}

// post sends the copies of a callback; each must be answered with 2xx.
func (s *Sandbox) post(ctx context.Context, e entry) error {
	body, err := json.Marshal(e.answer)
	if err != nil {
		return err
	}
	for range max(e.copies, 1) {
		if err := s.postOnce(ctx, e, body); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sandbox) postOnce(ctx context.Context, e entry, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.callback, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(label.Header, agency.Grade.String())
	if err := httpsig.SignRequest(req, body, s.offices[e.agency].key, s.now(), httpsig.NewNonce()); err != nil {
		return err
	}
	resp, err := s.deps.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, agency.MaxBody) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return errs.Newf(errs.FromHTTP(resp.StatusCode), "回调被答复 %d", "the callback was answered with %d", resp.StatusCode)
	}
	return nil
}
