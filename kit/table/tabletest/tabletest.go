// Package tabletest holds the engines of kit/table to their contract, on real servers: MariaDB at QIONG_MARIADB and
// PostgreSQL at QIONG_POSTGRES, which `make test-engines` starts.
package tabletest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/mysql"
	"github.com/qiongdev/qiong/kit/table/postgres"
)

// The variables that name servers: a DSN of github.com/go-sql-driver/mysql, and a URL.
const (
	EnvMariaDB  = "QIONG_MARIADB"
	EnvPostgres = "QIONG_POSTGRES"
)

// Server is an empty database of a server, or an empty schema, for one test.
type Server struct {
	Open    table.Opener
	DSN     string
	Away    string  // the DSN of a server that is not there
	Admin   *sql.DB // another way in
	Charset string
	// Encode returns a text as the charset's columns hold it; for binary that is GB 18030.
	Encode func(text string) []byte
	// Text returns the type of a column of up to n bytes or characters, whatever the charset counts in.
	Text func(n int) string

	id, stamp string // types of a growing number and of a time
	blocked   string // selects sessions that wait for a lock of another, which is its parameter
	hex       string // a column's bytes as hexadecimal digits; %s is the column
	session   string // selects the own session
	kill      string // ends the session that %s stands for
}

// MariaDB returns an empty database; the test is skipped where there is no server.
func MariaDB(t *testing.T, charset string) *Server {
	t.Helper()
	dsn := os.Getenv(EnvMariaDB)
	if dsn == "" {
		t.Skipf("%s is not set; `make test-engines` sets it", EnvMariaDB)
	}
	config, err := mysqldriver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := fresh()
	root := mariadb(t, config)
	exec(t, root, "CREATE DATABASE "+name)
	t.Cleanup(func() { exec(t, root, "DROP DATABASE "+name) })
	config.DBName = name
	s := &Server{
		Open: mysql.Open, DSN: config.FormatDSN(), Away: "root@tcp(127.0.0.1:1)/none", Admin: mariadb(t, config), Charset: charset,
		id: "BIGINT AUTO_INCREMENT UNIQUE", stamp: "DATETIME", hex: "LOWER(HEX(%s))",
		blocked: "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND command = 'Execute' " +
			"AND info LIKE 'INSERT INTO `things`%' AND id <> ?",
		session: "SELECT CONNECTION_ID()", kill: "KILL CONNECTION %s",
	}
	s.Encode, s.Text = encoder(t, charset), func(n int) string {
		if charset == "binary" {
			return "VARBINARY(" + strconv.Itoa(n) + ")"
		}
		return "VARCHAR(" + strconv.Itoa(n) + ") CHARACTER SET " + charset + " COLLATE " + charset + "_bin"
	}
	return s
}

func mariadb(t *testing.T, config *mysqldriver.Config) *sql.DB {
	t.Helper()
	connector, err := mysqldriver.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, sql.OpenDB(connector))
}

// Postgres returns an empty schema; the test is skipped where there is no server.
func Postgres(t *testing.T, charset string) *Server {
	t.Helper()
	dsn := os.Getenv(EnvPostgres)
	if dsn == "" {
		t.Skipf("%s is not set; `make test-engines` sets it", EnvPostgres)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := fresh()
	root := opened(t, stdlib.OpenDB(*config))
	exec(t, root, "CREATE SCHEMA "+name)
	t.Cleanup(func() { exec(t, root, "DROP SCHEMA "+name+" CASCADE") })
	config.RuntimeParams["search_path"] = name
	s := &Server{
		Open: postgres.Open, DSN: withPath(dsn, name), Away: "postgres://qiong@127.0.0.1:1/none", Admin: opened(t, stdlib.OpenDB(*config)), Charset: charset,
		id: "bigserial", stamp: "timestamp", hex: "encode(convert_to(%s, 'UTF8'), 'hex')",
		blocked: "SELECT pid FROM pg_stat_activity WHERE $1::int = ANY(pg_blocking_pids(pid))",
		session: "SELECT pg_backend_pid()", kill: "SELECT pg_terminate_backend(%s)",
	}
	if charset == "binary" {
		s.hex = "encode(%s, 'hex')"
	}
	s.Encode, s.Text = encoder(t, charset), func(n int) string {
		if charset == "binary" {
			return "bytea"
		}
		return "varchar(" + strconv.Itoa(n) + ")"
	}
	return s
}

// withPath returns a URL whose sessions begin in a schema.
func withPath(dsn, schema string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&search_path=" + schema
	}
	return dsn + "?search_path=" + schema
}

// encoder returns how texts are encoded for a charset.
func encoder(t *testing.T, charset string) func(string) []byte {
	profile := gb18030.V2022
	switch charset {
	case "binary", "gb18030":
	case "gbk":
		profile = gb18030.GBK
	case "gb2312":
		profile = gb18030.GB2312
	default:
		return func(text string) []byte { return []byte(text) }
	}
	return func(text string) []byte {
		code, err := profile.AppendEncode([]byte{}, []byte(text))
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return code
	}
}

func opened(t *testing.T, db *sql.DB) *sql.DB {
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// fresh returns a name that no other test has.
func fresh() string { return "t_" + strings.ToLower(rand.Text()) }

// exec runs a statement, also while the test is being cleaned up.
func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := db.ExecContext(ctx, statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Count returns the number that a query selects.
func (s *Server) Count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := s.Admin.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Exec runs a statement as another client would.
func (s *Server) Exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	exec(t, s.Admin, statement, args...)
}
