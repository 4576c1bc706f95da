package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/table"
)

// Exercise holds an engine to the contract of package table. New returns an empty database.
func Exercise(t *testing.T, newServer func(t *testing.T) *Server) {
	for _, e := range []struct {
		name string
		run  func(t *testing.T, s *Server)
	}{
		{"a batch is written once", once},
		{"a batch sent at the same time is written once", onceAtATime},
		{"batches of the same rows", overlapping},
		{"a row replaces the one with its key", replaces},
		{"the last of one key is kept", lastWins},
		{"NULL and empty", nulls},
		{"an empty batch", emptyBatch},
		{"find", find},
		{"many rows", many},
		{"scan", scan},
		{"bytes stay as they are", exact},
		{"a refused row", refused},
		{"a refused row among many", refusedAmongMany},
		{"names of batches", batchNames},
		{"no table yet", missing},
		{"no unique key", noKey},
		{"a column that is not there", noColumn},
		{"a server that is away", away},
		{"a charset that nobody has", noCharset},
		{"a connection killed before the commit", killed},
		{"a caller that leaves before the commit", left},
	} {
		t.Run(e.name, func(t *testing.T) { e.run(t, newServer(t)) })
	}
}

func once(t *testing.T, s *Server) {
	x := s.table(t)
	x.write("a", s.row("1", "文昌", 1))
	x.has(s.row("1", "文昌", 1))
	x.write("b", s.row("1", "琼海", 2))
	x.write("a", s.row("1", "文昌", 1), s.row("2", "万宁", 2))
	x.write("A", s.row("3", "三亚", 3)) // another name
	x.has(s.row("1", "琼海", 2), s.row("3", "三亚", 3))
	if n := x.batches(); n != 3 {
		t.Errorf("the ledger has %d batches", n)
	}
}

// Each sends another row by the same name, so that a second writing would show.
func onceAtATime(t *testing.T, s *Server) {
	x := s.table(t)
	const senders = 8
	failed := together(senders, func(i int) error {
		return x.Write(t.Context(), "a", []table.Row{s.row(fmt.Sprint(i), "五指山", i)})
	})
	for _, err := range failed {
		t.Error(err)
	}
	if rows, batches := s.Count(t, "SELECT COUNT(*) FROM things"), x.batches(); rows != 1 || batches != 1 {
		t.Errorf("%d rows of %d batches", rows, batches)
	}
}

// Writers get in each other's way; whoever is told to come back does, and one batch is seen whole.
func overlapping(t *testing.T, s *Server) {
	x := s.table(t)
	const senders, rows = 4, 60
	failed := together(senders, func(i int) error {
		batch := make([]table.Row, rows)
		for j := range batch {
			batch[j] = s.row(fmt.Sprint(j), "东方", i)
		}
		if i%2 == 1 {
			slices.Reverse(batch)
		}
		for {
			if err := x.Write(t.Context(), fmt.Sprint(i), batch); !errs.Is(err, errs.Unavailable) {
				return err
			}
		}
	})
	for _, err := range failed {
		t.Error(err)
	}
	if n := s.Count(t, "SELECT COUNT(DISTINCT amount) FROM things"); n != 1 || x.batches() != senders {
		t.Errorf("rows of %d batches are mixed, %d are in the ledger", n, x.batches())
	}
}

