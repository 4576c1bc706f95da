// Package mysql writes to tables of MySQL and MariaDB without a byte converted on the way.
//
// The connection's character set is that of the table's text columns, which the server is asked about first, so that
// neither side has a reason to convert; where the columns hold bytes it is binary. Values travel apart from the
// statement, by the server's own prepared statements: nothing is escaped, which no client does safely in GBK, where the
// second byte of a character may be a backslash. The session is strict, and what the server yet cuts or rounds with no
// more than a note (spaces past the end of a VARCHAR, digits past a DECIMAL's scale) is refused like the rest.
//
// The table's engine must have transactions, and the key column a unique index of its own and no NULL. Another row's
// value in another unique index is refused, not overwritten. A name may be qualified by its database; the ledger stands
// beside the table.
package mysql

import (
	"context"
	"database/sql"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

const (
	connections = 4
	dialTimeout = 5 * time.Second
	idleTime    = time.Minute

	strict = "'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
)

// Table is a table of a MySQL or MariaDB server.
type Table struct {
	db       *sql.DB
	packet   int // the longest value that the server takes, in bytes
	spec     table.Spec
	sql      statements
	readable atomic.Bool // the columns are as the Spec says
	writable atomic.Bool // and rows can be replaced by key
}

var _ table.Opener = Open

// Open implements table.Opener. The dsn is that of github.com/go-sql-driver/mysql, user:password@tcp(host:port)/database.
func Open(ctx context.Context, dsn string, spec table.Spec) (table.Table, error) {
	if err := check(spec); err != nil {
		return nil, err
	}
	config, err := configure(dsn, spec.Charset)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errDSN()
	}
	t := &Table{db: sql.OpenDB(connector), spec: spec, sql: phrase(spec)}
	t.db.SetMaxOpenConns(connections)
	t.db.SetMaxIdleConns(connections)
	t.db.SetConnMaxIdleTime(idleTime)
	if err := t.db.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&t.packet); err != nil {
		_ = t.db.Close()
		return nil, classify(ctx, err)
	}
	return t, nil
}

func errDSN() error { // whose cause may hold the password
	return errs.New(errs.Invalid, "目标数据库的地址（DSN）写法不对", "the address (DSN) of the target's database is malformed").WithCode("table.dsn")
}

// configure returns the connection's settings: the operator's, but for those that this package's promises rest on.
func configure(dsn, charset string) (*mysql.Config, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errDSN()
	}
	config.InterpolateParams = false
	config.MultiStatements = false
	config.ParseTime = false
	config.MaxAllowedPacket = 0 // as the server says
	config.Timeout = dialTimeout
	config.Logger = &mysql.NopLogger{}
	for name := range config.Params {
		if lower := strings.ToLower(name); strings.Contains(lower, "sql_") || strings.Contains(lower, "character_set") {
			delete(config.Params, name)
		}
	}
	if config.Params == nil {
		config.Params = map[string]string{}
	}
	config.Params["sql_mode"] = strict
	config.Params["sql_notes"] = "1"
	return config, config.Apply(mysql.Charset(charset, ""))
}

// check adds to the common rules what the character set asks of names: they stand in statements, which the server reads
// in the connection's character set.
func check(spec table.Spec) error {
	if err := batch.CheckSpec(spec); err != nil {
		return err
	}
	if strings.Trim(spec.Charset, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || spec.Charset == "" {
		return batch.NoCharset.Err("1115")
	}
	if spec.Charset == "binary" || strings.HasPrefix(spec.Charset, "utf8") {
		return nil
	}
	for _, name := range append([]string{spec.Table}, spec.Columns...) {
		if !ascii(name) {
			return errs.New(errs.Unsupported, "此字符集下表名和列名只能用 ASCII", "in this character set the names of tables and columns must be ASCII").WithCode("table.name")
		}
	}
	return nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Close implements table.Table.
func (t *Table) Close() error { return t.db.Close() }
