package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/tlog"
)

// The test binary also enters a restore, as a process that can be killed.
const restoreEnv = "QIONG_TEST_RESTORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(restoreEnv); dir != "" {
		b := &backup{dir: dir}
		if err := b.open(context.Background()); err != nil {
			panic(err)
		}
		fmt.Println("open")
		if _, err := b.Restored(context.Background(), "ops", "the disk was replaced"); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// backup is a log in a folder whose database is put back.
type backup struct {
	*Log
	dir string
	db  sqldb.DB
	now time.Time
	out *Outside

	wrap func(sqldb.DB) sqldb.DB // nil for the database as it is
}

// fixed returns a key that is the same in every process.
func fixed(n byte) *gm.PrivateKey {
	scalar := make([]byte, 32)
	scalar[31] = n
	k, err := gm.NewPrivateKey(scalar)
	if err != nil {
		panic(err)
	}
	return k
}

func (b *backup) file(name string) string { return filepath.Join(b.dir, name) }

func (b *backup) open(ctx context.Context) error {
	db, err := sqlite.Open(b.file("house.db"))
	if err != nil {
		return err
	}
	if b.db = db; b.wrap != nil {
		b.db = b.wrap(db)
	}
	if err := errors.Join(db.Migrate(ctx, "tlog", tlog.Tables()), db.Migrate(ctx, "audit", Tables())); err != nil {
		return err
	}
	b.Log, err = Open(ctx, Options{DB: b.db, Operator: fixed(1), Witness: fixed(2), Memory: b.file("witness"), Archive: b.file("archive"),
		Keep: 184 * 24 * time.Hour, Outside: b.out, Now: func() time.Time {
			if b.now.IsZero() {
				return time.Now()
			}
			return b.now
		}})
	return err
}

func (b *backup) reopen(t testing.TB) {
	t.Helper()
	b.close(t)
	if err := b.open(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *backup) close(t testing.TB) {
	t.Helper()
	if b.Log == nil {
		return
	}
	var err error
	if b.witness != nil {
		err = b.witness.Close()
	}
	if err := errors.Join(err, b.db.Close()); err != nil {
		t.Fatal(err)
	}
	b.Log = nil
}

func (b *backup) add(t testing.TB, n int, signed bool) {
	t.Helper()
	for i := range n {
		if err := b.Commit(t.Context(), Entry{Who: "ops", What: Operate, Object: fmt.Sprint(i), Outcome: Done}); err != nil {
			t.Fatal(err)
		}
	}
	if !signed {
		return
	}
	if err := b.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// save keeps a copy of what the folder has; load puts it back, without the witness's memory.
func (b *backup) save(t testing.TB, names ...string) {
	t.Helper()
	b.close(t)
	for _, name := range names {
		copyTo(t, b.file(name), b.file(name+".saved"))
	}
	b.reopen(t)
}

func (b *backup) load(t testing.TB, names ...string) {
	t.Helper()
	b.close(t)
	for _, name := range names {
		copyTo(t, b.file(name+".saved"), b.file(name))
	}
	b.reopen(t)
}

func copyTo(t testing.TB, from, to string) {
	t.Helper()
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"-wal", "-shm"} { // of a database that was closed there are none
		_ = os.Remove(to + end)
	}
}

// newBackup is a log of 20 cosigned leaves and 3 that nobody has cosigned, which was saved, grew to 40, and was put back.
func newBackup(t testing.TB) *backup {
	t.Helper()
	b := &backup{dir: t.TempDir()}
	t.Cleanup(func() { b.close(t) })
	b.reopen(t)
	b.add(t, 20, true)
	b.add(t, 3, false)
	b.save(t, "house.db")
	b.add(t, 17, true)
	b.load(t, "house.db")
	return b
}

func isBroken(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Check(t.Context(), nil); err == nil || !broken(err) || l.Status().Broken == nil {
		t.Fatalf("the check says %v", err)
	}
}

func TestARestoreIsEntered(t *testing.T) {
	for name, after := range map[string]int{"at once": 0, "after a while": 5, "after it has outgrown what was lost": 60} {
		t.Run(name, func(t *testing.T) {
			b := newBackup(t)
			isBroken(t, b.Log)
			b.add(t, after, false)
			if err := b.Sign(t.Context()); err == nil || !broken(err) {
				t.Fatalf("it was signed: %v", err)
			}
			g, err := b.Restored(t.Context(), "ops", "the disk was replaced")
			if err != nil {
				t.Fatal(err)
			}
			if g.Shown.Size != 20 || g.Found.Size != uint64(23+after) || g.Lost() != 40 || len(g.Seen) != 1 || g.Seen[0].Root == nil || g.ShownAt == 0 {
				t.Errorf("%+v", g)
			}
			check := func() {
				t.Helper()
				if err := b.Check(t.Context(), nil); err != nil || b.Status().Broken != nil || len(b.Status().Gaps) != 1 || b.Status().Gaps[0].Reason != "the disk was replaced" {
					t.Fatalf("%+v, %v", b.Status(), err)
				}
			}
			check()
			n, err := b.Note(t.Context())
			if err != nil || n.Checkpoint.Size != uint64(24+after) || len(n.Signatures) != 2 {
				t.Errorf("%+v, %v", n, err)
			}
			all, _ := ParsePosition("")
			found, _, err := b.List(t.Context(), Filter{What: Restore}, all, 10)
			if err != nil || len(found) != 1 || found[0].Who != "ops" || found[0].Object != "20-40" || !strings.HasSuffix(found[0].Detail, ": the disk was replaced") {
				t.Errorf("%+v, %v", found, err)
			}
			if _, err := b.Restored(t.Context(), "ops", "once more"); !errs.Is(err, errs.Conflict) {
				t.Errorf("a second time: %v", err)
			}
			b.add(t, 30, true)
			b.reopen(t)
			check()
		})
	}
}

// The same on every engine, with a database in which what was lost is deleted.
func TestARestoreOnEveryEngine(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := newLab(t, db)
		l.commit(t, 15)
		l.commit(t, 5)
		for _, s := range []string{"DELETE FROM log_entry WHERE idx >= 15", "DELETE FROM log_id WHERE idx >= 15", "DELETE FROM log_checkpoint WHERE size > 15", "DELETE FROM log_cosignature WHERE size > 15",
			"UPDATE log_tile SET hashes = substr(hashes, 1, 32*15)", "DELETE FROM audit_leaf WHERE idx >= 15", "DELETE FROM audit_who WHERE idx >= 15"} {
			if _, err := db.Exec(t.Context(), sqldb.Durable, s); err != nil {
				t.Fatal(s, err)
			}
		}
		l.reopen(t)
		isBroken(t, l.Log)
		g, err := l.Restored(t.Context(), "ops", "一块磁盘")
		if err != nil || g.Shown.Size != 15 || g.Lost() != 20 {
			t.Fatalf("%+v, %v", g, err)
		}
		l.commit(t, 3)
		l.reopen(t)
		if err := l.Check(t.Context(), nil); err != nil || len(l.Status().Gaps) != 1 {
			t.Errorf("%+v, %v", l.Status(), err)
		}
	})
}

