package postgres

import (
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/table"
)

// statements are the parts of this table's SQL that never change.
type statements struct {
	name   string // the table's
	insert string // up to VALUES
	update string // what follows the rows
	list   string // the columns
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
	columns, updates := make([]string, len(spec.Columns)), make([]string, len(spec.Columns))
	for i, c := range spec.Columns {
		columns[i] = quote(c)
		updates[i] = quote(c) + " = excluded." + quote(c)
	}
	key, list := columns[spec.Key], strings.Join(columns, ", ")
	return statements{
		name:   name,
		insert: "INSERT INTO " + name + " (" + list + ") VALUES ",
		update: " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(updates, ", "),
		list:   list,
		key:    key,
		claim: "INSERT INTO " + ledger + " (batch, written_at) VALUES ($1, (extract(epoch from clock_timestamp()) * 1000)::bigint) " +
			"ON CONFLICT (batch) DO NOTHING",
		ledger: "CREATE TABLE IF NOT EXISTS " + ledger + ` (batch varchar(128) COLLATE "C" PRIMARY KEY, written_at bigint NOT NULL)`,
	}
}

// upsert writes n rows of so many columns.
func (s *statements) upsert(n, columns int) string {
	var b strings.Builder
	b.WriteString(s.insert)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		places(&b, i*columns, columns)
	}
	b.WriteString(s.update)
	return b.String()
}

// find selects the rows of n keys.
func (s *statements) find(n int) string {
	var b strings.Builder
	b.WriteString("SELECT " + s.list + " FROM " + s.name + " WHERE " + s.key + " IN ")
	places(&b, 0, n)
	return b.String()
}

// after selects the rows past a cursor.
func (s *statements) after(cursor string) string {
	c := quote(cursor)
	return "SELECT " + s.list + ", " + c + " FROM " + s.name + " WHERE " + c + " > $1 ORDER BY " + c + " LIMIT $2"
}

// places writes n placeholders in parentheses, after the first so many.
func places(b *strings.Builder, first, n int) {
	for i := range n {
		if i == 0 {
			b.WriteString("($")
		} else {
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(first + i + 1))
	}
	b.WriteByte(')')
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteAll quotes the parts of a qualified name.
func quoteAll(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = quote(p)
	}
	return strings.Join(parts, ".")
}
