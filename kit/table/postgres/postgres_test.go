package postgres_test

import (
	"slices"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/table/tabletest"
)

func TestContract(t *testing.T) {
	for _, charset := range []string{"UTF8", "binary"} {
		t.Run(charset, func(t *testing.T) {
			tabletest.Exercise(t, func(t *testing.T) *tabletest.Server { return tabletest.Postgres(t, charset) })
		})
	}
}

func rowOf(values ...string) table.Row {
	row := make(table.Row, len(values))
	for i, v := range values {
		row[i] = table.Value(v)
	}
	return row
}

// Each column's type reads its own texts, and writes them as it does for everybody.
func TestTypes(t *testing.T) {
	s := tabletest.Postgres(t, "UTF8")
	s.Exec(t, `CREATE TABLE things (k uuid PRIMARY KEY, i integer, n numeric(12,2), r double precision, b boolean, d date, s timestamp, z timestamptz,
		j jsonb, a text[], c char(3), t text)`)
	columns := []string{"k", "i", "n", "r", "b", "d", "s", "z", "j", "a", "c", "t"}
	texts := make([]bool, len(columns))
	texts[10], texts[11] = true, true
	x := s.MustOpen(t, table.Spec{Table: "things", Columns: columns, Text: texts, Charset: "utf8"})
	row := rowOf("9b2f3a52-0b6e-4a6e-8a5c-2b8f6a3b7c11", "-7", "12.50", "0.1", "t", "2024-02-29", "2024-06-15 09:23:45.123456",
		"2024-06-15 09:23:45+08", `{"名": "海口"}`, "{a,NULL}", "琼", "𠮷")
	if err := x.Write(t.Context(), "a", []table.Row{row, row}); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(t, `SELECT COUNT(*) FROM things WHERE i = -7 AND n = 12.5 AND r = 0.1 AND b AND d = DATE '2024-02-29'
		AND s = TIMESTAMP '2024-06-15 09:23:45.123456' AND z = TIMESTAMPTZ '2024-06-15 01:23:45Z' AND j->>'名' = '海口'
		AND a[1] = 'a' AND a[2] IS NULL AND t = U&'\+020BB7'`); n != 1 {
		t.Errorf("%d rows are as they were written", n)
	}
	found, err := x.Find(t.Context(), []table.Value{row[0]})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	want := slices.Clone(row)
	want[10] = table.Value("琼  ") // as char(3) has it
	for i := range want {
		if columns[i] != "z" && string(found[0][i]) != string(want[i]) { // z is told in the session's zone
			t.Errorf("column %s is %q", columns[i], found[0][i])
		}
	}
}

// Two spellings of one key in a batch are one row; the last is kept.
func TestSpellingsOfAKey(t *testing.T) {
	s := tabletest.Postgres(t, "UTF8")
	s.Exec(t, "CREATE TABLE pairs (k numeric PRIMARY KEY, v text)")
	x := s.MustOpen(t, table.Spec{Table: "pairs", Columns: []string{"k", "v"}, Text: []bool{false, true}, Charset: "UTF8"})
	if err := x.Write(t.Context(), "a", []table.Row{rowOf("1", "a"), rowOf("2", "b"), rowOf("1.0", "c"), rowOf("01", "d")}); err != nil {
		t.Fatal(err)
	}
	if n := s.Count(t, "SELECT COUNT(*) FROM pairs WHERE (k, v) IN ((1, 'd'), (2, 'b'))"); n != 2 {
		t.Errorf("%d rows are right", n)
	}
}

// Constraints that wait for the commit are asked at the row; so is a trigger.
func TestConstraints(t *testing.T) {
	s := tabletest.Postgres(t, "UTF8")
	s.Exec(t, "CREATE TABLE cities (name text PRIMARY KEY)")
	s.Exec(t, "INSERT INTO cities VALUES ('海口')")
	s.Exec(t, "CREATE TABLE pairs (k text PRIMARY KEY, v text REFERENCES cities DEFERRABLE INITIALLY DEFERRED)")
	x := s.MustOpen(t, table.Spec{Table: "pairs", Columns: []string{"k", "v"}, Text: []bool{true, true}, Charset: "UTF8"})
	write := func() error {
		return x.Write(t.Context(), "a", []table.Row{rowOf("1", "海口"), rowOf("2", "海口"), rowOf("3", "nowhere")})
	}
	if e, ok := write().(*table.RowError); !ok || e.Row != 2 {
		t.Errorf("a missing reference gave %v", e)
	}
	s.Exec(t, "INSERT INTO cities VALUES ('nowhere')")
	s.Exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.k = '2' THEN RAISE EXCEPTION 'no %', NEW.v; END IF; RETURN NEW; END $$`)
	s.Exec(t, "CREATE TRIGGER refuse BEFORE INSERT ON pairs FOR EACH ROW EXECUTE FUNCTION refuse()")
	if e, ok := write().(*table.RowError); !ok || e.Row != 1 {
		t.Errorf("a trigger gave %v", e)
	}
}

// Names may be Chinese, hold quotes, and be qualified; the ledger stands beside the table.
func TestNames(t *testing.T) {
	s := tabletest.Postgres(t, "binary")
	var schema string
	if err := s.Admin.QueryRowContext(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, `CREATE TABLE "表""'" ("键" bytea PRIMARY KEY, "a$1" int)`)
	x := s.MustOpen(t, table.Spec{Table: schema + `.表"'`, Columns: []string{"键", "a$1"}, Text: []bool{true, false}, Charset: "binary"})
	if err := x.Write(t.Context(), "a", []table.Row{rowOf("\x00\xff", "2")}); err != nil {
		t.Fatal(err)
	}
	tabletest.Holds(t, x, []table.Row{rowOf("\x00\xff", "2")}, 0)
	if n := s.Count(t, "SELECT COUNT(*) FROM qiong_ledger WHERE batch = 'a' AND abs(written_at - extract(epoch from now()) * 1000) < 3600000"); n != 1 {
		t.Errorf("the ledger beside it has %d batches of this hour", n)
	}
}

// GB encodings are for MySQL and MariaDB.
func TestGBIsUnsupported(t *testing.T) {
	s := tabletest.Postgres(t, "UTF8")
	spec := s.Spec()
	for _, spec.Charset = range []string{"gbk", "gb18030", "utf8mb4"} {
		if _, err := s.Open(t.Context(), s.DSN, spec); !errs.Is(err, errs.Unsupported) {
			t.Errorf("%s gave %v", spec.Charset, err)
		}
	}
}
