package wal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/wal"
	"github.com/qiongdev/qiong/kit/wal/faultfs"
)

const segment = 8 << 10

// open opens a log on a faulty file system.
func open(t *testing.T, dir string, fs wal.FS) *wal.Log {
	t.Helper()
	l, err := wal.Open(dir, wal.Options{Unfenced: true, SegmentBytes: segment, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// commit commits a batch and waits.
func commit(l *wal.Log, records ...string) (first uint64, err error) {
	b := l.Batch()
	for i, r := range records {
		if lsn := b.Append([]byte(r)); i == 0 {
			first = lsn
		}
	}
	done := make(chan error, 1)
	l.Commit(b, func(err error) { done <- err })
	return first, <-done
}

func read(t *testing.T, l *wal.Log) (all []string) {
	t.Helper()
	for r, err := range l.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(r.Data))
	}
	return all
}

func code(err error) string {
	var e *errs.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestLogStopsWithTheFirstError holds for every operation that a batch needs: when it fails once, nothing more is
// acknowledged, though the disk is well again; and what was acknowledged is there when the log is opened anew.
func TestLogStopsWithTheFirstError(t *testing.T) {
	write := func(part int) func(faultfs.Call) faultfs.Fault {
		return func(c faultfs.Call) faultfs.Fault {
			if c.Op == faultfs.Write && c.Bytes > 32 {
				return faultfs.Fault{Err: faultfs.IO, Part: part}
			}
			return faultfs.Fault{}
		}
	}
	on := func(op faultfs.Op, err error) func(faultfs.Call) faultfs.Fault {
		return func(c faultfs.Call) faultfs.Fault {
			if c.Op == op {
				return faultfs.Fault{Err: err}
			}
			return faultfs.Fault{}
		}
	}
	for name, fault := range map[string]func(faultfs.Call) faultfs.Fault{
		"write":                write(0),
		"short write":          write(700),
		"write but for a byte": write(1 << 20),
		"disk full in a batch": func(c faultfs.Call) faultfs.Fault {
			if c.Op == faultfs.Write {
				return faultfs.Fault{Err: faultfs.NoSpace, Part: c.Bytes / 2}
			}
			return faultfs.Fault{}
		},
		"fdatasync":          on(faultfs.Datasync, faultfs.IO),
		"owner not readable": on(faultfs.Read, faultfs.IO),
	} {
		t.Run(name, func(t *testing.T) {
			dir, fs := t.TempDir(), faultfs.New(wal.OS())
			l := open(t, dir, fs)
			var acked []string
			for i := range 10 {
				r := fmt.Sprintf("record %d", i)
				if _, err := commit(l, r); err != nil {
					t.Fatal(err)
				}
				acked = append(acked, r)
			}
			var failed atomic.Bool
			fs.Fail(func(c faultfs.Call) faultfs.Fault {
				if f := fault(c); f.Err != nil && failed.CompareAndSwap(false, true) {
					return f
				}
				return faultfs.Fault{}
			})
			_, first := commit(l, strings.Repeat("lost", 300))
			if code(first) != wal.CodeStopped || !errs.Is(first, errs.Unavailable) || !failed.Load() {
				t.Fatal(first)
			}
			for range 3 {
				if _, err := commit(l, "after"); !errors.Is(err, first) {
					t.Fatalf("after %v: %v", first, err)
				}
			}
			if _, err := l.Write(t.Context(), []byte("after")); !errors.Is(err, first) {
				t.Fatal(err)
			}
			if err := l.Health(); !errors.Is(err, first) {
				t.Fatal(err)
			}
			if err := l.Wait(t.Context(), 11); !errors.Is(err, first) {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, wal.OS())
			got := read(t, l)
			if len(got) < 10 || len(got) > 11 || strings.Join(got[:10], ",") != strings.Join(acked, ",") {
				t.Fatalf("%d records after %s", len(got), name)
			}
			if _, err := commit(l, "again"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRotationThatFailsStopsTheLog fails every step by which a segment begins.
func TestRotationThatFailsStopsTheLog(t *testing.T) {
	for how, rotate := range map[string]func(*wal.Log) error{
		"full":   func(l *wal.Log) error { _, err := commit(l, strings.Repeat("x", segment-250)); return err },
		"Rotate": (*wal.Log).Rotate,
	} {
		for _, op := range []faultfs.Op{faultfs.Sync, faultfs.Rename, faultfs.SyncDir} {
			t.Run(fmt.Sprint(how, " ", op), func(t *testing.T) {
				dir, fs := t.TempDir(), faultfs.New(wal.OS())
				l := open(t, dir, fs)
				if _, err := commit(l, "one"); err != nil {
					t.Fatal(err)
				}
				fs.Once(op, faultfs.IO)
				first := rotate(l)
				if code(first) != wal.CodeStopped {
					t.Fatal(first)
				}
				if _, err := commit(l, "after"); !errors.Is(err, first) {
					t.Fatalf("after %v: %v", first, err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if got := read(t, open(t, dir, wal.OS())); len(got) != 1 {
					t.Fatalf("%d records, one acknowledged", len(got))
				}
			})
		}
	}
}

// TestRotateThatDiesAnywhere kills a log at each operation of Rotate and of the batch after it. What is left opens, and has
// what was acknowledged.
func TestRotateThatDiesAnywhere(t *testing.T) {
	for n, survived := 0, false; !survived; n++ {
		dir, fs := t.TempDir(), faultfs.New(unsynced{wal.OS()})
		l := open(t, dir, fs)
		if _, err := commit(l, "one", "two"); err != nil {
			t.Fatal(err)
		}
		left := n
		fs.Fail(func(faultfs.Call) faultfs.Fault {
			if left--; left < 0 {
				return faultfs.Fault{Err: faultfs.IO}
			}
			return faultfs.Fault{}
		})
		acked, err := 2, l.Rotate()
		if _, after := commit(l, "three"); after == nil {
			acked++
		}
		survived = err == nil && acked == 3
		if n > 100 {
			t.Fatal("it never comes to its end")
		}
		_ = l.Close() // nothing of it is done
		again := open(t, dir, unsynced{wal.OS()})
		if got := read(t, again); len(got) < acked || len(got) > 3 {
			t.Fatalf("after %d operations: %q, %d acknowledged", n, got, acked)
		}
		if _, err := commit(again, "again"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRotateWithoutRoom holds that a log goes on in its segment where there is no room for another, also one that a
// refusal would end, and that a segment without a record needs no other.
func TestRotateWithoutRoom(t *testing.T) {
	fs := faultfs.New(wal.OS())
	var room atomic.Int32
	room.Store(1)
	fs.Fail(func(c faultfs.Call) faultfs.Fault {
		if c.Op == faultfs.Allocate && room.Add(-1) < 0 {
			return faultfs.Fault{Err: faultfs.NoSpace}
		}
		return faultfs.Fault{}
	})
	l, err := wal.Open(t.TempDir(), wal.Options{Unfenced: true, Linked: true, SegmentBytes: segment, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := commit(l, "small"); err != nil {
			t.Fatal(err)
		}
		if err := l.Rotate(); code(err) != wal.CodeNoRoom {
			t.Fatal(err)
		}
	}
	room.Store(1)
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := commit(l, strings.Repeat("x", segment-300)); err != nil { // it has the new segment for itself
		t.Fatal(err)
	}
	if got := read(t, l); len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
}

// TestLinkedBatches holds that nothing is written after what was refused, also where there is room again.
func TestLinkedBatches(t *testing.T) {
	dir := t.TempDir()
	l, err := wal.Open(dir, wal.Options{Unfenced: true, Linked: true, MaxRecord: 100})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commit(l, "one"); err != nil {
		t.Fatal(err)
	}
	_, first := commit(l, strings.Repeat("x", 101))
	if _, err := commit(l, "two"); first == nil || code(err) != code(first) {
		t.Fatalf("after %v: %v", first, err)
	}
	if _, err := commit(l); err == nil {
		t.Fatal("an empty batch is accepted after one that was refused")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, wal.OS())
	if got := read(t, again); len(got) != 1 {
		t.Fatalf("%q", got)
	}
}

// TestNoRoomForTheNextSegment holds that a full disk is known before it hurts, refuses what does not fit, and hurts
// nothing else.
func TestNoRoomForTheNextSegment(t *testing.T) {
	dir, fs := t.TempDir(), faultfs.New(wal.OS())
	l := open(t, dir, fs)
	var full atomic.Bool
	full.Store(true)
	tried := make(chan struct{}, 100)
	fs.Fail(func(c faultfs.Call) faultfs.Fault {
		if c.Op == faultfs.Allocate && full.Load() {
			tried <- struct{}{}
			return faultfs.Fault{Err: faultfs.NoSpace}
		}
		return faultfs.Fault{}
	})
	want := 0
	big := strings.Repeat("x", 1000)
	var err error
	for err == nil { // the spare that was ready is used up
		if _, err = commit(l, big); err == nil {
			want++
		}
	}
	if len(tried) < 2 {
		t.Fatal("room for the next segment was looked for only when it was needed")
	}
	for range 3 {
		if !errs.Is(err, errs.Unavailable) || code(err) != wal.CodeNoRoom || code(l.Health()) != wal.CodeNoRoom {
			t.Fatal(err, l.Health())
		}
		first, err2 := commit(l, "small") // there is room for it in the segment
		if err2 != nil || first != uint64(want)+1 {
			t.Fatal(first, err2)
		}
		want++
		_, err = commit(l, big)
	}
	full.Store(false)
	for range 20 {
		if _, err := commit(l, big); err != nil {
			t.Fatal(err)
		}
		want++
	}
	if err := l.Health(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l); len(got) != want {
		t.Fatalf("%d records, want %d", len(got), want)
	}
}

func TestBatchLargerThanASegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, wal.OS())
	var want []string
	for i := range 6 {
		r := strings.Repeat(fmt.Sprint(i), 1+i%2*40_000)
		if _, err := commit(l, r, "second"); err != nil {
			t.Fatal(err)
		}
		want = append(want, r, "second")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, open(t, dir, wal.OS())); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("%d records", len(got))
	}
}

func TestSnapshotThatFailsLeavesTheLogAsItWas(t *testing.T) {
	dir, fs := t.TempDir(), faultfs.New(wal.OS())
	l := open(t, dir, fs)
	if _, err := commit(l, "one"); err != nil {
		t.Fatal(err)
	}
	state := func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }
	if err := l.Snapshot(1, state); err != nil {
		t.Fatal(err)
	}
	if _, err := commit(l, "two"); err != nil {
		t.Fatal(err)
	}
	for _, op := range []faultfs.Op{faultfs.Open, faultfs.Write, faultfs.Sync, faultfs.Rename} {
		fs.Once(op, faultfs.NoSpace)
		if err := l.Snapshot(2, state); err == nil {
			t.Fatalf("%s failed and the snapshot did not", op)
		}
		fs.Fail(nil)
		last, body, err := l.Restore()
		if err != nil || last != 1 {
			t.Fatal(last, err)
		}
		if err := body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, last := range []uint64{0, 3} {
		if err := l.Snapshot(last, state); !errs.Is(err, errs.Invalid) {
			t.Fatal(err)
		}
	}
	if err := l.Snapshot(2, func(io.Writer) error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := commit(l, "three"); err != nil {
		t.Fatal(err)
	}
}

// TestStandbyThatDiesAnywhereComesBack kills a standby at each of its operations, while it takes back what the leader
// never had, and while it takes a snapshot in. What is left opens, and catches up.
func TestStandbyThatDiesAnywhereComesBack(t *testing.T) {
	for _, retain := range []bool{false, true} {
		for n, done := 1, false; !done; n++ {
			done = dies(t, n, retain)
			if n > 1000 {
				t.Fatal("it never comes to its end")
			}
		}
	}
}

// dies plays it with the nth operation of the standby and all after it failing, and reports whether it came to the end.
func dies(t *testing.T, n int, retain bool) (survived bool) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	options := func(generation uint64, fs wal.FS) wal.Options {
		return wal.Options{Generation: generation, SegmentBytes: segment, FS: fs}
	}
	leader := func(dir string, generation uint64) *wal.Log {
		l, err := wal.Open(dir, options(generation, unsynced{wal.OS()}))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	follow := func(l *wal.Log, fs wal.FS, last uint64) bool {
		b, err := wal.OpenStandby(dirs[1], options(0, fs))
		if err != nil {
			if code(err) == wal.CodeDamaged {
				t.Fatalf("after %d operations: %v", n, err)
			}
			return false
		}
		defer b.Close()
		here, there := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		defer ended.Wait()
		defer cancel()
		ended.Go(func() { _ = l.Ship(ctx, here, "b") }) // it is cancelled
		over := make(chan error, 1)
		ended.Go(func() { over <- b.Follow(ctx, there) })
		caught := make(chan error, 1)
		ended.Go(func() { caught <- b.Wait(ctx, last) })
		select {
		case err := <-caught:
			return err == nil
		case <-over:
			return false
		}
	}
	l := leader(dirs[0], 1)
	for i := range 20 {
		if _, err := commit(l, fmt.Sprint(i), strings.Repeat("x", 900)); err != nil {
			t.Fatal(err)
		}
	}
	if !follow(l, unsynced{wal.OS()}, 40) {
		t.Fatal("it did not follow")
	}
	old := leader(dirs[1], 2) // the standby led for a while, and nobody heard
	for range 10 {
		if _, err := commit(old, "nobody heard", strings.Repeat("x", 900)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(old.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	l = leader(dirs[0], 3)
	defer l.Close()
	for i := range 20 {
		if _, err := commit(l, fmt.Sprint(20+i), strings.Repeat("x", 900)); err != nil {
			t.Fatal(err)
		}
	}
	if retain {
		for _, last := range []uint64{78, 80} {
			if err := l.Snapshot(last, func(io.Writer) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Retain(80); err != nil {
			t.Fatal(err)
		}
	}
	fs := faultfs.New(unsynced{wal.OS()})
	left := n
	fs.Fail(func(faultfs.Call) faultfs.Fault {
		if left--; left < 0 {
			return faultfs.Fault{Err: faultfs.IO}
		}
		return faultfs.Fault{}
	})
	survived = follow(l, fs, 80)
	if !follow(l, unsynced{wal.OS()}, 80) {
		t.Fatalf("after %d operations it does not catch up", n)
	}
	return survived
}
