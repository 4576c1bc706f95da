// Package batch is what the engines of kit/table share: which rows of a batch are written, in which portions, and how
// the one is found that a server refuses.
package batch

import (
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
)

// MaxName is the length of a batch's name in the ledger, in bytes.
const MaxName = 128

// Portions are bounded so that a statement stays well below the limits of packets and parameters. A row longer than
// maxBytes is a portion of its own.
const (
	maxRows  = 500
	maxBytes = 512 << 10
	maxArgs  = 32 << 10
)

// Row is a row to be written, and its place among those of the caller.
type Row struct {
	At     int
	Values table.Row
}

// CheckName returns an error unless name can stand in the ledger: printable ASCII without spaces, up to MaxName bytes.
func CheckName(name string) error {
	ok := name != "" && len(name) <= MaxName
	for i := range len(name) {
		ok = ok && name[i] > ' ' && name[i] < 0x7F
	}
	if !ok {
		return errs.Newf(errs.Invalid, "批次名须为 1 至 %d 个可见 ASCII 字符", "a batch's name has 1 to %d visible ASCII characters", MaxName)
	}
	return nil
}

// CheckSpec returns an error unless the parts of spec fit together.
func CheckSpec(spec table.Spec) error {
	ok := spec.Table != "" && len(spec.Columns) > 0 && len(spec.Text) == len(spec.Columns) &&
		spec.Key >= 0 && spec.Key < len(spec.Columns)
	for _, name := range append([]string{spec.Table}, spec.Columns...) {
		ok = ok && name != "" && !strings.Contains(name, "\x00")
	}
	if !ok {
		return errs.New(errs.Invalid, "目标表的说明不完整", "the description of the target table is incomplete")
	}
	return nil
}

// Latest returns the rows that a batch leaves: of rows with one key the last. It refuses a row without a key by the
// server's code for a NULL where none may be.
func Latest(rows []table.Row, spec table.Spec, nullCode string) ([]Row, error) {
	last := make(map[string]int, len(rows))
	for i, row := range rows {
		if len(row) != len(spec.Columns) {
			return nil, &table.RowError{Row: i, Err: errs.New(errs.Invalid, "此行的列数不符", "the row's number of columns is wrong").WithCode("table.row")}
		}
		if row[spec.Key] == nil {
			return nil, table.Refused(i, nullCode)
		}
		last[string(row[spec.Key])] = i
	}
	latest := make([]Row, 0, len(last))
	for i, row := range rows {
		if last[string(row[spec.Key])] == i {
			latest = append(latest, Row{At: i, Values: row})
		}
	}
	return latest, nil
}

// Put writes rows by portions. Try writes some in one statement; where the server refuses one of them it returns the
// server's code and leaves nothing of them. Put halves such a portion until the row is found.
func Put(rows []Row, try func([]Row) (refused string, err error)) error {
	for len(rows) > 0 {
		n := portion(rows)
		if err := put(rows[:n], try); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func put(rows []Row, try func([]Row) (string, error)) error {
	refused, err := try(rows)
	switch {
	case err != nil || refused == "":
		return err
	case len(rows) == 1:
		return table.Refused(rows[0].At, refused)
	}
	if err := put(rows[:len(rows)/2], try); err != nil {
		return err
	}
	return put(rows[len(rows)/2:], try)
}

// portion returns how many rows go into the next statement: at least one.
func portion(rows []Row) int {
	most := max(1, min(len(rows), maxRows, maxArgs/len(rows[0].Values)))
	for n, size := 0, 0; n < most; n++ {
		for _, v := range rows[n].Values {
			size += len(v)
		}
		if size > maxBytes && n > 0 {
			return n
		}
	}
	return most
}

// Keys splits the keys of a search into portions, without NULL, which is nobody's key.
func Keys(keys []table.Value) [][]table.Value {
	rows := make([]Row, 0, len(keys))
	for _, k := range keys {
		if k != nil {
			rows = append(rows, Row{Values: table.Row{k}})
		}
	}
	var portions [][]table.Value
	for len(rows) > 0 {
		n := portion(rows)
		some := make([]table.Value, n)
		for i := range some {
			some[i] = rows[i].Values[0]
		}
		portions, rows = append(portions, some), rows[n:]
	}
	return portions
}

// CutCursor takes the cursor, their last column, off the rows of a scan, and returns that of the last, or after.
func CutCursor(rows []table.Row, after int64) ([]table.Row, int64, error) {
	for i, row := range rows {
		last := len(row) - 1
		n, err := strconv.ParseInt(string(row[last]), 10, 64)
		if err != nil {
			return nil, 0, errs.New(errs.Unsupported, "游标列不是整数", "the cursor column is not of whole numbers").WithCode("table.cursor")
		}
		rows[i], after = row[:last:last], n
	}
	return rows, after, nil
}
