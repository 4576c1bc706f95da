package ledger

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/tlog"
)

// testdata/tables1.db.gz is a ledger as the program of the first tables wrote it: 30 blocks of an order and a return. The
// hashes are what that program came to, before and after one block more.
const (
	tables1Key  = "7ca51587a162904cd7df38c1df00d54227b9707ac3af918813e77063d6501436" // of its gateway, made for it
	tables1Last = "ed067cb8ddff1909e869953c2ade7756fd75d980b0ae88cba8066e408b459ee7"
	tables1Next = "56eef879063bc57dbb00dc961ba731361760c7bc9ac4208421d0865aeed579f4"
)

func tables1(t *testing.T) (sqldb.DB, *gm.PrivateKey) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", "tables1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	scalar, err := hex.DecodeString(tables1Key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := gm.NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return db, k
}

// A node of this program goes on where one of the first tables stopped, and comes to the same hashes as those that were
// not upgraded yet; so does one that begins with its snapshot.
func TestALedgerFromBeforeComesToTheSameHashes(t *testing.T) {
	db, k := tables1(t)
	upgraded := open(t, db)
	fresh := open(t, sqldbtest.SQLite(t))
	if err := fresh.Import(t.Context(), bytesReader(exported(t, upgraded))); err != nil {
		t.Fatal(err)
	}
	for what, l := range map[string]*Ledger{"upgraded": upgraded, "opened again": open(t, db), "imported": fresh} {
		height, hash, err := l.Last(t.Context())
		if err != nil || height != 30 || hex.EncodeToString(hash) != tables1Last {
			t.Fatalf("%s: height %d, hash %x, %v", what, height, hash, err)
		}
		if err := l.Log().Check(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if what == "opened again" {
			continue
		}
		at := &line{Ledger: l, t: t, key: k, height: height}
		next := at.block(at.batch(trade("o-30", "trade.order/1", "30", 100, 0), trade("r-x", "trade.return/1", "29", 100, 0),
			trade("r-y", "trade.return/1", "11", 1, 0), trade("r-z", "trade.return/1", "3", 1, 0), trade("o-3", "trade.order/1", "3", 1, 0)))
		if hex.EncodeToString(next) != tables1Next {
			t.Errorf("%s: the next block leads to %x", what, next)
		}
		for id, want := range map[string]string{"r-x": "passed ", "r-y": "passed ", "r-z": "failed not-returned-before"} {
			if got := at.verdict(id); got != want {
				t.Errorf("%s: %s is %q, want %q", what, id, got, want)
			}
		}
	}
	if n, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM ledger_fact"); err != nil || n != 0 {
		t.Errorf("%d rows stayed where they were, %v", n, err)
	}
}

// Keys of one hash are different keys.
func TestKeysOfOneHash(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		p, k := operator(t)
		l := begin(t, open(t, db), p, k)
		l.block(l.batch(trade("o-1", "trade.order/1", "A", 100, 0), trade("o-2", "trade.order/1", "B", 200, 0), trade("o-3", "trade.order/1", "C", 300, 0)))
		facts, err := l.now.ready.schemas["trade.order/1"].Parse(trade("", "", "C", 1, 0).Facts)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := facts.Key("order")
		at := lookup{"trade.order/1", "order", key}
		if _, err := db.Exec(t.Context(), sqldb.Durable, "UPDATE ledger_key SET hash = $1", at.hash()); err != nil {
			t.Fatal(err)
		}
		l.block(l.batch(trade("r-1", "trade.return/1", "C", 250, 1), trade("r-2", "trade.return/1", "D", 1, 1)))
		if got := l.verdict("r-1"); got != "passed " { // by the third order, not by the first
			t.Errorf("r-1: %q", got)
		}
		if got := l.verdict("r-2"); got != "failed order-exists" {
			t.Errorf("r-2: %q", got)
		}
	})
}

// every is a schema with every kind of fact.
func every(t testing.TB) (schemas, *rule.Schema) {
	t.Helper()
	s := &rule.Schema{Type: "t.every/1", Facts: map[string]rule.Kind{"amount": rule.Int, "at": rule.Time, "good": rule.Bool, "reason": rule.Code, "key": rule.Key, "other": rule.Key}}
	text, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return schemas{}.with("other", &rule.Schema{Type: "t.other/1", Facts: map[string]rule.Kind{"n": rule.Int}}).with(string(text), s), s
}

func TestFactsArePackedAndUnpacked(t *testing.T) {
	kept, schema := every(t)
	for _, amount := range []string{"0", "-1", "9223372036854775807", "-9223372036854775808"} {
		for _, at := range []string{"1970-01-01T08:00:00.000+08:00", "9999-12-31T23:59:59.999+08:00"} {
			facts, err := schema.Parse(fmt.Appendf(nil, `{"amount":%s,"at":%q,"good":%t,"reason":"QUALITY-1","key":%q,"other":%q}`,
				amount, at, amount == "0", FactKey(nil, "a"), FactKey(nil, "b")))
			if err != nil {
				t.Fatal(err)
			}
			for _, failed := range []bool{false, true} {
				packed := kept.pack(2, facts, failed)
				u, err := kept.unpack(packed)
				if err != nil || string(u.json) != string(facts.JSON()) || u.failed != failed || u.Type != schema.Type {
					t.Fatalf("%s became %+v, %v", facts.JSON(), u, err)
				}
				if want, _ := facts.Key("other"); u.keys["other"] != want || len(u.keys) != 2 {
					t.Error("the keys are others")
				}
				for n := range packed {
					if _, err := kept.unpack(packed[:n]); errs.As(err) == nil || errs.As(err).Code != tlog.CodeBroken {
						t.Errorf("%d of %d bytes: %v", n, len(packed), err)
					}
				}
			}
		}
	}
}

// Whatever is stored, unpacking ends in facts or an error.
func FuzzUnpackFacts(f *testing.F) {
	kept, schema := every(f)
	facts, err := schema.Parse(fmt.Appendf(nil, `{"amount":1,"at":"2026-11-23T08:41:41.380+08:00","good":true,"reason":"A","key":%q,"other":%q}`, FactKey(nil, "a"), FactKey(nil, "b")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept.pack(2, facts, true))
	f.Add([]byte{2, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, packed []byte) {
		u, err := kept.unpack(packed)
		if err != nil {
			return
		}
		again, err := u.Parse(u.json)
		if err != nil {
			return // what was never facts
		}
		number := int64(1)
		if u.Type == schema.Type {
			number = 2
		}
		if back, err := kept.unpack(kept.pack(number, again, u.failed)); err != nil || !bytes.Equal(back.json, u.json) {
			t.Errorf("%s became %+v, %v", u.json, back, err)
		}
	})
}
