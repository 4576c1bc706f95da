package sandbox

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
)

// do is PUT.
func (s *Sandbox) do(ctx context.Context, k key, b *Behaviour, req agency.Request, app application, fault FaultKind) (reply, error) {
	digest, err := digestOf(req)
	if err != nil {
		return reply{}, err
	}
	stands, seen, err := find(ctx, s.store.db, k)
	if err == nil && !seen {
		stands, err = s.accept(ctx, k, b, req, app, digest, fault)
	}
	if err != nil {
		return reply{}, err
	}
	if stands.digest != "" && stands.digest != digest {
		return reply{}, errs.New(errs.Conflict, "同一请求编号的内容已改变", "the same request id came with other contents").
			WithCode("agency.changed").WithField("requestId")
	}
	left := stands.left(s.now())
	switch {
	case !seen && b.Mode == Now:
		left = 0 // it has waited
	case !seen:
		left = max(left, 1) // what is decided later is pending at first, however soon it is ready
	}
	return answerOf(stands, left), nil
}

// accept lets a request take effect, and returns what stands then: where another of the same id came first, that one. An
// agency that answers at once has the effect first and then takes the rest of its time, in which the request is pending to
// whoever asks: so its latency is the whole of it, and a caller that has left finds what it asked for.
func (s *Sandbox) accept(ctx context.Context, k key, b *Behaviour, req agency.Request, app application, digest string, fault FaultKind) (entry, error) {
	now, came := s.now(), time.Now() // in this order: what is answered as done is not pending to who asks next
	latency := b.Latency.sample(draw(s.cfg.Seed, k, "latency"), s.cfg.Speed)
	e, err := s.decide(k, b, app)
	if err != nil {
		return entry{}, err
	}
	e.digest, e.copies, e.readyAt = digest, 1, now.Add(latency).UnixMilli()
	if fault == Duplicate {
		e.copies = 2
	}
	if b.Mode == Callback && req.Callback != "" {
		e.callback, e.nextAt = req.Callback, e.readyAt
	}
	stands, err := process(fault, func() (entry, error) { return s.store.do(ctx, e, now.UnixMilli()) })
	if err != nil {
		return entry{}, err
	}
	if stands.nextAt > 0 {
		s.notify()
	}
	if b.Mode != Now {
		return stands, nil
	}
	if err := s.work(ctx, latency-time.Since(came)); err != nil {
		return entry{}, err
	}
	stands, _, err = find(ctx, s.store.db, k) // it may have been undone meanwhile
	return stands, err
}

// process runs f, and a second time beside it where the fault is that the agency processes its request twice: the
// barrier must keep the effect single whichever of them comes first.
func process[T any](fault FaultKind, f func() (T, error)) (T, error) {
	var wg sync.WaitGroup
	var second error
	if fault == Duplicate {
		wg.Go(func() { _, second = f() })
	}
	first, err := f()
	wg.Wait()
	return first, cmp.Or(err, second)
}

// decide makes what an agency will answer: a pure function of seed, key and application.
func (s *Sandbox) decide(k key, b *Behaviour, app application) (entry, error) {
	for _, rule := range b.Refuse {
		if rule.holds(app) {
			return entry{key: k, answer: refusal(k.id, rule.Refusal)}, nil
		}
	}
	issued, err := output(b.output, s.cfg.Seed, k, app)
	return entry{key: k, answer: agency.Answer{RequestID: k.id, Outcome: agency.Done, Output: issued}}, err
}

// query is GET.
func (s *Sandbox) query(ctx context.Context, k key) (reply, error) {
	e, seen, err := find(ctx, s.store.db, k)
	if err != nil {
		return reply{}, err
	}
	if !seen {
		return jsonReply(http.StatusNotFound, agency.Answer{RequestID: k.id, Outcome: agency.Unseen}), nil
	}
	return answerOf(e, e.left(s.now())), nil
}

// undo is DELETE.
func (s *Sandbox) undo(ctx context.Context, k key, b *Behaviour, fault FaultKind) (reply, error) {
	done := jsonReply(http.StatusOK, agency.Answer{RequestID: k.id, Outcome: agency.Done})
	if e, _, err := find(ctx, s.store.db, k); err != nil || e.undone {
		return done, err
	}
	came := time.Now()
	_, err := process(fault, func() (any, error) { return nil, s.store.undo(ctx, k, b.Revocable, s.now().UnixMilli()) })
	rep := done
	if errors.Is(err, errIrrevocable) {
		rep = jsonReply(http.StatusOK, refusal(k.id, Refusal{errIrrevocable.Code, errIrrevocable.Msg}))
	} else if err != nil {
		return reply{}, err
	}
	latency := b.Latency.sample(draw(s.cfg.Seed, k, "latency/undo"), s.cfg.Speed)
	return rep, s.work(ctx, latency-time.Since(came))
}

// left returns for how many milliseconds more a request is pending.
func (e entry) left(now time.Time) int64 { return max(0, e.readyAt-now.UnixMilli()) }

// answerOf returns what an agency says of a request that is pending for left milliseconds more.
func answerOf(e entry, left int64) reply {
	switch {
	case e.undone:
		return jsonReply(http.StatusOK, refusal(e.id, Refusal{"undone", lang.T("该请求已被撤销，不再办理", "the request was undone and will not take effect")}))
	case left > 0:
		return jsonReply(http.StatusAccepted, agency.Answer{RequestID: e.id, Outcome: agency.Pending, PollAfter: agency.Milliseconds(left)})
	}
	return jsonReply(http.StatusOK, e.answer)
}

func refusal(id string, r Refusal) agency.Answer {
	return agency.Answer{RequestID: id, Outcome: agency.Refused, Code: r.Code, Reason: r.Reason}
}

// digestOf returns the SM3 of what is asked. The callback stays out: a caller may have moved since its first attempt.
func digestOf(req agency.Request) (string, error) {
	req.Callback = ""
	data, err := json.Marshal(req)
	digest := gm.SM3(data)
	return hex.EncodeToString(digest[:]), err
}

// work takes as long as an agency does. It ends early, as an error, when the sandbox ends.
func (s *Sandbox) work(ctx context.Context, d time.Duration) error {
	if s.wait(ctx, d) {
		return nil
	}
	return errs.New(errs.Unavailable, "部门系统正在停机", "the agency's system is stopping").WithCode("sandbox.ended")
}

// wait reports whether d has passed; it returns early when ctx or the sandbox ends.
func (s *Sandbox) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.ended:
	}
	return false
}
