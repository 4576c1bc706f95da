package sqldbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
)

var thing = sqldb.NewInto("thing", "id", "name", "body")

// Exercise holds an engine to the contract of sqldb.
func Exercise(t *testing.T, open func(t *testing.T) sqldb.DB) {
	ctx := context.Background()
	count := func(t *testing.T, db sqldb.DB) int64 {
		t.Helper()
		n, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM thing")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	start := func(t *testing.T) sqldb.DB {
		t.Helper()
		db := open(t)
		files := fstest.MapFS{
			"0001_init.sql":       {Data: []byte("-- +goose Up\nCREATE TABLE thing (id BIGINT PRIMARY KEY, name TEXT NOT NULL, body BYTEA NOT NULL);")},
			"0002_x.sqlite.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE engine (sqlite BIGINT);")},
			"0002_x.postgres.sql": {Data: []byte("-- +goose Up\nCREATE TABLE engine (postgres BIGINT);")},
		}
		for range 2 { // the second time must find nothing to do
			if err := db.Migrate(ctx, "thing", files); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := sqldb.Value[int64](ctx, db, fmt.Sprintf("SELECT count(%s) FROM engine", db.Dialect())); err != nil {
			t.Fatalf("the engine's own file was not used: %v", err)
		}
		return db
	}

	t.Run("tables of a newer program are refused", func(t *testing.T) {
		db := start(t)
		older := fstest.MapFS{"0001_init.sql": {Data: []byte("-- +goose Up\nCREATE TABLE other (id BIGINT PRIMARY KEY);")}}
		if err := db.Migrate(ctx, "thing", older); !errs.Is(err, errs.Conflict) {
			t.Errorf("migrating with fewer files: %v", err)
		}
	})

	t.Run("a closure commits, or undoes all it did", func(t *testing.T) {
		db := start(t)
		hooks := 0
		write := func(fail error) error {
			return db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
				tx.OnCommit(func() { hooks++ })
				if err := tx.Insert(ctx, thing.Row(int64(1), "䶮𠮷", []byte{0, 1, 2})); err != nil {
					return err
				}
				n, err := sqldb.Value[int64](ctx, tx, "SELECT count(*) FROM thing")
				if err != nil || n != 1 {
					t.Errorf("a closure sees %d of its own rows, %v", n, err)
				}
				return fail
			})
		}
		mine := errors.New("mine")
		if err := write(mine); !errors.Is(err, mine) {
			t.Errorf("the closure's own error came back as %v", err)
		}
		if n := count(t, db); n != 0 || hooks != 0 {
			t.Errorf("after the undone write there are %d rows and %d hooks ran", n, hooks)
		}
		if err := write(nil); err != nil {
			t.Fatal(err)
		}
		var name string
		var body []byte
		if err := db.QueryRow(ctx, "SELECT name, body FROM thing WHERE id = $1", int64(1)).Scan(&name, &body); err != nil {
			t.Fatal(err)
		}
		if name != "䶮𠮷" || string(body) != "\x00\x01\x02" || hooks != 1 {
			t.Errorf("read back %q %v, %d hooks", name, body, hooks)
		}
	})

	t.Run("errors are the house's own", func(t *testing.T) {
		db := start(t)
		if err := db.Append(ctx, thing.Row(int64(1), "a", []byte("x"))); err != nil {
			t.Fatal(err)
		}
		if err := db.Append(ctx, thing.Row(int64(1), "b", []byte("y"))); !errors.Is(err, sqldb.ErrUnique) {
			t.Errorf("append of a duplicate: %v", err)
		}
		err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			return tx.Insert(ctx, thing.Row(int64(1), "b", []byte("y")))
		})
		if !errors.Is(err, sqldb.ErrUnique) {
			t.Errorf("write of a duplicate: %v", err)
		}
		if err := db.QueryRow(ctx, "SELECT name FROM thing WHERE id = 9").Scan(new(string)); !errors.Is(err, sqldb.ErrNoRows) {
			t.Errorf("reading nothing: %v", err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := db.Write(gone, sqldb.Durable, func(*sqldb.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("write of a caller who left: %v", err)
		}
	})

	t.Run("an update changes exactly one row, or the transaction nothing", func(t *testing.T) {
		db := start(t)
		if err := db.Append(ctx, thing.Row(int64(1), "a", []byte{1}), thing.Row(int64(2), "b", []byte{1})); err != nil {
			t.Fatal(err)
		}
		const rename = "UPDATE thing SET name = $1 WHERE body = $2 AND name <> $1"
		named := func(id int64) string {
			t.Helper()
			name, err := sqldb.Value[string](ctx, db, "SELECT name FROM thing WHERE id = $1", id)
			if err != nil {
				t.Fatal(err)
			}
			return name
		}
		for what, body := range map[string][]byte{"no row": {9}, "two rows": {1}} {
			err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
				return errors.Join(tx.Insert(ctx, thing.Row(int64(3), "c", []byte{3})), tx.Update(ctx, rename, "z", body))
			})
			if !errors.Is(err, sqldb.ErrMissed) || named(1) != "a" || named(2) != "b" || count(t, db) != 2 {
				t.Errorf("%s: %v, and there are %d rows, %s and %s", what, err, count(t, db), named(1), named(2))
			}
		}
		err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			if err := errors.Join(tx.Insert(ctx, thing.Row(int64(3), "c", []byte{3})), tx.Update(ctx, rename, "d", []byte{3})); err != nil {
				return err
			}
			name, err := sqldb.Value[string](ctx, tx, "SELECT name FROM thing WHERE id = 3")
			if err != nil || name != "d" {
				t.Errorf("the closure reads %q after its own update, %v", name, err)
			}
			return tx.Update(ctx, rename, "e", []byte{3})
		})
		if err != nil || named(3) != "e" {
			t.Errorf("%v, and the row is named %s", err, named(3))
		}
	})

	t.Run("many updates of one closure, and a division of its own", func(t *testing.T) {
		db := start(t)
		const many = 3000
		rows := make([]sqldb.Insert, many)
		for i := range rows {
			rows[i] = thing.Row(int64(i), "old", []byte{})
		}
		if err := db.Append(ctx, rows...); err != nil {
			t.Fatal(err)
		}
		rename := func(last int) error {
			return db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
				for i := range last {
					if err := tx.Update(ctx, "UPDATE thing SET name = 'new' WHERE id = $1 AND name = 'old'", int64(i)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := rename(many + 1); !errors.Is(err, sqldb.ErrMissed) {
			t.Errorf("one more than there are: %v", err)
		}
		if err := rename(many); err != nil {
			t.Error(err)
		}
		if n, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM thing WHERE name = 'new'"); err != nil || n != many {
			t.Errorf("%d renamed, %v", n, err)
		}
		if db.Dialect() == sqldb.Postgres { // SQLite has null there
			if _, err := db.Exec(ctx, sqldb.Relaxed, "UPDATE thing SET name = 'x' WHERE id = 1 / (id - id)"); err == nil || errors.Is(err, sqldb.ErrMissed) {
				t.Errorf("a division by zero that is nobody's update: %v", err)
			}
		}
	})

	t.Run("no bytes are none, in a group and alone", func(t *testing.T) {
		db := start(t)
		if err := db.Append(ctx, thing.Row(int64(1), "nil", []byte(nil))); err == nil {
			t.Error("a column that must not be null took it, in a group")
		}
		if err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			if err := tx.Insert(ctx, thing.Row(int64(1), "nil", []byte(nil))); err != nil {
				return err
			}
			_, err := sqldb.Value[int64](ctx, tx, "SELECT count(*) FROM thing")
			return err
		}); err == nil {
			t.Error("a column that must not be null took it, in a transaction of its own")
		}
		if n := count(t, db); n != 0 {
			t.Errorf("%d rows", n)
		}
	})

	t.Run("of many updates of one revision one wins", func(t *testing.T) {
		db := start(t)
		if err := db.Append(ctx, thing.Row(int64(1), "0", []byte{})); err != nil {
			t.Fatal(err)
		}
		const callers, revisions = 40, 5
		var won, missed atomic.Int64
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for rev := 0; rev < revisions; rev++ {
					err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
						err := tx.Insert(ctx, thing.Row(int64(100+c*revisions+rev), "of "+fmt.Sprint(rev), []byte{}))
						return errors.Join(err, tx.Update(ctx, "UPDATE thing SET name = $1 WHERE id = 1 AND name = $2", fmt.Sprint(rev+1), fmt.Sprint(rev)))
					})
					switch {
					case err == nil:
						won.Add(1)
					case errors.Is(err, sqldb.ErrMissed):
						missed.Add(1)
					default:
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, db); won.Load() != revisions || missed.Load() != callers*revisions-revisions || n != 1+revisions {
			t.Errorf("%d won, %d missed, %d rows", won.Load(), missed.Load(), n)
		}
	})

	t.Run("callers of one group do not spoil each other", func(t *testing.T) {
		db := start(t)
		const callers = 200
		var wg sync.WaitGroup
		results := make([]error, callers)
		for i := range callers {
			wg.Go(func() {
				id := int64(i)
				switch i % 4 {
				case 0: // appended, two rows at once
					results[i] = db.Append(ctx, thing.Row(id, "a", []byte{}), thing.Row(id+1000, "a", []byte{}))
				case 1: // appended with a duplicate inside: neither row may stay
					results[i] = db.Append(ctx, thing.Row(id, "dup", []byte{}), thing.Row(id, "dup", []byte{}))
				case 2: // written
					results[i] = db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return tx.Insert(ctx, thing.Row(id, "w", []byte{})) })
				case 3: // written, then failed
					results[i] = db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
						if err := tx.Insert(ctx, thing.Row(id, "f", []byte{})); err != nil {
							return err
						}
						return errors.New("no")
					})
				}
			})
		}
		wg.Wait()
		for i, err := range results {
			if bad := i%4 == 1 || i%4 == 3; bad != (err != nil) {
				t.Errorf("caller %d: %v", i, err)
			}
		}
		if n := count(t, db); n != callers/4*3 {
			t.Errorf("%d rows, want %d", n, callers/4*3)
		}
		if n, _ := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM thing WHERE name IN ('dup', 'f')"); n != 0 {
			t.Errorf("%d rows of failed callers stayed", n)
		}
		if s := db.Stats(); s.Writes != callers/2 || s.Failed != callers/2 || s.Waiting != 0 {
			t.Errorf("stats: %+v", s)
		}
	})

	t.Run("a lock makes read-then-write safe", func(t *testing.T) {
		db := start(t)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
					if err := tx.Lock(ctx, "thing"); err != nil {
						return err
					}
					n, err := sqldb.Value[int64](ctx, tx, "SELECT coalesce(max(id), 0) FROM thing")
					if err != nil {
						return err
					}
					return tx.Insert(ctx, thing.Row(n+1, "n", []byte{}))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n, _ := sqldb.Value[int64](ctx, db, "SELECT max(id) FROM thing"); n != 32 {
			t.Errorf("the last id is %d, want 32", n)
		}
	})

	t.Run("a closed database says so", func(t *testing.T) {
		db := start(t)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Append(ctx, thing.Row(int64(1), "a", []byte{})); err == nil {
			t.Error("append to a closed database succeeded")
		}
		if err := db.Write(ctx, sqldb.Durable, func(*sqldb.Tx) error { return nil }); err == nil {
			t.Error("write to a closed database succeeded")
		}
	})
}
