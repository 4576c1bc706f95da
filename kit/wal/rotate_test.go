package wal

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
)

// where returns the names of the files in which a word stands.
func where(m *memory, word string) (names []string) {
	all := m.contents()
	for _, name := range sorted(all) {
		if bytes.Contains(all[name], []byte(word)) {
			names = append(names, name)
		}
	}
	return names
}

// keepState makes a snapshot that says nothing of what the log has said.
func keepState(t *testing.T, l interface {
	Snapshot(uint64, func(io.Writer) error) error
}, last uint64) {
	t.Helper()
	if err := l.Snapshot(last, func(w io.Writer) error { _, err := fmt.Fprint(w, "up to ", last); return err }); err != nil {
		t.Fatal(err)
	}
}

// TestRotate drops a record out of a segment that is far from full.
func TestRotate(t *testing.T) {
	m := newMemory(nil)
	l := lead(t, m, 1)
	put(t, l, 3, "secret")
	for range 2 { // the second finds nothing to leave behind
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		if n := len(l.s.segments); n != 2 {
			t.Fatalf("%d segments", n)
		}
	}
	if got := contents(t, l, 0); len(got) != 3 {
		t.Fatal(got)
	}
	put(t, l, 1, "later")
	for _, last := range []uint64{3, 4} {
		keepState(t, l, last)
	}
	if err := l.Retain(4); err != nil {
		t.Fatal(err)
	}
	if names := where(m, "secret"); names != nil {
		t.Fatal("it still stands in ", names)
	}
	if got := contents(t, l, 3); !slices.Equal(got, []string{"later 0"}) {
		t.Fatal(got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Rotate(); !hasCode(err, CodeClosed) {
		t.Fatal(err)
	}
	if got := whole(t, m); len(got) != 0 {
		t.Fatal(got)
	}
}

// TestCrashAfterRotate opens what kills leave right after Rotate, and after all but the new segment was dropped.
func TestCrashAfterRotate(t *testing.T) {
	m := newMemory(nil)
	l := lead(t, m, 1)
	put(t, l, 2, "x")
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	rotated := m.contents()
	keepState(t, l, 2)
	if err := l.Retain(2); err != nil {
		t.Fatal(err)
	}
	dropped := m.contents()
	if first(dropped) != last(dropped) {
		t.Fatal("a segment is left: ", first(dropped))
	}
	for what, left := range map[string]map[string][]byte{"rotated": rotated, "dropped": dropped} {
		for generation := uint64(2); generation < 4; generation++ { // the first is killed before it has written anything
			m := newMemory(left)
			l := lead(t, m, generation)
			left = m.contents()
			if r := l.Recovered(); r.Last != 2 || r.Torn != nil {
				t.Fatalf("%s, generation %d: %+v", what, generation, r)
			}
			if l.s.oldest() == 1 {
				if got := contents(t, l, 0); len(got) != 2 {
					t.Fatalf("%s, generation %d: %q", what, generation, got)
				}
			}
			if lsn, err := l.Write(t.Context(), []byte("next")); err != nil || lsn != 3 {
				t.Fatalf("%s, generation %d: record %d, %v", what, generation, lsn, err)
			}
		}
	}
}

// TestStandbyRotates holds that a standby turns to a new segment by itself, while the leader does not.
func TestStandbyRotates(t *testing.T) {
	theirs := newMemory(nil)
	l, b := lead(t, newMemory(nil), 1), openStandby(t, theirs)
	k := connect(t, l, b, "b")
	l.Require("b")
	put(t, l, 3, "secret")
	if err := b.Rotate(); err != nil {
		t.Fatal(err)
	}
	put(t, l, 2, "later")
	if err := b.Wait(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, last := range []uint64{3, 4} {
		keepState(t, b, last)
	}
	if err := b.Retain(5); err != nil {
		t.Fatal(err)
	}
	if names := where(theirs, "secret"); names != nil {
		t.Fatal("it still stands in ", names)
	}
	k.end()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := whole(t, theirs); !slices.Equal(got, []string{"later 1"}) {
		t.Fatalf("%q", got)
	}
}
