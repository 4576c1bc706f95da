package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

func TestContract(t *testing.T) {
	sqldbtest.Exercise(t, func(t *testing.T) sqldb.DB { return sqldbtest.SQLite(t) })
}

func TestPanicInAClosureIsItsCallersError(t *testing.T) {
	db := sqldbtest.SQLite(t)
	err := db.Write(t.Context(), sqldb.Durable, func(*sqldb.Tx) error { panic("boom") })
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Fatalf("got %v", err)
	}
	if err := db.Write(t.Context(), sqldb.Durable, func(*sqldb.Tx) error { return nil }); err != nil {
		t.Fatalf("the writer did not survive: %v", err)
	}
}

// A full disk is made by forbidding the file to grow, which SQLite answers with the same SQLITE_FULL.
func TestDiskFullUndoesTheWholeGroupAndRecovers(t *testing.T) {
	ctx := context.Background()
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(ctx, "t", fstest.MapFS{"0001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (id BIGINT PRIMARY KEY, body TEXT);")}}); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int64) {
		err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, map[bool]string{true: "PRAGMA max_page_count=12", false: "PRAGMA max_page_count=100000"}[pages == 12]).Scan(new(int64))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(12)
	into := sqldb.NewInto("t", "id", "body")
	stored := 0
	var full error
	for i := 0; i < 100 && full == nil; i++ {
		if full = db.Append(ctx, into.Row(int64(i), strings.Repeat("满", 2000))); full == nil {
			stored++
		}
	}
	if !errs.Is(full, errs.Full) {
		t.Fatalf("a full disk gave %v", full)
	}
	limit(100000)
	if err := db.Append(ctx, into.Row(int64(1000), "x")); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if n, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM t"); err != nil || int(n) != stored+1 {
		t.Errorf("%d rows, want %d: %v", n, stored+1, err)
	}
}

func TestReopenKeepsWhatWasWritten(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a b%中.db") // names that a URL would bend
	for i := range int64(3) {
		db, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(ctx, "t", fstest.MapFS{"0001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (id BIGINT PRIMARY KEY);")}}); err != nil {
			t.Fatal(err)
		}
		if err := db.Append(ctx, sqldb.NewInto("t", "id").Row(i)); err != nil {
			t.Fatal(err)
		}
		if n, _ := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM t"); n != i+1 {
			t.Errorf("%d rows after start %d", n, i)
		}
		if err := errors.Join(db.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*-wal")); len(left) > 0 {
			t.Errorf("a closed database left its log: %v", left)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.db")); len(found) != 1 || found[0] != path {
		t.Errorf("files: %v", found)
	}
}

func TestWhatIsEmptiedLeavesNothingInTheFile(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "t.db")
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(ctx, "t", fstest.MapFS{"0001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (id BIGINT PRIMARY KEY, body TEXT);")}}); err != nil {
		t.Fatal(err)
	}
	for i := range int64(200) {
		if _, err := db.Exec(ctx, sqldb.Durable, "INSERT INTO t VALUES ($1, $2)", i, strings.Repeat("sealed-document", 20)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(ctx, sqldb.Durable, "UPDATE t SET body = ''"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte("sealed-document")) {
		t.Errorf("it is still in the file's %d bytes, %v", len(data), err)
	}
}
