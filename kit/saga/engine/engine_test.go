package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// agency is a participant that keeps the contract of package barrier in memory, and can be told to misbehave.
type agency struct {
	mu      sync.Mutex
	chaos   *rand.Rand // loses requests and answers; nil for none
	refuse  bool
	down    bool
	pending bool // accepts, and answers by Deliver or Query once decided
	decided map[string]bool
	done    map[string]int // request → effects that stand
	undone  map[string]bool
	asked   chan string // request ids of Do, where not nil
}

func newAgency() *agency {
	return &agency{done: map[string]int{}, undone: map[string]bool{}, decided: map[string]bool{}}
}

var errLost = errors.New("lost on the way")

func (a *agency) lost() bool { return a.down || a.chaos != nil && a.chaos.IntN(5) == 0 }

func (a *agency) Do(_ context.Context, c engine.Call) (saga.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked != nil {
		a.asked <- c.RequestID
	}
	switch {
	case a.lost():
		return saga.Answer{}, errLost
	case a.refuse || a.undone[c.RequestID]:
		return saga.Answer{Outcome: saga.Refused, Reason: "no"}, nil
	}
	if a.done[c.RequestID] == 0 {
		a.done[c.RequestID]++
	}
	if a.lost() {
		return saga.Answer{}, errLost
	}
	return a.state(c), nil
}

func (a *agency) state(c engine.Call) saga.Answer {
	switch {
	case a.done[c.RequestID] == 0:
		return saga.Answer{Outcome: saga.Unseen}
	case a.pending && !a.decided[c.RequestID]:
		return saga.Answer{Outcome: saga.Pending, PollAfter: time.Hour}
	}
	return saga.Answer{Outcome: saga.Done, Output: json.RawMessage(fmt.Sprintf(`{"no":%q}`, c.RequestID))}
}

func (a *agency) Query(_ context.Context, c engine.Call) (saga.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost() {
		return saga.Answer{}, errLost
	}
	return a.state(c), nil
}

func (a *agency) Undo(_ context.Context, c engine.Call) (saga.Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost() {
		return saga.Answer{}, errLost
	}
	a.undone[c.RequestID] = true
	if a.done[c.RequestID] > 0 {
		a.done[c.RequestID]--
	}
	return saga.Answer{Outcome: saga.Done}, nil
}

func (a *agency) effects(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done[id]
}

func (a *agency) set(f func()) { a.mu.Lock(); defer a.mu.Unlock(); f() }

// bench is an engine on a database, with agencies a, p and x.
type bench struct {
	t      *testing.T
	db     sqldb.DB
	a      map[string]*agency
	ahead  atomic.Int64 // milliseconds by which the clock has been moved
	ended  chan *saga.Instance
	notice chan saga.Notice
	locals atomic.Int64
	fail   atomic.Bool // the local step fails
}

func newBench(t *testing.T, db sqldb.DB) *bench {
	if err := db.Migrate(t.Context(), "saga", engine.Tables()); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, a: map[string]*agency{"a": newAgency(), "p": newAgency(), "x": newAgency(), "y": newAgency()},
		ended: make(chan *saga.Instance, 10_000), notice: make(chan saga.Notice, 100_000)}
	return b
}

func definition(version int) *saga.Definition {
	quick := saga.Retry{Initial: time.Millisecond, Max: 5 * time.Millisecond, Attempts: 200}
	return &saga.Definition{Name: "open", Version: version, Stages: []saga.Stage{
		{{Name: "a", Participant: "a", Undo: true, Retry: quick}, {Name: "l", Undo: true, Retry: quick}},
		{{Name: "p", Participant: "p", Pivot: true, Undo: true, Retry: quick}},
		{{Name: "x", Participant: "x", Retry: quick}, {Name: "y", Participant: "y", Retry: quick}},
	}}
}

