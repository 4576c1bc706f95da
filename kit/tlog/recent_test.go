package tlog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// settle has ids go to log_id at once.
func settle(l *Log) { l.least, l.recent = 0, recent{} }

// Whatever writes a log has seen, and however often it was opened again, each id is found where it is, and no other.
func TestRecentIDs(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			db := sqldbtest.SQLite(t)
			l := open(t, db)
			size, settled := 0, int64(0)
			for step := range 60 {
				if random.IntN(8) == 0 {
					l = open(t, db)
				}
				l.least = 1 + int(seed)*20
				n := 1 + random.IntN(1+random.IntN(90))
				if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(size, n), nil); err != nil {
					t.Fatal(err)
				}
				size += n
				inTable, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM log_id")
				if err != nil {
					t.Fatal(err)
				}
				settled = max(settled, inTable)
				if inTable > int64(size) {
					t.Fatalf("step %d: %d of %d ids are in the table", step, inTable, size)
				}
				ids := []string{"e-x", fmt.Sprintf("e-%d", size)}
				for range 40 {
					ids = append(ids, fmt.Sprintf("e-%d", random.IntN(size)))
				}
				known, err := l.Known(t.Context(), ids)
				slices.Sort(ids)
				if err != nil || len(known) != len(slices.Compact(ids))-2 {
					t.Fatalf("step %d: %d of %v are known, %v", step, len(known), ids, err)
				}
				i := random.IntN(size)
				if at, data, err := l.Find(t.Context(), fmt.Sprintf("e-%d", i)); err != nil || at != uint64(i) || string(data) != fmt.Sprintf("entry %d", i) {
					t.Fatalf("step %d: %d is found at %d, %q, %v", step, i, at, data, err)
				}
			}
			if settled < int64(size)/2 {
				t.Errorf("only %d of %d ids have come into the table", settled, size)
			}
		})
	}
}

// A write that is undone leaves the ids as they were.
func TestRecentIDsOfAWriteUndone(t *testing.T) {
	db := sqldbtest.SQLite(t)
	l := open(t, db)
	l.least = 4
	for i := range 30 {
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(3*i, 3), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(1000, 9), func(*sqldb.Tx, uint64) error { return fmt.Errorf("no") }); err == nil {
			t.Fatal("it was written")
		}
	}
	for _, l := range []*Log{l, open(t, db)} {
		for i := range 90 {
			if at, _, err := l.Find(t.Context(), fmt.Sprintf("e-%d", i)); err != nil || at != uint64(i) {
				t.Errorf("%d is found at %d, %v", i, at, err)
			}
		}
		if known, err := l.Known(t.Context(), []string{"e-1000", "e-1008"}); err != nil || len(known) > 0 {
			t.Errorf("known: %v, %v", known, err)
		}
	}
}

// Two entries of one hash in one run, or in two, are both candidates.
func TestRunsOfOneHash(t *testing.T) {
	a, b := newRun(10, []int64{7, -3, 7, 9}), newRun(14, []int64{7, -1 << 31, 1<<31 - 1, -3})
	both := a.and(b)
	want := newRun(10, []int64{7, -3, 7, 9, 7, -1 << 31, 1<<31 - 1, -3})
	if !slices.Equal(both.pairs, want.pairs) || both.from != 10 {
		t.Fatalf("merged %v", both)
	}
	found := both.find([]int64{-1 << 31, -3, 7, 8, 1<<31 - 1}, nil)
	if !slices.Equal(found, []int64{15, 11, 17, 10, 12, 14, 16}) {
		t.Errorf("found %v", found)
	}
}

// A log of a program that had all ids in log_id at once goes on.
func TestRecentIDsOfAnEarlierProgram(t *testing.T) {
	db := sqldbtest.SQLite(t)
	l := open(t, db)
	settle(l)
	for size := 0; size < 200; size += 5 {
		if size == 100 {
			l = open(t, db)
			l.least = 10
		}
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(size, 5), nil); err != nil {
			t.Fatal(err)
		}
		for i := range size + 5 {
			if at, _, err := l.Find(t.Context(), fmt.Sprintf("e-%d", i)); err != nil || at != uint64(i) {
				t.Fatalf("%d is found at %d, %v", i, at, err)
			}
		}
	}
	if _, err := open(t, db).Append(t.Context(), time.UnixMilli(0), entries(50, 1), nil); errs.As(err) == nil || errs.As(err).Code != "log.duplicate" {
		t.Errorf("appended twice: %v", err)
	}
}
