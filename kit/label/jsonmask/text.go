package jsonmask

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/qiongdev/qiong/kit/label"
)

// string appends what passes before a string and, where it does not pass, what becomes of it; hit reports whether.
// inner is what stands between the quotes.
func (s *scan) string(dst, before, inner []byte, escaped bool, act uint16) (_ []byte, hit bool) {
	if act == actDetect {
		return s.detect(dst, before, inner, escaped)
	}
	if len(inner) == 0 {
		return dst, false
	}
	dst = append(dst, before...)
	mask := s.m.masks[act-actMask]
	switch {
	case mask.Drops():
		return append(dst, "null"...), true
	case !escaped:
		dst = append(dst, '"')
		dst = mask.AppendBytes(dst, inner)
		return append(dst, '"'), true
	}
	s.text = unescape(s.text[:0], inner)
	s.shown = mask.AppendBytes(s.shown[:0], s.text)
	return appendQuoted(dst, s.shown), true
}

// detect masks the numbers in a string.
func (s *scan) detect(dst, before, inner []byte, escaped bool) (_ []byte, hit bool) {
	text := inner
	if escaped {
		s.text = unescape(s.text[:0], inner)
		text = s.text
	}
	if _, hit = label.Find(view(text), 0); !hit {
		return dst, false
	}
	dst = append(dst, before...)
	if !escaped {
		dst = append(dst, '"')
		dst = label.AppendMasked(dst, view(text))
		return append(dst, '"'), true
	}
	s.shown = label.AppendMasked(s.shown[:0], view(text))
	return appendQuoted(dst, s.shown), true
}

// scalar does to a number or literal what string does to a string. A masked number becomes a string; there is nothing
// to show of a literal.
func (s *scan) scalar(dst, before, token []byte, act uint16) (_ []byte, hit bool) {
	literal := token[0] >= 'a'
	if act == actDetect {
		if literal || len(token) < 7 {
			return dst, false
		}
		s.text = integer(s.text[:0], token)
		m, hit := label.Find(view(s.text), 0)
		if !hit {
			return dst, false
		}
		dst = append(append(dst, before...), '"')
		dst = m.Mask.AppendBytes(dst, s.text)
		return append(dst, '"'), true
	}
	dst = append(dst, before...)
	mask := s.m.masks[act-actMask]
	if literal || mask.Drops() {
		return append(dst, "null"...), true
	}
	dst = append(dst, '"')
	dst = mask.AppendBytes(dst, token)
	return append(dst, '"'), true
}

// integer appends the digits of a number without its sign, also where it is written with a fraction or an exponent;
// nothing where it is no integer, or one of more digits than numbers have that name anybody.
func integer(dst, number []byte) []byte {
	if number[0] == '-' {
		number = number[1:]
	}
	base, point, exponent := len(dst), -1, 0
	for i, c := range number {
		if c == '.' {
			point = len(dst) - base
			continue
		}
		if c == 'e' || c == 'E' {
			var err error
			if exponent, err = strconv.Atoi(view(number[i+1:])); err != nil {
				return dst[:base]
			}
			break
		}
		dst = append(dst, c)
	}
	if point < 0 {
		point = len(dst) - base
	}
	whole := point + exponent
	if whole < 1 || whole > 64 {
		return dst[:base]
	}
	for len(dst)-base < whole {
		dst = append(dst, '0')
	}
	if len(bytes.Trim(dst[base+whole:], "0")) > 0 {
		return dst[:base]
	}
	digits := bytes.TrimLeft(dst[base:base+whole], "0") // 0.138e11
	return append(dst[:base], digits...)
}

// stringEnd returns where the quote stands that ends a string; i is after the one that begins it. It returns -1 where
// there is none, and whether the string has escapes.
func stringEnd(src []byte, i int) (end int, escaped bool) {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(src) { // most strings are short and have no escapes
		w := binary.LittleEndian.Uint64(src[i:])
		quote, slash := w^(low*'"'), w^(low*'\\')
		hit := ((quote-low)&^quote | (slash-low)&^slash) & high
		if hit == 0 {
			i += 8
			continue
		}
		if i += bits.TrailingZeros64(hit) / 8; src[i] == '"' {
			return i, escaped
		}
		escaped = true
		i += 2
	}
	for ; i < len(src); i++ {
		switch src[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return -1, escaped
}

// special returns the first index from i on of a quote or a backslash. It reads eight bytes at a time.
func special(b []byte, i int) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(low*'"'), w^(low*'\\')
		if hit := ((quote-low)&^quote | (slash-low)&^slash) & high; hit != 0 {
			// A borrow can only mark a byte above the first true hit, so the lowest mark is the true one.
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// unescape appends what inner says to dst. An escape that does not exist stays as it is; half a surrogate pair becomes
// U+FFFD.
func unescape(dst, inner []byte) []byte {
	for i := 0; i < len(inner); {
		next := special(inner, i)
		dst = append(dst, inner[i:next]...)
		if i = next; i >= len(inner) {
			break
		}
		if i+1 < len(inner) && inner[i+1] == 'u' {
			r, n := codePoint(inner[i:])
			if n > 0 {
				dst = utf8.AppendRune(dst, r)
				i += n
				continue
			}
		}
		if i+1 < len(inner) && simple[inner[i+1]] != 0 {
			dst = append(dst, simple[inner[i+1]])
			i += 2
			continue
		}
		dst = append(dst, inner[i])
		i++
	}
	return dst
}

var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// codePoint reads \uXXXX, or a pair of them, and returns its length; 0 where there is none.
func codePoint(b []byte) (rune, int) {
	r, ok := unit(b)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if second, ok := unit(b[6:]); ok {
		if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

func unit(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendQuoted appends text as a JSON string.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, text)
	return append(dst, '"')
}

func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// view returns b as a string without copying it, for reading while b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
