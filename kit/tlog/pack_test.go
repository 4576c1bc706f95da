package tlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// record is an entry of a log of records; by its number it is of one of several shapes.
func record(t testing.TB, i int) Entry {
	t.Helper()
	r := receipt.Record{ID: fmt.Sprintf("r-%d", i), Type: fmt.Sprintf("trade.order/%d", 1+i%3), Commitment: gm.SM3(fmt.Append(nil, i)),
		Time: 1795394501380, Needs: []string{"customs", "tax"}}
	switch i % 4 {
	case 1:
		r.Rule = &receipt.Rule{Name: "term", Version: 3, Outcome: receipt.Failed, Clause: "late"}
	case 2:
		r.Batch = uint64(i) << 30
	}
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if i%2 == 0 {
		return Entry{ID: r.ID, Data: data}
	}
	return Entry{ID: r.ID, Data: data, Record: &r} // packs to the same
}

// Records are packed and are read as they were written, among entries that are none, by another process as well.
func TestRecordsArePackedAndReadAsTheyWere(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		other := open(t, db) // knows none of the shapes
		var all []Entry
		for i := range 40 {
			all = append(all, record(t, i))
		}
		all = append(all, Entry{ID: "r-other", Data: all[0].Data}, Entry{ID: "plain", Data: []byte("no record")}, Entry{ID: "cut", Data: all[1].Data[:50]})
		for i := 0; i < len(all); i += 9 {
			if _, err := l.Append(t.Context(), time.UnixMilli(0), all[i:min(i+9, len(all))], nil); err != nil {
				t.Fatal(err)
			}
		}
		for name, reader := range map[string]*Log{"the writer": l, "another": other, "one from later": open(t, db)} {
			got, err := reader.Entries(t.Context(), 0, 100)
			if err != nil || len(got) != len(all) {
				t.Fatalf("%s reads %d entries, %v", name, len(got), err)
			}
			for i, e := range all {
				index, data, err := reader.Find(t.Context(), e.ID)
				if err != nil || index != uint64(i) || !bytes.Equal(data, e.Data) || got[i].ID != e.ID || !bytes.Equal(got[i].Data, e.Data) {
					t.Errorf("%s reads %s at %d, %v", name, e.ID, index, err)
				}
			}
			if err := reader.Check(t.Context(), nil); name != "another" && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		stored, err := sqldb.Value[int64](t.Context(), db, "SELECT max(length(id) + length(data)) FROM log_entry WHERE idx < 40")
		if err != nil || stored > 60 {
			t.Errorf("a record takes %d bytes, %v", stored, err)
		}
		if n, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM log_shape"); err != nil || n != 6 {
			t.Errorf("%d shapes, %v", n, err)
		}
	})
}

