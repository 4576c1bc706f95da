package saga_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/saga"
)

func step(name string, options ...func(*saga.Step)) saga.Step {
	s := saga.Step{Name: name, Participant: name + "-agency", Retry: saga.Retry{Attempts: 4}}
	for _, o := range options {
		o(&s)
	}
	return s
}

func undo(s *saga.Step)  { s.Undo = true }
func pivot(s *saga.Step) { s.Pivot = true }

// trip has two steps that can be undone, a pivot, and two parallel steps after it.
func trip(pivotOptions ...func(*saga.Step)) *saga.Definition {
	return &saga.Definition{Name: "trip", Version: 1, Deadline: time.Hour, Stages: []saga.Stage{
		{step("a", undo), step("b", undo)},
		{step("p", append(pivotOptions, pivot)...)},
		{step("x"), step("y")},
	}}
}

func never(string) bool { return false }

// plan lists the actions as "do a, undo b".
func plan(d *saga.Definition, in *saga.Instance, now int64) string {
	p := saga.Next(d, in, now, never)
	if p.End != "" {
		return string(p.End)
	}
	var all []string
	for _, a := range p.Actions {
		saga.Begin(in, a, now)
		all = append(all, string(a.Op)+" "+a.Step.Name)
	}
	return strings.Join(all, ", ")
}

func TestForward(t *testing.T) {
	d := trip()
	in := saga.New(d, "1", nil, 0)
	take := func(step string, a saga.Answer, now int64) *saga.Notice {
		return saga.Take(d, in, step, saga.Do, a, now)
	}
	done := saga.Answer{Outcome: saga.Done, Output: json.RawMessage(`{"n":1}`)}
	for i, want := range []string{"do a, do b", "do p", "do x, do y"} {
		if got := plan(d, in, 0); got != want {
			t.Fatalf("stage %d plans %q, want %q", i, got, want)
		}
		for a := range strings.SplitSeq(want, ", ") {
			if n := take(strings.Fields(a)[1], done, 5); n != nil {
				t.Errorf("%s gave the notice %+v", a, n)
			}
		}
	}
	if got := plan(d, in, 6); got != string(saga.Succeeded) {
		t.Errorf("at the end: %q", got)
	}
	if st := in.Step("x"); string(st.Output) != `{"n":1}` || st.EndedAt != 5 || st.Calls != 1 {
		t.Errorf("step x: %+v", st)
	}
}

func TestARefusalBeforeThePivotUndoesInReverse(t *testing.T) {
	d := &saga.Definition{Name: "d", Version: 1, Stages: []saga.Stage{{step("a", undo)}, {step("b", undo)}, {step("p", pivot)}}}
	in := saga.New(d, "1", nil, 0)
	for _, name := range []string{"a", "b"} {
		plan(d, in, 0)
		saga.Take(d, in, name, saga.Do, saga.Answer{Outcome: saga.Done}, 0)
	}
	plan(d, in, 0)
	saga.Take(d, in, "p", saga.Do, saga.Answer{Outcome: saga.Refused, Reason: "name taken"}, 0)
	for _, name := range []string{"b", "a"} {
		if got := plan(d, in, 0); got != "undo "+name {
			t.Fatalf("plans %q", got)
		}
		saga.Take(d, in, name, saga.Undo, saga.Answer{Outcome: saga.Done}, 0)
	}
	if got := plan(d, in, 0); got != string(saga.Compensated) || in.Reason != "name taken" {
		t.Errorf("ends as %q, %q", got, in.Reason)
	}
}

