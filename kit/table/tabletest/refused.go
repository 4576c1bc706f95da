package tabletest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
)

// secret stands in values that are refused, to show that no error repeats them.
const secret = "460200199001010000"

// refused writes batches with one row that no server takes, at different places.
func refused(t *testing.T, s *Server) {
	x := s.table(t)
	before := s.row("before", "陵水", 1)
	x.write("before", before)
	bad := []struct {
		name   string
		column int
		value  table.Value
	}{
		{"too long", 1, s.Encode(strings.Repeat(secret, 6))},
		{"no key", 0, nil},
		{"a key too long", 0, s.Encode(strings.Repeat(secret, 200))},
		{"not a number", 2, table.Value(secret + "x")},
		{"too large", 2, table.Value(secret)},
		{"no such day", 3, table.Value("2024-02-30")},
		{"not a day", 3, table.Value(secret)},
		{"no such time", 4, table.Value("2024-06-15 25:00:00")},
		{"beyond 64 bits", 5, table.Value(secret + secret)},
		{"against a check", 5, table.Value("13")},
	}
	if s.Charset != "binary" {
		bad = append(bad, []struct {
			name   string
			column int
			value  table.Value
		}{
			{"half a character", 1, append(s.Encode("海口")[:1:1], ' ')},
			{"not text", 1, table.Value("\xff\xff")},
			{"cut at the end", 1, s.Encode("保亭")[:len(s.Encode("保亭"))-1]},
		}...)
	}
	for i, b := range bad {
		if b.name == "a key too long" && s.Charset == "binary" && !strings.Contains(s.Text(64), "64") {
			continue // bytea has no length
		}
		t.Run(b.name, func(t *testing.T) {
			rows := s.rows(10)
			rows[1], rows[2] = rows[0], rows[0] // left out, and yet counted
			rows[3+i%7][b.column] = b.value
			refuses(t, x.Write(t.Context(), fmt.Sprint(i), rows), 3+i%7)
		})
	}
	x.has(before)
	if n := x.batches(); n != 1 {
		t.Errorf("the ledger has %d batches", n)
	}
	x.write("after", s.row("after", "琼中", 2)) // by the connections that were used
}

func refuses(t *testing.T, err error, row int) {
	t.Helper()
	var e *table.RowError
	if !errors.As(err, &e) || e.Row != row || errs.KindOf(err) != errs.Invalid {
		t.Fatalf("got %v, want row %d refused", err, row)
	}
	for at := err; at != nil; at = errors.Unwrap(at) {
		if strings.Contains(fmt.Sprintf("%+v", at), secret) {
			t.Errorf("the error repeats the value: %+v", at)
		}
	}
}

func refusedAmongMany(t *testing.T, s *Server) {
	x := s.table(t)
	rows := s.rows(1300)
	for _, at := range []int{1299, 777, 0} { // the first of them is found
		rows[at][3] = table.Value("2023-02-29")
		refuses(t, x.Write(t.Context(), "a", rows), at)
	}
	if n := s.Count(t, "SELECT COUNT(*) FROM things"); n != 0 {
		t.Errorf("%d rows of a refused batch are there", n)
	}
	x.write("a", s.rows(1300)...)
	x.has(s.rows(1300)...)
}

func batchNames(t *testing.T, s *Server) {
	x := s.table(t)
	for _, name := range []string{"", "a b", "批", "a\n", strings.Repeat("x", 129)} {
		if err := x.Write(t.Context(), name, nil); !errs.Is(err, errs.Invalid) {
			t.Errorf("batch %q gave %v", name, err)
		}
	}
	x.write(strings.Repeat("x", 128))
}

// missing opens before there is a table, as the contract allows.
func missing(t *testing.T, s *Server) {
	x := s.MustOpen(t, s.Spec())
	rows := s.rows(1)
	_, findErr := x.Find(t.Context(), []table.Value{rows[0][0]})
	_, _, scanErr := x.Scan(t.Context(), "id", 0, 1)
	for _, err := range []error{x.Write(t.Context(), "a", rows), findErr, scanErr} {
		if !errs.Is(err, errs.NotFound) || errs.As(err).Code != "table.missing" {
			t.Errorf("got %v", err)
		}
	}
	s.create(t)
	if err := x.Write(t.Context(), "a", rows); err != nil {
		t.Fatal(err)
	}
	Holds(t, x, rows, 0)
}

func noKey(t *testing.T, s *Server) {
	s.create(t)
	spec := s.Spec()
	spec.Key = 1
	if err := s.MustOpen(t, spec).Write(t.Context(), "a", s.rows(1)); errs.As(err).Code != "table.key" {
		t.Errorf("got %v", err)
	}
}

func noColumn(t *testing.T, s *Server) {
	s.create(t)
	spec := s.Spec()
	spec.Columns[1] = "nobody`\"'"
	if s.Charset == "gbk" {
		spec.Columns[1] = "nobody"
	}
	if err := s.MustOpen(t, spec).Write(t.Context(), "a", s.rows(1)); errs.As(err).Code != "table.column" {
		t.Errorf("got %v", err)
	}
	spec = s.Spec()
	spec.Text[5] = true
	if err := s.MustOpen(t, spec).Write(t.Context(), "a", s.rows(1)); errs.As(err).Code != "table.charset" || errs.As(err).Field != "whole" {
		t.Errorf("a number said to be text gave %v", err)
	}
	if _, _, err := s.MustOpen(t, s.Spec()).Scan(t.Context(), "nobody", 0, 1); errs.As(err).Code != "table.column" {
		t.Errorf("a cursor that is not there gave %v", err)
	}
}
