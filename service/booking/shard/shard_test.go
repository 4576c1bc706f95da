package shard

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/kit/wal/faultfs"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// midnight is 2026-10-01 in Beijing.
var midnight = time.Date(2026, 10, 1, 0, 0, 0, 0, time.FixedZone("CST", 8*60*60))

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(midnight.Add(-24 * time.Hour).UnixMilli())
	return c
}

func (c *clock) now() time.Time      { return time.UnixMilli(c.at.Load()) }
func (c *clock) add(d time.Duration) { c.at.Add(d.Milliseconds()) }

// running is a shard with its log and its writer.
type running struct {
	*Shard
	log   *wal.Log
	clock *clock
	stop  func() error
}

func run(t testing.TB, dir string, clock *clock, o Options) *running {
	t.Helper()
	return runOn(t, dir, clock, o, wal.OS())
}

func runOn(t testing.TB, dir string, clock *clock, o Options, fs wal.FS) *running {
	t.Helper()
	log, err := wal.Open(dir, wal.Options{Unfenced: true, Linked: true, FS: fs, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o.Log, o.Now = log, clock.now
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r := &running{s, log, clock, sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-ended, log.Close())
	})}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func (r *running) open(t testing.TB, id string, quota uint32, change func(*ledger.Opening)) *ledger.Slot {
	t.Helper()
	start := midnight.Add(8 * time.Hour).Unix()
	o := &ledger.Opening{ID: id, Spot: "spot", Day: ledger.DayOf(start), Start: start, End: start + 7200, Opens: midnight.Add(-240 * time.Hour).Unix(),
		Quotas: ledger.Quotas{quota}, Rules: ledger.Rules{RealName: true, Party: 5, PerSlot: 1, Hold: 900, Products: []ledger.Product{{Name: "adult", Price: 5000}}}}
	if change != nil {
		change(o)
	}
	var slot *ledger.Slot
	var refused *errs.Error
	if err := r.Do(context.Background(), func(now int64, s *ledger.State, emit ledger.Emit) { slot, refused = s.Open(now, o, emit) }); err != nil {
		t.Fatal(err)
	}
	if refused != nil {
		t.Fatal(refused)
	}
	return slot
}

func fill(r *ledger.Request, slot *ledger.Slot, n uint64) {
	*r = ledger.Request{Slot: slot, Places: 1, Digest: n, Owner: "owner", Name: fmt.Sprint("key-", n), Visitors: append(r.Visitors[:0], ledger.Visitor{})}
	spread := n * 0x9e3779b97f4a7c15
	binary.LittleEndian.PutUint64(r.Key[:], spread)
	binary.LittleEndian.PutUint64(r.Key[8:], n)
	binary.LittleEndian.PutUint64(r.Visitors[0].Person[:], spread)
	binary.LittleEndian.PutUint64(r.Visitors[0].Person[8:], n)
}

// book books for the n-th person.
func (r *running) book(slot *ledger.Slot, n uint64) (Result, error) {
	a := NewAsk(1)
	defer a.Release()
	fill(a.Request(0), slot, n)
	err := r.Book(context.Background(), a)
	return *a.Result(0), err
}

