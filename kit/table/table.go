// Package table writes to and reads from a table in another system's database, so that each batch of rows takes effect
// once, however often it is sent.
//
// The engines are the sub-packages mysql and postgres, which only assembly and tests import; tabletest holds them to
// this contract. Values are bytes: text in whatever encoding the table's columns hold, numbers and dates as they are
// written in SQL. Nothing is converted on the way, by no driver and no server, so that what was written can be compared
// with what is there.
package table

import (
	"context"

	"github.com/qiongdev/qiong/kit/errs"
)

// Value is what a row has in a column; nil is NULL.
type Value []byte

// Row has a value for each of a Spec's columns.
type Row []Value

// Spec says which columns of which table. Names are checked by who reads them from a file; engines quote them all the
// same.
type Spec struct {
	Table   string
	Columns []string
	// Text says of each column whether its values are text in Charset; the others are numbers, dates and the like.
	Text []bool
	// Charset is that of the table's text columns: "binary" where they hold bytes (BINARY, VARBINARY, BLOB, bytea),
	// otherwise the server's name for it: gbk, gb2312, gb18030, utf8mb4 on MySQL and MariaDB; UTF8 on PostgreSQL.
	Charset string
	// Key is the place of the column that tells rows apart. Writing a row replaces the one with its key.
	Key int
}

// Table is a table of another system. It is safe for concurrent use.
type Table interface {
	// Write puts rows into the table in one transaction, together with the batch's name in the ledger, a table
	// qiong_ledger (batch, written_at) that it makes beside the table where it is missing. A batch that the ledger has
	// changes nothing; tables beside each other share it, so a batch's name must tell whose it is: up to 128 visible
	// ASCII characters, in which case counts.
	// Of rows with one key the last is kept. A row that the server can't take is a *RowError, and nothing is written;
	// a server that can't be reached is of kind Unavailable.
	Write(ctx context.Context, batch string, rows []Row) error

	// Find returns the rows with the given keys, in any order. Keys that are not there are left out.
	Find(ctx context.Context, keys []Value) ([]Row, error)

	// Scan returns up to limit rows whose cursor column, of whole numbers, is greater than after, in its order, and the
	// cursor of the last row returned.
	Scan(ctx context.Context, cursor string, after int64, limit int) (rows []Row, last int64, err error)

	Close() error
}

// Opener connects to the database that dsn names. The table need not be there yet; a charset that the server does not
// have is of kind Unsupported.
type Opener func(ctx context.Context, dsn string, spec Spec) (Table, error)

// RowError is a row that the server refused, such as a text that is too long.
type RowError struct {
	Row int // its place among the rows of the batch
	Err error
}

// Error implements error.
func (e *RowError) Error() string { return e.Err.Error() }

// Unwrap returns the cause, of kind Invalid; it repeats no value.
func (e *RowError) Unwrap() error { return e.Err }

// Refused returns the RowError of a row, with the server's own code for the reason.
func Refused(row int, serverCode string) *RowError {
	return &RowError{Row: row, Err: errs.New(errs.Invalid, "目标数据库不接受此行（"+serverCode+"）", "the target's database refuses the row ("+serverCode+")").
		WithCode("table.row")}
}