func TestAnUnknownAnswerIsQueriedBeforeItIsAskedAgain(t *testing.T) {
	d := trip()
	in := saga.New(d, "1", nil, 0)
	plan(d, in, 0)
	saga.Take(d, in, "b", saga.Do, saga.Answer{Outcome: saga.Done}, 0)
	n := saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Unknown, Reason: "time-out"}, 0)
	if n == nil || n.Kind != saga.Retrying || n.Attempts != 1 {
		t.Errorf("notice %+v", n)
	}
	if got := plan(d, in, 1); got != "" {
		t.Errorf("before the back-off: %q", got)
	}
	if got := plan(d, in, 300); got != "query a" {
		t.Errorf("after it: %q", got)
	}
	saga.Take(d, in, "a", saga.Query, saga.Answer{Outcome: saga.Unseen}, 300)
	if got := plan(d, in, 1000); got != "do a" {
		t.Errorf("the participant never saw it, and the plan is %q", got)
	}
	saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Pending, PollAfter: time.Minute}, 1000)
	if got := plan(d, in, 60_999); got != "" {
		t.Errorf("polled too early: %q", got)
	}
	if got := plan(d, in, 61_000); got != "query a" {
		t.Errorf("not polled: %q", got)
	}
	// a callback answers while the poll is under way; the poll's own answer then changes nothing
	saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Done, Output: json.RawMessage(`1`)}, 61_001)
	saga.Take(d, in, "a", saga.Query, saga.Answer{Outcome: saga.Pending}, 61_002)
	if st := in.Step("a"); st.Status != saga.StepDone {
		t.Errorf("a is %s", st.Status)
	}
}

func TestParkingRetryAndSkip(t *testing.T) {
	d := trip()
	in := saga.New(d, "1", nil, 0)
	for _, name := range []string{"a", "b", "p"} {
		plan(d, in, 0)
		saga.Take(d, in, name, saga.Do, saga.Answer{Outcome: saga.Done}, 0)
	}
	now := int64(0)
	for i := 1; ; i++ {
		plan(d, in, now)
		n := saga.Take(d, in, "x", saga.Query, saga.Answer{Outcome: saga.Unknown, Reason: "down"}, now)
		if n.Kind == saga.Parked {
			if i != 4 {
				t.Errorf("parked after %d calls, want 4", i)
			}
			break
		}
		now += time.Minute.Milliseconds()
	}
	plan(d, in, now)
	if n := saga.Take(d, in, "y", saga.Do, saga.Answer{Outcome: saga.Refused, Reason: "no"}, now); n == nil || n.Kind != saga.Parked {
		t.Errorf("a refusal after the pivot gave %+v", n)
	}
	if p := saga.Next(d, in, now+1e9, never); len(p.Actions) != 0 || p.End != "" || p.WakeAt != 0 {
		t.Errorf("a parked saga plans %+v", p)
	}
	if err := saga.Cancel(d, in, "please", now); !errs.Is(err, errs.Conflict) {
		t.Errorf("cancel past the pivot: %v", err)
	}
	match := func(s saga.Step) bool { return s.Participant == "x-agency" }
	if n := saga.RetryNow(d, in, match, now); n != 1 {
		t.Errorf("%d steps retried", n)
	}
	if got := plan(d, in, now); got != "query x" {
		t.Errorf("plans %q", got)
	}
	saga.Take(d, in, "x", saga.Query, saga.Answer{Outcome: saga.Done}, now)
	for want, do := range map[errs.Kind]func() error{
		errs.NotFound: func() error { return saga.Skip(d, in, "zz", "r", now) },
		errs.Conflict: func() error { return saga.Skip(d, in, "x", "r", now) },
		errs.Invalid:  func() error { return saga.Skip(d, in, "y", "", now) },
	} {
		if err := do(); !errs.Is(err, want) {
			t.Errorf("skip: got %v, want %s", err, want)
		}
	}
	if err := saga.Skip(d, in, "y", "done on paper", now); err != nil {
		t.Fatal(err)
	}
	if got := plan(d, in, now); got != string(saga.Succeeded) {
		t.Errorf("plans %q", got)
	}
}

