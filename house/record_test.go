package house

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// recordOn opens a record of accesses on a new database.
func recordOn(t testing.TB, db sqldb.DB, now func() time.Time) *record {
	t.Helper()
	if err := db.Migrate(t.Context(), "house", sqldb.Files(tables)); err != nil {
		t.Fatal(err)
	}
	r, err := openRecord(t.Context(), db, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func passed(who string) access.Access {
	return access.Access{Who: who, Route: "GET /x", Grade: label.L3, Clearance: label.L3, Decision: access.Passed}
}

func TestRecordIsKeptForItsTime(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		r := recordOn(t, db, clock)
		add := func(who string, n int) {
			for range n {
				if err := r.Record(t.Context(), passed(who)); err != nil {
					t.Fatal(err)
				}
			}
		}
		add("early", 1500)
		now = now.Add(24 * time.Hour)
		add("late", 3)
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(sixMonths - time.Hour)
		r = recordOn(t, db, clock) // as after a restart
		if err := r.clean(t.Context(), sixMonths); err != nil {
			t.Fatal(err)
		}
		left, err := r.list(t.Context(), accessFilter{before: 1 << 62, limit: 10})
		if err != nil || len(left) != 3 || left[0].Who != "late" || left[0].ID <= left[1].ID {
			t.Errorf("left: %+v, %v; want the 3 late ones, newest first", left, err)
		}
	})
}

// brittle is a database that can't be written.
type brittle struct {
	sqldb.DB
	broken bool
}

func (b *brittle) Write(ctx context.Context, d sqldb.Durability, f func(*sqldb.Tx) error) error {
	if b.broken {
		return errors.New("the disk is gone")
	}
	return b.DB.Write(ctx, d, f)
}

// What can't be written waits; what can't even wait is no access.
func TestRecordThatCannotBeWritten(t *testing.T) {
	db := &brittle{DB: sqldbtest.SQLite(t)}
	r := recordOn(t, db, time.Now)
	db.broken = true
	for range maxWaiting {
		if err := r.Record(t.Context(), passed("somebody")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.flush(t.Context()); err == nil {
		t.Fatal("it was written")
	}
	if err := r.Record(t.Context(), passed("one too many")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("beyond the limit: %v", err)
	}
	db.broken = false
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := sqldb.Value[int64](t.Context(), db, "SELECT count(*) FROM access_record")
	if err != nil || n != maxWaiting {
		t.Errorf("%d were written, %v; want all %d", n, err, maxWaiting)
	}
	if err := r.Record(t.Context(), passed("again")); err != nil {
		t.Errorf("after it was written: %v", err)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := recordOn(b, sqldbtest.SQLite(b), time.Now)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	b.ReportAllocs()
	a := passed("somebody")
	for n := 0; b.Loop(); n++ {
		if n%32768 == 0 {
			b.StopTimer() // as many in a second as no machine gets requests
			if err := r.flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if err := r.Record(ctx, a); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func TestConfigOfGrades(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"":                  func(*Config) {},
		"house.audit-keep":  func(c *Config) { c.AuditKeep = sixMonths - time.Second },
		"house.audit-grade": func(c *Config) { c.AuditGrade = label.Ungraded },
	} {
		c := Defaults
		change(&c)
		if err := c.Validate(); (err == nil) != (field == "") || err != nil && errs.As(err).Field != field {
			t.Errorf("%q: %v", field, err)
		}
	}
}
