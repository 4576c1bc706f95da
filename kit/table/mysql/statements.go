package mysql

import (
	"strings"

	"github.com/qiongdev/qiong/kit/table"
)

// statements are the parts of this table's SQL that never change.
type statements struct {
	insert string // up to VALUES
	row    string // a row's placeholders
	update string // what follows the rows
	list   string // the columns as selected
	where  string // the table, up to the condition
	key    string
	claim  string // puts a batch into the ledger
	ledger string // makes the ledger
}

func phrase(spec table.Spec) statements {
	name := quoteAll(spec.Table)
	ledger := quote("qiong_ledger")
	if at := strings.LastIndexByte(spec.Table, '.'); at >= 0 {
		ledger = quoteAll(spec.Table[:at]) + "." + ledger
	}
	columns := make([]string, len(spec.Columns))
	selected := make([]string, len(spec.Columns))
	updates := make([]string, 0, len(spec.Columns))
	for i, c := range spec.Columns {
		columns[i], selected[i] = quote(c), quote(c)
		if !spec.Text[i] { // as the server writes it, not as the driver would
			selected[i] = "CAST(" + quote(c) + " AS CHAR)"
		}
		if i != spec.Key {
			updates = append(updates, quote(c)+" = VALUES("+quote(c)+")")
		}
	}
	// An upsert replaces whichever row is in the way by whichever unique index. One that has another key is not ours
	// to replace: NULL in the key column makes the server refuse.
	key := quote(spec.Columns[spec.Key])
	updates = append([]string{key + " = IF(" + key + " = VALUES(" + key + "), VALUES(" + key + "), NULL)"}, updates...)
	return statements{
		insert: "INSERT INTO " + name + " (" + strings.Join(columns, ", ") + ") VALUES ",
		row:    "(" + places(len(columns)) + ")",
		update: " ON DUPLICATE KEY UPDATE " + strings.Join(updates, ", "),
		list:   strings.Join(selected, ", "),
		where:  " FROM " + name + " WHERE ",
		key:    key,
		claim:  "INSERT INTO " + ledger + " (batch, written_at) VALUES (?, ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000))",
		ledger: "CREATE TABLE IF NOT EXISTS " + ledger + " (batch VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, " +
			"written_at BIGINT NOT NULL) ENGINE=InnoDB",
	}
}

// upsert writes n rows.
func (s *statements) upsert(n int) string {
	return s.insert + strings.Repeat(s.row+", ", n-1) + s.row + s.update
}

// find selects the rows of n keys.
func (s *statements) find(n int) string {
	return "SELECT " + s.list + s.where + s.key + " IN (" + places(n) + ")"
}

// after selects the rows past a cursor.
func (s *statements) after(cursor string) string {
	c := quote(cursor)
	return "SELECT " + s.list + ", " + c + s.where + c + " > ? ORDER BY " + c + " LIMIT ?"
}

// places returns n placeholders.
func places(n int) string { return strings.Repeat("?, ", n-1) + "?" }

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// quoteAll quotes the parts of a qualified name.
func quoteAll(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = quote(p)
	}
	return strings.Join(parts, ".")
}
