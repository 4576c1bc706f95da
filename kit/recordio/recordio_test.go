package recordio

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
)

var columns = NewColumns("id", "姓名", "note")

var formats = []Format{NDJSON, JSON, CSV, XML}

// people have what breaks readers: rare characters, quotes, line ends, marks of every format, and absent values.
var people = [][]string{
	{"1", "䶮𠮷㛃𬭎", `he said "hi", \ <b>&amp;</b> ]]> {}[]`},
	{"2", "·巴·金", "line one\nline two\tend"},
	{"", "\uf900\ue000👨‍👩‍👧", " blanks around "},
	{"4", "", "|"},
	{"5", "乊", "}"},
}

func valuesOf(texts []string) []Value {
	all := make([]Value, len(texts))
	for i, t := range texts {
		all[i] = Value{Text: []byte(t), Set: t != ""}
	}
	return all
}

func textsOf(values []Value) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v.Text)
	}
	return all
}

func file(f Format, rows [][]string) []byte {
	w := &Writer{Format: f, Columns: columns, Root: "rows", Row: "row"}
	b := w.AppendHead(nil)
	for i, r := range rows {
		b = w.Append(b, valuesOf(r), i == 0)
	}
	return w.AppendTail(b)
}

// readAll reads a file from a state on, and returns the state behind every record.
func readAll(r io.Reader, f Format, opt Options, state State, decode func([]byte) []byte) (rows [][]string, states []State, err error) {
	opt.Row = "row"
	passed := state.Offset
	opt.Passed = func(b []byte) { passed += int64(len(b)) }
	s := NewSplitter(r, f, opt, state)
	defer func() {
		if passed != s.State().Offset {
			err = errors.Join(err, fmt.Errorf("passed %d bytes, stands at %d", passed, s.State().Offset))
		}
	}()
	for {
		seg, err := s.Next()
		if err == io.EOF {
			return rows, states, nil
		}
		if err != nil {
			return rows, states, err
		}
		record := seg.Bytes
		header := s.State().Header
		if decode != nil {
			record, header = decode(record), decode(header)
		}
		p, err := NewParser(f, columns, "row", header)
		if err != nil {
			return rows, states, err
		}
		values, err := p.Parse(record)
		if err != nil {
			return rows, states, fmt.Errorf("at %d: %w", seg.Offset, err)
		}
		rows, states = append(rows, textsOf(values)), append(states, s.State())
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, f := range formats {
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "eof": iotest.DataErrReader,
		} {
			got, _, err := readAll(reader(bytes.NewReader(file(f, people))), f, Options{}, State{}, nil)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(people) {
				t.Errorf("%s, %s: %q, %v", f, name, got, err)
			}
		}
		if got, _, err := readAll(bytes.NewReader(file(f, nil)), f, Options{}, State{}, nil); err != nil || len(got) != 0 {
			t.Errorf("%s: an empty file: %q, %v", f, got, err)
		}
	}
}

