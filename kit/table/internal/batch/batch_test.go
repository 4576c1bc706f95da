package batch

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
)

var spec = table.Spec{Table: "t", Columns: []string{"v", "k"}, Text: []bool{true, true}, Key: 1}

func rows(keys ...string) []table.Row {
	var all []table.Row
	for i, k := range keys {
		all = append(all, table.Row{fmt.Append(nil, i), []byte(k)})
	}
	return all
}

func TestLatest(t *testing.T) {
	latest, err := Latest(rows("a", "b", "a", "c", "b", ""), spec, "null")
	var at []int
	for _, r := range latest {
		at = append(at, r.At)
	}
	if err != nil || fmt.Sprint(at) != "[2 3 4 5]" {
		t.Errorf("rows %v, %v", at, err)
	}
	for i, bad := range []table.Row{{nil, nil}, {nil}, nil, {nil, {}, nil}} {
		_, err := Latest(append(rows("a", "a"), bad), spec, "null")
		var e *table.RowError
		if !errors.As(err, &e) || e.Row != 2 || !errs.Is(err, errs.Invalid) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}

// Put writes all rows in their order whatever was refused with its neighbours, and stops at the first refused alone.
func TestPut(t *testing.T) {
	latest, _ := Latest(rows("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"), spec, "null")
	for _, c := range []struct {
		name    string
		refuses func([]Row) bool
		row     int // -1: none
	}{
		{"none", func([]Row) bool { return false }, -1},
		{"two of them", func(some []Row) bool {
			return slices.ContainsFunc(some, func(r Row) bool { return r.At == 4 || r.At == 8 })
		}, 4},
		{"the last", func(some []Row) bool { return some[len(some)-1].At == 10 }, 10},
		{"only together", func(some []Row) bool { return len(some) > 2 }, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var put []int
			err := Put(latest, func(some []Row) (string, error) {
				if c.refuses(some) {
					return "code", nil
				}
				for _, r := range some {
					put = append(put, r.At)
				}
				return "", nil
			})
			var e *table.RowError
			if errors.As(err, &e) != (c.row >= 0) || e != nil && e.Row != c.row {
				t.Errorf("got %v, want row %d", err, c.row)
			}
			for i, at := range put {
				if i != at {
					t.Fatalf("put in the order %v", put)
				}
			}
			if want := len(latest); c.row < 0 && len(put) != want || c.row >= 0 && len(put) != c.row {
				t.Errorf("put %d rows", len(put))
			}
		})
	}
	away := errors.New("away")
	if err := Put(latest, func([]Row) (string, error) { return "", away }); err != away {
		t.Errorf("got %v", err)
	}
}

func TestPortionsAreBounded(t *testing.T) {
	row := func(n int) Row { return Row{Values: table.Row{make([]byte, n), nil}} }
	for _, c := range []struct {
		name string
		rows []Row
		want string
	}{
		{"by rows", slices.Repeat([]Row{row(1)}, 1201), "[500 500 201]"},
		{"by bytes", slices.Repeat([]Row{row(200 << 10)}, 5), "[2 2 1]"},
		{"a long row alone", []Row{row(1), row(9 << 20), row(1), row(1)}, "[1 1 2]"},
		{"by parameters", slices.Repeat([]Row{{Values: make(table.Row, 20000)}}, 3), "[1 1 1]"},
		{"none", nil, "[]"},
	} {
		sizes := []int{}
		if err := Put(c.rows, func(some []Row) (string, error) { sizes = append(sizes, len(some)); return "", nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(sizes) != c.want {
			t.Errorf("%s: %v, want %s", c.name, sizes, c.want)
		}
	}
}

func TestCutCursor(t *testing.T) {
	got, last, err := CutCursor([]table.Row{{[]byte("a"), []byte("7")}, {[]byte("b"), []byte("9")}}, 3)
	if err != nil || last != 9 || len(got) != 2 || len(got[1]) != 1 {
		t.Errorf("got %q, %d, %v", got, last, err)
	}
	if _, last, err := CutCursor(nil, 3); err != nil || last != 3 {
		t.Errorf("without rows: %d, %v", last, err)
	}
	for _, bad := range []table.Value{nil, []byte("1.5"), []byte("x")} {
		if _, _, err := CutCursor([]table.Row{{bad}}, 0); !errs.Is(err, errs.Unsupported) {
			t.Errorf("cursor %q gave %v", bad, err)
		}
	}
}

func TestCheckSpec(t *testing.T) {
	if err := CheckSpec(spec); err != nil {
		t.Error(err)
	}
	for i, bad := range []func(*table.Spec){
		func(s *table.Spec) { s.Table = "" },
		func(s *table.Spec) { s.Columns = nil },
		func(s *table.Spec) { s.Columns = []string{"a", ""} },
		func(s *table.Spec) { s.Columns = []string{"a", "b\x00"} },
		func(s *table.Spec) { s.Text = s.Text[:1] },
		func(s *table.Spec) { s.Key = 2 },
		func(s *table.Spec) { s.Key = -1 },
	} {
		wrong := spec
		bad(&wrong)
		if err := CheckSpec(wrong); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}
