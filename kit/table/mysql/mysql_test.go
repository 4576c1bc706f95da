package mysql_test

import (
	"fmt"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/tabletest"
)

func TestContract(t *testing.T) {
	for _, charset := range []string{"binary", "gbk", "gb2312", "utf8mb4"} {
		t.Run(charset, func(t *testing.T) {
			tabletest.Exercise(t, func(t *testing.T) *tabletest.Server { return tabletest.MariaDB(t, charset) })
		})
	}
}

// Every character of GBK goes through a column of charset gbk as it is, and back.
func TestAllOfGBK(t *testing.T) {
	s := tabletest.MariaDB(t, "gbk")
	s.Exec(t, "CREATE TABLE things (code VARCHAR(2) CHARACTER SET gbk COLLATE gbk_bin PRIMARY KEY, name VARCHAR(4) CHARACTER SET gbk)")
	x := s.MustOpen(t, table.Spec{Table: "things", Columns: []string{"code", "name"}, Text: []bool{true, true}, Charset: "gbk"})
	var rows []table.Row
	for lead := 0x81; lead <= 0xFE; lead++ {
		for trail := 0x40; trail <= 0xFE; trail++ {
			code := []byte{byte(lead), byte(trail)}
			if _, err := gb18030.GBK.AppendDecode(nil, code); err == nil {
				rows = append(rows, table.Row{code, append([]byte(`'\`), code...)})
			}
		}
	}
	if len(rows) != 21791 {
		t.Fatalf("GBK has %d characters", len(rows))
	}
	if err := x.Write(t.Context(), "gbk", rows); err != nil {
		t.Fatal(err)
	}
	tabletest.Holds(t, x, rows, 0)
	if n := s.Count(t, "SELECT COUNT(*) FROM things WHERE name = CONCAT('''\\\\', code) AND HEX(name) = CONCAT('275C', HEX(code))"); n != len(rows) {
		t.Errorf("the server has %d of %d as they are", n, len(rows))
	}
}

// MariaDB does not have gb18030; where a server does, the contract holds there too.
func TestGB18030(t *testing.T) {
	s := tabletest.MariaDB(t, "gb18030")
	if s.Count(t, "SELECT COUNT(*) FROM information_schema.character_sets WHERE character_set_name = 'gb18030'") > 0 {
		tabletest.Exercise(t, func(t *testing.T) *tabletest.Server { return tabletest.MariaDB(t, "gb18030") })
		return
	}
	if _, err := s.Open(t.Context(), s.DSN, s.Spec()); !errs.Is(err, errs.Unsupported) || errs.As(err).Code != "table.charset" {
		t.Errorf("got %v", err)
	}
}

// pair opens a table of two columns, of which the first is the key.
func pair(t *testing.T, s *tabletest.Server, definition string) table.Table {
	t.Helper()
	s.Exec(t, "CREATE TABLE pairs "+definition)
	return s.MustOpen(t, table.Spec{Table: "pairs", Columns: []string{"k", "v"}, Text: []bool{true, false}, Charset: s.Charset})
}

func rowOf(k, v string) table.Row { return table.Row{table.Value(k), table.Value(v)} }

// Another row's value in another unique index is that row's; an upsert alone would overwrite it.
func TestAnotherUniqueIndex(t *testing.T) {
	s := tabletest.MariaDB(t, "utf8mb4")
	x := pair(t, s, "(id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(9) CHARACTER SET utf8mb4 NOT NULL UNIQUE, v INT UNIQUE)")
	write := func(batch string, rows ...table.Row) error { return x.Write(t.Context(), batch, rows) }
	if err := write("a", rowOf("1", "10"), rowOf("2", "20")); err != nil {
		t.Fatal(err)
	}
	for i, rows := range [][]table.Row{
		{rowOf("4", "40"), rowOf("3", "10")},
		{rowOf("1", "11"), rowOf("2", "11")},
	} {
		if e, ok := write(fmt.Sprint(i), rows...).(*table.RowError); !ok || e.Row != 1 {
			t.Errorf("batch %d gave %v", i, e)
		}
	}
	tabletest.Holds(t, x, []table.Row{rowOf("1", "10"), rowOf("2", "20")}, 0)
}

// What the server takes with a note and stores as something else is refused; a collation's equals are one key.
func TestWhatTheServerWouldAlter(t *testing.T) {
	s := tabletest.MariaDB(t, "utf8mb4")
	for _, c := range []struct{ name, kind, value, key string }{
		{"digits past the scale", "DECIMAL(12,2)", "1.005", "k"},
		{"a time in a day", "DATE", "2024-06-15 10:20:30", "k"},
		{"no such day", "DATE", "2024-02-30", "k"},
		{"day zero", "DATE", "0000-00-00", "k"},
		{"a fraction", "INT", "7x", "k"},
		{"out of range", "TINYINT", "128", "k"},
		{"a list's stranger", "ENUM('a','b')", "c", "k"},
		{"too long", "CHAR(3)", "abcd", "k"},
		{"spaces past the end of the key", "INT", "1", "key        "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tabletest.MariaDB(t, "utf8mb4")
			s.DSN += "?SQL_mode=%27%27&sql_notes=0" // asks for a lax session, in vain
			x := pair(t, s, "(k VARCHAR(9) CHARACTER SET utf8mb4 PRIMARY KEY, v "+c.kind+")")
			err := x.Write(t.Context(), "a", []table.Row{{[]byte("good"), nil}, rowOf(c.key, c.value)})
			if e, ok := err.(*table.RowError); !ok || e.Row != 1 {
				t.Errorf("got %v", err)
			}
			if n := s.Count(t, "SELECT COUNT(*) FROM pairs"); n != 0 {
				t.Errorf("%d rows are there", n)
			}
		})
	}
	x := pair(t, s, "(k VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)")
	if err := x.Write(t.Context(), "a", []table.Row{rowOf("key", "1"), rowOf("KEY", "2")}); err != nil {
		t.Fatal(err)
	}
	tabletest.Holds(t, x, []table.Row{rowOf("KEY", "2")}, 0)
}

// Tables that can't keep the promise are not written to.
func TestUnfitTables(t *testing.T) {
	s := tabletest.MariaDB(t, "gbk")
	for i, c := range []struct{ definition, code string }{
		{"(k VARCHAR(9) CHARACTER SET gbk PRIMARY KEY, v INT) ENGINE=MyISAM", "table.engine"},
		{"(k VARCHAR(9) CHARACTER SET utf8mb4 PRIMARY KEY, v INT)", "table.charset"},
		{"(k VARBINARY(9) PRIMARY KEY, v INT)", "table.charset"},
		{"(k VARCHAR(9) CHARACTER SET gbk UNIQUE, v INT)", "table.key"}, // it may be NULL
		{"(k VARCHAR(9) CHARACTER SET gbk NOT NULL, v INT, UNIQUE (k, v))", "table.key"},
		{"(k VARCHAR(9) CHARACTER SET gbk NOT NULL, v INT, UNIQUE (k(3)))", "table.key"},
	} {
		if err := pair(t, s, c.definition).Write(t.Context(), fmt.Sprint(i), []table.Row{rowOf("1", "2")}); errs.As(err).Code != c.code {
			t.Errorf("%s gave %v", c.definition, err)
		}
		s.Exec(t, "DROP TABLE pairs")
	}
	spec := table.Spec{Table: "表", Columns: []string{"k"}, Text: []bool{true}, Charset: "gbk"}
	if _, err := s.Open(t.Context(), s.DSN, spec); !errs.Is(err, errs.Unsupported) {
		t.Errorf("a Chinese name in gbk gave %v", err)
	}
}

// Names may be Chinese where the statement can say them, hold quotes, and be qualified.
func TestNames(t *testing.T) {
	s := tabletest.MariaDB(t, "binary")
	s.Exec(t, "CREATE TABLE `表``'` (`键` VARBINARY(9) PRIMARY KEY, `a?b` INT)")
	var database string
	if err := s.Admin.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	x := s.MustOpen(t, table.Spec{Table: database + ".表`'", Columns: []string{"键", "a?b"}, Text: []bool{true, false}, Charset: "binary"})
	if err := x.Write(t.Context(), "a", []table.Row{rowOf("1", "2")}); err != nil {
		t.Fatal(err)
	}
	tabletest.Holds(t, x, []table.Row{rowOf("1", "2")}, 0)
	if n := s.Count(t, "SELECT COUNT(*) FROM qiong_ledger WHERE batch = 'a' AND ABS(written_at - UNIX_TIMESTAMP() * 1000) < 3600000"); n != 1 {
		t.Errorf("the ledger beside it has %d batches of this hour", n)
	}
}

// A value may be longer than a portion, and goes apart from the others; one longer than the server's packets is refused.
func TestLongValues(t *testing.T) {
	s := tabletest.MariaDB(t, "binary")
	s.Exec(t, "CREATE TABLE things (k VARBINARY(9) PRIMARY KEY, v LONGBLOB)")
	x := s.MustOpen(t, table.Spec{Table: "things", Columns: []string{"k", "v"}, Text: []bool{true, true}, Charset: "binary"})
	long := func(k string, n int) table.Row {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(i * 7)
		}
		return table.Row{[]byte(k), v}
	}
	rows := []table.Row{long("1", 3<<20), long("2", 5), long("3", 9<<20), long("4", 700<<10), long("5", 700<<10)}
	if err := x.Write(t.Context(), "a", rows); err != nil {
		t.Fatal(err)
	}
	tabletest.Holds(t, x, rows, 0)
	err := x.Write(t.Context(), "b", []table.Row{long("6", 5), long("7", 20<<20)})
	if e, ok := err.(*table.RowError); !ok || e.Row != 1 {
		t.Errorf("a value beyond max_allowed_packet gave %v", err)
	}
}