// Going on from any record gives the rest, wherever the process ended.
func TestGoingOn(t *testing.T) {
	for _, f := range formats {
		data := file(f, people)
		_, states, err := readAll(bytes.NewReader(data), f, Options{}, State{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, state := range states {
			kept, err := json.Marshal(state)
			if err != nil {
				t.Fatal(err)
			}
			var again State
			if err := json.Unmarshal(kept, &again); err != nil {
				t.Fatal(err)
			}
			got, _, err := readAll(bytes.NewReader(data[again.Offset:]), f, Options{}, again, nil)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(people[i+1:]) {
				t.Errorf("%s from %d (%s): %q, %v", f, i, kept, got, err)
			}
		}
	}
}

// The bytes of marks never occur within a character of GB 18030, but for CDATA and JSON arrays.
func TestSplittingGB18030(t *testing.T) {
	var rows [][]string
	for r := rune(0x80); r < 0x30000; r += 17 { // every trail byte comes by
		if r >= 0xd800 && r < 0xf900 || !xmlChar(r) { // private use has aliases
			continue
		}
		rows = append(rows, []string{"x", string(r), string(r) + "," + string(r) + "\n" + string(r)})
	}
	decode := func(b []byte) []byte {
		out, err := gb18030.V2022.AppendDecode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, f := range []Format{NDJSON, CSV, XML} {
		encoded, err := gb18030.V2022.AppendEncode(nil, file(f, rows))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := readAll(bytes.NewReader(encoded), f, Options{Wide: true}, State{}, decode)
		if err != nil || len(got) != len(rows) {
			t.Fatalf("%s: %d of %d rows, %v", f, len(got), len(rows), err)
		}
		for i := range rows {
			if !slices.Equal(got[i], rows[i]) {
				t.Fatalf("%s, row %d: %q, want %q", f, i, got[i], rows[i])
			}
		}
	}
	// 乚 is 81 5D in GBK, so its end and "]>" look like the end of the section.
	text, err := gb18030.V2022.AppendEncode(nil, []byte("<rows><row><note><![CDATA[乚]>乚]]></note></row></rows>"))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := readAll(bytes.NewReader(text), XML, Options{Wide: true}, State{}, decode)
	if err != nil || len(got) != 1 || got[0][2] != "乚]>乚" {
		t.Errorf("CDATA: %q, %v", got, err)
	}
}

func TestFilesThatPeopleWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		f    Format
		text string
	}{
		"ndjson, CRLF and blank lines": {NDJSON, "\r\n{\"id\": \"1\"}\r\n\r\n  {\"姓名\":\"\\u4dae\", \"note\":null}"},
		"json, blanks":                 {JSON, "\xef\xbb\xbf \n[ {\"id\":1} ,\n\t{\"姓名\":\"䶮\"}]  \n"},
		"csv, CRLF, quotes, BOM":       {CSV, "\xef\xbb\xbf\"id\",姓名\r\n1,\r\n\r\n,\"䶮\""},
		"xml, comments and references": {XML, "<?xml version='1.0'?>\n<!-- a > b --><rows version='1 > 0'>\n<row ><id>1</id ></row><!-- <row> -->\n<row><!-- x --><姓名>&#x4dae;</姓名><note/></row></rows>\n<!-- end -->"},
		"xml, CDATA":                   {XML, "<r><row><id>1</id><note><![CDATA[]]></note></row><row><姓名><![CDATA[䶮]]></姓名></row></r>"},
	} {
		got, _, err := readAll(strings.NewReader(tc.text), tc.f, Options{}, State{}, nil)
		if want := "[[1  ] [ 䶮 ]]"; err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A record that is wrong spoils itself alone.
func TestBadRecords(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":1,"id":2}`:                    "json.duplicate-key",
		`{"id":[1]}`:                         CodeNested,
		`{"id":{"a":1}}`:                     CodeNested,
		`{"zzz":1}`:                          CodeUnknown,
		`{"zzz":null}`:                       CodeUnknown,
		`[1]`:                                CodeSyntax,
		`"a"`:                                CodeSyntax,
		"{\"id\":\"\xff\"}":                  CodeSyntax,
		`<row><id>1</id><id>2</id></row>`:    CodeTwice,
		`<row><id><b>1</b></id></row>`:       CodeNested,
		`<row><zzz>1</zzz></row>`:            CodeUnknown,
		`<row><zzz/></row>`:                  CodeUnknown,
		`<row><zzz></zzz></row>`:             CodeUnknown,
		`<row a="1"><id>1</id></row>`:        CodeSyntax,
		`<row><id>&nbsp;</id></row>`:         CodeSyntax,
		`<row><id>&#0;</id></row>`:           CodeSyntax,
		`<row><id>&#xd800;</id></row>`:       CodeSyntax,
		`<row><id>&#99999999999;</id></row>`: CodeSyntax,
		`<row><id>a]]>b</id></row>`:          CodeSyntax,
		"<row><id>\x01</id></row>":           CodeSyntax,
		`<row>text</row>`:                    CodeSyntax,
		`<row><id>1</姓名></row>`:              CodeSyntax,
		`<row><id>1</id></row><row></row>`:   CodeSyntax,
		`<other><id>1</id></other>`:          CodeSyntax,
		`<row><id>1</id>`:                    CodeSyntax,
		"id,note\n1,2,3":                     CodeSyntax,
		"id,note\n1":                         CodeSyntax,
		"id,note\n\"1\"x,2":                  CodeSyntax,
		"id,note\na\"b,2":                    CodeSyntax,
		"id,zzz\n1,2":                        CodeUnknown,
		"id,id\n1,2":                         CodeTwice,
	} {
		f, header := NDJSON, ""
		switch {
		case strings.HasPrefix(text, "<"):
			f = XML
		case strings.HasPrefix(text, "id"):
			f = CSV
			header, text, _ = strings.Cut(text, "\n")
		}
		p, err := NewParser(f, columns, "row", []byte(header))
		if err == nil {
			_, err = p.Parse([]byte(text))
		}
		if e := errs.As(err); err == nil || e.Code != want || !e.HasOffset || e.Kind != errs.Invalid {
			t.Errorf("%s %q: %v (%s)", f, text, err, errs.As(err).Code)
		}
	}
}

// What can't be read on says from where.
func TestBrokenFiles(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for text, want := range map[string]int64{
		`{"id":1}`:                           0,
		`[{"id":1}`:                          9,
		`[{"id":1},]`:                        10,
		`[{"id":1}{"id":2}]`:                 9,
		`[,{"id":1}]`:                        1,
		`[{"id":1},,{"id":2}]`:               10,
		`[1]`:                                1,
		`[{"id":"1`:                          1,
		`[] []`:                              3,
		"id\n\"a":                            3,
		``:                                   0,
		`<rows>x</rows>`:                     6,
		`<rows><row><id>1</id>`:              6,
		`<rows><row></row>`:                  17,
		`<rows><row></row></other>`:          17,
		`<rows><other/></rows>`:              6,
		`<rows/><rows/>`:                     7,
		`<!DOCTYPE rows><rows></rows>`:       0,
		`<rows><!-- never`:                   6,
		`<rows><row <id>1</id></row></rows>`: 11,
		`<`:                                  0,
		`[{"id":"` + long + `"}]`:            1,
		"id\n" + long:                        3,
		"<r><row><id>" + long + "</id></row></r>": 3,
	} {
		f := CSV
		switch {
		case strings.HasPrefix(text, "<"):
			f = XML
		case strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
			f = JSON
		}
		_, _, err := readAll(strings.NewReader(text), f, Options{MaxRecord: 2000}, State{}, nil)
		e := errs.As(err)
		if err == nil || e.Kind != errs.Invalid || !e.HasOffset || e.Offset != want || e.Code != CodeBroken && e.Code != CodeTooLong {
			t.Errorf("%s %.60q: %v (offset %d, code %s), want offset %d", f, text, err, e.Offset, e.Code, want)
		}
	}
}

func TestAReaderThatFails(t *testing.T) {
	gone := errors.New("gone")
	for _, f := range formats {
		data := file(f, people)
		for n := range data {
			r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(gone))
			if _, _, err := readAll(r, f, Options{}, State{}, nil); !errors.Is(err, gone) {
				t.Fatalf("%s after %d bytes: %v", f, n, err)
			}
		}
	}
}

func TestMemoryIsThatOfARecord(t *testing.T) {
	row := append(bytes.Repeat([]byte("x"), 1000), '\n')
	s := NewSplitter(io.LimitReader(&repeat{row}, 64<<20), NDJSON, Options{}, State{})
	for n := 0; ; n++ {
		if _, err := s.Next(); err == io.EOF {
			if n != 64<<20/len(row)+1 {
				t.Errorf("%d records", n)
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(s.buf) > 2*firstBuffer {
		t.Errorf("a buffer of %d bytes", len(s.buf))
	}
}

// repeat reads the same bytes for ever.
type repeat struct{ b []byte }

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.b)
	r.b = append(r.b[n:], r.b[:n]...)
	return n, nil
}

// FuzzRoundTrip writes any texts in any format and reads them back; for what the standard library reads too, it must
// read the same.
func FuzzRoundTrip(f *testing.F) {
	for _, p := range people {
		f.Add(p[0], p[1], p[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		row := []string{a, b, c}
		for i, s := range row {
			row[i] = strings.ToValidUTF8(s, "?")
		}
		for _, format := range formats {
			if format == XML && slices.ContainsFunc(row, func(s string) bool { return XMLAllows([]byte(s)) >= 0 }) {
				continue
			}
			if (format == JSON || format == NDJSON) && strings.ContainsRune(strings.Join(row, ""), 0) {
				continue // which strictjson refuses
			}
			data := file(format, [][]string{row, row})
			got, _, err := readAll(bytes.NewReader(data), format, Options{MaxRecord: 16 << 20}, State{}, nil)
			if err != nil || len(got) != 2 || !slices.Equal(got[0], row) || !slices.Equal(got[1], row) {
				t.Fatalf("%s: %q, %v, want %q twice, in %q", format, got, err, row, data)
			}
			standard(t, format, data, row)
		}
	})
}

// standard reads what was written by the standard library.
func standard(t *testing.T, f Format, data []byte, row []string) {
	t.Helper()
	switch f {
	case JSON:
		var all []map[string]string
		if err := json.Unmarshal(data, &all); err != nil || all[1]["note"] != row[2] || all[0]["姓名"] != row[1] {
			t.Fatalf("encoding/json: %v, %v", all, err)
		}
	case CSV:
		all, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		want := strings.ReplaceAll(row[2], "\r\n", "\n") // it reads CRLF within quotes as LF
		if err != nil || len(all) != 3 || strings.ReplaceAll(all[2][2], "\r\n", "\n") != want {
			t.Fatalf("encoding/csv: %q, %v, want %q", all, err, row)
		}
	case XML:
		var all struct {
			Row []struct {
				Note string `xml:"note"`
			} `xml:"row"`
		}
		if err := xml.Unmarshal(data, &all); err != nil || all.Row[1].Note != row[2] {
			t.Fatalf("encoding/xml: %q, %v, want %q", all, err, row)
		}
	}
}

// FuzzRead reads anything in any format: it must end, in order, with an offset that lies within the file.
func FuzzRead(f *testing.F) {
	for i, format := range formats {
		f.Add(uint8(i), file(format, people), false)
	}
	f.Add(uint8(3), []byte("<r><row><id><![CDATA[\x81]]>]]></id></row></r>"), true)
	f.Add(uint8(2), []byte("id\n\"1\"\"\",2\n"), true)
	f.Fuzz(func(t *testing.T, i uint8, data []byte, wide bool) {
		format := formats[int(i)%len(formats)]
		s := NewSplitter(iotest.HalfReader(bytes.NewReader(data)), format, Options{Row: "row", Wide: wide}, State{})
		last := int64(-1)
		for {
			seg, err := s.Next()
			if err != nil {
				if e := errs.As(err); err != io.EOF && (e.Kind != errs.Invalid || e.Offset < 0 || e.Offset > int64(len(data))) {
					t.Fatalf("%v", err)
				}
				return
			}
			if seg.Offset <= last || !bytes.HasPrefix(data[seg.Offset:], seg.Bytes) || s.State().Offset > int64(len(data)) {
				t.Fatalf("a record at %d after %d", seg.Offset, last)
			}
			last = seg.Offset
			p, err := NewParser(format, columns, "row", s.State().Header)
			if err != nil {
				return
			}
			if _, err := p.Parse(seg.Bytes); err != nil && (!errs.As(err).HasOffset || errs.As(err).Offset > int64(len(seg.Bytes))) {
				t.Fatalf("%q: %v", seg.Bytes, err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, f := range formats {
		b.Run(string(f), func(b *testing.B) {
			data := file(f, slices.Repeat(people, 1000))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewSplitter(bytes.NewReader(data), f, Options{Row: "row"}, State{})
				seg, err := s.Next()
				p, _ := NewParser(f, columns, "row", s.State().Header)
				for ; err == nil; seg, err = s.Next() {
					if _, err := p.Parse(seg.Bytes); err != nil {
						b.Fatal(err)
					}
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
