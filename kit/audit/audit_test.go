package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/tlog"
)

// lab is a log on a database, with a clock that a test moves.
type lab struct {
	*Log
	o   Options
	mu  sync.Mutex
	now time.Time
}

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) later(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

func newLab(t testing.TB, db sqldb.DB) *lab {
	t.Helper()
	l := &lab{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	operator, err1 := gm.GenerateKey()
	witness, err2 := gm.GenerateKey()
	dir := t.TempDir()
	err := errors.Join(err1, err2, db.Migrate(t.Context(), "tlog", tlog.Tables()), db.Migrate(t.Context(), "audit", Tables()))
	if err != nil {
		t.Fatal(err)
	}
	l.o = Options{DB: db, Operator: operator, Witness: witness, Memory: filepath.Join(dir, "witness"), Archive: filepath.Join(dir, "archive"),
		Keep: 184 * 24 * time.Hour, Now: l.clock}
	l.reopen(t)
	t.Cleanup(func() { _ = l.witness.Close() })
	return l
}

func (l *lab) reopen(t testing.TB) {
	t.Helper()
	if l.Log != nil && l.witness != nil {
		_ = l.witness.Close()
	}
	var err error
	if l.Log, err = Open(t.Context(), l.o); err != nil {
		t.Fatal(err)
	}
}

// commit records n acts, each in a leaf of its own, and has them signed.
func (l *lab) commit(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if err := l.Commit(t.Context(), Entry{Who: fmt.Sprintf("u-%d", i%3), What: TokenIssue, Object: fmt.Sprint("t-", i), Outcome: Done}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestActsAreWrittenListedAndSigned(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := newLab(t, db)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				e := Entry{Who: fmt.Sprintf("u-%02d", i), What: SignIn, Outcome: Done}
				if err := l.Commit(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range 300 {
			e := Entry{Who: "reader", What: Access, Object: fmt.Sprint(i), Route: "GET /x/{id}", Grade: "L3", Outcome: "passed"}
			if err := l.Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		before, err := ParsePosition("")
		if err != nil {
			t.Fatal(err)
		}
		n := 300
		for next := &before; next != nil; {
			var page []Found
			if page, next, err = l.List(t.Context(), Filter{Who: "reader"}, *next, 7); err != nil {
				t.Fatal(err)
			}
			for _, f := range page {
				if n--; f.Object != fmt.Sprint(n) {
					t.Fatalf("found %s, want %d", f.Object, n)
				}
			}
		}
		if n != 0 {
			t.Errorf("%d were not found", n)
		}
		found, next, err := l.List(t.Context(), Filter{What: SignIn, Outcome: Done}, before, 100)
		if err != nil || len(found) != 50 || next != nil {
			t.Errorf("%d, %v, %v", len(found), next, err)
		}
		if found, _, err := l.List(t.Context(), Filter{Since: beijing.At(l.now) + 1}, before, 100); err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
		if err := l.Sign(t.Context()); err != nil {
			t.Fatal(err)
		}
		note, err := l.Note(t.Context())
		if err != nil || note.Checkpoint != l.Last() || len(note.Signatures) != 2 {
			t.Errorf("%+v, %v", note, err)
		}
		if l.Last().Size > 51 {
			t.Errorf("300 accesses took %d leaves", l.Last().Size-50)
		}
		l.reopen(t)
		if err := l.Check(t.Context(), nil); err != nil || l.Status().Checked == 0 {
			t.Error(err)
		}
	})
}

// Whatever an administrator changes with a connection of their own is found by the next check, also after a restart.
func TestTamperingIsFound(t *testing.T) {
	for what, statements := range map[string][]string{
		"an entry":                 {"UPDATE log_entry SET data = replace(data, 't-5', 't-6') WHERE idx = 5"},
		"a deleted entry":          {"DELETE FROM log_entry WHERE idx = 5"},
		"the last entries":         {"DELETE FROM log_entry WHERE idx >= 15", "DELETE FROM log_checkpoint WHERE size > 15", "UPDATE log_tile SET hashes = substr(hashes, 1, 32*15)", "DELETE FROM log_cosignature WHERE size > 15"},
		"everything":               {"DELETE FROM log_entry", "DELETE FROM log_checkpoint", "DELETE FROM log_tile", "DELETE FROM log_cosignature"},
		"a pretended expiry":       {"DELETE FROM log_entry WHERE idx < 5", "INSERT INTO audit_expired (upto, statement) VALUES (5, 7)"},
		"a pretended expiry, cut":  {"DELETE FROM log_entry WHERE idx < 5", "INSERT INTO audit_expired (upto, statement) VALUES (5, 99)"},
		"a signature":              {"UPDATE log_cosignature SET sig = zeroblob(64) WHERE size = 20 AND name = 'house'"},
		"the root and its notes":   {"UPDATE log_checkpoint SET root = zeroblob(32) WHERE size = 7"},
		"two entries in one place": {"UPDATE log_entry SET data = (SELECT data FROM log_entry WHERE idx = 3) WHERE idx = 4"},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted %v", what, restarted), func(t *testing.T) {
				db := sqldbtest.SQLite(t)
				l := newLab(t, db)
				l.commit(t, 20)
				for _, s := range statements {
					if n, err := db.Exec(t.Context(), sqldb.Durable, s); err != nil || n == 0 {
						t.Fatal(s, n, err)
					}
				}
				if restarted {
					l.reopen(t)
				}
				err := l.Check(t.Context(), nil)
				if err == nil || !broken(err) || l.Status().Broken == nil {
					t.Fatalf("the check says %v", err)
				}
			})
		}
	}
}

// Somebody who rewrites the log whole, tiles and roots, is found by the witness; and a witness whose memory was deleted
// is not taken for a new one.
func TestARewrittenLogIsFoundByTheWitness(t *testing.T) {
	db := sqldbtest.SQLite(t)
	l := newLab(t, db)
	l.commit(t, 20)
	for _, table := range []string{"log_entry", "log_tile", "log_checkpoint", "log_cosignature", "audit_leaf", "audit_who"} {
		if _, err := db.Exec(t.Context(), sqldb.Durable, "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	l.reopen(t)
	for range 30 {
		if err := l.Commit(t.Context(), Entry{Who: "nobody", What: SignIn, Outcome: Done}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sign(t.Context()); err == nil || !broken(err) || l.Status().Broken == nil {
		t.Errorf("the witness has signed: %v", err)
	}
	if err := l.Check(t.Context(), nil); err == nil || !broken(err) {
		t.Errorf("the check says %v", err)
	}

	l = newLab(t, sqldbtest.SQLite(t))
	l.commit(t, 3)
	if err := errors.Join(l.witness.Close(), os.RemoveAll(l.o.Memory)); err != nil {
		t.Fatal(err)
	}
	l.Log.witness = nil
	l.reopen(t)
	if s := l.Status(); s.Broken == nil || errs.As(s.Broken).Code != tlog.CodeForgot {
		t.Errorf("a witness without memory: %+v", s)
	}
	l.witness, _ = tlog.OpenWitness(tlog.WitnessOptions{Dir: l.o.Memory, Create: true}) // for the clean-up alone
}

func export(t *testing.T, l *lab, from, to uint64, form func(*bytes.Buffer) Writer) (file []byte, p *Proof) {
	t.Helper()
	var b bytes.Buffer
	if err := l.Export(t.Context(), form(&b), from, to); err != nil {
		t.Fatal(err)
	}
	p, err := l.Prove(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Marshal()
	if err == nil {
		p, err = ParseProof(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), p
}

func TestExportsAreVerifiedOffline(t *testing.T) {
	l := newLab(t, sqldbtest.SQLite(t))
	l.commit(t, 300)
	for name, form := range map[string]func(*bytes.Buffer) Writer{
		"ndjson": func(b *bytes.Buffer) Writer { return NewNDJSON(b) },
		"csv":    func(b *bytes.Buffer) Writer { return NewCSV(b) },
	} {
		for _, span := range [][2]uint64{{0, 300}, {17, 290}, {255, 257}, {299, 300}} {
			file, p := export(t, l, span[0], span[1], form)
			verify := func(file []byte) (int, error) {
				v, err := NewVerifier(p, l.Trust())
				if err != nil {
					t.Fatal(err)
				}
				return VerifyExport(bytes.NewReader(file), v)
			}
			if n, err := verify(file); err != nil || n != int(span[1]-span[0]) {
				t.Fatalf("%s %v: %d, %v", name, span, n, err)
			}
			lines := bytes.SplitAfter(file, []byte("\n"))
			for what, bad := range map[string][]byte{
				"another person": bytes.Replace(file, []byte("u-2"), []byte("u-1"), 1),
				"a line less":    bytes.Join(append(lines[:1:1], lines[2:]...), nil),
				"cut":            file[:len(file)-len(lines[len(lines)-2])],
				"a line twice":   append(bytes.Clone(file), lines[len(lines)-2]...),
			} {
				if bytes.Equal(bad, file) {
					continue // that person is not in so short a file
				}
				if _, err := verify(bad); err == nil {
					t.Errorf("%s %v: %s was not noticed", name, span, what)
				}
			}
		}
	}
	_, p := export(t, l, 3, 9, func(b *bytes.Buffer) Writer { return NewNDJSON(b) })
	other := newLab(t, sqldbtest.SQLite(t))
	if _, err := NewVerifier(p, other.Trust()); err == nil {
		t.Error("the keys of another house were believed")
	}
}

// What is old goes to the archive, where it can be verified; the log states it, and is still checked from its beginning.
func TestKeep(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := newLab(t, db)
		for range 3 {
			l.commit(t, 600)
			l.later(90 * 24 * time.Hour)
		}
		if err := l.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := l.Status(); s.Expired != 600 || s.Size != 1801 {
			t.Fatalf("%+v", s)
		}
		if err := l.Keep(t.Context()); err != nil || l.Status().Size != 1801 {
			t.Error("nothing more is old", err)
		}
		for table, want := range map[string]int64{"log_entry": 1201, "audit_leaf": 1201, "audit_who": 1201} {
			if n, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM "+table); err != nil || n != want {
				t.Errorf("%s has %d rows, %v; want %d", table, n, err, want)
			}
		}
		l.reopen(t)
		if err := l.Check(t.Context(), nil); err != nil {
			t.Error(err)
		}
		file, err := os.ReadFile(filepath.Join(l.o.Archive, "audit-000000000000-000000000600.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(l.o.Archive, "audit-000000000000-000000000600.proof"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseProof(text)
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(p, l.Trust())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := VerifyExport(bytes.NewReader(file), v); err != nil || n != 600 {
			t.Error(n, err)
		}
		all, _ := ParsePosition("")
		found, _, err := l.List(t.Context(), Filter{What: Expire}, all, 10)
		if err != nil || len(found) != 1 || found[0].Object != "0-600" || !strings.Contains(found[0].Detail, "SM3 ") {
			t.Errorf("%+v, %v", found, err)
		}
		file2, p := export(t, l, 600, 1800, func(b *bytes.Buffer) Writer { return NewNDJSON(b) })
		if v, err = NewVerifier(p, l.Trust()); err == nil {
			_, err = VerifyExport(bytes.NewReader(file2), v)
		}
		if err != nil {
			t.Error("what stands behind the expired part:", err)
		}
		if _, err := db.Exec(t.Context(), sqldb.Durable, "DELETE FROM log_entry WHERE idx = 600"); err != nil {
			t.Fatal(err)
		}
		if err := l.Check(t.Context(), nil); err == nil || !broken(err) {
			t.Errorf("one more than was stated is gone: %v", err)
		}
	})
}

// brittle is a database that can't be written.
type brittle struct {
	sqldb.DB
	broken bool
	err    error // that it gives; nil for any
}

func (b *brittle) Write(ctx context.Context, d sqldb.Durability, f func(*sqldb.Tx) error) error {
	switch {
	case b.broken && b.err != nil:
		return b.err
	case b.broken:
		return errors.New("the disk is gone")
	}
	return b.DB.Write(ctx, d, f)
}

// That entries are lost is told at the end, also where another program holds the database; that the end is not signed yet
// is no error.
func TestCloseTellsWhatIsLost(t *testing.T) {
	for name, lost := range map[string]bool{"an entry waits": true, "all is written, and not signed": false} {
		t.Run(name, func(t *testing.T) {
			b := &brittle{DB: sqldbtest.SQLite(t), err: errs.New(errs.Unavailable, "占用", "held")}
			l := newLab(t, b)
			l.commit(t, 3)
			if err := l.Record(t.Context(), Entry{Who: "ops", What: Operate, Outcome: Done}); err != nil {
				t.Fatal(err)
			}
			if !lost {
				if err := l.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			b.broken = true
			if err := l.Close(); (err != nil) != lost {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// What can't be written waits; who waits for it is told; and what can't even wait is refused.
func TestALogThatCannotBeWritten(t *testing.T) {
	db := &brittle{DB: sqldbtest.SQLite(t)}
	l := newLab(t, db)
	db.broken = true
	for range maxWaiting {
		if err := l.Record(t.Context(), Entry{What: Access, Outcome: Done}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("it was written")
	}
	if err := l.Record(t.Context(), Entry{What: Access, Outcome: Done}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("beyond the limit: %v", err)
	}
	l.mu2(func() { l.waiting = l.waiting[1:] })
	if err := l.Commit(t.Context(), Entry{What: SignIn, Outcome: Done}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("who waits is not told: %v", err)
	}
	db.broken = false
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	leaves, err := l.Leaves(t.Context(), 0, 1000)
	for _, leaf := range leaves {
		n += bytes.Count(leaf, []byte("\n"))
	}
	if err != nil || n != maxWaiting-1 || bytes.Contains(leaves[len(leaves)-1], []byte(SignIn)) {
		t.Errorf("%d were written, %v; want %d, without what was refused", n, err, maxWaiting-1)
	}
}

func (l *lab) mu2(f func()) {
	l.Log.mu.Lock()
	defer l.Log.mu.Unlock()
	f()
}

func TestEntries(t *testing.T) {
	e := Entry{Time: 1_790_000_000_123, Who: "zhang \"3\"\n<&>", What: Access, Object: "䶮", Outcome: "passed", Detail: strings.Repeat("長", 500)}
	line := e.Append(nil)
	got, err := Parse(line)
	if err != nil || got.Who != e.Who || got.Object != e.Object || !strings.HasSuffix(got.Detail, "…") || len(got.Detail) > most {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "{}", `{"time":"x"}`, " " + string(line), strings.Replace(string(line), `"what"`, `"What"`, 1), string(line) + "x",
		strings.Replace(string(line), `,"what":"access"`, "", 1), strings.Replace(string(line), "}", `,"more":1}`, 1)} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&Entry{Time: 1, Who: "a", What: "b", Outcome: "c"}).Append(nil))
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := Parse(line); err == nil && !bytes.Equal(bytes.TrimSuffix(e.Append(nil), []byte("\n")), bytes.TrimSuffix(line, []byte("\n"))) {
			t.Error("two ways to write one entry")
		}
	})
}

func FuzzParseProof(f *testing.F) {
	f.Add([]byte(proofHead + "leaves 0 1\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := ParseProof(data); err == nil {
			if again, err := p.Marshal(); err != nil || !bytes.Equal(again, data) {
				t.Error(err)
			}
		}
	})
}

func FuzzReadExport(f *testing.F) {
	f.Add([]byte("{\"leaf\":0,\"time\":\"2026-01-01T00:00:00.000+08:00\",\"what\":\"a\",\"outcome\":\"b\"}\n"))
	f.Add([]byte("leaf,time,who\n1,2,3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = ReadExport(bytes.NewReader(data), func(uint64, []byte) error { return nil })
	})
}

func BenchmarkRecord(b *testing.B) {
	l := newLab(b, sqldbtest.SQLite(b))
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	e := Entry{Who: "somebody", What: Access, Object: "0G1XPOX0OYRJM", Outcome: "passed", Route: "GET /api/approval/cases/{id}", Grade: "L3", Clearance: "L3"}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%32768 == 32767 {
			if err := l.Flush(ctx); err != nil { // within what is measured: all it costs, to the last byte
				b.Fatal(err)
			}
		}
		if err := l.Record(ctx, e); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCommit(b *testing.B) {
	l := newLab(b, sqldbtest.SQLite(b))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Commit(b.Context(), Entry{Who: "somebody", What: SignIn, Outcome: Done}); err != nil {
				b.Error(err)
			}
		}
	})
}
