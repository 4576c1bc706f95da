package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/qiongdev/qiong/kit/table"
)

// things is the table of the exercises, opened.
type things struct {
	table.Table
	*Server
	t *testing.T
}

// Spec returns what the exercises say of their table.
func (s *Server) Spec() table.Spec {
	return table.Spec{
		Table:   "things",
		Columns: []string{"code", "name", "amount", "born", "seen", "whole"},
		Text:    []bool{true, true, false, false, false, false},
		Charset: s.Charset,
	}
}

// create makes the table. A name has up to 80 characters or bytes.
func (s *Server) create(t *testing.T) {
	t.Helper()
	s.Exec(t, "CREATE TABLE things (id "+s.id+", code "+s.Text(64)+" NOT NULL, name "+s.Text(80)+
		", amount NUMERIC(12,2), born DATE, seen "+s.stamp+", whole BIGINT, PRIMARY KEY (code), "+
		"CHECK (OCTET_LENGTH(name) <= 80), CHECK (whole <> 13))")
}

// table makes the table and opens it.
func (s *Server) table(t *testing.T) *things {
	t.Helper()
	s.create(t)
	return &things{Table: s.MustOpen(t, s.Spec()), Server: s, t: t}
}

// MustOpen opens a table for the length of the test.
func (s *Server) MustOpen(t *testing.T, spec table.Spec) table.Table {
	t.Helper()
	opened, err := s.Open(t.Context(), s.DSN, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened
}

// row returns a row without NULLs; of one number all is alike.
func (s *Server) row(code, name string, n int) table.Row {
	return table.Row{s.Encode(code), s.Encode(name), fmt.Appendf(nil, "%d.25", n),
		fmt.Appendf(nil, "2024-06-%02d", n%28+1), fmt.Appendf(nil, "2024-06-15 09:%02d:45", n%60), fmt.Appendf(nil, "%d", int64(n)<<33)}
}

// rows returns n rows.
func (s *Server) rows(n int) []table.Row {
	rows := make([]table.Row, n)
	for i := range rows {
		rows[i] = s.row(fmt.Sprintf("k%05d", i), "海口", i)
	}
	return rows
}

// write writes a batch that must be taken.
func (x *things) write(batch string, rows ...table.Row) {
	x.t.Helper()
	if err := x.Write(x.t.Context(), batch, rows); err != nil {
		x.t.Fatalf("batch %s: %v", batch, err)
	}
}

// has compares what the table has of the given rows' keys, and in all.
func (x *things) has(want ...table.Row) {
	x.t.Helper()
	Holds(x.t, x.Table, want, 0)
	if n := x.Count(x.t, "SELECT COUNT(*) FROM things"); n != len(want) {
		x.t.Errorf("the table has %d rows, want %d", n, len(want))
	}
}

// batches returns how many batches the ledger has.
func (x *things) batches() int {
	x.t.Helper()
	return x.Count(x.t, "SELECT COUNT(*) FROM qiong_ledger")
}

// Holds compares rows with what Find returns for their keys, byte by byte.
func Holds(t *testing.T, in table.Table, want []table.Row, key int) {
	t.Helper()
	keys := make([]table.Value, len(want))
	for i, row := range want {
		keys[i] = row[key]
	}
	got, err := in.Find(context.WithoutCancel(t.Context()), keys)
	if err != nil {
		t.Fatal(err)
	}
	byKey := func(a, b table.Row) int { return bytes.Compare(a[key], b[key]) }
	want = slices.SortedFunc(slices.Values(want), byKey)
	slices.SortFunc(got, byKey)
	if len(got) != len(want) {
		t.Fatalf("found %d rows, want %d", len(got), len(want))
	}
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("got  %q\nwant %q", got[i], want[i])
		}
	}
}

// same compares rows; NULL is not the empty text.
func same(a, b table.Row) bool {
	return slices.EqualFunc(a, b, func(x, y table.Value) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) })
}
