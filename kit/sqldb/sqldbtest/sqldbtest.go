// Package sqldbtest opens databases for tests, and holds every engine to the contract of sqldb.
package sqldbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

// Env names the variable that holds the URL of a PostgreSQL server for tests, such as
// "postgres://qiong@127.0.0.1:5432/qiong". Where it is unset, tests run on SQLite alone.
const Env = "QIONG_POSTGRES"

// Each runs test on a new database of every engine at hand.
func Each(t *testing.T, test func(t *testing.T, db sqldb.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	if os.Getenv(Env) != "" {
		t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
	}
}

// SQLite opens a database in a folder of the test.
func SQLite(t testing.TB) sqldb.DB {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Postgres opens a schema of its own, dropped after the test.
func Postgres(t testing.TB) sqldb.DB {
	t.Helper()
	url, schema := os.Getenv(Env), "test_"+strings.ToLower(rand.Text()[:12])
	db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Schema: schema, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := drop(url, schema); err != nil {
			t.Error(err)
		}
	})
	return db
}

func drop(url, schema string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, fmt.Sprintf("DROP SCHEMA %s CASCADE", pgx.Identifier{schema}.Sanitize()))
	return err
}