func TestARefusedStepIsAskedAnewAfterRetry(t *testing.T) {
	d := &saga.Definition{Name: "d", Version: 1, Stages: []saga.Stage{{step("p", pivot)}, {step("x")}}}
	in := saga.New(d, "1", nil, 0)
	plan(d, in, 0)
	saga.Take(d, in, "p", saga.Do, saga.Answer{Outcome: saga.Done}, 0)
	plan(d, in, 0)
	saga.Take(d, in, "x", saga.Do, saga.Answer{Outcome: saga.Refused}, 0)
	saga.RetryNow(d, in, func(saga.Step) bool { return true }, 0)
	if got := plan(d, in, 0); got != "do x" {
		t.Errorf("plans %q", got)
	}
}

func TestRecallOfThePivot(t *testing.T) {
	begin := func(options ...func(*saga.Step)) (*saga.Definition, *saga.Instance) {
		d := trip(options...)
		in := saga.New(d, "1", nil, 0)
		plan(d, in, 0)
		saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Done}, 0)
		saga.Take(d, in, "b", saga.Do, saga.Answer{Outcome: saga.Done}, 0)
		plan(d, in, 0)
		saga.Take(d, in, "p", saga.Do, saga.Answer{Outcome: saga.Pending, PollAfter: time.Hour}, 0)
		return d, in
	}
	t.Run("in time", func(t *testing.T) {
		d, in := begin(undo)
		if err := saga.Cancel(d, in, "withdrawn", 1); err != nil {
			t.Fatal(err)
		}
		if got := plan(d, in, 1); got != "undo p" {
			t.Fatalf("plans %q", got)
		}
		saga.Take(d, in, "p", saga.Undo, saga.Answer{Outcome: saga.Done}, 2)
		if got := plan(d, in, 2); got != "undo a, undo b" || in.Reason != "withdrawn" {
			t.Errorf("plans %q", got)
		}
	})
	t.Run("too late", func(t *testing.T) {
		d, in := begin(undo)
		if err := saga.Cancel(d, in, "withdrawn", 1); err != nil {
			t.Fatal(err)
		}
		plan(d, in, 1)
		saga.Take(d, in, "p", saga.Undo, saga.Answer{Outcome: saga.Refused}, 2)
		if got := plan(d, in, 2); got != "query p" || in.Cancel {
			t.Errorf("plans %q", got)
		}
	})
	t.Run("impossible", func(t *testing.T) {
		d, in := begin()
		if err := saga.Cancel(d, in, "withdrawn", 1); !errs.Is(err, errs.Conflict) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDeadline(t *testing.T) {
	d := trip()
	in := saga.New(d, "1", nil, 0)
	plan(d, in, 0)
	saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Done}, 0)
	saga.Take(d, in, "b", saga.Do, saga.Answer{Outcome: saga.Pending, PollAfter: 24 * time.Hour}, 0)
	if p := saga.Next(d, in, 1, never); p.WakeAt != time.Hour.Milliseconds() {
		t.Errorf("wakes at %d", p.WakeAt)
	}
	if got := plan(d, in, time.Hour.Milliseconds()); got != "undo a" || in.Reason != "deadline" {
		t.Errorf("plans %q, %q", got, in.Reason)
	}
}

// A participant that may have acted though nobody knows is undone too, and waits for the call in flight.
func TestCompensationCoversTheUnknown(t *testing.T) {
	d := trip()
	in := saga.New(d, "1", nil, 0)
	plan(d, in, 0)
	saga.Take(d, in, "a", saga.Do, saga.Answer{Outcome: saga.Refused, Reason: "no"}, 0)
	p := saga.Next(d, in, 0, func(s string) bool { return s == "b" })
	if len(p.Actions) != 0 || p.End != "" {
		t.Fatalf("did not wait for the call in flight: %+v", p)
	}
	saga.Take(d, in, "b", saga.Do, saga.Answer{Outcome: saga.Unknown}, 0)
	if got := plan(d, in, 0); got != "undo b" {
		t.Errorf("plans %q", got)
	}
}

