package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/report"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/shard"
)

// engine is a shard in this process, with slots to book.
type engine struct {
	*shard.Shard
	log   *wal.Log
	slots []*ledger.Slot
	stop  func() error
}

// openEngine opens a shard with slots of the largest quota.
func openEngine(dir string, slots int) (*engine, error) {
	l, err := wal.Open(dir, wal.Options{Unfenced: true, Linked: true})
	if err != nil {
		return nil, err
	}
	s, err := shard.Open(shard.Options{Log: l, Now: time.Now, Intake: 8192, Snapshot: 1 << 62})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	e := &engine{Shard: s, log: l, stop: func() error {
		cancel()
		return errors.Join(<-ended, l.Close())
	}}
	start := time.Now().Add(24 * time.Hour).Unix()
	for i := range slots {
		o := &ledger.Opening{ID: fmt.Sprintf("slot-%d", i), Spot: "spot", Day: ledger.DayOf(start), Start: start, End: start + 3600, Opens: 1, Quotas: ledger.Quotas{ledger.MaxQuota},
			Rules: ledger.Rules{RealName: true, Party: 5, PerSlot: 1, Hold: 900, Products: []ledger.Product{{Name: "entry"}}}}
		var slot *ledger.Slot
		var refused *errs.Error
		if err := s.Do(ctx, func(now int64, st *ledger.State, emit ledger.Emit) { slot, refused = st.Open(now, o, emit) }); err != nil || refused != nil {
			return nil, errors.Join(err, fmt.Errorf("opening a slot: %v", refused))
		}
		e.slots = append(e.slots, slot)
	}
	return e, nil
}

// sealed is as long as a sealed document of a visitor.
var sealed = make([]byte, 64)

// fill makes the request of the n-th visitor.
func (e *engine) fill(r *ledger.Request, n uint64) {
	*r = ledger.Request{Slot: e.slots[n%uint64(len(e.slots))], Places: 1, Digest: n, Owner: "bench", Name: "bench-" + strconv.FormatUint(n, 10) + "-key",
		Visitors: append(r.Visitors[:0], ledger.Visitor{Sealed: sealed})}
	for i := range 2 { // as a digest's bytes are
		x := n*0x9e3779b97f4a7c15 + uint64(i)*0xc2b2ae3d27d4eb4f
		x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
		x ^= x >> 32
		binary.LittleEndian.PutUint64(r.Key[8*i:], x)
		binary.LittleEndian.PutUint64(r.Visitors[0].Person[8*i:], x^0x5555555555555555)
	}
}

func (e *engine) book(ctx context.Context, all *visitors, many int) error {
	a := shard.NewAsk(many)
	for i := range many {
		e.fill(a.Request(i), all.n.Add(1))
	}
	if err := e.Book(ctx, a); err != nil {
		return err
	}
	for i := range many {
		if refused := a.Result(i).Refused; refused != nil {
			return refused
		}
	}
	a.Release()
	return nil
}

const windows = 512 // bookings in one request of the windowed load

// engine compares what is behind the door: one caller a goroutine, and windows of many bookings.
func (b *bench) engine(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, addr, err := startRedis(dir, "everysec")
	if err != nil {
		return err
	}
	defer server.Kill()
	redis, err := newRedis(addr)
	if err != nil {
		return err
	}
	var all visitors
	own := measure.Meter{"process": proc.Self}
	for round := range b.rounds {
		e, err := openEngine(filepath.Join(dir, fmt.Sprintf("log-%d", round)), 4)
		if err != nil {
			return err
		}
		for _, load := range []struct {
			name    string
			callers int
			many    int
		}{{"1,024 callers", 1024, 1}, {"16 windows", 16, windows}} {
			s, err := measure.Closed(ctx, load.callers, b.each/2, own, func(ctx context.Context, _ int) error { return e.book(ctx, &all, load.many) })
			if err != nil {
				return err
			}
			s.System, s.Load = qiongName, "in process, "+load.name
			s.Ops *= int64(load.many)
			s.CPU["process"] /= float64(load.many)
			b.add(s)
		}
		if err := errors.Join(e.stop(), os.RemoveAll(filepath.Join(dir, fmt.Sprintf("log-%d", round)))); err != nil {
			return err
		}
		if err := b.shards(ctx, dir, &all); err != nil {
			return err
		}
		s, err := measure.Closed(ctx, 1024, b.each/2, measure.Meter{"process": proc.Self, "Redis": func() time.Duration { return proc.Tree(server.PID) }}, func(ctx context.Context, _ int) error {
			n := strconv.FormatUint(all.n.Add(1), 10)
			ok, err := redis.book(ctx, "bench-"+n+"-key", &booking.Reservation{Slot: "slot", Channel: "online", Visitors: []booking.Visitor{{Number: n}}})
			if err == nil && !ok {
				err = errors.New("refused")
			}
			return err
		})
		if err != nil {
			return err
		}
		s.System, s.Load = everysecName, "in process, 1,024 callers"
		b.add(s)
		if err := b.floor(dir); err != nil {
			return err
		}
	}
	b.report.Judge(report.Goal{Load: "in process, 1,024 callers", System: qiongName, Peer: everysecName, Figure: "rate", Want: 2})
	return nil
}

