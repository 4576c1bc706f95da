// Package saga says what a saga is: its definition, the state of a running instance, and the rules by which one moves.
// It is pure; package engine runs it.
//
// A saga is a list of stages; the steps of a stage run in parallel. Each step asks one participant to do something, and
// every answer is done, refused, pending (asked, to be answered later) or unknown (nobody can say whether it happened:
// it is then queried, and asked again only where the participant never saw it). One step may be the pivot. Before it, a
// refusal, a cancellation or the deadline undoes what was done, in reverse. After it there is only forward: what does
// not succeed is retried, and parked for a person once retrying is no use.
package saga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/lang"
)

// Definition is one version of a saga. Running instances finish on the version they began with.
type Definition struct {
	Name     string
	Version  int
	Title    lang.Text
	Deadline time.Duration // to reach the pivot, or the end where there is none; 0 for none
	Stages   []Stage
}

// Stage is a set of steps that run in parallel.
type Stage []Step

// Step asks one participant for one thing.
type Step struct {
	Name        string
	Title       lang.Text
	Participant string        // who is asked; empty for a local step
	Pivot       bool          // once done, there is no way back
	Undo        bool          // can be compensated
	Timeout     time.Duration // of one call; default 10 s
	Answer      time.Duration // how long a pending answer may take before the step is parked; 0 for ever
	Retry       Retry
	Durable     bool // its completion is on stable storage before the next step begins; a pivot's always is
}

// Retry is how a step without an answer is asked again: after Initial, doubling up to Max, each ±20 %, and parked
// after Attempts.
type Retry struct {
	Initial  time.Duration // default 200 ms
	Max      time.Duration // default 1 min
	Attempts int           // default 12
}

// Local reports whether the step runs in this house's own database.
func (s Step) Local() bool { return s.Participant == "" }

// WithDefaults returns s with what was left out.
func (s Step) WithDefaults() Step {
	if s.Timeout <= 0 {
		s.Timeout = 10 * time.Second
	}
	if s.Retry.Initial <= 0 {
		s.Retry.Initial = 200 * time.Millisecond
	}
	if s.Retry.Max <= 0 {
		s.Retry.Max = time.Minute
	}
	if s.Retry.Attempts <= 0 {
		s.Retry.Attempts = 12
	}
	return s
}

// Check reports the first defect of a definition.
func (d *Definition) Check() error {
	if d.Name == "" || d.Version < 1 {
		return fmt.Errorf("saga %q version %d: a name and a version from 1 are needed", d.Name, d.Version)
	}
	seen, pivot := map[string]bool{}, false
	for i, stage := range d.Stages {
		if len(stage) == 0 {
			return fmt.Errorf("saga %s: stage %d has no step", d.Name, i+1)
		}
		hasPivot := false
		for _, s := range stage {
			if s.Name == "" || seen[s.Name] {
				return fmt.Errorf("saga %s: stage %d: step name %q is empty or used twice", d.Name, i+1, s.Name)
			}
			seen[s.Name] = true
			hasPivot = hasPivot || s.Pivot
		}
		if hasPivot && (pivot || len(stage) > 1) {
			return fmt.Errorf("saga %s: stage %d: the pivot is one step, alone in its stage", d.Name, i+1)
		}
		pivot = pivot || hasPivot
	}
	if len(d.Stages) == 0 {
		return fmt.Errorf("saga %s has no stage", d.Name)
	}
	return nil
}

// Step returns the step called name, with defaults, and its stage.
func (d *Definition) Step(name string) (step Step, stage int, ok bool) {
	for i, st := range d.Stages {
		for _, s := range st {
			if s.Name == name {
				return s.WithDefaults(), i, true
			}
		}
	}
	return Step{}, 0, false
}

// Outcome is what a participant's answer comes to.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Pending Outcome = "pending"
	Unseen  Outcome = "unseen"  // to a query: the participant never got the request
	Unknown Outcome = "unknown" // no answer, or none that can be trusted
)

