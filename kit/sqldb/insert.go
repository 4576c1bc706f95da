package sqldb

import (
	"fmt"
	"strings"
)

// Into is one insert statement: a table and the columns every row gives.
type Into struct {
	Table   string
	Columns []string
	sql     string
}

// NewInto returns the statement that inserts into table. Names are code, never input.
func NewInto(table string, columns ...string) *Into {
	marks := make([]string, len(columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	return &Into{
		Table:   table,
		Columns: columns,
		sql: fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)",
			table, strings.Join(columns, ", "), strings.Join(marks, ", ")),
	}
}

// SQL returns the statement for one row.
func (i *Into) SQL() string { return i.sql }

// Row returns a row of values for the statement's columns: int64, int, string or []byte, the same type in a
// column always. A wrong count or another type is a defect and panics.
func (i *Into) Row(values ...any) Insert {
	if len(values) != len(i.Columns) {
		panic(fmt.Sprintf("sqldb: %d values for the %d columns of %s", len(values), len(i.Columns), i.Table))
	}
	for n, v := range values {
		switch v.(type) {
		case int64, int, string, []byte:
		default:
			panic(fmt.Sprintf("sqldb: column %s of %s is given a %T", i.Columns[n], i.Table, v))
		}
	}
	return Insert{Into: i, Values: values}
}

// Insert is a row on its way into a table.
type Insert struct {
	Into   *Into
	Values []any
}