// What a former life did after its last durable write is unknown: it is undone like what was asked, up to where only a
// durable write lets the saga on.
func TestResumeDoubtsWhatMayHaveBeenAsked(t *testing.T) {
	chain := func(options ...func(*saga.Step)) *saga.Definition {
		d := &saga.Definition{Name: "d", Version: 1}
		for _, name := range []string{"a", "b", "c"} {
			d.Stages = append(d.Stages, saga.Stage{step(name, append([]func(*saga.Step){undo}, options...)...)})
		}
		return d
	}
	durable := func(s *saga.Step) { s.Durable = true }
	for _, c := range []struct {
		name string
		d    *saga.Definition
		want []string
	}{
		{"relaxed", chain(), []string{"undo c", "undo b", "undo a", "compensated"}},
		{"durable", chain(durable), []string{"undo a", "compensated"}},
	} {
		in := saga.New(c.d, "1", nil, 0)
		saga.Resume(c.d, in)
		if got := plan(c.d, in.Clone(), 0); got != "do a" {
			t.Errorf("%s: goes on by %q", c.name, got)
		}
		if err := saga.Cancel(c.d, in, "withdrawn", 0); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			got := plan(c.d, in, 0)
			if got != want {
				t.Errorf("%s: plans %q, want %q", c.name, got, want)
			}
			saga.Take(c.d, in, strings.TrimPrefix(got, "undo "), saga.Undo, saga.Answer{Outcome: saga.Unseen}, 0)
		}
	}
	// A pivot that may have been asked is recalled, or bars the way back.
	d := &saga.Definition{Name: "d", Version: 1, Stages: []saga.Stage{{step("a", undo)}, {step("p", pivot)}, {step("x")}}}
	in := saga.New(d, "1", nil, 0)
	saga.Resume(d, in)
	if err := saga.Cancel(d, in, "withdrawn", 0); !errs.Is(err, errs.Conflict) {
		t.Errorf("cancel beside a pivot in doubt: %v", err)
	}
	if in.Step("x").Doubt {
		t.Error("what only follows the pivot is in doubt")
	}
}

// World is participants that answer at random and remember what really happened.
type world struct {
	r      *rand.Rand
	effect map[string]int // step → effects that stand
	log    []string
}

func (w *world) answer(a saga.Action) saga.Answer {
	name := a.Step.Name
	lost := w.r.IntN(4) == 0
	var ans saga.Answer
	switch a.Op {
	case saga.Do:
		switch {
		case w.effect[name] > 0:
			ans.Outcome = saga.Done
		case w.r.IntN(6) == 0:
			ans.Outcome = saga.Refused
		case w.r.IntN(6) == 0:
			return saga.Answer{Outcome: saga.Unknown} // never arrived
		default:
			w.effect[name]++
			w.log = append(w.log, "do "+name)
			ans.Outcome = saga.Done
		}
	case saga.Query:
		ans.Outcome = saga.Unseen
		if w.effect[name] > 0 {
			ans.Outcome = saga.Done
		}
	case saga.Undo:
		ans.Outcome = saga.Unseen
		if w.effect[name] > 0 {
			if a.Step.Pivot {
				return saga.Answer{Outcome: saga.Refused}
			}
			w.effect[name]--
			w.log = append(w.log, "undo "+name)
			ans.Outcome = saga.Done
		}
	}
	if lost && ans.Outcome != saga.Refused {
		return saga.Answer{Outcome: saga.Unknown}
	}
	return ans
}