func TestARushSellsEveryPlaceOnce(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := run(t, dir, clock, Options{})
	slot := s.open(t, "s1", 1000, nil)
	var booked sync.Map
	var sold, out atomic.Int64
	var wg sync.WaitGroup
	for w := range uint64(64) {
		wg.Go(func() {
			for i := range uint64(100) {
				n := w*100 + i + 1
				r, err := s.book(slot, n)
				switch {
				case err != nil:
					t.Error(err)
				case r.Refused == nil:
					sold.Add(1)
					if other, twice := booked.LoadOrStore(r.View.Number, n); twice {
						t.Errorf("%v for %v and %v", r.View.Number, other, n)
					}
				case r.Refused == ledger.ErrSoldOut:
					out.Add(1)
				default:
					t.Error(r.Refused)
				}
			}
		})
	}
	wg.Wait()
	if sold.Load() != 1000 || out.Load() != 5400 {
		t.Fatalf("%d sold, %d refused", sold.Load(), out.Load())
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := run(t, dir, clock, Options{})
	slot = again.State().Slot("s1")
	booked.Range(func(number, n any) bool {
		r, err := again.book(slot, n.(uint64))
		if err != nil || r.Refused != nil || r.Fresh || r.View.Number != number {
			t.Errorf("after a start, key %v has %+v, %v", n, r, err)
		}
		return true
	})
	if r, _ := again.book(slot, 99_999); r.Refused != ledger.ErrSoldOut {
		t.Errorf("after a start: %+v", r)
	}
}

// Who comes while a batch is written shares the next one, however many they are.
func TestWhoComesMeanwhileSharesASync(t *testing.T) {
	fs := faultfs.New(wal.OS())
	s := runOn(t, t.TempDir(), newClock(), Options{}, fs)
	slot := s.open(t, "s1", 100, nil)
	syncing, on := make(chan struct{}), make(chan struct{})
	first := true
	fs.Fail(func(c faultfs.Call) faultfs.Fault {
		if c.Op == faultfs.Datasync && first {
			first = false
			close(syncing)
			<-on
		}
		return faultfs.Fault{}
	})
	var wg sync.WaitGroup
	book := func(n uint64) {
		wg.Go(func() {
			if r, err := s.book(slot, n); err != nil || r.Refused != nil {
				t.Errorf("%d: %v, %v", n, r.Refused, err)
			}
		})
	}
	before := s.Counts().Batches.Load()
	book(1)
	<-syncing
	for n := range uint64(40) {
		book(n + 2)
	}
	eventually(t, "all are decided on while the log is busy", func() bool { return s.Counts().Booked.Load() == 41 })
	if n := s.Counts().Batches.Load() - before; n != 1 {
		t.Errorf("%d batches went to the log while it was busy with one", n)
	}
	close(on)
	wg.Wait()
	if n := s.Counts().Batches.Load() - before; n != 2 {
		t.Errorf("%d batches for 41 bookings", n)
	}
}

func TestAKeyIsKnownWhenAllIsSoldOut(t *testing.T) {
	s := run(t, t.TempDir(), newClock(), Options{})
	slot := s.open(t, "s1", 1, nil)
	first, err := s.book(slot, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.book(slot, 2); err != nil || r.Refused != ledger.ErrSoldOut {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := s.book(slot, 1); err != nil || r.View.Number != first.View.Number || r.Fresh {
		t.Fatalf("the key again: %+v, %v", r, err)
	}
}

// eventually waits until something holds; the shard's own ticks bring it about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 500 {
		if holds() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

func TestHoldsRunOutAndPlacesReturn(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := run(t, dir, clock, Options{})
	slot := s.open(t, "s1", 3, func(o *ledger.Opening) { o.Rules.ReturnMin, o.Rules.ReturnMax = 60, 120 })
	for n := range uint64(3) {
		if r, err := s.book(slot, n+1); err != nil || r.Refused != nil {
			t.Fatal(r, err)
		}
	}
	if err := s.stop(); err != nil { // the wheel is filled anew
		t.Fatal(err)
	}
	s = run(t, dir, clock, Options{})
	slot = s.State().Slot("s1")
	clock.add(899 * time.Second)
	if r, err := s.book(slot, 4); err != nil || r.Refused != ledger.ErrSoldOut {
		t.Fatal(r, err)
	}
	clock.add(time.Second)
	pending := func() (n uint32) {
		_ = s.Do(context.Background(), func(int64, *ledger.State, ledger.Emit) {
			q, _ := slot.Pending()
			n = q[0]
		})
		return n
	}
	eventually(t, "expired", func() bool { return pending() == 3 })
	if slot.Left(ledger.Online) != 0 {
		t.Fatal("on sale at once")
	}
	clock.add(121 * time.Second)
	eventually(t, "returned", func() bool { return slot.Left(ledger.Online) == 3 })
}

func TestAClosedSlotIsSweptThroughACrash(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := run(t, dir, clock, Options{})
	slot := s.open(t, "s1", 5000, nil)
	a := NewAsk(5000)
	for i := range 5000 {
		fill(a.Request(i), slot, uint64(i+1))
	}
	if err := s.Book(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	number := a.Result(4999).View.Number
	if err := s.Do(context.Background(), func(now int64, st *ledger.State, emit ledger.Emit) { st.Close(now, slot, "typhoon", emit) }); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = run(t, dir, clock, Options{})
	eventually(t, "swept", func() bool {
		var v ledger.View
		_ = s.Do(context.Background(), func(_ int64, st *ledger.State, _ ledger.Emit) { v, _ = st.Look(number) })
		return v.Status == ledger.Refunded
	})
}

func TestSnapshotsAreTakenAmidBookings(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := run(t, dir, clock, Options{Snapshot: 500})
	slots := make([]*ledger.Slot, 20)
	for i := range slots {
		slots[i] = s.open(t, fmt.Sprint("s", i), 10_000, func(o *ledger.Opening) { o.Rules.PerSlot = 0 })
	}
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			for i := range uint64(1000) {
				if r, err := s.book(slots[rand.IntN(len(slots))], w*1000+i+1); err != nil || r.Refused != nil {
					t.Error(r, err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "a snapshot", func() bool { return s.Frozen() > 0 })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	log, err := wal.Open(dir, wal.Options{Unfenced: true, Linked: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	state, _, frozen, err := Recover(log, 0)
	if err != nil || frozen == 0 || state.Len() != 8000 {
		t.Fatalf("%d bookings after a snapshot of %d, %v", state.Len(), frozen, err)
	}
}

// A shard in which nothing happens any more can be trimmed all the same: what was written is in no file then.
func TestAQuietShardIsTrimmed(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := run(t, dir, clock, Options{})
	slot := s.open(t, "s1", 10, nil)
	a := NewAsk(1)
	fill(a.Request(0), slot, 1)
	a.Request(0).Visitors[0].Sealed = []byte("a sealed document")
	if err := s.Book(t.Context(), a); err != nil || a.Result(0).Refused != nil {
		t.Fatal(a.Result(0).Refused, err)
	}
	stands := func() (names []string) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range files {
			var data []byte
			if data, err = os.ReadFile(name); bytes.Contains(data, []byte("a sealed document")) {
				names = append(names, filepath.Base(name))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	trim := func() {
		frozen := s.Frozen()
		if err := errors.Join(s.Rotate(clock.now().Add(-time.Hour)), s.Retain(frozen)); err != nil {
			t.Fatal(err)
		}
		clock.add(20 * time.Minute)
		eventually(t, "a snapshot", func() bool { return s.Frozen() > frozen })
	}
	for range 4 {
		trim()
	}
	if names := stands(); len(names) != 1 {
		t.Fatalf("before the time is over it stands in %v", names)
	}
	for range 3 {
		trim()
	}
	if names := stands(); len(names) != 0 {
		t.Fatalf("after the time is over it stands in %v", names)
	}
}

func TestAFullIntakeTurnsPeopleAway(t *testing.T) {
	log, err := wal.Open(t.TempDir(), wal.Options{Unfenced: true, Linked: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s, err := Open(Options{Log: log, Now: newClock().now, Intake: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // nobody writes
		if err := s.enter(&job{done: make(chan struct{}, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	err = s.Do(t.Context(), func(int64, *ledger.State, ledger.Emit) {})
	if e := errs.As(err); e == nil || e.Kind != errs.TooMany || e.RetryAfter == 0 {
		t.Fatalf("%v", err)
	}
}

func TestWhoMayNotWriteAnswersNobody(t *testing.T) {
	var valid atomic.Bool
	valid.Store(true)
	s := run(t, filepath.Join(t.TempDir(), "log"), newClock(), Options{Valid: valid.Load})
	slot := s.open(t, "s1", 10, nil)
	valid.Store(false)
	if _, err := s.book(slot, 1); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("%v", err)
	}
	if _, err := s.book(slot, 2); !errs.Is(err, errs.Unavailable) {
		t.Fatalf("%v", err)
	}
}

// A disk that fails in the middle of a rush: whoever was told of a booking has it after a new start, and what nobody was
// told of hurts nobody.
func TestDisksFailInMidRush(t *testing.T) {
	for name, fault := range map[string]func(faultfs.Call) faultfs.Fault{
		"full": func(c faultfs.Call) faultfs.Fault {
			if c.Op == faultfs.Allocate {
				return faultfs.Fault{Err: faultfs.NoSpace}
			}
			return faultfs.Fault{}
		},
		"failing syncs": func(c faultfs.Call) faultfs.Fault {
			if c.Op == faultfs.Datasync {
				return faultfs.Fault{Err: faultfs.IO}
			}
			return faultfs.Fault{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, clock, fs := t.TempDir(), newClock(), faultfs.New(wal.OS())
			s := runOn(t, dir, clock, Options{}, fs)
			slot := s.open(t, "s1", 1<<20, nil)
			var told sync.Map
			var wg sync.WaitGroup
			var failed atomic.Int64
			for w := range uint64(8) {
				wg.Go(func() {
					for i := uint64(0); failed.Load() < 64; i++ {
						if w == 0 && i == 50 {
							fs.Fail(fault)
						}
						n := w<<32 | i + 1
						r, err := s.book(slot, n)
						switch {
						case err == nil && r.Refused == nil:
							told.Store(n, r.View.Number)
						case err != nil:
							failed.Add(1)
						default:
							t.Error(r.Refused)
						}
					}
				})
			}
			wg.Wait()
			fs.Fail(nil)
			_ = s.stop() // it says what failed
			again := run(t, dir, clock, Options{})
			slot = again.State().Slot("s1")
			told.Range(func(n, number any) bool {
				r, err := again.book(slot, n.(uint64))
				if err != nil || r.Fresh || r.View.Number != number {
					t.Errorf("key %v: %+v, %v; was told %v", n, r, err, number)
				}
				return true
			})
		})
	}
}

func TestTheClockStepsBack(t *testing.T) {
	s := run(t, t.TempDir(), newClock(), Options{})
	slot := s.open(t, "s1", 10, nil)
	r, err := s.book(slot, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.clock.add(-48 * time.Hour)
	later, err := s.book(slot, 2)
	if err != nil || later.Refused != nil || later.View.Until < r.View.Until {
		t.Fatalf("%+v, %v", later, err)
	}
}

func TestWheel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var w wheel
	now := int64(1_790_000_000)
	at := map[ledger.Number]int64{}
	w.advance(now, 0, func(ledger.Number) {})
	for n := range ledger.Number(5000) {
		at[n+1] = now + r.Int64N(3*turns)
		w.add(n+1, at[n+1])
	}
	for len(at) > 0 {
		now += r.Int64N(500)
		for through := false; !through; {
			through = w.advance(now, 7, func(n ledger.Number) {
				if at[n] > now || at[n] == 0 {
					t.Fatalf("%d found at %d, due at %d", n, now, at[n])
				}
				delete(at, n)
			})
		}
		for n, due := range at {
			if due < now {
				t.Fatalf("%d of %d not found at %d", n, due, now)
			}
		}
	}
}

func TestFilterForgetsNothing(t *testing.T) {
	var f filter
	key := func(n uint64) (k ledger.Key) {
		binary.LittleEndian.PutUint64(k[:], n*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(k[8:], n*0xc2b2ae3d27d4eb4f)
		return k
	}
	const n = 300_000
	for i := range uint64(n) {
		f.add(key(i))
	}
	wrong := 0
	for i := range uint64(n) {
		if !f.has(key(i)) {
			t.Fatalf("key %d is gone", i)
		}
		if f.has(key(n + i)) {
			wrong++
		}
	}
	if wrong > n/20 {
		t.Errorf("%d of %d unknown keys taken for known", wrong, n)
	}
}
