package recordio

import (
	"bytes"
	"errors"
	"io"

	"github.com/qiongdev/qiong/kit/errs"
)

// Segment is one record as it stands in the file. Its bytes are valid until the next call of Next.
type Segment struct {
	Offset int64 // of its first byte in the file
	Line   int64 // of its first byte, from 1
	Bytes  []byte
}

// State is where a Splitter stands between two records. The zero State is the beginning of a file.
type State struct {
	Offset int64  `json:"offset"`           // of the next byte to read
	Line   int64  `json:"line"`             // lines ended so far
	Header []byte `json:"header,omitempty"` // of CSV: the first line
	Inside bool   `json:"inside,omitempty"` // of JSON and XML: past the opening bracket or tag
	Root   string `json:"root,omitempty"`   // of XML: the opening tag's name
	Ended  bool   `json:"ended,omitempty"`  // past the closing one
	Some   bool   `json:"some,omitempty"`   // of JSON: past the first element
	Comma  bool   `json:"comma,omitempty"`  // of JSON: past a comma
}

// Options say how a file is split.
type Options struct {
	Row       string // of XML: the name of a record's element
	Wide      bool   // the file is GB 18030, GBK or GB 2312: the last byte of a character may look like ASCII
	MaxRecord int    // longest record in bytes; 1 MiB where zero

	// Passed, where not nil, is told the bytes of the file one after another, each when State gets past it: for digests
	// that can be taken up again between two records.
	Passed func(b []byte)
}

// Splitter cuts a file into records.
type Splitter struct {
	r      io.Reader
	format Format
	opt    Options
	state  State

	buf        []byte
	start, end int // the unread part of buf
	eof        bool
}

const (
	firstBuffer = 64 << 10
	maxRecord   = 1 << 20
)

// NewSplitter returns a Splitter of the file that r reads from state.Offset on.
func NewSplitter(r io.Reader, format Format, opt Options, state State) *Splitter {
	if opt.MaxRecord <= 0 {
		opt.MaxRecord = maxRecord
	}
	return &Splitter{r: r, format: format, opt: opt, state: state, buf: make([]byte, firstBuffer)}
}

// State returns where the last record ended.
func (s *Splitter) State() State { return s.state }

// Next returns the next record, io.EOF after the last of a whole file, the error of the reader, or an error of kind
// Invalid with the offset from which the file can't be read on.
func (s *Splitter) Next() (Segment, error) {
	switch s.format {
	case NDJSON:
		return s.line()
	case CSV:
		return s.row()
	case JSON:
		return s.element()
	case XML:
		return s.xml()
	}
	return Segment{}, errs.New(errs.Internal, "未知的文件格式", "unknown format")
}

// fill reads more behind the unread part, which begins at s.start afterwards as before, or moves to the front. It
// reports io.EOF where there is no more.
func (s *Splitter) fill() error {
	if s.eof {
		return io.EOF
	}
	if s.start > 0 && s.end == len(s.buf) {
		copy(s.buf, s.buf[s.start:s.end])
		s.start, s.end = 0, s.end-s.start
	}
	if s.end == len(s.buf) {
		if len(s.buf) >= s.opt.MaxRecord+firstBuffer {
			return errs.Newf(errs.Invalid, "一条记录超过 %d 字节", "a record is longer than %d bytes", s.opt.MaxRecord).
				WithCode(CodeTooLong).WithOffset(s.state.Offset)
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if errors.Is(err, io.EOF) {
			s.eof = true
			if n > 0 {
				return nil
			}
			return io.EOF
		}
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// skip passes over n unread bytes.
func (s *Splitter) skip(n int) {
	b := s.buf[s.start : s.start+n]
	if s.opt.Passed != nil {
		s.opt.Passed(b)
	}
	s.state.Line += int64(bytes.Count(b, newline))
	s.start += n
	s.state.Offset += int64(n)
}

// take passes over n unread bytes and returns them as a record.
func (s *Splitter) take(n int) (Segment, error) {
	seg := Segment{Offset: s.state.Offset, Line: s.state.Line + 1, Bytes: s.buf[s.start : s.start+n]}
	if n > s.opt.MaxRecord {
		return Segment{}, errs.Newf(errs.Invalid, "一条记录超过 %d 字节", "a record is longer than %d bytes", s.opt.MaxRecord).
			WithCode(CodeTooLong).WithOffset(s.state.Offset)
	}
	s.skip(n)
	return seg, nil
}

func (s *Splitter) unread() []byte { return s.buf[s.start:s.end] }

var newline = []byte{'\n'}

// line returns the next line that is not blank, without its end.
func (s *Splitter) line() (Segment, error) {
	for scanned := 0; ; {
		if i := bytes.IndexByte(s.unread()[scanned:], '\n'); i >= 0 {
			n := scanned + i
			seg, err := s.take(n)
			if err != nil {
				return seg, err
			}
			s.skip(1)
			seg.Bytes = bytes.TrimSuffix(seg.Bytes, []byte{'\r'})
			if len(bytes.TrimSpace(seg.Bytes)) > 0 {
				return seg, nil
			}
			scanned = 0
			continue
		}
		scanned = len(s.unread())
		if err := s.fill(); err == io.EOF {
			if len(bytes.TrimSpace(s.unread())) == 0 {
				s.skip(len(s.unread()))
				return Segment{}, io.EOF
			}
			return s.take(len(s.unread()))
		} else if err != nil {
			return Segment{}, err
		}
	}
}

// row returns the next row of CSV without its end: lines end within quotes too. The first row is the header.
func (s *Splitter) row() (Segment, error) {
	for {
		seg, err := s.csvRow()
		switch {
		case err == io.EOF && s.state.Header == nil:
			return Segment{}, broken(s.state.Offset, "缺少列名行", "the line of column names is missing")
		case err != nil:
			return seg, err
		case s.state.Header == nil:
			s.state.Header = bytes.Clone(bytes.TrimPrefix(seg.Bytes, bom))
		case len(seg.Bytes) > 0: // a blank line is no record
			return seg, nil
		}
	}
}

var bom = []byte("\xef\xbb\xbf")

func (s *Splitter) csvRow() (Segment, error) {
	quoted := false
	for scanned := 0; ; {
		b := s.unread()
		for ; scanned < len(b); scanned++ {
			if b[scanned] == '"' {
				quoted = !quoted
			} else if b[scanned] == '\n' && !quoted {
				seg, err := s.take(scanned)
				if err == nil {
					s.skip(1)
				}
				seg.Bytes = bytes.TrimSuffix(seg.Bytes, []byte{'\r'})
				return seg, err
			}
		}
		switch err := s.fill(); {
		case err == io.EOF && quoted:
			return Segment{}, broken(s.state.Offset, "引号未闭合", "a quote is never closed")
		case err == io.EOF && len(s.unread()) == 0:
			return Segment{}, io.EOF
		case err == io.EOF:
			return s.take(len(s.unread()))
		case err != nil:
			return Segment{}, err
		}
	}
}
