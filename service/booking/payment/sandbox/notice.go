package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
)

const (
	noticeTimeout  = 10 * time.Second
	noticeAttempts = 5
	noticePause    = 5 * time.Second // after a callback that was not taken; doubled each time
	maxNotices     = 16              // under way at a time
)

// notice is a callback that is owed.
type notice struct {
	order    string
	refund   string
	due      time.Time
	copies   int
	attempts int
}

// owe plans the callback of an order, or of its refund; the lock is held.
func (s *Sandbox) owe(o *order, refund string) {
	name, f := o.number+"/"+refund, s.cfg.Faults
	if s.chance("lose", name, 0) < f.Lose {
		return
	}
	n := notice{order: o.number, refund: refund, copies: 1}
	n.due = s.cfg.Now().Add(time.Duration(s.chance("delay", name, 0) * float64(f.Delay)))
	if s.chance("twice", name, 0) < f.Twice {
		n.copies = 2
	}
	s.notices = append(s.notices, n)
}

func (s *Sandbox) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// Run sends callbacks until ctx ends, and returns when the last one under way has ended. It is called once.
func (s *Sandbox) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxNotices)
	for {
		due, next := s.due()
		for _, n := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			wg.Go(func() {
				s.send(ctx, n)
				<-slots
			})
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

// due takes the callbacks whose time has come, and returns how long until the next.
func (s *Sandbox) due() (due []notice, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	next = time.Hour
	s.notices = slices.DeleteFunc(s.notices, func(n notice) bool {
		if wait := n.due.Sub(now); wait > 0 {
			next = min(next, wait)
			return false
		}
		due = append(due, n)
		return true
	})
	return due, next
}

// send sends the copies of a callback; where one is not taken, it is owed again.
func (s *Sandbox) send(ctx context.Context, n notice) {
	for range n.copies {
		err := s.post(ctx, n)
		if err == nil || ctx.Err() != nil {
			continue
		}
		n.attempts++
		s.cfg.Log.WarnContext(ctx, "a callback was not taken", "order", n.order, "attempts", n.attempts, "error", err)
		if n.attempts < noticeAttempts {
			n.copies, n.due = 1, s.cfg.Now().Add(noticePause<<(n.attempts-1))
			s.mu.Lock()
			s.notices = append(s.notices, n)
			s.mu.Unlock()
			s.notify()
		}
		return
	}
}

func (s *Sandbox) post(ctx context.Context, n notice) error {
	s.mu.Lock()
	o := s.orders[n.order]
	a, target := s.answer(o), o.body.Callback
	if n.refund != "" {
		a = s.refundAnswer(o, n.refund)
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := httpsig.SignRequest(req, body, s.cfg.Signer, s.cfg.Now(), httpsig.NewNonce()); err != nil {
		return err
	}
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return errs.Newf(errs.FromHTTP(resp.StatusCode), "回调被答复 %d", "the callback was answered with %d", resp.StatusCode)
	}
	return nil
}
