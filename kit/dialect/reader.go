package dialect

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// MaxLine is how many bytes of a line are read; what goes on beyond them is passed over, and told of.
const MaxLine = 64 << 10

// Reader reads a log line by line in a memory of one line.
type Reader struct {
	parser *Parser
	in     *bufio.Reader
	line   int64
	offset int64
}

// NewReader returns a reader of in, which is UTF-8 with or without a byte order mark.
func NewReader(in io.Reader, p *Parser) *Reader {
	return &Reader{parser: p, in: bufio.NewReaderSize(in, MaxLine)}
}

// Next reads the next line that is not blank into r, whose memory is used again. At the end it returns [io.EOF], and
// else what reading returned.
func (l *Reader) Next(r *Record) error {
	for {
		text, long, at, err := l.read()
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 && !long {
			continue
		}
		l.parser.ParseInto(r, string(text))
		r.Line, r.Offset = l.line, at
		if long {
			r.Findings = append(r.Findings, Finding{Code: LongLine, Offset: len(text)})
		}
		return nil
	}
}

// Buffered returns how many bytes have arrived and are not read yet. At 0, Next may wait for more.
func (l *Reader) Buffered() int { return l.in.Buffered() }

// read returns the next line without its end, whether it was longer than that, and where it stands.
func (l *Reader) read() (text []byte, long bool, at int64, err error) {
	at = l.offset
	text, err = l.in.ReadSlice('\n')
	l.offset += int64(len(text))
	if len(text) == 0 && err != nil {
		return nil, false, at, err
	}
	l.line++
	if errors.Is(err, bufio.ErrBufferFull) {
		text, long = bytes.Clone(whole(text)), true
		err = l.skip()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, at, err
	}
	if at == 0 {
		if rest, ok := bytes.CutPrefix(text, []byte("\ufeff")); ok {
			text, at = rest, 3
		}
	}
	if !long {
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	}
	return text, long, at, nil
}

// skip passes over the rest of a line.
func (l *Reader) skip() error {
	for {
		rest, err := l.in.ReadSlice('\n')
		l.offset += int64(len(rest))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// whole cuts off the beginning of a character at the end of b.
func whole(b []byte) []byte {
	for cut := 1; cut < utf8.UTFMax && cut <= len(b); cut++ {
		if tail := b[len(b)-cut:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return b[:len(b)-cut]
			}
			break
		}
	}
	return b
}
