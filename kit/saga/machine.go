package saga

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Action is one call to make now.
type Action struct {
	Step Step
	Op   Op
}

// Plan is what to do with an instance.
type Plan struct {
	Actions []Action
	WakeAt  int64  // when to look again where nothing else happens; 0 for never
	End     Status // not empty: the instance has ended and is to be closed
}

// Next says what to do with in at the time now. Steps in flight are those whose call has not returned; nothing is
// planned for them.
func Next(d *Definition, in *Instance, now int64, inFlight func(step string) bool) Plan {
	var p Plan
	switch in.Status {
	case Running:
		forward(d, in, now, inFlight, &p)
	case Compensating:
		back(d, in, now, inFlight, &p)
	}
	return p
}

func forward(d *Definition, in *Instance, now int64, inFlight func(string) bool, p *Plan) {
	if in.Deadline > 0 && !in.Cancel && CanCancel(d, in) {
		if now >= in.Deadline {
			cancel(d, in, "deadline", now)
			if in.Status == Compensating {
				back(d, in, now, inFlight, p)
				return
			}
		} else {
			p.wake(in.Deadline)
		}
	}
	for _, stage := range d.Stages {
		complete := true
		for _, s := range stage {
			st := in.Step(s.Name)
			if st.Status == StepDone || st.Status == StepSkipped {
				continue
			}
			complete = false
			op := st.Next
			if op == "" {
				op = Do
			}
			p.add(s, op, st, now, inFlight)
		}
		if !complete {
			return
		}
	}
	p.End = Succeeded
}

func back(d *Definition, in *Instance, now int64, inFlight func(string) bool, p *Plan) {
	for i := len(d.Stages) - 1; i >= 0; i-- {
		complete := true
		for _, s := range d.Stages[i] {
			st := in.Step(s.Name)
			if settled(s, st, inFlight) {
				continue
			}
			complete = false
			p.add(s, Undo, st, now, inFlight)
		}
		if !complete {
			return
		}
	}
	p.End = Compensated
}

// settled reports whether compensation has nothing more to do about a step.
func settled(s Step, st *StepState, inFlight func(string) bool) bool {
	if inFlight(s.Name) {
		return false
	}
	switch st.Status {
	case StepRefused, StepSkipped, StepUndone:
		return true
	case StepWaiting:
		return !st.Doubt || !s.Undo
	}
	return !s.Undo
}

func (p *Plan) add(s Step, op Op, st *StepState, now int64, inFlight func(string) bool) {
	switch {
	case inFlight(s.Name) || st.Parked:
	case st.NextAt > now:
		p.wake(st.NextAt)
	default:
		p.Actions = append(p.Actions, Action{s.WithDefaults(), op})
	}
}

func (p *Plan) wake(at int64) {
	if p.WakeAt == 0 || at < p.WakeAt {
		p.WakeAt = at
	}
}

// Begin records that a is being asked.
func Begin(in *Instance, a Action, now int64) {
	st := in.Step(a.Step.Name)
	st.Calls++
	if st.BeganAt == 0 {
		st.BeganAt = now
	}
	switch {
	case a.Op == Undo && in.Status == Compensating:
		st.Status = StepUndoing
	case a.Op == Do:
		st.Status, st.Doubt = StepAsked, false
	}
}

// Take moves in by the answer to op of the step called name, and reports what a person should hear of. An answer
// that comes late, such as a callback after a poll, changes nothing.
func Take(d *Definition, in *Instance, name string, op Op, a Answer, now int64) *Notice {
	s, _, ok := d.Step(name)
	if !ok {
		return nil
	}
	st := in.Step(name)
	if op == Undo {
		return takeUndo(d, in, s, st, a, now)
	}
	if in.Status != Running || (st.Status != StepAsked && st.Status != StepPending) {
		return nil
	}
	switch a.Outcome {
	case Done:
		settle(st, StepDone, now)
		st.Output, st.Reason = a.Output, ""
		if s.Pivot {
			in.Cancel, in.Reason = false, ""
		}
		return nil
	case Refused:
		return refused(d, in, s, st, a.Reason, now)
	}
	n := undecided(in, s, st, a, now)
	if in.Cancel && s.Pivot { // what remains to be asked is whether it can be recalled
		st.Next, st.NextAt, st.Parked = Undo, now, false
	}
	return n
}

