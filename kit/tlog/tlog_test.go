package tlog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

const origin = "log.hainan.example"

func open(t testing.TB, db sqldb.DB) *Log {
	t.Helper()
	if err := db.Migrate(t.Context(), "tlog", Tables()); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), db, origin)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// entries are n entries from the given number on.
func entries(from, n int) []Entry {
	all := make([]Entry, n)
	for i := range all {
		all[i] = Entry{ID: fmt.Sprintf("e-%d", from+i), Data: fmt.Appendf(nil, "entry %d", from+i)}
	}
	return all
}

// A log grows in steps of every kind of size, is opened again now and then, and proves all it has.
func TestGrowsAndProves(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		var naive merkle.Tree
		var sizes []uint64
		for i, n := range []int{1, 1, 3, 250, 1, 1, 255, 256, 257, 700, 31} {
			from := int(naive.Size())
			for _, e := range entries(from, n) {
				naive.Append(merkle.LeafHash(e.Data))
			}
			c, err := l.Append(t.Context(), time.UnixMilli(int64(i)), entries(from, n), nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.Root != naive.Root() || c.Size != naive.Size() {
				t.Fatalf("the log of %d has another root than its tree", naive.Size())
			}
			if i%3 == 0 {
				l = open(t, db)
			}
			sizes = append(sizes, c.Size)
		}
		last := l.Last()
		for _, size := range sizes {
			root, err := l.RootAt(t.Context(), size)
			if err != nil {
				t.Fatal(err)
			}
			proof, err := l.Consistency(t.Context(), size, last.Size)
			if err == nil {
				err = merkle.VerifyConsistency(size, last.Size, root, last.Root, proof)
			}
			if err != nil {
				t.Errorf("consistency from %d: %v", size, err)
			}
		}
		for index := uint64(0); index < last.Size; index += 17 {
			proof, err := l.Inclusion(t.Context(), index, last.Size)
			if err == nil {
				err = merkle.VerifyInclusion(merkle.LeafHash(fmt.Appendf(nil, "entry %d", index)), index, last.Size, proof, last.Root)
			}
			if err != nil {
				t.Errorf("inclusion of %d: %v", index, err)
			}
		}
		if err := l.Check(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestTheSameIDIsNotAppendedTwice(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(0, 3), nil); err != nil {
			t.Fatal(err)
		}
		before := l.Last()
		_, err := l.Append(t.Context(), time.UnixMilli(1), entries(2, 2), nil)
		if e := errs.As(err); e == nil || e.Kind != errs.Conflict {
			t.Errorf("got %v, want a conflict", err)
		}
		if l.Last() != before || open(t, db).Last() != before {
			t.Error("a refused append has changed the log")
		}
	})
}

// Two processes that append to one log: the one that has not seen the other's entries is refused.
func TestAnAppendUponAnotherIsRefused(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		a, b := open(t, db), open(t, db)
		if _, err := a.Append(t.Context(), time.UnixMilli(0), entries(0, 3), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Append(t.Context(), time.UnixMilli(1), entries(10, 1), nil); errs.As(err) == nil || errs.As(err).Kind != errs.Conflict {
			t.Errorf("got %v, want a conflict", err)
		}
	})
}

// Whatever an administrator changes in the database, Check names it.
func TestCheckFindsWhatWasRewritten(t *testing.T) {
	for what, statement := range map[string]string{
		"a changed entry":   "UPDATE log_entry SET data = 'x' WHERE idx = 300",
		"a deleted entry":   "DELETE FROM log_entry WHERE idx = 300",
		"a changed hash":    "UPDATE log_tile SET hashes = 'x' || substr(hashes, 2) WHERE level = 0 AND idx = 0",
		"a changed root":    "UPDATE log_checkpoint SET root = 'x' WHERE size = 100",
		"a shifted entry":   "UPDATE log_entry SET data = (SELECT data FROM log_entry WHERE idx = 7) WHERE idx = 8",
		"a changed bit":     "UPDATE log_entry SET data = 'entry 30x' WHERE idx = 301",
		"a truncated chunk": "UPDATE log_tile SET hashes = substr(hashes, 1, 32) WHERE level = 0 AND idx = 1",
	} {
		t.Run(what, func(t *testing.T) {
			db := sqldbtest.SQLite(t)
			l := open(t, db)
			for i := range 8 {
				if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(100*i, 100), nil); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := db.Exec(t.Context(), sqldb.Durable, statement); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if err := l.Check(t.Context(), nil); errs.As(err) == nil || errs.As(err).Code != CodeBroken {
				t.Errorf("Check says %v", err)
			}
		})
	}
}

// cosign has a name sign the log's checkpoint of a size.
func cosign(t *testing.T, db sqldb.DB, l *Log, s *receipt.Signer, size uint64) {
	t.Helper()
	c, err := l.At(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Cosign(c, time.Unix(1_750_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), sqldb.Durable, func(tx *sqldb.Tx) error { return l.Cosigned(t.Context(), tx, size, sig) })
	if err != nil {
		t.Fatal(err)
	}
}

func signer(t testing.TB, name string) (*receipt.Signer, receipt.Key) {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.NewSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return s, receipt.Key{Name: name, Origin: origin, Role: receipt.Agency, Public: key.PublicKey()}
}

// The receipt is of the first checkpoint that all the names have cosigned, however their signatures came.
func TestReceiptsOfWhatAllHaveSigned(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		customs, customsKey := signer(t, "customs")
		tax, taxKey := signer(t, "tax")
		names := []string{"customs", "tax"}
		for i := range 6 {
			r := receipt.Record{ID: fmt.Sprintf("r-%d", i), Type: "trade.return/1", Time: 1_750_000_000_000, Needs: names}
			data, err := r.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(t.Context(), time.UnixMilli(0), []Entry{{ID: r.ID, Data: data}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok, err := l.SignedBy(t.Context(), 0, names); ok || err != nil {
			t.Fatal("signed by nobody", ok, err)
		}
		for _, size := range []uint64{2, 3, 5} {
			cosign(t, db, l, customs, size)
		}
		for _, size := range []uint64{1, 4, 5} {
			cosign(t, db, l, tax, size)
		}
		size, ok, err := l.SignedBy(t.Context(), 0, names)
		if err != nil || !ok || size != 5 {
			t.Fatalf("signed by both at %d, %v, %v; want 5", size, ok, err)
		}
		if _, ok, err := l.SignedBy(t.Context(), 5, names); ok || err != nil {
			t.Error("what is not signed yet", ok, err)
		}
		trust, err := receipt.NewTrust([]receipt.Key{customsKey, taxKey})
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Receipt(t.Context(), 1, size)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := receipt.Verify(r, trust, nil); err != nil || res.State != receipt.Complete {
			t.Errorf("%+v, %v", res, err)
		}
		if n, ok, err := l.MostSigned(t.Context(), 1); err != nil || !ok || n != 5 {
			t.Errorf("most signed at %d, %v, %v", n, ok, err)
		}
		if n, err := l.CosignedUpTo(t.Context(), "tax"); err != nil || n != 5 {
			t.Error(n, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	db := sqldbtest.SQLite(b)
	l := open(b, db)
	n := 0
	ctx := context.Background()
	for b.Loop() {
		if _, err := l.Append(ctx, time.UnixMilli(0), entries(n, 1000), nil); err != nil {
			b.Fatal(err)
		}
		n += 1000
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/entry")
}