// Whatever the participants answer, an instance ends with every effect exactly once or none at all, and never turns
// back past the pivot.
func FuzzEveryWalkEndsWhole(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var options []func(*saga.Step)
		if r.IntN(2) == 0 {
			options = append(options, undo)
		}
		d := trip(options...)
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		in := saga.New(d, "1", nil, 0)
		w := &world{r: r, effect: map[string]int{}}
		now := int64(0)
		passed := false
		durable := in.Clone() // what a power cut leaves
		for range 10_000 {
			if r.IntN(20) == 0 {
				in = durable.Clone()
				saga.Resume(d, in)
			}
			before := in.Status
			p := saga.Next(d, in, now, never)
			if p.End != "" {
				checkWhole(t, p.End, w)
				return
			}
			for _, a := range p.Actions {
				if passed && a.Op == saga.Undo {
					t.Fatalf("seed %d: undo of %s past the pivot", seed, a.Step.Name)
				}
				saga.Begin(in, a, now)
			}
			for _, i := range r.Perm(len(p.Actions)) {
				a := p.Actions[i]
				saga.Take(d, in, a.Step.Name, a.Op, w.answer(a), now)
				passed = passed || saga.PastPivot(d, in)
			}
			if in.Status != before || passed || in.Status == saga.Compensating {
				durable = in.Clone()
			}
			if r.IntN(10) == 0 {
				err := saga.Cancel(d, in, "withdrawn", now)
				if passed && err == nil {
					t.Fatalf("seed %d: cancelled past the pivot", seed)
				}
				durable = in.Clone()
			}
			if len(p.Actions) == 0 {
				now = max(now+1, p.WakeAt)
				saga.RetryNow(d, in, func(saga.Step) bool { return true }, now)
			}
			data, err := json.Marshal(in.Steps) // what is stored must be enough to go on
			if err != nil {
				t.Fatal(err)
			}
			in.Steps = nil
			if err := json.Unmarshal(data, &in.Steps); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatalf("seed %d does not end: %s %+v", seed, in.Status, in.Steps)
	})
}

func checkWhole(t *testing.T, end saga.Status, w *world) {
	t.Helper()
	want := 1
	if end == saga.Compensated {
		want = 0
	}
	for _, name := range []string{"a", "b", "p", "x", "y"} {
		if w.effect[name] != want {
			t.Errorf("%s: %s has %d effects, want %d; log %v", end, name, w.effect[name], want, w.log)
		}
	}
	if i, j := slices.Index(w.log, "do x"), slices.Index(w.log, "do p"); i >= 0 && i < j {
		t.Errorf("x before the pivot: %v", w.log)
	}
}

func TestCheckNamesTheDefect(t *testing.T) {
	for want, d := range map[string]*saga.Definition{
		"a name and a version": {Name: "x"},
		"no stage":             {Name: "x", Version: 1},
		"stage 1 has no step":  {Name: "x", Version: 1, Stages: []saga.Stage{{}}},
		"used twice":           {Name: "x", Version: 1, Stages: []saga.Stage{{step("a"), step("a")}}},
		"alone in its stage":   {Name: "x", Version: 1, Stages: []saga.Stage{{step("a", pivot), step("b")}}},
		"stage 2: the pivot":   {Name: "x", Version: 1, Stages: []saga.Stage{{step("a", pivot)}, {step("b", pivot)}}},
	} {
		if err := d.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestMermaid(t *testing.T) {
	d := trip()
	got := saga.Mermaid(d, nil, lang.EN)
	want := `flowchart LR
  begin((start))
  s1["a<br/>a-agency"]
  s2["b<br/>b-agency"]
  begin --> s1 & s2
  s3{{"p<br/>p-agency"}}
  s1 --> s3
  s2 --> s3
  s4["x<br/>x-agency"]
  s5["y<br/>y-agency"]
  s3 --> s4 & s5
  s4 & s5 --> finish((end))
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	in := saga.New(d, "1", nil, 0)
	plan(d, in, 0)
	if got := saga.Mermaid(d, in, lang.ZH); !strings.Contains(got, "办理中") || !strings.Contains(got, "class s1 active") {
		t.Errorf("got\n%s", got)
	}
}
