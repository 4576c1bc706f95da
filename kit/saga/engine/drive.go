package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// stay is how long a driver waits in memory for the next thing to do, rather than leave and be found by polling.
const stay = 2 * time.Second

// driver drives one instance while it has something to do.
type driver struct {
	e        *Engine
	kind     Kind
	in       *saga.Instance
	life     int64 // written with each change, so that this driver knows its own
	inFlight map[string]bool
	behind   chan bool        // tells whether a write beside the driver has been done; nil where there is none
	flush    <-chan time.Time // fires when one is to begin; nil where none is due
	dirty    bool             // something has changed that no write beside the driver has taken
	lost     bool             // the row is no longer ours to write
	wake     chan struct{}    // inbox has something
	inbox    []event          // guarded by e.mu
}

// event is an answer or a command, applied by the driver alone.
type event struct {
	apply func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error)
	step  string          // whose call has returned; empty for a command
	reply func(err error) // after the change is written; nil for an answer
}

// post puts ev into the driver's inbox. e.mu must be held.
func (dr *driver) post(ev event) {
	dr.inbox = append(dr.inbox, ev)
	select {
	case dr.wake <- struct{}{}:
	default:
	}
}

// run drives until the instance has ended or has long to wait.
func (dr *driver) run(ctx context.Context) {
	defer dr.settle()
	for {
		now := dr.e.Now().UnixMilli()
		before := dr.in.Status
		plan := saga.Next(dr.kind.Definition, dr.in, now, func(s string) bool { return dr.inFlight[s] })
		if dr.in.Status != before || plan.End != "" { // the deadline has passed, or nothing is left to do
			if plan.End != "" {
				dr.in.Status = plan.End
			}
			if !dr.write(ctx, nil, plan, true) || plan.End != "" {
				return
			}
		}
		if dr.begin(ctx, plan.Actions, now) {
			continue
		}
		if !dr.wait(ctx, plan) {
			return
		}
		if events := dr.take(); len(events) > 0 && !dr.apply(ctx, events) {
			return
		}
	}
}

// begin makes the calls, and reports whether a local step has been done, so that there is more to plan at once.
func (dr *driver) begin(ctx context.Context, actions []saga.Action, now int64) (again bool) {
	for _, a := range actions {
		saga.Begin(dr.in, a, now)
		if a.Step.Local() {
			again = dr.local(ctx, a) || again
			continue
		}
		dr.inFlight[a.Step.Name] = true
		go dr.call(ctx, a, dr.request(a))
	}
	return again
}

// wait returns when something is in the inbox or due, and false when the driver is to leave.
func (dr *driver) wait(ctx context.Context, plan saga.Plan) bool {
	if dr.lost {
		return false
	}
	var due <-chan time.Time
	if len(dr.inFlight) == 0 {
		left := stay + 1
		if plan.WakeAt > 0 {
			left = time.Duration(plan.WakeAt-dr.e.Now().UnixMilli()) * time.Millisecond
		}
		if left > stay {
			return dr.stay(ctx, plan)
		}
		t := time.NewTimer(left)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-dr.wake:
	case <-due:
	case ok := <-dr.behind:
		return dr.caughtUp(ok)
	case <-dr.flush:
		dr.progress(ctx, plan)
	case <-ctx.Done():
		return false
	}
	return true
}

// stay reports whether something has come in after all; otherwise it has written when to be found again, and left.
func (dr *driver) stay(ctx context.Context, plan saga.Plan) bool {
	dr.e.mu.Lock()
	waiting := len(dr.inbox) > 0
	dr.e.mu.Unlock()
	if waiting {
		return true
	}
	if !dr.write(ctx, nil, plan, false) {
		return false
	}
	dr.e.mu.Lock()
	defer dr.e.mu.Unlock()
	if len(dr.inbox) > 0 {
		return true
	}
	dr.e.remove(dr.in.ID)
	return false
}

func (dr *driver) take() []event {
	dr.e.mu.Lock()
	defer dr.e.mu.Unlock()
	events := dr.inbox
	dr.inbox = nil
	return events
}