// undecided handles the answers that do not settle a step.
func undecided(in *Instance, s Step, st *StepState, a Answer, now int64) *Notice {
	switch a.Outcome {
	case Pending:
		return pending(s, st, a, now)
	case Unseen:
		return unanswered(in, s, st, Do, a.Reason, now)
	}
	return unanswered(in, s, st, Query, a.Reason, now)
}

func settle(st *StepState, to StepStatus, now int64) {
	st.Status, st.EndedAt = to, now
	st.Next, st.NextAt, st.Attempts, st.Parked = "", 0, 0, false
}

// refused turns back before the pivot and parks after it.
func refused(d *Definition, in *Instance, s Step, st *StepState, reason string, now int64) *Notice {
	settle(st, StepRefused, now)
	st.Reason = reason
	if PastPivot(d, in) {
		st.Parked = true
		return &Notice{Kind: Parked, Step: s.Name, Participant: s.Participant, Reason: reason}
	}
	in.Status, in.Cancel, in.Reason = Compensating, false, reason
	return nil
}

func pending(s Step, st *StepState, a Answer, now int64) *Notice {
	st.Status, st.Next, st.Attempts, st.Reason = StepPending, Query, 0, ""
	if a.PollAfter <= 0 {
		a.PollAfter = time.Second
	}
	st.NextAt = now + a.PollAfter.Milliseconds()
	if s.Answer > 0 && now-st.BeganAt > s.Answer.Milliseconds() {
		return park(s, st, "no answer in time")
	}
	return nil
}

// unanswered schedules the next try, or parks.
func unanswered(in *Instance, s Step, st *StepState, next Op, reason string, now int64) *Notice {
	st.Attempts++
	st.Next, st.Reason = next, reason
	if st.Attempts >= s.Retry.Attempts {
		return park(s, st, reason)
	}
	wait := backoff(s.Retry, st.Attempts, in.ID+s.Name)
	if next == Do && st.Attempts == 1 {
		wait = 0 // the participant has just said that it is there
	}
	st.NextAt = now + wait.Milliseconds()
	return &Notice{Kind: Retrying, Step: s.Name, Participant: s.Participant, Reason: reason, Attempts: st.Attempts}
}

func park(s Step, st *StepState, reason string) *Notice {
	st.Parked, st.Reason = true, reason
	return &Notice{Kind: Parked, Step: s.Name, Participant: s.Participant, Reason: reason, Attempts: st.Attempts}
}

// takeUndo handles the answers of compensation, and of a cancellation sent to a pivot that is under way.
func takeUndo(d *Definition, in *Instance, s Step, st *StepState, a Answer, now int64) *Notice {
	if in.Status == Running {
		return takeRecall(d, in, s, st, a, now)
	}
	if st.Status != StepUndoing {
		return nil
	}
	switch a.Outcome {
	case Done, Unseen:
		settle(st, StepUndone, now)
		return nil
	case Pending:
		n := pending(s, st, a, now)
		st.Status, st.Next = StepUndoing, Undo
		return n
	case Refused:
		return park(s, st, a.Reason)
	}
	return unanswered(in, s, st, Undo, a.Reason, now)
}

// takeRecall handles the pivot's answer to a cancellation: done means it will never happen, refused that it has.
func takeRecall(d *Definition, in *Instance, s Step, st *StepState, a Answer, now int64) *Notice {
	if !in.Cancel || st.Status == StepDone {
		return nil
	}
	switch a.Outcome {
	case Done, Unseen:
		settle(st, StepUndone, now)
		in.Status, in.Cancel = Compensating, false
		return nil
	case Refused:
		in.Cancel, in.Reason = false, ""
		st.Next, st.NextAt = Query, now
		return nil
	}
	return unanswered(in, s, st, Undo, a.Reason, now)
}

