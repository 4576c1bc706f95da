// Package engine runs sagas so that every one of them ends, whatever dies on the way.
//
// A saga's row is its durable message: it is written in the caller's transaction, taken up in process after the commit,
// and found by polling where that failed. One process runs the sagas of a database. Each instance is driven by one
// goroutine, which asks the participants, takes their answers together with commands (callback, cancel, retry, skip),
// and writes the new state: relaxed for progress that asking again would bring back, durably for what must not be
// forgotten (the pivot, steps marked durable, compensation, parking, the end).
package engine

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of the engine's table, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Call is what a participant is asked about.
type Call struct {
	Saga      string // the instance
	Step      string
	RequestID string // the same for every attempt of a step and for its query and undo
	Attempt   int    // from 1
	Input     json.RawMessage
	Output    func(step string) json.RawMessage // what an earlier step issued
}

// Participant is who answers the steps that name it. Each method is one call to a remote system; an error means that
// nobody knows whether the system acted, the same as the outcome unknown. Calls come again, and must be idempotent by
// RequestID.
type Participant interface {
	Do(ctx context.Context, c Call) (saga.Answer, error)
	Query(ctx context.Context, c Call) (saga.Answer, error)
	Undo(ctx context.Context, c Call) (saga.Answer, error)
}

// Local is a step in the house's own database: what it writes to tx commits together with the step's completion. An
// error undoes it, to be tried again.
type Local func(ctx context.Context, tx *sqldb.Tx, op saga.Op, c Call) (saga.Answer, error)

// Kind is a definition and what it runs on.
type Kind struct {
	Definition   *saga.Definition
	Participants map[string]Participant
	Locals       map[string]Local // by step
	// End is called in the transaction that ends an instance. It may be nil.
	End func(ctx context.Context, tx *sqldb.Tx, in *saga.Instance) error
}

// Options configure an engine. DB, Now and Log are needed.
type Options struct {
	DB         sqldb.DB
	Now        func() time.Time
	Log        *slog.Logger
	MaxActive  int           // instances driven at a time; default 1024
	MaxBacklog int           // instances begun and not ended before Admit refuses; default 200,000
	Poll       time.Duration // how often the table is looked at; default 500 ms
	// Busy says that others need the machine more at the moment: then only a sixteenth of MaxActive is driven, and what
	// has begun waits in the table. It may be nil.
	Busy func() bool
	// Noticed is called in the transaction that records a retry or a parking. It may be nil.
	Noticed func(ctx context.Context, tx *sqldb.Tx, in *saga.Instance, n saga.Notice) error
	// Changed is called after each commit that changed an instance; it must be quick. It may be nil.
	Changed func(in *saga.Instance)
}

// Engine runs the sagas of one database.
type Engine struct {
	Options
	boot  int64 // this life of the process; the low 32 bits count its drivers
	kinds map[kindKey]Kind
	names map[string]int // newest version

	mu      sync.Mutex
	active  map[string]*driver
	queue   []*saga.Instance // ready to be driven
	queued  map[string]bool
	left    map[string]bool // whose drivers have left since the last poll began
	more    bool            // the table holds ready instances that are not queued
	running bool
	driven  int64 // drivers so far
	drivers sync.WaitGroup
	life    context.Context

	up      chan struct{} // closed once Run is running
	pollNow chan struct{}
	backlog atomic.Int64
	counts  counters
	rate    rate
}

type kindKey struct {
	name    string
	version int
}

type counters struct{ started, ended, calls, retries, parked atomic.Uint64 }

// Stats counts what the engine has done since it was made, and what stands now.
type Stats struct {
	Started, Ended, Calls, Retries, Parked uint64
	Active                                 int   // being driven
	Backlog                                int64 // begun and not ended
}

// Open returns an engine on a migrated database, having counted what a former life left there. It starts nothing; kinds
// are registered before Run.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.MaxActive <= 0 {
		o.MaxActive = 1024
	}
	if o.MaxBacklog <= 0 {
		o.MaxBacklog = 200_000
	}
	if o.Poll <= 0 {
		o.Poll = 500 * time.Millisecond
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	e := &Engine{
		Options: o,
		boot:    int64(binary.BigEndian.Uint64(b[:])>>1) &^ driverMask,
		kinds:   map[kindKey]Kind{},
		names:   map[string]int{},
		active:  map[string]*driver{},
		queued:  map[string]bool{},
		left:    map[string]bool{},
		up:      make(chan struct{}),
		pollNow: make(chan struct{}, 1),
	}
	if err := e.recover(ctx); err != nil {
		return nil, fmt.Errorf("saga: recover: %w", err)
	}
	return e, nil
}