// shards puts windows to two shards, whose spots differ, as a house of two does.
func (b *bench) shards(ctx context.Context, dir string, all *visitors) (err error) {
	var engines [2]*engine
	for i := range engines {
		folder := filepath.Join(dir, fmt.Sprintf("shard-%d", i))
		if engines[i], err = openEngine(folder, 4); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, engines[i].stop(), os.RemoveAll(folder)) }()
	}
	s, err := measure.Closed(ctx, 16*len(engines), b.each/2, measure.Meter{"process": proc.Self}, func(ctx context.Context, caller int) error {
		return engines[caller%len(engines)].book(ctx, all, windows)
	})
	s.System, s.Load = qiongName, "in process, two shards of 16 windows"
	s.Ops *= windows
	s.CPU["process"] /= windows
	b.add(s)
	return err
}

// floor measures fdatasync by itself.
func (b *bench) floor(dir string) error {
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return err
	}
	defer f.Close()
	h, buf := measure.Histogram(), make([]byte, 64<<10)
	if _, err := f.Write(make([]byte, 16<<20)); err != nil {
		return err
	}
	began := time.Now()
	for i := range 200 {
		if _, err := f.WriteAt(buf, int64(i*len(buf))%(16<<20)); err != nil {
			return err
		}
		at := time.Now()
		if err := datasync(f); err != nil {
			return err
		}
		_ = h.RecordValue(time.Since(at).Microseconds())
	}
	s := measure.Of(h, time.Since(began))
	s.System, s.Load = "fdatasync of 64 KiB", "the disk"
	b.add(s)
	return nil
}

// replayPart measures a start from the log, and what ten million bookings take.
func (b *bench) replayPart(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const slots, many = 16, 4096
	e, err := openEngine(dir, slots)
	if err != nil {
		return err
	}
	var all visitors
	for all.n.Load() < uint64(b.replay) {
		if err := e.book(ctx, &all, many); err != nil {
			return err
		}
	}
	if err := e.stop(); err != nil {
		return err
	}
	made := int64(all.n.Load())
	*e = engine{}
	disk := int64(0)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			disk += info.Size()
		}
	}
	for range max(b.rounds/2, 1) {
		l, err := wal.Open(dir, wal.Options{Unfenced: true, Linked: true})
		if err != nil {
			return err
		}
		began := time.Now()
		state, _, _, err := shard.Recover(l, 0)
		if err != nil {
			return err
		}
		took := time.Since(began)
		runtime.GC()
		used := heap() // of nothing else: what made the log is gone
		log.Printf("replay: %d bookings in %v, %.2f million a second; %.2f GB of memory, %.0f bytes each; log %.2f GB, %.0f bytes each", state.Len(), took.Round(time.Millisecond),
			float64(state.Len())/took.Seconds()/1e6, float64(used)/1e9, float64(used)/float64(made), float64(disk)/1e9, float64(disk)/float64(made))
		b.report.Add(measure.Sample{System: qiongName, Load: fmt.Sprintf("start from a log of %d", made), Ops: made, Seconds: took.Seconds(),
			CPU: map[string]float64{"memory, bytes a booking": float64(used) / float64(made), "log, bytes a booking": float64(disk) / float64(made)}})
		runtime.KeepAlive(state)
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