// backoff doubles from Initial to Max, with 20 % of jitter taken from the instance so that it is the same each time it
// is computed and different between instances.
func backoff(r Retry, attempts int, seed string) time.Duration {
	wait := r.Max
	if shift := attempts - 1; shift < 30 {
		wait = min(r.Initial<<shift, r.Max)
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", seed, attempts)
	return wait + wait*time.Duration(int64(h.Sum32()%401)-200)/1000
}

// PastPivot reports whether in has passed its pivot.
func PastPivot(d *Definition, in *Instance) bool {
	p := pivot(d)
	if p == nil {
		return false
	}
	st := in.Step(p.Name).Status
	return st == StepDone || st == StepSkipped
}

// CanCancel reports whether the way back is open: before the pivot, and while it is under way where it can be recalled.
func CanCancel(d *Definition, in *Instance) bool {
	if in.Status != Running || PastPivot(d, in) {
		return false
	}
	p := pivot(d)
	return p == nil || p.Undo || !begun(in.Step(p.Name))
}

func pivot(d *Definition) *Step {
	for _, stage := range d.Stages {
		if stage[0].Pivot {
			return &stage[0]
		}
	}
	return nil
}

func begun(st *StepState) bool {
	return st.Status == StepAsked || st.Status == StepPending || st.Status == StepWaiting && st.Doubt
}

// asked is the status of a step that may have been asked, from now on taken as such.
func asked(s StepStatus) StepStatus {
	if s == StepWaiting {
		return StepAsked
	}
	return s
}

// Cancel asks for the way back. Where the pivot is under way it is recalled first, and may answer that it is too late.
func Cancel(d *Definition, in *Instance, reason string, now int64) error {
	switch {
	case in.Status == Compensating || in.Status == Compensated || in.Cancel:
		return nil
	case !CanCancel(d, in):
		return errs.New(errs.Conflict, "已过不可撤回的环节", "it is past the point where it can be withdrawn").WithCode("saga.past-pivot")
	}
	cancel(d, in, reason, now)
	return nil
}

func cancel(d *Definition, in *Instance, reason string, now int64) {
	in.Reason = reason
	if p := pivot(d); p != nil {
		if st := in.Step(p.Name); begun(st) {
			in.Cancel = true
			st.Status, st.Doubt = asked(st.Status), false
			st.Next, st.NextAt, st.Parked, st.Attempts = Undo, now, false, 0
			return
		}
	}
	in.Status = Compensating
	for i := range in.Steps {
		if st := &in.Steps[i]; st.Parked {
			st.Parked, st.NextAt, st.Attempts = false, now, 0
		}
	}
}

// RetryNow has the steps that match ask again at once, parked or waiting, and reports how many.
func RetryNow(d *Definition, in *Instance, match func(Step) bool, now int64) int {
	n := 0
	for i := range in.Steps {
		st := &in.Steps[i]
		s, _, _ := d.Step(st.Name)
		if !match(s) || !(st.Parked || st.Attempts > 0) {
			continue
		}
		if st.Status == StepRefused {
			st.Status, st.Next = StepWaiting, ""
		}
		st.Parked, st.Attempts, st.NextAt, st.EndedAt = false, 0, now, 0
		n++
	}
	return n
}

// Skip closes a parked step without its being done; reason says why. A pivot can't be skipped.
func Skip(d *Definition, in *Instance, name, reason string, now int64) error {
	s, _, ok := d.Step(name)
	switch {
	case !ok:
		return errs.New(errs.NotFound, "没有这个环节", "there is no such step").WithField("step")
	case !in.Step(name).Parked:
		return errs.New(errs.Conflict, "只有停放的环节可以跳过", "only a parked step can be skipped").WithField("step")
	case s.Pivot && in.Status == Running:
		return errs.New(errs.Conflict, "关键环节不能跳过", "the pivot can't be skipped").WithField("step")
	case reason == "":
		return errs.New(errs.Invalid, "必须填写理由", "a reason is needed").WithField("reason")
	}
	st := in.Step(name)
	settle(st, StepSkipped, now)
	st.Reason = reason
	return nil
}

// NoticeKind says what a person should hear of.
type NoticeKind string

// The kinds.
const (
	Retrying NoticeKind = "retrying"
	Parked   NoticeKind = "parked"
)

// Notice tells of a step that is not getting on.
type Notice struct {
	Kind        NoticeKind `json:"kind"`
	Step        string     `json:"step"`
	Participant string     `json:"participant,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Attempts    int        `json:"attempts,omitempty"`
}

// Resume marks what a former life of the process may have asked without having written it down: every step of the
// stage that is under way, and those of the stages after it up to the first that does not begin before a durable
// write. Such a step is asked again under the same request id, and undone like one that was asked.
func Resume(d *Definition, in *Instance) {
	if in.Status != Running {
		return
	}
	underWay := true
	for _, stage := range d.Stages {
		complete, durable := true, false
		for _, s := range stage {
			st := in.Step(s.Name)
			if st.Status == StepDone || st.Status == StepSkipped {
				continue
			}
			complete, durable = false, durable || s.Pivot || s.Durable || s.Local()
			if st.Status == StepWaiting && underWay {
				st.Status, st.Doubt = StepAsked, false
			} else if st.Status == StepWaiting {
				st.Doubt = true
			}
		}
		if durable {
			return
		}
		underWay = underWay && complete
	}
}