// A gap is told for ever: what states it cannot be taken away, or changed, unnoticed.
func TestAStatedGapStays(t *testing.T) {
	for what, change := range map[string]string{
		"taken out":       "DELETE FROM audit_restored",
		"another reason":  "UPDATE audit_restored SET statement = replace(statement, 'replaced', 'upgraded')",
		"another leaf":    "UPDATE audit_restored SET leaf = leaf - 1",
		"another size":    "UPDATE audit_restored SET statement = replace(statement, 'seen witness 40', 'seen witness 24')",
		"the entry's own": "UPDATE log_entry SET data = replace(CAST(data AS TEXT), 'disk', 'dusk') WHERE idx = 23",
	} {
		b := newBackup(t)
		if _, err := b.Restored(t.Context(), "ops", "the disk was replaced"); err != nil {
			t.Fatal(err)
		}
		if n, err := b.db.Exec(t.Context(), sqldb.Durable, change); err != nil || n != 1 {
			t.Fatal(what, n, err)
		}
		b.reopen(t)
		if err := b.Check(t.Context(), nil); err == nil || !broken(err) {
			t.Errorf("%s: the check says %v", what, err)
		}
	}
}

// Only an earlier state can be entered: a log that was rewritten, or of which the witness has signed nothing, stays broken.
func TestWhatIsNoRestoreIsRefused(t *testing.T) {
	wipe := []string{"DELETE FROM log_entry", "DELETE FROM log_tile", "DELETE FROM log_checkpoint", "DELETE FROM log_cosignature", "DELETE FROM audit_leaf", "DELETE FROM audit_who"}
	for what, statements := range map[string][]string{
		"an entry changed":     {"UPDATE log_entry SET data = replace(CAST(data AS TEXT), 'ops', 'nobody') WHERE idx = 5"},
		"an entry deleted":     {"DELETE FROM log_entry WHERE idx = 5"},
		"a signature changed":  {"UPDATE log_cosignature SET sig = zeroblob(64) WHERE size = 20 AND name = 'witness'"},
		"no witness signature": {"DELETE FROM log_cosignature WHERE name = 'witness'"},
		"nothing there":        wipe,
	} {
		b := newBackup(t)
		for _, s := range statements {
			if _, err := b.db.Exec(t.Context(), sqldb.Durable, s); err != nil {
				t.Fatal(what, err)
			}
		}
		b.reopen(t)
		if what == "nothing there" {
			b.add(t, 50, false)
		}
		if g, err := b.Restored(t.Context(), "ops", "a story"); !errs.Is(err, errs.Conflict) {
			t.Errorf("%s: %v, %v", what, g, err)
		}
		isBroken(t, b.Log)
	}

	// One who has both keys, too, and signs a history of their own, is refused by what the witness remembers.
	b := newBackup(t)
	for _, s := range wipe {
		if _, err := b.db.Exec(t.Context(), sqldb.Durable, s); err != nil {
			t.Fatal(err)
		}
	}
	b.close(t)
	copyTo(t, b.file("witness"), b.file("witness.saved"))
	if err := os.RemoveAll(b.file("witness")); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.add(t, 40, true)
	b.load(t, "witness")
	if _, err := b.Restored(t.Context(), "ops", "a story"); !errs.Is(err, errs.Conflict) {
		t.Errorf("another history that was signed: %v", err)
	}

	b = &backup{dir: t.TempDir()}
	b.reopen(t)
	defer b.close(t)
	b.add(t, 3, true)
	for name, c := range map[string]struct {
		who, reason string
		kind        errs.Kind
	}{
		"nothing is missing": {"ops", "none", errs.Conflict},
		"no reason":          {"ops", "", errs.Invalid},
		"two lines":          {"ops", "a\nb", errs.Invalid},
		"a long reason":      {"ops", strings.Repeat("x", maxReason+1), errs.Invalid},
		"nobody":             {"", "a", errs.Invalid},
	} {
		if _, err := b.Restored(t.Context(), c.who, c.reason); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Check(t.Context(), nil); err != nil || b.Last().Size != 3 {
		t.Error(err)
	}
}

// A second backup may lack the entry of the first restore: that is told still, by the witness's folder.
func TestARestoreOfWhatWasRestored(t *testing.T) {
	b := newBackup(t)
	if _, err := b.Restored(t.Context(), "ops", "first"); err != nil {
		t.Fatal(err)
	}
	b.add(t, 30, true)
	b.load(t, "house.db")
	isBroken(t, b.Log)
	g, err := b.Restored(t.Context(), "ops", "second")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	gaps := b.Status().Gaps
	if len(gaps) != 2 || gaps[0].Reason != "first" || gaps[1].Reason != "second" || g.Shown.Size != 20 || g.Lost() != 54 {
		t.Errorf("%+v, %+v", gaps, g)
	}
}

// Killed at any moment, the entry is there once and the witness goes on, at the latest when the command is given again.
func TestARestoreIsKilled(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 0))
	for i := range 12 {
		b := newBackup(t)
		b.close(t)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), restoreEnv+"="+b.dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(r.IntN(12000)) * time.Microsecond) // the moment is the test
		_ = cmd.Process.Kill()                                        // it may be done
		_ = cmd.Wait()
		b.reopen(t)
		b.finished(t, i)
	}
}