// A packed entry that somebody has changed is another one or none: the check says so either way.
func TestAChangedPackedEntryIsFound(t *testing.T) {
	for what, change := range map[string]string{
		"another time":  "UPDATE log_entry SET data = (SELECT data FROM log_entry WHERE idx = 3) WHERE idx = 15",
		"another shape": "UPDATE log_entry SET data = x'02' || substr(data, 2) WHERE idx = 12",
		"no shape":      "UPDATE log_entry SET data = x'7f' || substr(data, 2) WHERE idx = 12",
		"cut":           "UPDATE log_entry SET data = substr(data, 1, 20) WHERE idx = 12",
		"nothing":       "UPDATE log_entry SET data = x'' WHERE idx = 12",
		"a shape":       "UPDATE log_shape SET record = replace(record, 'customs', 'customz') WHERE shape = 1",
	} {
		t.Run(what, func(t *testing.T) {
			db := sqldbtest.SQLite(t)
			l := open(t, db)
			for i := range 20 {
				if _, err := l.Append(t.Context(), time.UnixMilli(0), []Entry{record(t, i)}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := db.Exec(t.Context(), sqldb.Durable, change); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if err := open(t, db).Check(t.Context(), nil); errs.As(err) == nil || errs.As(err).Code != CodeBroken {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

// Shapes beyond those that fit in memory cost room, nothing else.
func TestShapesAreBounded(t *testing.T) {
	s := shapes{map[string]int64{}, map[int64]*receipt.Record{}}
	for i := range maxShapes + 10 {
		r := receipt.Record{ID: "r", Type: fmt.Sprintf("t/%d", i+1), Needs: []string{"a"}}
		data, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		packed, added := s.pack(nil, Entry{ID: "r", Data: data})
		if packed != nil || (added == nil) != (i >= maxShapes) {
			t.Fatalf("shape %d: packed %x, added %q", i, packed, added)
		}
		if added != nil {
			s = s.with(added)
		}
	}
}

// Two ids of one hash are two ids.
func TestIDsOfOneHash(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		settle(l)
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(0, 3), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), sqldb.Durable, "UPDATE log_id SET hash = $1", new(hasher).of("e-7")); err != nil {
			t.Fatal(err)
		}
		if known, err := l.Known(t.Context(), []string{"e-7"}); err != nil || len(known) > 0 {
			t.Errorf("known: %v, %v", known, err)
		}
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(7, 1), nil); err != nil {
			t.Fatal(err)
		}
		if index, data, err := l.Find(t.Context(), "e-7"); err != nil || index != 3 || string(data) != "entry 7" {
			t.Errorf("found %d, %q, %v", index, data, err)
		}
	})
}

// A log of the first tables goes on as it was: what it has is found by id, and what comes is packed.
func TestALogFromBeforeIsCarriedOver(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		first, err := tables.ReadFile("tables/0001_tlog.sql")
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), "tlog", fstest.MapFS{"0001_tlog.sql": {Data: first}}); err != nil {
			t.Fatal(err)
		}
		var before []Entry
		for i := range 5000 {
			before = append(before, record(t, i))
		}
		e := &edge{}
		if e, err = readEdge(t.Context(), db, 0); err != nil {
			t.Fatal(err)
		}
		into := sqldb.NewInto("log_entry", "idx", "id", "data")
		tiles := sqldb.NewInto("log_tile", "level", "idx", "hashes")
		var rows []sqldb.Insert
		for i, entry := range before {
			e.add(entry.Data)
			rows = append(rows, into.Row(int64(i), entry.ID, entry.Data))
		}
		for _, tile := range e.take() {
			rows = append(rows, tiles.Row(int64(tile.level), int64(tile.index), tile.hashes))
		}
		root := e.tree.Root()
		rows = append(rows, intoCheckpoint.Row(int64(5000), root[:], int64(0)))
		if err := db.Append(t.Context(), rows...); err != nil {
			t.Fatal(err)
		}
		l := open(t, db)
		if l.Last().Root != root || l.Last().Size != 5000 {
			t.Fatal("the log is another now")
		}
		if _, err := l.Append(t.Context(), time.UnixMilli(1), []Entry{before[4711]}, nil); errs.As(err) == nil || errs.As(err).Kind != errs.Conflict {
			t.Errorf("an id from before was taken again: %v", err)
		}
		next := record(t, 5000)
		if _, err := l.Append(t.Context(), time.UnixMilli(1), []Entry{next}, nil); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 4095, 4096, 4999} {
			if index, data, err := l.Find(t.Context(), before[i].ID); err != nil || index != uint64(i) || !bytes.Equal(data, before[i].Data) {
				t.Errorf("%s is at %d, %v", before[i].ID, index, err)
			}
		}
		if err := open(t, db).Check(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

// What has expired is found by its id no longer, and nothing of it is left but hashes.
func TestExpiredIDsAreGone(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		settle(l)
		if _, err := l.Append(t.Context(), time.UnixMilli(0), entries(0, 20), nil); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{8, 4, 0} {
			var n int64
			err := db.Write(t.Context(), sqldb.Durable, func(tx *sqldb.Tx) (err error) {
				n, err = l.Expire(t.Context(), tx, 12, 8)
				return err
			})
			if err != nil || n != want {
				t.Errorf("%d have expired, want %d; %v", n, want, err)
			}
		}
		if _, _, err := l.Find(t.Context(), "e-11"); !errs.Is(err, errs.NotFound) {
			t.Errorf("what has expired: %v", err)
		}
		if _, _, err := l.Find(t.Context(), "e-12"); err != nil {
			t.Errorf("what has not: %v", err)
		}
		if n, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM log_id"); err != nil || n != 8 {
			t.Errorf("%d ids are left, %v", n, err)
		}
	})
}

// Whatever a packed entry holds, it is unpacked to an entry that packs to the same, or to none.
func FuzzUnpack(f *testing.F) {
	s := shapes{map[string]int64{}, map[int64]*receipt.Record{}}
	for i := range 12 {
		e := record(f, i)
		packed, added := s.pack(nil, e)
		if added != nil {
			s = s.with(added)
			packed, _ = s.pack(nil, e)
		}
		f.Add(packed)
	}
	f.Add([]byte(strings.Repeat("\xff", 60)))
	f.Fuzz(func(t *testing.T, packed []byte) {
		e, _ := s.unpack(packed)
		if e.ID == "" {
			return
		}
		again, added := s.pack(nil, e)
		back, _ := s.unpack(again)
		if added != nil || back.ID != e.ID || !bytes.Equal(back.Data, e.Data) {
			t.Errorf("%x became %q", packed, e.Data)
		}
	})
}
