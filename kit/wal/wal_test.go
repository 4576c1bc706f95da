package wal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
)

// openLog opens a log with small segments.
func openLog(t *testing.T, dir string, o Options) *Log {
	t.Helper()
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 8 << 10
	}
	o.Unfenced = o.Generation == 0
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// contents reads what follows a record.
func contents(t *testing.T, l *Log, after uint64) []string {
	t.Helper()
	var all []string
	for r, err := range l.Read(after) {
		if err != nil {
			t.Fatal(err)
		}
		if want := after + uint64(len(all)) + 1; r.LSN != want {
			t.Fatalf("record %d where %d belongs", r.LSN, want)
		}
		all = append(all, string(r.Data))
	}
	return all
}

func TestLogKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{})
	var want []string
	for i := range 200 {
		b := l.Batch()
		for j := range i % 7 {
			s := fmt.Sprintf("record %d of batch %d", j, i)
			if lsn := b.Append([]byte(s)); lsn != uint64(len(want))+1 {
				t.Fatalf("number %d after %d", lsn, len(want))
			}
			want = append(want, s)
		}
		done := make(chan error, 1)
		l.Commit(b, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	check := func(l *Log) {
		t.Helper()
		for _, after := range []int{0, 1, 2, 100, len(want) - 1, len(want)} {
			if got := contents(t, l, uint64(after)); fmt.Sprint(got) != fmt.Sprint(want[after:]) {
				t.Fatalf("after %d: %d records, want %d", after, len(got), len(want)-after)
			}
		}
	}
	check(l)
	if len(l.s.segments) < 3 {
		t.Fatalf("%d segments", len(l.s.segments))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, Options{})
	if r := l.Recovered(); r.Last != uint64(len(want)) || r.Torn != nil {
		t.Fatalf("%+v", r)
	}
	check(l)
	if lsn, err := l.Write(t.Context(), []byte("a"), []byte("b")); err != nil || lsn != uint64(len(want))+1 {
		t.Fatal(lsn, err)
	}
	want = append(want, "a", "b")
	check(l)
}

func TestOnlyOneHasTheFolder(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Options{Generation: 5})
	if _, err := Open(dir, Options{Generation: 6}); !hasCode(err, CodeLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, generation := range []uint64{0, 4, 5} {
		if _, err := Open(dir, Options{Generation: generation}); !hasCode(err, CodeFenced) {
			t.Fatalf("generation %d after 5: %v", generation, err)
		}
	}
}

// TestOvertakenWriterFindsOut has a writer go on although another has the folder: its lock was lost.
func TestOvertakenWriterFindsOut(t *testing.T) {
	m := newMemory(nil)
	old := lead(t, m, 1)
	put(t, old, 3, "old")
	m.locked = false
	now := lead(t, m, 2)
	if _, err := old.Write(t.Context(), []byte("too late")); !hasCode(err, CodeStopped) || !strings.Contains(err.Error(), "generation 2") {
		t.Fatal(err)
	}
	put(t, now, 1, "new")
	if got := contents(t, now, 0); len(got) != 4 || got[3] != "new 0" {
		t.Fatal(got)
	}
}

// TestManyWriteAndRead has callers share batches while others read.
func TestManyWriteAndRead(t *testing.T) {
	l := lead(t, newMemory(nil), 1)
	const writers, each = 8, 200
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				word := fmt.Sprintf("%d/%d", w, i)
				lsn, err := l.Write(t.Context(), []byte(word), []byte("second"))
				if err != nil {
					t.Error(err)
					return
				}
				for r, err := range l.Read(lsn - 1) {
					if err != nil || r.LSN != lsn || string(r.Data) != word {
						t.Error(r, lsn, err)
					}
					break
				}
			}
		})
	}
	for range 2 {
		all.Go(func() {
			next := uint64(1)
			for next <= 2*writers*each {
				if err := l.Wait(t.Context(), next); err != nil {
					t.Error(err)
					return
				}
				for r, err := range l.Read(next - 1) {
					if err != nil || r.LSN != next {
						t.Error(r.LSN, next, err)
						return
					}
					next++
				}
			}
		})
	}
	all.Wait()
}

// TestRetain drops what two snapshots hold, and falls back to the older when the newer is damaged.
func TestRetain(t *testing.T) {
	m := newMemory(nil)
	l := lead(t, m, 1)
	put(t, l, 400, "x")
	if err := l.Retain(400); err != nil || l.s.oldest() != 1 {
		t.Fatal("the log was dropped without a snapshot: ", err)
	}
	for _, last := range []uint64{100, 200, 300} {
		if err := l.Snapshot(last, func(w io.Writer) error { _, err := fmt.Fprint(w, last); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Retain(400); err != nil {
		t.Fatal(err)
	}
	if oldest := l.s.oldest(); oldest < 120 || oldest > 201 {
		t.Fatalf("record %d is the oldest", oldest)
	}
	for _, err := range l.Read(0) {
		if !hasCode(err, CodeNotKept) {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := m.contents()
	newest := ""
	for name := range all {
		if strings.HasSuffix(name, snapshotExt) {
			newest = max(newest, name)
		}
	}
	all[newest][snapshotHead] ^= 1
	l = lead(t, newMemory(all), 2)
	if r := l.Recovered(); r.Snapshot != 200 || len(r.Skipped) != 1 || r.Last != 400 {
		t.Fatalf("%+v", r)
	}
	if got := contents(t, l, 200); len(got) != 200 {
		t.Fatal(len(got))
	}
}
