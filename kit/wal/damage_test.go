package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
)

// sample makes a log of two segments and more, with one snapshot, whose last batch takes several sectors. It returns its
// files as they are on the disk while it is still open, as a kill would leave them, and after Close.
func sample(t *testing.T) (running, after map[string][]byte, want []string) {
	t.Helper()
	return build(t, func(l *Log, batch func(int)) {
		for i := range 9 {
			batch(i)
		}
		keepState(t, l, 12)
	})
}

// brief is a sample that is as short as it can be.
func brief(t *testing.T) (running, after map[string][]byte, want []string) {
	t.Helper()
	return build(t, func(l *Log, batch func(int)) {
		batch(0)
		keepState(t, l, 3)
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		batch(0)
		batch(7)
	})
}

// build makes a log; batch writes three records, whose length and zeros its number says.
func build(t *testing.T, write func(l *Log, batch func(int))) (running, after map[string][]byte, want []string) {
	t.Helper()
	m := newMemory(nil)
	l, err := Open("log", Options{Generation: 3, SegmentBytes: 4 << 10, FS: m})
	if err != nil {
		t.Fatal(err)
	}
	write(l, func(i int) {
		b := l.Batch()
		for j := range 3 {
			s := fmt.Sprintf("%d.%d ", i, j) + strings.Repeat("r", 300*(i%2)) + strings.Repeat("\x00", 200*(i%3))
			b.Append([]byte(s))
			want = append(want, s)
		}
		done := make(chan error)
		l.Commit(b, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	running = m.contents()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return running, m.contents(), want
}

// last returns the name of the newest segment.
func last(all map[string][]byte) string {
	newest := ""
	for name := range all {
		if strings.HasSuffix(name, segmentExt) {
			newest = max(newest, name)
		}
	}
	return newest
}

// found is what a log with a changed file gives.
type found struct {
	records []string
	Recovery
	err error
}

// look opens a log of these files, with one of them changed, and reads it.
func look(t *testing.T, all map[string][]byte, name string, data []byte) (f found) {
	t.Helper()
	m := newMemory(all)
	if name != "" {
		m.files[name] = &memFile{data: data}
	}
	l, err := Open("log", Options{Generation: 4, SegmentBytes: 4 << 10, FS: m})
	if err != nil {
		return found{err: err}
	}
	f.Recovery = l.Recovered()
	for r, err := range l.Read(0) {
		if err != nil {
			f.err = err
			break
		}
		f.records = append(f.records, string(r.Data))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// frames returns where the frames of a segment begin, and where the last one ends.
func frames(t *testing.T, segment []byte) (at []int) {
	t.Helper()
	h, err := parseHeader(segment)
	if err != nil {
		t.Fatal(err)
	}
	for i := headerSize; ; {
		at = append(at, i)
		f, ok := parseHead(segment[i:], seed(h.id, h.generation))
		if !ok {
			return at
		}
		i += f.size
	}
}

// tail returns the newest segment as a crash may leave it, and where its last frame begins and ends.
func tail(t *testing.T, all map[string][]byte) (name string, data []byte, begin, end int) {
	t.Helper()
	name = last(all)
	at := frames(t, all[name])
	if len(at) < 3 {
		t.Fatalf("frames at %v", at)
	}
	return name, all[name], at[len(at)-2], at[len(at)-1]
}

// torn holds that the last batch was dropped, with what is reported of it, and nothing else.
func torn(t *testing.T, what string, f found, want []string, offset int, reported bool) {
	t.Helper()
	if f.err != nil || !slices.Equal(f.records, want[:len(want)-3]) {
		t.Fatalf("%s: %d records, %v", what, len(f.records), f.err)
	}
	if (f.Torn != nil) != reported || reported && (f.Torn.Offset != int64(offset) || f.Torn.Bytes == 0) {
		t.Fatalf("%s: reported %+v", what, f.Torn)
	}
}

func TestTornTailIsDroppedAtEveryByte(t *testing.T) {
	running, after, want := sample(t)
	for _, all := range []map[string][]byte{running, after} {
		name, data, begin, end := tail(t, all)
		if whole := look(t, all, name, data); whole.err != nil || !slices.Equal(whole.records, want) || whole.Torn != nil {
			t.Fatalf("as it was: %+v", whole)
		}
		for cut := begin; cut < end; cut++ {
			torn(t, fmt.Sprint("file cut at ", cut), look(t, all, name, data[:cut]), want, begin, cut > begin)
			zeros := append(bytes.Clone(data[:cut]), make([]byte, len(data)-cut)...)
			torn(t, fmt.Sprint("zeros from ", cut), look(t, all, name, zeros), want, begin, cut > begin)
		}
	}
}

func TestTornTailMayLackAnySector(t *testing.T) {
	running, _, want := sample(t)
	name, data, begin, end := tail(t, running)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		torn1 := bytes.Clone(data)
		lost, left := 0, false
		for at := begin; at < end; at = at/sector*sector + sector {
			piece := torn1[at:min(at/sector*sector+sector, end)]
			if !allZero(piece) && r.IntN(3) > 0 {
				clear(piece)
				lost++
			}
			left = left || !allZero(piece)
		}
		if lost > 0 {
			torn(t, fmt.Sprint("round ", round), look(t, running, name, torn1), want, begin, left)
		}
	}
}

// TestEveryFlippedBitIsFound flips each bit of whatever a log has on disk. What was acknowledged is read as it was, or it
// is said that it is damaged; it is never dropped as a torn tail.
func TestEveryFlippedBitIsFound(t *testing.T) {
	running, after, want := brief(t)
	for _, all := range []map[string][]byte{running, after} {
		for name, data := range all {
			if strings.HasPrefix(name, tempPrefix) {
				continue
			}
			end := len(data)
			if name == last(all) {
				_, _, _, end = tail(t, all)
				end = min(end+3*unit, len(data)) // and some zeros that were never written
			}
			for bit := range 8 * end {
				at := bit / 8
				flipped := bytes.Clone(data)
				flipped[at] ^= 1 << (bit % 8)
				f := look(t, all, name, flipped)
				why := fmt.Sprintf("%s, bit %d of byte %d of %d: %v", name, bit%8, at, len(data), f.err)
				switch {
				case f.err != nil:
					var e *errs.Error
					if !errors.As(f.err, &e) || e.Code != CodeDamaged || !e.HasOffset || !strings.Contains(f.err.Error(), name) {
						t.Fatal("not found as damage: " + why)
					}
				case strings.HasSuffix(name, snapshotExt):
					if !slices.Equal(f.Skipped, []string{name}) || f.Snapshot != 0 || !slices.Equal(f.records, want) {
						t.Fatal("the snapshot was not skipped: " + why)
					}
				case !slices.Equal(f.records, want) || f.Torn == nil && !allZero(data[at:]):
					t.Fatal("not found: " + why)
				}
			}
		}
	}
}

func TestDamageIsNotRepaired(t *testing.T) {
	_, all, _ := sample(t)
	name, data, begin, _ := tail(t, all)
	middle := bytes.Clone(data)
	middle[headerSize+headSize+5] ^= 1
	missing := map[string][]byte{}
	for n, d := range all {
		if n != name {
			missing[n] = d
		}
	}
	for what, f := range map[string]found{
		"a frame that others follow":   look(t, all, name, middle),
		"zeros where a frame was":      look(t, all, name, slices.Concat(data[:headerSize], make([]byte, begin-headerSize), data[begin:])),
		"a frame twice":                look(t, all, name, slices.Concat(data, data[begin:])),
		"a segment of another name":    look(t, map[string][]byte{strings.Replace(name, "3-", "2-", 1): data}, "", nil),
		"no segment that begins":       look(t, map[string][]byte{name: data}, "", nil),
		"less than a snapshot holds":   look(t, map[string][]byte{first(all): all[first(all)], snap(all): all[snap(all)]}, "", nil),
		"a segment is missing between": look(t, without(all, second(all)), "", nil),
		"snapshots alone":              look(t, map[string][]byte{snap(all): all[snap(all)]}, "", nil),
	} {
		if !hasCode(f.err, CodeDamaged) {
			t.Errorf("%s: %v", what, f.err)
		}
	}
}

func first(all map[string][]byte) string {
	for _, name := range sorted(all) {
		if strings.HasSuffix(name, segmentExt) {
			return name
		}
	}
	return ""
}

func second(all map[string][]byte) string { return first(without(all, first(all))) }

func snap(all map[string][]byte) string {
	for name := range all {
		if strings.HasSuffix(name, snapshotExt) {
			return name
		}
	}
	return ""
}

func without(all map[string][]byte, name string) map[string][]byte {
	some := map[string][]byte{}
	for n, d := range all {
		if n != name {
			some[n] = d
		}
	}
	return some
}

func sorted(all map[string][]byte) (names []string) {
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
