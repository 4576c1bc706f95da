package han

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
)

// charset reads and writes characters in one encoding. A kind that is an error stands for what cannot be converted.
type charset interface {
	name() string
	// next reads the character that src begins with; size 0 where more is needed to know.
	next(src []byte, atEOF bool) (r rune, size int, kind gb18030.Kind)
	// decode appends src to dst as UTF-8 and returns how many bytes of src that was; false at the first trouble. What
	// is to be said of characters goes to report.
	decode(dst, src []byte, atEOF bool, report func(gb18030.Note)) ([]byte, int, bool)
	// put appends one character to dst.
	put(dst []byte, r rune) ([]byte, gb18030.Kind)
	// encode appends text, which is UTF-8, to dst; false at the first trouble.
	encode(dst, text []byte, report func(gb18030.Note)) ([]byte, bool)
	replacement() []byte
}

// charsetOf finds an encoding by its name; nil for auto.
func charsetOf(name, flag string, source bool) (charset, error) {
	if p, ok := gb18030.Parse(name); ok {
		return gb{p}, nil
	}
	switch strings.ReplaceAll(strings.ToLower(name), "-", "") {
	case "utf8":
		return utf8Charset{}, nil
	case "utf16le":
		return utf16Charset{"utf-16le", binary.LittleEndian}, nil
	case "utf16be":
		return utf16Charset{"utf-16be", binary.BigEndian}, nil
	case "auto":
		if source {
			return nil, nil
		}
	}
	return nil, errs.New(errs.Invalid, "不认识的编码", "unknown encoding").WithField(flag).
		WithHint("运行 qiong han --help 查看可用的编码", "run qiong han --help for the encodings")
}

// gb is an encoding of the GB family.
type gb struct{ p gb18030.Profile }

func (g gb) name() string { return g.p.String() }

func (g gb) next(src []byte, atEOF bool) (rune, int, gb18030.Kind) { return g.p.DecodeRune(src, atEOF) }

func (g gb) decode(dst, src []byte, atEOF bool, report func(gb18030.Note)) ([]byte, int, bool) {
	d := gb18030.Decoder{Profile: g.p, Report: report}
	dst, err := d.Append(dst, src)
	if err == nil && atEOF {
		dst, err = d.Close(dst)
	}
	return dst, int(d.Offset()), err == nil
}

func (g gb) put(dst []byte, r rune) ([]byte, gb18030.Kind) { return g.p.AppendRune(dst, r) }

func (g gb) encode(dst, text []byte, report func(gb18030.Note)) ([]byte, bool) {
	e := gb18030.Encoder{Profile: g.p, Report: report}
	dst, err := e.Append(dst, text)
	return dst, err == nil
}

func (g gb) replacement() []byte {
	b, kind := g.p.AppendRune(nil, utf8.RuneError)
	if kind.IsError() {
		return []byte{'?'}
	}
	return b
}

type utf8Charset struct{}

func (utf8Charset) name() string { return "utf-8" }

func (utf8Charset) next(src []byte, atEOF bool) (rune, int, gb18030.Kind) {
	r, size := utf8.DecodeRune(src)
	switch {
	case r != utf8.RuneError || size > 1:
		return r, size, 0
	case utf8.FullRune(src):
		return r, 1, gb18030.Malformed
	case atEOF && len(src) > 0:
		return r, 1, gb18030.Truncated
	}
	return r, 0, 0
}

func (utf8Charset) decode(dst, src []byte, atEOF bool, _ func(gb18030.Note)) ([]byte, int, bool) {
	whole := len(src)
	for cut := 1; !atEOF && cut < utf8.UTFMax && cut <= len(src); cut++ {
		if tail := src[len(src)-cut:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= cut
			}
			break
		}
	}
	return append(dst, src[:whole]...), whole, utf8.Valid(src[:whole])
}

func (utf8Charset) put(dst []byte, r rune) ([]byte, gb18030.Kind) { return utf8.AppendRune(dst, r), 0 }

func (utf8Charset) encode(dst, text []byte, _ func(gb18030.Note)) ([]byte, bool) {
	return append(dst, text...), true
}

func (utf8Charset) replacement() []byte { return []byte("\uFFFD") }

type utf16Charset struct {
	label string
	order binary.ByteOrder
}

func (u utf16Charset) name() string { return u.label }

func (u utf16Charset) next(src []byte, atEOF bool) (rune, int, gb18030.Kind) {
	if len(src) < 2 {
		return u.short(src, atEOF)
	}
	r := rune(u.order.Uint16(src))
	if !utf16.IsSurrogate(r) {
		return r, 2, 0
	}
	if len(src) < 4 && !atEOF && r < 0xDC00 {
		return utf8.RuneError, 0, 0
	}
	if len(src) >= 4 {
		if pair := utf16.DecodeRune(r, rune(u.order.Uint16(src[2:]))); pair != utf8.RuneError {
			return pair, 4, 0
		}
	}
	return utf8.RuneError, 2, gb18030.Malformed
}

func (utf16Charset) short(src []byte, atEOF bool) (rune, int, gb18030.Kind) {
	if atEOF && len(src) > 0 {
		return utf8.RuneError, len(src), gb18030.Truncated
	}
	return utf8.RuneError, 0, 0
}

func (u utf16Charset) decode(dst, src []byte, atEOF bool, _ func(gb18030.Note)) ([]byte, int, bool) {
	used := 0
	for {
		r, size, kind := u.next(src[used:], atEOF)
		if size == 0 || kind.IsError() {
			return dst, used, size == 0
		}
		dst = utf8.AppendRune(dst, r)
		used += size
	}
}

func (u utf16Charset) put(dst []byte, r rune) ([]byte, gb18030.Kind) {
	var b [4]byte
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		u.order.PutUint16(b[:], uint16(high))
		u.order.PutUint16(b[2:], uint16(low))
		return append(dst, b[:]...), 0
	}
	u.order.PutUint16(b[:], uint16(r))
	return append(dst, b[:2]...), 0
}

func (u utf16Charset) encode(dst, text []byte, _ func(gb18030.Note)) ([]byte, bool) {
	for _, r := range string(text) {
		dst, _ = u.put(dst, r) // every character has a code
	}
	return dst, true
}

func (u utf16Charset) replacement() []byte {
	b, _ := u.put(nil, utf8.RuneError) // has a code
	return b
}
