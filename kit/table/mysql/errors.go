package mysql

import (
	"context"
	"errors"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table/internal/batch"
)

func text(number uint16) string { return strconv.Itoa(int(number)) }

// refusal returns the server's code where err says that a row's values don't fit the table: data (22), constraint (23) or
// a trigger's own refusal (45), and those of the like that have no state of their own.
func refusal(err error) string {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return ""
	}
	switch string(e.SQLState[:2]) {
	case "22", "23", "45":
		return text(e.Number)
	}
	if e.Number == 3819 || altered(e.Number) { // CHECK of MySQL
		return text(e.Number)
	}
	return ""
}

// altered reports whether a note, warning or error says that a value does not fit as it is.
func altered(number uint16) bool {
	switch number {
	case 1048, // NULL
		1264, // out of range
		1265, // data truncated
		1292, // wrong date, number
		1300, // wrong string for a character set
		1366, // wrong string for a column
		1406, // too long
		1411, // wrong value for a function
		1525, // wrong value
		3988: // can't be converted
		return true
	}
	return false
}

// classify returns the error that callers see. The server's words repeat values and stay here.
func classify(ctx context.Context, err error) error {
	var e *mysql.MySQLError
	if !errors.As(err, &e) || ctx.Err() != nil {
		return batch.Unreachable(ctx, err)
	}
	return answer(e).Err(text(e.Number))
}

func answer(e *mysql.MySQLError) batch.Answer {
	switch e.Number {
	case 1044, 1045, 1142, 1143, 1227, 1698:
		return batch.Denied
	case 1049, 1146:
		return batch.NoTable
	case 1054:
		return batch.NoColumn
	case 1115, 1231:
		return batch.NoCharset
	case 1015, // can't lock a file
		1020,       // the row has changed since it was read
		1021,       // disk full
		1030,       // the storage engine failed, such as for space
		1040, 1203, // too many connections
		1053, 1077, 1079, // shutting down
		1114,       // table full
		1129,       // host blocked
		1205, 1213, // lock held too long, deadlock
		1226,             // over the account's limits
		1290, 1792, 1836, // read-only
		1317, 1927, 1969, 3024, // stopped by the server
		1412: // the table was altered meanwhile
		return batch.Away
	}
	if string(e.SQLState[:2]) == "08" {
		return batch.Away
	}
	return batch.Other
}

func errNoTransactions() error {
	return errs.New(errs.Unsupported, "目标表的存储引擎不支持事务", "the target table's storage engine has no transactions").WithCode("table.engine")
}