// start runs an engine until stop is called.
func (b *bench) start(options ...func(*engine.Options)) (e *engine.Engine, stop func()) {
	b.t.Helper()
	o := engine.Options{
		DB: b.db, Now: func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load()) * time.Millisecond) }, Log: slog.New(slog.DiscardHandler),
		Poll: 20 * time.Millisecond,
		Noticed: func(_ context.Context, tx *sqldb.Tx, _ *saga.Instance, n saga.Notice) error {
			tx.OnCommit(func() { b.notice <- n })
			return nil
		},
	}
	for _, f := range options {
		f(&o)
	}
	e, err := engine.Open(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	ps := map[string]engine.Participant{}
	for name, a := range b.a {
		ps[name] = a
	}
	err = e.Register(engine.Kind{Definition: definition(1), Participants: ps,
		Locals: map[string]engine.Local{"l": func(_ context.Context, tx *sqldb.Tx, op saga.Op, c engine.Call) (saga.Answer, error) {
			if b.fail.Load() {
				return saga.Answer{}, errors.New("local trouble")
			}
			tx.OnCommit(func() { b.locals.Add(map[saga.Op]int64{saga.Do: 1, saga.Undo: -1}[op]) })
			return saga.Answer{Outcome: saga.Done}, nil
		}},
		End: func(_ context.Context, tx *sqldb.Tx, in *saga.Instance) error {
			tx.OnCommit(func() { b.ended <- in })
			return nil
		}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- e.Run(ctx) }()
	return e, sync.OnceFunc(func() {
		cancel()
		if err := <-finished; err != nil {
			b.t.Error(err)
		}
	})
}

func (b *bench) begin(e *engine.Engine, id string) {
	b.t.Helper()
	err := b.db.Write(context.Background(), sqldb.Durable, func(tx *sqldb.Tx) error {
		return e.Start(context.Background(), tx, "open", id, json.RawMessage(`{"case":"`+id+`"}`), "")
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) end() *saga.Instance {
	b.t.Helper()
	select {
	case in := <-b.ended:
		return in
	case <-time.After(30 * time.Second):
		b.t.Fatal("no saga ended")
		return nil
	}
}

func (b *bench) parked() {
	b.t.Helper()
	for {
		select {
		case n := <-b.notice:
			if n.Kind == saga.Parked {
				return
			}
		case <-time.After(30 * time.Second):
			b.t.Fatal("nothing was parked")
		}
	}
}

func TestASagaEnds(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		b := newBench(t, db)
		e, stop := b.start()
		defer stop()
		b.begin(e, "s1")
		in := b.end()
		if in.Status != saga.Succeeded || string(in.Step("x").Output) != `{"no":"s1.x"}` {
			t.Errorf("%s %+v", in.Status, in.Steps)
		}
		stored, d, err := e.Get(t.Context(), "s1")
		if err != nil || stored.Status != saga.Succeeded || stored.Rev != in.Rev || d.Version != 1 {
			t.Errorf("stored: %+v, %v", stored, err)
		}
		if _, _, err := e.Get(t.Context(), "none"); !errs.Is(err, errs.NotFound) {
			t.Errorf("Get of nothing: %v", err)
		}
		if err := e.Deliver(t.Context(), "s1", "x", saga.Do, saga.Answer{Outcome: saga.Refused}); err != nil {
			t.Errorf("a late callback is an error: %v", err)
		}
		if err := e.Cancel(t.Context(), "s1", "late"); !errs.Is(err, errs.Conflict) {
			t.Errorf("cancel of an ended saga: %v", err)
		}
		if s := e.Stats(); s.Started != 1 || s.Ended != 1 || s.Backlog != 0 || b.locals.Load() != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// Requests and answers get lost, some sagas are refused or cancelled, and the engine is stopped and started again and
// again: every saga ends with each effect exactly once, or none.
func TestEverySagaEndsWholeThroughLossAndRestart(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		b := newBench(t, db)
		for i, a := range []string{"a", "p", "x", "y"} {
			b.a[a].chaos = rand.New(rand.NewPCG(7, uint64(i)))
		}
		const n = 300
		e, stop := b.start(func(o *engine.Options) { o.MaxActive = 32 })
		for i := range n {
			b.begin(e, fmt.Sprintf("s%03d", i))
			if i%60 == 59 {
				stop()
				e, stop = b.start(func(o *engine.Options) { o.MaxActive = 32 })
			}
			if i%7 == 0 {
				// the answer depends on how far it has come; that nothing is half done does not
				if err := e.Cancel(t.Context(), fmt.Sprintf("s%03d", i), "withdrawn"); err != nil && !errs.Is(err, errs.Conflict) {
					t.Error(err)
				}
			}
		}
		succeeded := 0
		for range n {
			in := b.end()
			want := 0
			if in.Status == saga.Succeeded {
				want = 1
				succeeded++
			}
			for _, a := range []string{"a", "p", "x", "y"} {
				if got := b.a[a].effects(in.ID + "." + a); got != want {
					t.Errorf("%s %s: %s has %d effects, want %d: %+v", in.ID, in.Status, a, got, want, in.Steps)
				}
			}
		}
		stop()
		if succeeded < n/2 || int(b.locals.Load()) != succeeded {
			t.Errorf("%d succeeded, %d local effects", succeeded, b.locals.Load())
		}
		if left, _ := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM saga WHERE ended = 0"); left != 0 {
			t.Errorf("%d sagas are left", left)
		}
	})
}

func TestARefusalBeforeThePivotIsUndone(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.a["p"].refuse = true
	e, stop := b.start()
	defer stop()
	b.begin(e, "s1")
	in := b.end()
	if in.Status != saga.Compensated || in.Reason != "no" || b.a["a"].effects("s1.a") != 0 || b.locals.Load() != 0 {
		t.Errorf("%s because of %q; %d, %d", in.Status, in.Reason, b.a["a"].effects("s1.a"), b.locals.Load())
	}
}

func TestACallbackAnswersAndSurvivesARestart(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.a["x"].pending, b.a["x"].asked = true, make(chan string, 10)
	e, stop := b.start()
	b.begin(e, "s1")
	<-b.a["x"].asked
	stop()
	e, stop = b.start()
	defer stop()
	if err := e.Deliver(t.Context(), "s1", "x", saga.Do, saga.Answer{Outcome: saga.Done, Output: json.RawMessage(`{"by":"callback"}`)}); err != nil {
		t.Fatal(err)
	}
	if err := e.Deliver(t.Context(), "s1", "zz", saga.Do, saga.Answer{Outcome: saga.Done}); !errs.Is(err, errs.NotFound) && err != nil {
		t.Errorf("a callback for no step: %v", err)
	}
	if in := b.end(); in.Status != saga.Succeeded || string(in.Step("x").Output) != `{"by":"callback"}` {
		t.Errorf("%s %+v", in.Status, in.Step("x"))
	}
	if err := e.Deliver(t.Context(), "nobody", "x", saga.Do, saga.Answer{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("a callback for no saga: %v", err)
	}
}

// An instance whose next poll is an hour away is in nobody's memory, and is found when the clock gets there.
func TestPollingForHours(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.a["x"].pending = true
	e, stop := b.start()
	defer stop()
	b.begin(e, "s1")
	waitFor(t, func() bool { return e.Stats().Active == 0 && b.a["x"].effects("s1.x") == 1 })
	b.a["x"].set(func() { b.a["x"].decided["s1.x"] = true })
	b.ahead.Add(2 * time.Hour.Milliseconds())
	if in := b.end(); in.Status != saga.Succeeded {
		t.Errorf("%s", in.Status)
	}
}

func TestParkedThenAgencyIsBack(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.a["x"].down = true
	e, stop := b.start()
	defer stop()
	const n = 5
	for i := range n {
		b.begin(e, fmt.Sprint("s", i))
	}
	for range n {
		b.parked()
	}
	waitFor(t, func() bool { return e.Stats().Active == 0 })
	stuck, err := e.ListStuck(t.Context(), "", 10)
	if err != nil || len(stuck) != n || !stuck[0].Parked || stuck[0].On != " x " {
		t.Fatalf("stuck: %+v, %v", stuck, err)
	}
	if page, _ := e.ListStuck(t.Context(), stuck[1].Position, 2); len(page) != 2 || page[0].Saga != "s2" {
		t.Errorf("second page: %+v", page)
	}
	if err := e.Skip(t.Context(), "s0", "x", "issued on paper"); err != nil {
		t.Fatal(err)
	}
	if in := b.end(); in.ID != "s0" || in.Step("x").Status != saga.StepSkipped || in.Step("x").Reason != "issued on paper" {
		t.Errorf("%s %+v", in.ID, in.Step("x"))
	}
	if n, err := e.Retry(t.Context(), engine.Match{Participant: "y"}); n != 0 || err != nil {
		t.Errorf("retry of another agency: %d, %v", n, err)
	}
	b.a["x"].set(func() { b.a["x"].down = false })
	if got, err := e.Retry(t.Context(), engine.Match{Participant: "x"}); got != n-1 || err != nil {
		t.Errorf("retry: %d, %v", got, err)
	}
	for range n - 1 {
		if in := b.end(); in.Status != saga.Succeeded {
			t.Errorf("%s %s", in.ID, in.Status)
		}
	}
}

func TestAFailingLocalStepIsTriedAgain(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.fail.Store(true)
	e, stop := b.start()
	defer stop()
	b.begin(e, "s1")
	n := <-b.notice
	b.fail.Store(false)
	if in := b.end(); in.Status != saga.Succeeded || b.locals.Load() != 1 || n.Step != "l" {
		t.Errorf("%s, %d local effects, notice %+v", in.Status, b.locals.Load(), n)
	}
}

func TestOldInstancesFinishOnTheirVersion(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	b.a["x"].pending = true
	e, stop := b.start()
	defer stop()
	b.begin(e, "old")
	waitFor(t, func() bool { return b.a["x"].effects("old.x") == 1 })
	newer := &saga.Definition{Name: "open", Version: 2, Stages: []saga.Stage{{{Name: "only", Participant: "a"}}}}
	err := e.Register(engine.Kind{Definition: newer, Participants: map[string]engine.Participant{"a": b.a["a"]},
		End: func(_ context.Context, tx *sqldb.Tx, in *saga.Instance) error {
			tx.OnCommit(func() { b.ended <- in })
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	b.begin(e, "new")
	if in := b.end(); in.ID != "new" || in.Version != 2 || len(in.Steps) != 1 {
		t.Errorf("%s version %d", in.ID, in.Version)
	}
	if err := e.Deliver(t.Context(), "old", "x", saga.Do, saga.Answer{Outcome: saga.Done}); err != nil {
		t.Fatal(err)
	}
	if in := b.end(); in.ID != "old" || in.Version != 1 || len(in.Steps) != 5 {
		t.Errorf("%s version %d", in.ID, in.Version)
	}
}

func TestAdmissionAndBacklogLargerThanMemory(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	e, stop := b.start(func(o *engine.Options) { o.MaxActive, o.MaxBacklog = 2, 50 })
	b.a["p"].down = true
	for i := range 50 {
		b.begin(e, fmt.Sprintf("s%02d", i))
	}
	err := e.Admit()
	if !errs.Is(err, errs.TooMany) || errs.As(err).RetryAfter <= 0 {
		t.Errorf("Admit: %v", err)
	}
	stop()
	b.a["p"].set(func() { b.a["p"].down = false })
	e, stop = b.start(func(o *engine.Options) { o.MaxActive, o.MaxBacklog = 2, 50 })
	defer stop()
	for range 50 {
		b.end()
	}
	if err := e.Admit(); err != nil {
		t.Errorf("Admit with nothing under way: %v", err)
	}
}

func TestRegisterNamesWhatIsMissing(t *testing.T) {
	b := newBench(t, sqldbtest.SQLite(t))
	e, stop := b.start()
	defer stop()
	if err := e.Register(engine.Kind{Definition: definition(3)}); err == nil {
		t.Error("a kind without participants was registered")
	}
	if _, _, err := e.Prepare("nothing", "1", nil, ""); err == nil {
		t.Error("an instance of nothing was prepared")
	}
}

// waitFor polls a condition that no channel tells of.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never came to that")
		}
	}
}