// driverMask covers the bits of a row's boot that tell one driver of a process from another.
const driverMask = 1<<32 - 1

// Register adds a kind, or replaces the one of the same name and version. New instances take the greatest version.
func (e *Engine) Register(k Kind) error {
	if err := k.Definition.Check(); err != nil {
		return err
	}
	for _, stage := range k.Definition.Stages {
		for _, s := range stage {
			if s.Local() && k.Locals[s.Name] == nil {
				return fmt.Errorf("saga %s: the local step %s has no function", k.Definition.Name, s.Name)
			}
			if !s.Local() && k.Participants[s.Participant] == nil {
				return fmt.Errorf("saga %s: step %s: nobody is %s", k.Definition.Name, s.Name, s.Participant)
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kinds[kindKey{k.Definition.Name, k.Definition.Version}] = k
	e.names[k.Definition.Name] = max(e.names[k.Definition.Name], k.Definition.Version)
	return nil
}

func (e *Engine) kind(name string, version int) (Kind, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, ok := e.kinds[kindKey{name, version}]
	return k, ok
}

// Definition returns a registered definition; version 0 means the newest.
func (e *Engine) Definition(name string, version int) (*saga.Definition, bool) {
	if version == 0 {
		e.mu.Lock()
		version = e.names[name]
		e.mu.Unlock()
	}
	k, ok := e.kind(name, version)
	return k.Definition, ok
}

// Prepare makes a new instance of the newest version of name: the row to write in the caller's transaction, and the
// function to call once that has committed. An instance whose function is never called is found by polling.
func (e *Engine) Prepare(name, id string, input json.RawMessage, trace string) (sqldb.Insert, func(), error) {
	d, ok := e.Definition(name, 0)
	if !ok {
		return sqldb.Insert{}, nil, fmt.Errorf("no saga is called %q", name)
	}
	now := e.Now().UnixMilli()
	in := saga.New(d, id, input, now)
	in.Trace = trace
	return e.row(in, now), func() { e.started(in) }, nil
}

// Start begins an instance in the caller's transaction.
func (e *Engine) Start(ctx context.Context, tx *sqldb.Tx, name, id string, input json.RawMessage, trace string) error {
	row, started, err := e.Prepare(name, id, input, trace)
	if err != nil {
		return err
	}
	tx.OnCommit(started)
	return tx.Insert(ctx, row)
}

func (e *Engine) started(in *saga.Instance) {
	e.counts.started.Add(1)
	e.backlog.Add(1)
	e.enqueue(in)
}

// Admit refuses when more has been begun than can be finished, with the time after which there is room again at the
// rate at which instances end.
func (e *Engine) Admit() error {
	over := e.backlog.Load() - int64(e.MaxBacklog)
	if over < 0 {
		return nil
	}
	wait := time.Duration(float64(over+1) / max(e.rate.perSecond(e.Now()), 1) * float64(time.Second))
	return errs.New(errs.TooMany, "在办事项过多，请稍后再提交", "too much is under way; submit again later").
		WithCode("saga.backlog").WithRetryAfter(min(max(wait, time.Second), 5*time.Minute))
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	active := len(e.active)
	e.mu.Unlock()
	return Stats{
		Started: e.counts.started.Load(), Ended: e.counts.ended.Load(), Calls: e.counts.calls.Load(),
		Retries: e.counts.retries.Load(), Parked: e.counts.parked.Load(), Active: active, Backlog: e.backlog.Load(),
	}
}

// rate measures how many instances end a second, over the last whole ten seconds.
type rate struct {
	mu     sync.Mutex
	since  time.Time
	n      int
	recent float64
}

func (r *rate) add(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	r.n++
}

func (r *rate) perSecond(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roll(now)
	return r.recent
}

func (r *rate) roll(now time.Time) {
	switch elapsed := now.Sub(r.since).Seconds(); {
	case elapsed >= 10 || elapsed < 0:
		if elapsed > 0 && elapsed < 60 {
			r.recent = float64(r.n) / elapsed
		} else {
			r.recent = 0
		}
		r.since, r.n = now, 0
	}
}
