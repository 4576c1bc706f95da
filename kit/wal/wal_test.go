package wal

import (
	"fmt"
	"io"
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
	if err := l.Snapshot(100, func(w io.Writer) error { _, err := w.Write([]byte("state")); return err }); err == nil {
		t.Log("record 100 ends a batch")
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