// finished gives the command again, and holds the log to what must be.
func (b *backup) finished(t *testing.T, i int) {
	t.Helper()
	before := b.Last().Size
	_, err := b.Restored(t.Context(), "ops", "the disk was replaced")
	done := errs.Is(err, errs.Conflict) && strings.Contains(err.Error(), "nothing to enter")
	if err != nil && !done {
		t.Fatalf("kill %d: %v", i, err)
	}
	if err := b.Check(t.Context(), nil); err != nil || len(b.Status().Gaps) != 1 || b.Last().Size != 24 {
		t.Fatalf("kill %d: %v, %+v, done %v, %d leaves before", i, err, b.Status(), done, before)
	}
	b.add(t, 1, true)
}

// The same at each step, for sure.
func TestARestoreStopsAtEachStep(t *testing.T) {
	b := newBackup(t)
	if _, err := b.gap(t.Context(), "ops", "the disk was replaced"); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.finished(t, 0) // signed, and not written

	b = newBackup(t)
	g, err := b.gap(t.Context(), "ops", "the disk was replaced")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.state(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	isBroken(t, b.Log)
	b.finished(t, 1) // written, and the witness was not set back

	b = newBackup(t)
	if g, err = b.gap(t.Context(), "ops", "the disk was replaced"); err != nil {
		t.Fatal(err)
	}
	s, err := b.state(t.Context(), g)
	if err == nil {
		err = b.goOn(s)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.finished(t, 2) // set back, and nothing signed yet
}

func TestParseGap(t *testing.T) {
	b := newBackup(t)
	g, err := b.gap(t.Context(), "ops", "一块磁盘")
	if err != nil {
		t.Fatal(err)
	}
	text := g.Marshal()
	again, err := ParseGap(text)
	if err != nil || again.Verify(b.Trust()) != nil || again.Reason != "一块磁盘" || again.Shown != g.Shown || *again.Seen[0].Root != *g.Seen[0].Root {
		t.Fatalf("%+v, %v", again, err)
	}
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if g, err := ParseGap(bad); err == nil && g.Verify(b.Trust()) == nil {
			t.Errorf("byte %d was changed: %q", i, bad)
		}
	}
	for range 32 { // until a signature ends in one of the digits, whose last bits may be unused
		if err := g.sign(fixed(1), fixed(2)); err != nil {
			t.Fatal(err)
		}
		for i, s := range g.signatures {
			bare := strings.TrimRight(s, "=")
			last := bare[len(bare)-1]
			if bare == s || !strings.ContainsRune("048", rune(last)) {
				continue
			}
			g.signatures[i] = bare[:len(bare)-1] + string(last+1) + s[len(bare):]
			if g.Verify(b.Trust()) == nil {
				t.Errorf("%s was taken for %s", g.signatures[i], s)
			}
			g.signatures[i] = s
		}
	}
	other, err := receipt.NewTrust(nil)
	if err != nil || again.Verify(other) == nil {
		t.Error("believed without keys", err)
	}
}

func FuzzParseGap(f *testing.F) {
	f.Add([]byte(gapHead + "log x\ntime 2026-01-01T00:00:00.000+08:00\nwho a\nreason b\nshown 1 " + strings.Repeat("A", 43) + "= 2026-01-01T00:00:00.000+08:00\nfound 1 " +
		strings.Repeat("A", 43) + "=\nseen witness 2 " + strings.Repeat("A", 43) + "=\nseen b 3\n\nhouse AA==\nwitness AA==\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, err := ParseGap(data); err == nil && !bytes.Equal(g.Marshal(), data) {
			t.Error("two ways to write one statement")
		}
	})
}

