package postgres_test

import (
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

func needServer(t *testing.T) {
	if os.Getenv(sqldbtest.Env) == "" {
		t.Skipf("%s is not set; `make test-engines` sets it", sqldbtest.Env)
	}
}

func TestContract(t *testing.T) {
	needServer(t)
	sqldbtest.Exercise(t, func(t *testing.T) sqldb.DB { return sqldbtest.Postgres(t) })
}

func TestASchemaHasOneMaster(t *testing.T) {
	needServer(t)
	o := postgres.Options{URL: os.Getenv(sqldbtest.Env), Schema: "test_one_master", Exclusive: true}
	first, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), o); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second process got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("after the first closed: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	_, err := postgres.Open(t.Context(), postgres.Options{URL: "postgres://qiong@127.0.0.1:1/none", Schema: "x"})
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Options{URL: "postgres://%zz:secret@", Schema: "x"})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("a malformed URL gave %v", err)
	}
}

// A process whose session was cut off, and whose schema another has opened since, writes no more.
func TestALostLockStopsWriting(t *testing.T) {
	needServer(t)
	ctx := t.Context()
	o := postgres.Options{URL: os.Getenv(sqldbtest.Env), Schema: "test_lost_lock", Exclusive: true}
	first, err := postgres.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	admin, err := pgx.Connect(ctx, o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	write := func() error {
		return first.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error { _, err := tx.Exec(ctx, "SELECT 1"); return err })
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	// Take the lock in the very statement that cuts the first session off, so that its keeper comes too late.
	key := "hashtextextended('qiong/test_lost_lock', 0)"
	_, err = admin.Exec(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'
		AND (classid::bigint << 32 | objid::bigint) = `+key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(ctx, "SELECT pg_advisory_lock("+key+")"); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !errs.Is(write(), errs.Conflict); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it still writes")
		}
	}
	if err := first.Append(ctx, sqldb.NewInto("nothing", "id").Row(1)); !errs.Is(err, errs.Conflict) {
		t.Errorf("append: %v", err)
	}
}

// A server that went away and came back is written to at once, by way of connections that the outage has ended too.
func TestTheServerGoneAndBack(t *testing.T) {
	needServer(t)
	ctx := t.Context()
	server, err := url.Parse(os.Getenv(sqldbtest.Env))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(ctx, server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	run := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	run("DROP DATABASE IF EXISTS test_gone WITH (FORCE)")
	run("CREATE DATABASE test_gone")
	server.Path = "/test_gone"
	db, err := postgres.Open(ctx, postgres.Options{URL: server.String(), Schema: "gone", Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(ctx, sqldb.Durable, "CREATE TABLE kept (id bigint PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	into, next := sqldb.NewInto("kept", "id"), 0
	write := func() error {
		next++
		if err := db.Append(ctx, into.Row(next)); err != nil {
			return err
		}
		next++
		return db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
			if _, err := sqldb.Value[int64](ctx, tx, "SELECT count(*) FROM kept"); err != nil {
				return err
			}
			return tx.Insert(ctx, into.Row(next))
		})
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	cut := "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'test_gone'"
	for range 3 {
		run(cut)
		if err := write(); err != nil {
			t.Errorf("right after the connections were cut: %v", err)
		}
	}
	run("ALTER DATABASE test_gone ALLOW_CONNECTIONS false")
	run(cut)
	<-time.After(3 * time.Second) // the lock is looked after each second
	if err := write(); !errs.Is(err, errs.Unavailable) {
		t.Errorf("while it is away: %v", err)
	}
	run("ALTER DATABASE test_gone ALLOW_CONNECTIONS true")
	if err := write(); err != nil {
		t.Errorf("right after it came back: %v", err)
	}
}
