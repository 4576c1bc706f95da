// Package shard runs one shard of bookings: one goroutine decides, one log keeps.
//
// It promises that a caller hears of a booking only when it is durable: on this disk, and at every standby that is
// required; and that after a crash the state is that of the log. Callers stand before a bounded intake: when it is full
// they are told to come later, and nothing grows. While one batch is written and synced the next is formed, so that the
// busier it is, the more bookings share a sync.
//
// A shard stops at the first error of its log, and answers every caller with it: what was decided and not written must
// not be built upon. Whoever runs it opens it anew, from the log.
package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// Options configure a shard. Log and Now are needed.
type Options struct {
	Number uint16
	Log    *wal.Log         // opened for writing; the shard does not close it
	Now    func() time.Time // may step: the shard's own time never goes back
	Intake int              // requests that wait, at most; default 4096
	// Valid reports whether this process still may write; default always. It is asked before anybody is answered.
	Valid func() bool
	// Snapshot is after how many records of the log the state is kept anew; default 4 million.
	Snapshot uint64
	// Keep is for how many days a day that is over is remembered; default 2.
	Keep int32
	Slog *slog.Logger
}

// Shard is a running shard.
type Shard struct {
	o      Options
	state  *ledger.State
	log    *wal.Log
	intake chan *job
	wheel  wheel
	now    int64             // of the writer, milliseconds
	last   uint64            // sequence number of the last event
	second int64             // up to which time's work is done
	sweeps map[uint32]uint32 // closed or finished, and how far their bookings were gone through

	between chan func()   // run by the writer between two batches
	again   chan struct{} // there is more to do than one batch took
	stopped chan struct{}
	cause   atomic.Pointer[error]
	turns   sync.Pool
	shut    sync.RWMutex // held for reading on the way into the intake
	keys    filter

	counts  Counts
	frozen  atomic.Uint64  // last record of the newest snapshot
	freezes sync.WaitGroup // the snapshot that is being made
	taking  atomic.Bool
	wanted  atomic.Bool  // a snapshot was asked for
	begun   atomic.Int64 // when the segment of the log that is written began, or earlier, in milliseconds
}

// Counts are what a shard has done since it was opened. They are read beside it.
type Counts struct {
	Booked   atomic.Uint64 // bookings made
	Replayed atomic.Uint64 // bookings that a key had made before
	SoldOut  atomic.Uint64 // refused for want of places
	Refused  atomic.Uint64 // refused for another reason
	Turned   atomic.Uint64 // turned away before the full intake
	Batches  atomic.Uint64 // batches that went to the log
}

// Open recovers the state of a shard from its log. It starts nothing.
func Open(o Options) (*Shard, error) {
	if o.Intake <= 0 {
		o.Intake = 4096
	}
	if o.Snapshot == 0 {
		o.Snapshot = 4_000_000
	}
	if o.Keep <= 0 {
		o.Keep = 2
	}
	if o.Valid == nil {
		o.Valid = func() bool { return true }
	}
	if o.Slog == nil {
		o.Slog = slog.Default()
	}
	if !o.Log.Linked() {
		return nil, errors.New("shard: what is decided builds on what was decided before: the log must be opened with Linked")
	}
	state, last, frozen, err := Recover(o.Log, o.Number)
	if err != nil {
		return nil, err
	}
	s := &Shard{o: o, state: state, log: o.Log, intake: make(chan *job, o.Intake), last: last, sweeps: map[uint32]uint32{},
		between: make(chan func()), again: make(chan struct{}, 1), stopped: make(chan struct{})}
	s.turns.New = func() any { return new(turn) }
	s.frozen.Store(frozen)
	s.begun.Store(o.Now().UnixMilli())
	state.Keys(s.keys.add)
	state.Holds(s.wheel.add)
	state.Due(func(slot *ledger.Slot) {
		if slot.Closed() || slot.Ended() {
			s.sweeps[slot.Index] = 0 // a crash may have cut the last one short
		}
	})
	return s, nil
}

// Recover returns the state that a log leads to, the number of its last record, and that of the snapshot it began with.
func Recover(log Source, number uint16) (state *ledger.State, last, frozen uint64, err error) {
	if state, err = ledger.New(number); err != nil {
		return nil, 0, 0, err
	}
	frozen, file, err := log.Restore()
	if err != nil {
		return nil, 0, 0, err
	}
	defer file.Close()
	if frozen > 0 {
		if _, err := state.ReadSnapshot(parts(file)); err != nil {
			return nil, 0, 0, fmt.Errorf("shard %d: %w", number, err)
		}
	}
	last, err = replay(log, frozen, state)
	if err != nil {
		err = errs.Wrap(fmt.Errorf("shard %d: %w", number, err), errs.KindOf(err), "预约日志无法恢复", "the log of bookings can't be replayed")
	}
	return state, last, frozen, err
}

// State returns the state for what any goroutine may ask of it.
func (s *Shard) State() *ledger.State { return s.state }

// Counts returns what was done.
func (s *Shard) Counts() *Counts { return &s.counts }

// Waiting returns how many requests wait before the intake, and how many fit in.
func (s *Shard) Waiting() (n, of int) { return len(s.intake), cap(s.intake) }

// Durable returns the last record of the log that is durable.
func (s *Shard) Durable() uint64 { return s.log.Durable() }

// Retain drops what nobody needs of the log for the records after one, and asks for a snapshot, so that more can be dropped
// the next time.
func (s *Shard) Retain(last uint64) error {
	s.wanted.Store(true)
	return s.log.Retain(last)
}

// Rotate has the log begin a new segment where the one that is written was begun before a time: what stands in it can't be
// dropped otherwise, however old it is.
func (s *Shard) Rotate(before time.Time) error {
	if s.begun.Load() >= before.UnixMilli() {
		return nil
	}
	now := s.o.Now()
	err := s.log.Rotate()
	if err == nil {
		s.begun.Store(now.UnixMilli())
	}
	return err
}

// Err returns why the shard takes nothing in any more; nil while it does.
func (s *Shard) Err() error {
	if cause := s.cause.Load(); cause != nil {
		return *cause
	}
	return s.log.Health()
}