// together runs n functions at once and returns their errors.
func together(n int, f func(i int) error) (failed []error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		all.Go(func() {
			if err := f(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	all.Wait()
	return failed
}

func replaces(t *testing.T, s *Server) {
	x := s.table(t)
	x.write("a", s.row("1", "定安", 1), s.row("2", "屯昌", 2))
	null := table.Row{s.Encode("2"), nil, nil, nil, nil, nil}
	x.write("b", null, s.row("3", "澄迈", 3))
	x.has(s.row("1", "定安", 1), null, s.row("3", "澄迈", 3))
}

func lastWins(t *testing.T, s *Server) {
	x := s.table(t)
	x.write("a", s.row("1", "临高", 1), s.row("2", "白沙", 2), s.row("1", "昌江", 3))
	x.has(s.row("1", "昌江", 3), s.row("2", "白沙", 2))
}

func nulls(t *testing.T, s *Server) {
	x := s.table(t)
	null := table.Row{s.Encode("1"), nil, nil, nil, nil, nil}
	empty := table.Row{s.Encode("2"), {}, nil, nil, nil, nil}
	x.write("a", null, empty)
	x.has(null, empty)
}

func emptyBatch(t *testing.T, s *Server) {
	x := s.table(t)
	x.write("a")
	x.write("a", s.row("1", "乐东", 1))
	x.has()
	if n := x.batches(); n != 1 {
		t.Errorf("the ledger has %d batches", n)
	}
}

func find(t *testing.T, s *Server) {
	x := s.table(t)
	x.write("a", s.rows(3)...)
	rows, err := x.Find(t.Context(), []table.Value{s.Encode("nobody"), s.Encode("k00001"), nil})
	if err != nil || len(rows) != 1 || !same(rows[0], s.rows(3)[1]) {
		t.Errorf("got %q, %v", rows, err)
	}
	if rows, err := x.Find(t.Context(), nil); err != nil || len(rows) != 0 {
		t.Errorf("without keys: %q, %v", rows, err)
	}
	spec := s.Spec() // keys that are numbers, beyond what a float tells apart
	s.Exec(t, "CREATE UNIQUE INDEX by_whole ON things (whole)")
	s.Exec(t, "DELETE FROM things")
	x.write("b", withWhole(s.row("1", "", 1), "9007199254740992"), withWhole(s.row("2", "", 2), "9007199254740993"))
	spec.Key = 5
	Holds(t, s.MustOpen(t, spec), []table.Row{withWhole(s.row("2", "", 2), "9007199254740993")}, 5)
}

func withWhole(r table.Row, whole string) table.Row {
	r[5] = []byte(whole)
	return r
}

func many(t *testing.T, s *Server) {
	x := s.table(t)
	rows := s.rows(2345)
	x.write("a", rows...)
	x.has(rows...)
	x.write("b", rows...)
	x.has(rows...)
}

func scan(t *testing.T, s *Server) {
	x := s.table(t)
	rows := s.rows(25)
	for i, r := range rows { // in this order
		x.write(fmt.Sprint(i), r)
	}
	var got []table.Row
	var pages []int
	for after := int64(0); ; {
		page, last, err := x.Scan(t.Context(), "id", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			if last != after {
				t.Errorf("past the end the cursor is %d, want %d", last, after)
			}
			break
		}
		got, pages, after = append(got, page...), append(pages, len(page)), last
	}
	if fmt.Sprint(pages) != "[10 10 5]" {
		t.Errorf("pages of %d rows", pages)
	}
	for i := range rows {
		if !same(got[i], rows[i]) {
			t.Errorf("row %d is %q", i, got[i])
		}
	}
}

// exact writes texts that others lose, and what would end a quoted text.
func exact(t *testing.T, s *Server) {
	x := s.table(t)
	texts := []string{"海\\", "a'b\"c`d\\", "%_\n\r\t\x1a", "  ", "口\\' OR 1=1 -- "}
	if s.Charset == "gbk" { // whose second byte is a backslash
		texts = append(texts, "誠", "誠' OR 1=1 -- ", "兙")
	}
	if s.Charset != "gbk" && s.Charset != "gb2312" {
		texts = append(texts, "䶮㛃", "𠮷𬭎", "\U00020000\U0002A700", "\U00030000\U000323AF", "\uE000\uE7C7", "\uF900\uFA0E", "😀👨‍👩‍👧", "\U0010FFFF")
	}
	var rows []table.Row
	for i, text := range texts {
		rows = append(rows, s.row(text, text, i))
	}
	if s.Charset == "binary" {
		for i := 0; i < 256; i += 16 {
			every := make([]byte, 16)
			for j := range every {
				every[j] = byte(i + j)
			}
			rows = append(rows, table.Row{bytes.Clone(every), every, nil, nil, nil, nil})
		}
	}
	x.write("a", rows...)
	x.has(rows...)
	for _, row := range rows { // also where the server itself is asked
		n := s.Count(t, "SELECT COUNT(*) FROM things WHERE "+fmt.Sprintf(s.hex, "code")+" = '"+fmt.Sprintf("%x", row[0])+"'")
		if n != 1 {
			t.Errorf("the server does not have the bytes %x", row[0])
		}
	}
}

func away(t *testing.T, s *Server) {
	_, err := s.Open(t.Context(), s.Away, s.Spec())
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("a closed port gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, s.DSN, s.Spec()); !errs.Is(err, errs.Canceled) {
		t.Errorf("a caller that had left got %v", err)
	}
	if _, err := s.Open(t.Context(), "://secret@", s.Spec()); !errs.Is(err, errs.Invalid) || bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Errorf("a malformed DSN gave %v", err)
	}
}

func noCharset(t *testing.T, s *Server) {
	spec := s.Spec()
	for _, spec.Charset = range []string{"martian", "", "gbk; DROP TABLE things"} {
		if _, err := s.Open(t.Context(), s.DSN, spec); !errs.Is(err, errs.Unsupported) {
			t.Errorf("charset %q gave %v", spec.Charset, err)
		}
	}
}