// Answer is what a participant says.
type Answer struct {
	Outcome   Outcome
	Output    json.RawMessage // of Done: what it issued
	Reason    string          // of Refused and Unknown: why, without submitted values
	PollAfter time.Duration   // of Pending: when to ask next; default 1 s
}

// Op is what a participant is asked to do.
type Op string

// The operations.
const (
	Do    Op = "do"
	Query Op = "query"
	Undo  Op = "undo"
)

// Status is where an instance stands.
type Status string

// The statuses.
const (
	Running      Status = "running"
	Compensating Status = "compensating"
	Succeeded    Status = "succeeded"   // every step done or skipped
	Compensated  Status = "compensated" // everything undone
)

// Ended reports whether nothing will happen any more.
func (s Status) Ended() bool { return s == Succeeded || s == Compensated }

// StepStatus is where a step stands.
type StepStatus string

// The statuses of a step.
const (
	StepWaiting StepStatus = ""        // not begun
	StepAsked   StepStatus = "asked"   // asked, or about to be; whether it happened is not known
	StepPending StepStatus = "pending" // the participant will answer later
	StepDone    StepStatus = "done"
	StepRefused StepStatus = "refused"
	StepSkipped StepStatus = "skipped" // by a person, with a reason
	StepUndoing StepStatus = "undoing" // asked to undo; whether it happened is not known
	StepUndone  StepStatus = "undone"
)

// StepState is the state of one step of an instance. Times are milliseconds since 1970, UTC.
type StepState struct {
	Name     string          `json:"name"`
	Status   StepStatus      `json:"status,omitempty"`
	Next     Op              `json:"next,omitempty"`     // what to ask, at NextAt
	NextAt   int64           `json:"nextAt,omitempty"`   // not before
	Attempts int             `json:"attempts,omitempty"` // calls without an answer since the last answer
	Calls    int             `json:"calls,omitempty"`    // all calls
	Parked   bool            `json:"parked,omitempty"`   // waits for a person
	Doubt    bool            `json:"doubt,omitempty"`    // waiting, but a former life of the process may have asked
	Reason   string          `json:"reason,omitempty"`   // of the refusal, the parking, the skipping or the last failure
	Output   json.RawMessage `json:"output,omitempty"`
	BeganAt  int64           `json:"beganAt,omitempty"`
	EndedAt  int64           `json:"endedAt,omitempty"`
}

// Instance is one running saga.
type Instance struct {
	ID       string
	Name     string
	Version  int
	Status   Status
	Input    json.RawMessage
	Steps    []StepState // in the order of the definition
	Reason   string      // why it was compensated
	Cancel   bool        // a person or the deadline asked for the way back
	Trace    string      // W3C traceparent of who started it
	Rev      int64       // grows with every change
	Created  int64
	Updated  int64
	Deadline int64 // 0 for none
}

// New returns a fresh instance of d.
func New(d *Definition, id string, input json.RawMessage, now int64) *Instance {
	in := &Instance{ID: id, Name: d.Name, Version: d.Version, Status: Running, Input: input, Created: now, Updated: now}
	if d.Deadline > 0 {
		in.Deadline = now + d.Deadline.Milliseconds()
	}
	n := 0
	for _, stage := range d.Stages {
		n += len(stage)
	}
	in.Steps = make([]StepState, 0, n)
	for _, stage := range d.Stages {
		for _, s := range stage {
			in.Steps = append(in.Steps, StepState{Name: s.Name})
		}
	}
	return in
}

// Step returns the state of the step called name, or nil.
func (in *Instance) Step(name string) *StepState {
	for i := range in.Steps {
		if in.Steps[i].Name == name {
			return &in.Steps[i]
		}
	}
	return nil
}

// Clone returns a copy that shares nothing that changes.
func (in *Instance) Clone() *Instance {
	c := *in
	c.Steps = append([]StepState(nil), in.Steps...)
	return &c
}
