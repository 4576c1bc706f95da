package audit

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// newElsewhereOnly is a log of 10 leaves that was put back whole, memory and all, so that only the witness outside, which
// has signed 10 and 20, knows what is missing.
func newElsewhereOnly(t testing.TB) (*backup, *elsewhere) {
	t.Helper()
	b, e := newWitnessed(t)
	for range 2 {
		b.add(t, 10, true)
		if err := b.AskOutside(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.Last().Size == 10 {
			b.save(t, "house.db", "witness")
		}
	}
	b.load(t, "house.db", "witness")
	return b, e
}

// The witness outside has another key since: what the backup has of it is no longer believed, and no reason to refuse.
func TestARestoreAfterTheWitnessOutsideChangedItsKey(t *testing.T) {
	for name, both := range map[string]bool{"the new one is believed": false, "both are": true} {
		t.Run(name, func(t *testing.T) {
			b, _ := newElsewhereOnly(t)
			key := b.out.Keys[0]
			key.Public = fixed(4).PublicKey()
			if both {
				b.out.Keys = append(b.out.Keys, key)
			} else {
				b.out.Keys = []receipt.Key{key}
			}
			b.reopen(t)
			g, err := b.Restored(t.Context(), "ops", "the whole machine")
			if err != nil || (g.Cosigned != nil) != both || g.Lost() != 20 {
				t.Fatalf("%+v, %v", g, err)
			}
			if both && g.Cosigned.Checkpoint.Size != 10 {
				t.Errorf("%+v", g.Cosigned)
			}
		})
	}
}

// Killed before the statement lies in the witness's folder, the next call puts it there, and from then on it can't be taken
// out of the database unnoticed.
func TestAGapThatOnlyTheWitnessOutsideSawIsFinished(t *testing.T) {
	b, _ := newElsewhereOnly(t)
	g, err := b.gap(t.Context(), "ops", "the whole machine")
	if err == nil {
		_, err = b.state(t.Context(), g)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	if again, err := b.Restored(t.Context(), "ops", "another reason"); err != nil || again.Reason != "the whole machine" {
		t.Fatalf("%+v, %v", again, err)
	}
	if _, err := b.Restored(t.Context(), "ops", "again"); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second time: %v", err)
	}
	if n, err := b.db.Exec(t.Context(), sqldb.Durable, "DELETE FROM audit_restored"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	b.reopen(t)
	if err := b.Check(t.Context(), nil); err == nil || !broken(err) {
		t.Errorf("the statement was taken out, and the check says %v", err)
	}
}

// A database that is away says nothing of what the log is.
func TestAnOutageIsNoTampering(t *testing.T) {
	away := errs.New(errs.Unavailable, "数据库暂时无法连接", "the database can't be reached")
	for _, err := range []error{away, context.Canceled} {
		if got := refused(err); !errors.Is(got, err) || errs.As(got).Code == CodeChanged {
			t.Errorf("%v is told as %v", err, got)
		}
	}
	for _, err := range []error{away.WithCode("log.unsigned"), errs.New(errs.NotFound, "没有", "none"), changed("变了", "changed")} {
		if got := refused(err); errs.As(got).Code != CodeChanged {
			t.Errorf("%v is told as %v", err, got)
		}
	}
	if refused(nil) != nil {
		t.Error("refused, and nothing was wrong")
	}
}

// watched tells of what is read.
type watched struct {
	sqldb.DB
	reads func(sql string)
}

func (w *watched) Query(ctx context.Context, sql string, args ...any) (sqldb.Rows, error) {
	w.reads(sql)
	return w.DB.Query(ctx, sql, args...)
}

// The log is computed anew before a restore is entered, and after: signing goes on meanwhile.
func TestSigningGoesOnWhileARestoreIsEntered(t *testing.T) {
	b := newBackup(t)
	free, held := 0, 0
	b.wrap = func(db sqldb.DB) sqldb.DB {
		return &watched{db, func(sql string) {
			if !strings.Contains(sql, "FROM log_entry") || b.Log == nil {
				return
			}
			if !b.signing.TryLock() {
				held++
				return
			}
			b.signing.Unlock()
			free++
		}}
	}
	b.reopen(t)
	if _, err := b.Restored(t.Context(), "ops", "the disk was replaced"); err != nil {
		t.Fatal(err)
	}
	if free < 2 || held > 0 {
		t.Errorf("entries were read %d times while signing went on, and %d times while it stood still", free, held)
	}
}