// A reason has as many characters as the API promises, in any language: all of it stands in the statement, and the entry
// names that all the same.
func TestALongReasonInChinese(t *testing.T) {
	b := newBackup(t)
	reason := strings.Repeat("因", maxReason)
	if _, err := b.Restored(t.Context(), strings.Repeat("员", maxReason), reason+"因"); !errs.Is(err, errs.Invalid) {
		t.Errorf("one more: %v", err)
	}
	g, err := b.Restored(t.Context(), strings.Repeat("员", maxReason), reason)
	if err != nil || g.Reason != reason {
		t.Fatalf("%+v, %v", g, err)
	}
	b.reopen(t)
	if err := b.Check(t.Context(), nil); err != nil || len(b.Status().Gaps) != 1 {
		t.Fatal(err)
	}
	all, _ := ParsePosition("")
	found, _, err := b.List(t.Context(), Filter{What: Restore}, all, 10)
	if err != nil || len(found) != 1 || !b.Status().Gaps[0].IsEntry(found[0].Entry) {
		t.Errorf("%+v, %v", found, err)
	}
}

// A folder that an earlier version has written, which knew no restores, is read as it is.
func TestAnEarlierFolderIsRead(t *testing.T) {
	b := &backup{dir: t.TempDir()}
	b.reopen(t)
	b.add(t, 5, true)
	if _, err := b.db.Exec(t.Context(), sqldb.Durable, "DROP TABLE audit_restored"); err != nil {
		t.Fatal(err)
	}
	trust := b.Trust()
	b.close(t)
	db, err := sqlite.Open(b.file("house.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := OpenReader(t.Context(), db, trust, b.file("witness"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if gaps, err := r.Gaps(t.Context()); err != nil || len(gaps) > 0 {
		t.Error(gaps, err)
	}
}

// That the gaps can't be read at the moment is not that there are none.
func TestAnOutageHidesNoGap(t *testing.T) {
	b := newBackup(t)
	if _, err := b.Restored(t.Context(), "ops", "the disk was replaced"); err != nil {
		t.Fatal(err)
	}
	trust := b.Trust()
	b.close(t)
	db, err := sqlite.Open(b.file("house.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := OpenReader(t.Context(), &mute{db}, trust, b.file("witness")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("it was opened: %v", err)
	}
}

// mute is a database that does not tell of restores.
type mute struct{ sqldb.DB }

func (m *mute) QueryRow(ctx context.Context, sql string, args ...any) sqldb.Scanner {
	if strings.Contains(sql, "audit_restored") {
		return away{}
	}
	return m.DB.QueryRow(ctx, sql, args...)
}

type away struct{}

func (away) Scan(...any) error { return errs.New(errs.Unavailable, "占用", "held") }

func TestAnEarlierDatabaseIsTold(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		newLab(t, db)
		for _, want := range []bool{false, true} {
			if old, err := earlier(t.Context(), db); err != nil || old != want {
				t.Errorf("%v, %v; want %v", old, err, want)
			}
			if _, err := db.Exec(t.Context(), sqldb.Durable, "DROP TABLE IF EXISTS audit_restored"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
