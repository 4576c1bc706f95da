package jsonmask

import (
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/label"
)

// piece goes on with a long string. It returns how much of src it has consumed and whether the string has ended there.
func (s *scan) piece(dst, src []byte, final bool) (_ []byte, consumed int, whole bool) {
	end, _ := stringEnd(src, 0)
	if end >= 0 {
		return s.last(dst, src, end)
	}
	switch s.phase {
	case inDetected:
		if len(src) < longest && !final {
			return dst, 0, false
		}
		cut := cutPoint(src)
		return s.detected(dst, src[:cut]), cut, false
	case inPassed:
		cut := unescapedEnd(src)
		return append(dst, src[:cut]...), cut, false
	}
	return dst, unescapedEnd(src), false // masked already
}

// last ends a long string; its closing quote stands at end.
func (s *scan) last(dst, src []byte, end int) ([]byte, int, bool) {
	switch s.phase {
	case inDetected:
		dst = append(s.detected(dst, src[:end]), '"')
	case inPassed:
		dst = append(dst, src[:end+1]...)
	}
	return dst, end + 1, true
}

// detected appends a piece of a string with the numbers in it masked; as it stands, where there are none.
func (s *scan) detected(dst, inner []byte) []byte {
	s.text = unescape(s.text[:0], inner)
	if _, hit := label.Find(view(s.text), 0); !hit {
		return append(dst, inner...)
	}
	s.shown = label.AppendMasked(s.shown[:0], view(s.text))
	return appendEscaped(dst, s.shown)
}

// unescapedEnd returns the length of src without a backslash at its end whose second half has not come yet.
func unescapedEnd(src []byte) int {
	slashes := 0
	for slashes < len(src) && src[len(src)-1-slashes] == '\\' {
		slashes++
	}
	return len(src) - slashes%2
}

// cutPoint returns where a piece of a string can end without cutting an escape, a code point, or what might be a number
// with what stands around it: after a mark, or before a Han character, with which a plate may begin. Where there is no
// such place, the piece is one word, too long for a number, and is cut anywhere.
func cutPoint(src []byte) int {
	safe, last := 0, 0
	for i := 0; i < len(src)-24; {
		r, n := utf8.DecodeRune(src[i:])
		if r == '\\' {
			if r, n = codePoint(src[i:]); n == 0 {
				r, n = rune(simple[src[i+1]]), 2
			}
		}
		switch {
		case unicode.Is(unicode.Han, r):
			safe = i
		case r < utf8.RuneSelf && r > ' ' && r != '-' && !alnum(byte(r)):
			safe = i + n
		}
		i += n
		last = i
	}
	if safe == 0 {
		return last
	}
	return safe
}

func alnum(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
