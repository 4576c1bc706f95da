package audit

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
)

// Writer writes leaves to a file from which they can be read again byte for byte: NDJSON, an entry a line with the
// number of its leaf before its members, or CSV with a header.
type Writer interface {
	Leaf(index uint64, leaf []byte) error
	Flush() error
}

// NewNDJSON returns a Writer of NDJSON.
func NewNDJSON(w io.Writer) Writer { return &ndjson{bufio.NewWriter(w)} }

// NewCSV returns a Writer of CSV.
func NewCSV(w io.Writer) Writer { return &table{csv.NewWriter(w), false} }

type ndjson struct{ w *bufio.Writer }

func (n *ndjson) Leaf(index uint64, leaf []byte) error {
	for line := range bytes.Lines(leaf) {
		if _, err := fmt.Fprintf(n.w, `{"leaf":%d,%s`, index, line[1:]); err != nil {
			return err
		}
	}
	return nil
}

func (n *ndjson) Flush() error { return n.w.Flush() }

type table struct {
	w     *csv.Writer
	begun bool
}

func (t *table) Leaf(index uint64, leaf []byte) error {
	entries, err := parseLeaf(leaf)
	if err != nil {
		return err
	}
	if !t.begun {
		t.begun = true
		if err := t.w.Write(header()); err != nil {
			return err
		}
	}
	for _, e := range entries {
		row := []string{strconv.FormatUint(index, 10), e.Time.String()}
		for _, f := range e.fields() {
			row = append(row, *f.value)
		}
		if err := t.w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) Flush() error {
	t.w.Flush()
	return t.w.Error()
}

func header() []string {
	row := []string{"leaf", "time"}
	for _, f := range new(Entry).fields() {
		row = append(row, f.name)
	}
	return row
}

// ReadExport reads what a Writer has written, and calls visit with every leaf. It tells NDJSON and CSV by the first byte.
func ReadExport(r io.Reader, visit func(index uint64, leaf []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	first, err := in.Peek(1)
	if err != nil {
		return malformed("文件为空", "the file is empty")
	}
	next := ndjsonLines(in)
	if first[0] != '{' {
		next = csvLines(in)
	}
	var leaf []byte
	var current uint64
	for n := 1; ; n++ {
		index, line, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errs.As(err).WithLine(n)
		}
		if leaf != nil && index != current {
			if err := visit(current, leaf); err != nil {
				return err
			}
			leaf = nil
		}
		leaf, current = append(leaf, line...), index
	}
	if leaf == nil {
		return malformed("文件中没有条目", "the file has no entry")
	}
	return visit(current, leaf)
}

func ndjsonLines(in *bufio.Reader) func() (uint64, []byte, error) {
	return func() (uint64, []byte, error) {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if len(line) > 0 {
				return 0, nil, malformed("最后一行不完整", "the last line is cut")
			}
			return 0, nil, err
		}
		rest, ok := bytes.CutPrefix(line, []byte(`{"leaf":`))
		digits, rest, found := bytes.Cut(rest, []byte(","))
		index, err := strconv.ParseUint(string(digits), 10, 63)
		if !ok || !found || err != nil || strconv.FormatUint(index, 10) != string(digits) {
			return 0, nil, malformed("缺少 leaf", "it has no leaf")
		}
		line = append([]byte("{"), rest...)
		_, err = Parse(line)
		return index, line, err
	}
}

func csvLines(in io.Reader) func() (uint64, []byte, error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord = len(header())
	begun := false
	return func() (uint64, []byte, error) {
		if !begun {
			begun = true
			if _, err := r.Read(); err != nil {
				return 0, nil, malformed("不是审计日志的导出文件", "not an export of an audit log")
			}
		}
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		if err != nil {
			return 0, nil, malformed("不是审计日志的导出文件", "not an export of an audit log")
		}
		index, err := strconv.ParseUint(row[0], 10, 63)
		if err != nil {
			return 0, nil, malformed("leaf 不是数", "leaf is not a number")
		}
		at, err := beijing.Parse(row[1])
		if err != nil {
			return 0, nil, malformed("时间有误", "the time is wrong")
		}
		e := Entry{Time: beijing.At(at)}
		for i, f := range e.fields() {
			*f.value = row[i+2]
		}
		return index, e.Append(nil), nil
	}
}

// VerifyExport reads an export and holds it to its proof. It returns how many entries there are.
func VerifyExport(r io.Reader, v *Verifier) (entries int, err error) {
	err = ReadExport(r, func(index uint64, leaf []byte) error {
		if index != v.Next() {
			return errs.Newf(errs.Invalid, "缺少第 %d 组，后面是第 %d 组", "leaf %d is missing; leaf %d follows", v.Next(), index).WithCode(CodeChanged)
		}
		v.Add(leaf)
		entries += bytes.Count(leaf, []byte("\n"))
		return nil
	})
	if err == nil {
		err = v.Done()
	}
	return entries, err
}

// Restores returns the entries of an export that say that the log was put back from a backup.
func Restores(r io.Reader) (all []Entry, err error) {
	err = ReadExport(r, func(_ uint64, leaf []byte) error {
		if !bytes.Contains(leaf, []byte(Restore)) {
			return nil
		}
		entries, err := parseLeaf(leaf)
		for _, e := range entries {
			if e.What == Restore {
				all = append(all, e)
			}
		}
		return err
	})
	return all, err
}
