package han

import (
	"bytes"
	"context"
	"errors"
	"io"
	"unicode/utf8"
)

const block = 1 << 20 // what is held of a file at a time

// place is where in a file something stands.
type place struct {
	Line   int64 `json:"line"`   // from 1
	Column int64 `json:"column"` // in characters, from 1
	Offset int64 `json:"offset"` // in bytes, from 0
}

// pass moves on past a character.
func (p *place) pass(r rune, size int) {
	p.Offset += int64(size)
	p.Column++
	if r == '\n' {
		p.Line, p.Column = p.Line+1, 1
	}
}

// passText moves on past text that had size bytes in the file.
func (p *place) passText(text []byte, size int) {
	p.Offset += int64(size)
	if last := bytes.LastIndexByte(text, '\n'); last >= 0 {
		p.Line += int64(bytes.Count(text, []byte{'\n'}))
		p.Column, text = 1, text[last+1:]
	}
	p.Column += int64(utf8.RuneCount(text))
}

// stream reads a file in blocks, finding out its encoding on the way.
type stream struct {
	charset  charset // nil as long as it is not known and all was ASCII
	detected bool
	place    place
}

// each calls do for block after block. Do returns how many bytes it has dealt with, which leaves at most the beginning
// of a character, and has moved place past them.
func (s *stream) each(ctx context.Context, r io.Reader, do func(data []byte, atEOF bool) (int, error)) error {
	s.place = place{Line: 1, Column: 1}
	buf, held := make([]byte, block), 0
	for first, atEOF := true, false; !atEOF; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[held:])
		atEOF = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEOF {
			return err
		}
		data, used := buf[:held+n], 0
		if first {
			used = s.begin(data)
		}
		if used, err = s.some(data, used, atEOF, do); err != nil {
			return err
		}
		held = copy(buf, data[used:])
		if atEOF && held > 0 { // ASCII has ended, and what follows was held back to be looked at as a whole
			if _, err = s.some(buf[:held], 0, true, do); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin looks for a byte order mark and passes it.
func (s *stream) begin(data []byte) int {
	c, size := bom(data, s.charset)
	if s.charset == nil && c != nil {
		s.charset, s.detected = c, true
	}
	s.place.Offset += int64(size)
	return size
}

// some has do deal with data from used on. As long as the encoding is not known it gets ASCII alone, so that the sample
// begins with what tells encodings apart, however far into the file that is.
func (s *stream) some(data []byte, used int, atEOF bool, do func([]byte, bool) (int, error)) (int, error) {
	if s.charset == nil {
		ascii := bytes.IndexFunc(data[used:], func(r rune) bool { return r >= utf8.RuneSelf })
		switch {
		case ascii < 0:
			n, err := do(data[used:], atEOF)
			return used + n, err
		case ascii > 0:
			n, err := do(data[used:used+ascii], false)
			return used + n, err
		}
		s.charset, s.detected = detect(data[used:], atEOF), true
	}
	n, err := do(data[used:], atEOF)
	return used + n, err
}

// reads returns the encoding to read with: ASCII reads the same in all.
func (s *stream) reads() charset {
	if s.charset == nil {
		return utf8Charset{}
	}
	return s.charset
}

// name returns the encoding's name.
func (s *stream) name() string {
	if s.charset == nil {
		return "ascii"
	}
	return s.charset.name()
}