// apply takes answers and commands into the instance, writes it once, and answers the commands.
func (dr *driver) apply(ctx context.Context, events []event) bool {
	d, now := dr.kind.Definition, dr.e.Now().UnixMilli()
	var notices []saga.Notice
	results := make([]error, len(events))
	durable := false
	for i, ev := range events {
		delete(dr.inFlight, ev.step)
		before := firmOf(d, dr.in)
		n, err := ev.apply(d, dr.in, now)
		if n != nil {
			notices = append(notices, *n)
			durable = durable || n.Kind == saga.Parked
		}
		results[i] = err
		durable = durable || ev.reply != nil || firmOf(d, dr.in) != before
	}
	plan := saga.Next(d, dr.in, now, func(s string) bool { return dr.inFlight[s] })
	if plan.End != "" {
		dr.in.Status, durable = plan.End, true
	}
	ok := true
	if durable || len(notices) > 0 {
		ok = dr.write(ctx, notices, plan, durable)
	} else {
		dr.later()
	}
	for i, ev := range events {
		if ev.reply == nil {
			continue
		}
		if !ok && results[i] == nil {
			results[i] = dr.e.gone()
		}
		ev.reply(results[i])
	}
	return ok && !dr.in.Status.Ended()
}

// firm is what must be on stable storage before the saga goes on: where the instance stands, and how many of its
// steps are done for good or undone.
type firm struct {
	status saga.Status
	steps  int
}

func firmOf(d *saga.Definition, in *saga.Instance) firm {
	f := firm{status: in.Status}
	i := 0 // the states stand in the order of the definition
	for _, stage := range d.Stages {
		for _, s := range stage {
			st := in.Steps[i].Status
			if (s.Pivot || s.Durable) && st == saga.StepDone || st == saga.StepUndone {
				f.steps++
			}
			i++
		}
	}
	return f
}

// call asks a remote participant, and posts its answer.
func (dr *driver) call(ctx context.Context, a saga.Action, call Call) {
	dr.e.counts.calls.Add(1)
	p := dr.kind.Participants[a.Step.Participant]
	answer, err := dr.ask(ctx, p, a, call)
	if err != nil {
		answer = saga.Answer{Outcome: saga.Unknown, Reason: reason(err)}
		dr.e.Log.Debug("no answer", "saga", call.Saga, "step", call.Step, "op", a.Op, "err", err)
	}
	dr.answered(a, answer)
}

func (dr *driver) ask(ctx context.Context, p Participant, a saga.Action, c Call) (answer saga.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.Step.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	switch a.Op {
	case saga.Do:
		return p.Do(ctx, c)
	case saga.Undo:
		return p.Undo(ctx, c)
	}
	return p.Query(ctx, c)
}

// reason says why there is no answer, in words that hold nothing of the answer.
func reason(err error) string {
	if kind := errs.KindOf(err); kind != errs.Internal {
		return kind.String()
	}
	return errs.Unavailable.String()
}

func (dr *driver) answered(a saga.Action, answer saga.Answer) {
	if len(answer.Output) > 0 && !json.Valid(answer.Output) {
		answer = saga.Answer{Outcome: saga.Unknown, Reason: "output is not JSON"}
	}
	ev := event{step: a.Step.Name, apply: func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error) {
		return saga.Take(d, in, a.Step.Name, a.Op, answer, now), nil
	}}
	dr.e.mu.Lock()
	defer dr.e.mu.Unlock()
	dr.post(ev)
}

// local runs a step in this house's database and reports whether it got an answer. The step's own writes and its
// completion are one transaction.
func (dr *driver) local(ctx context.Context, a saga.Action) bool {
	if !dr.settle() {
		return false
	}
	call, d := dr.request(a), dr.kind.Definition
	var next *saga.Instance
	var notice *saga.Notice
	err := dr.e.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		answer, err := dr.kind.Locals[a.Step.Name](ctx, tx, a.Op, call)
		if err != nil {
			return err
		}
		now := dr.e.Now().UnixMilli()
		next = dr.in.Clone()
		notice = saga.Take(d, next, a.Step.Name, a.Op, answer, now)
		next.Rev, next.Updated = next.Rev+1, max(next.Updated, now)
		return tx.Update(ctx, update, updated(d, next, held, dr.life)...)
	})
	if err != nil {
		dr.e.Log.Warn("a local step failed", "saga", dr.in.ID, "step", a.Step.Name, "err", err)
		dr.inFlight[a.Step.Name] = true
		dr.answered(a, saga.Answer{Outcome: saga.Unseen, Reason: reason(err)})
		return false
	}
	dr.in = next
	if notice != nil {
		dr.written([]saga.Notice{*notice})
	} else {
		dr.written(nil)
	}
	return true
}

func (dr *driver) request(a saga.Action) Call {
	outputs := map[string]json.RawMessage{}
	for i := range dr.in.Steps {
		if st := &dr.in.Steps[i]; st.Status == saga.StepDone {
			outputs[st.Name] = st.Output
		}
	}
	return Call{
		Saga: dr.in.ID, Step: a.Step.Name, RequestID: dr.in.ID + "." + a.Step.Name,
		Attempt: dr.in.Step(a.Step.Name).Calls, Input: dr.in.Input,
		Output: func(step string) json.RawMessage { return outputs[step] },
	}
}
