package han

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/qiongdev/qiong/kit/han/gb18030"
)

// StripControls returns s without the control characters that no text needs (U+0000 to 0008, 0B, 0C, 0E to 1F, 7F), and
// how many they were. It is for feeds whose policy is to drop them; forms refuse them, see [Check].
func StripControls(s string) (string, int) {
	if strings.IndexFunc(s, dispensable) < 0 {
		return s, 0
	}
	var b strings.Builder
	b.Grow(len(s))
	dropped := 0
	for i := range len(s) {
		if dispensable(rune(s[i])) { // all are ASCII: bytes of other characters are never mistaken for them
			dropped++
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String(), dropped
}

func dispensable(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7F
}

// FoldWidth returns s with full-width letters, digits and punctuation in their ordinary width, half-width katakana in
// theirs, and the ideographic space as a space.
func FoldWidth(s string) string { return width.Fold.String(s) }

// NameKey returns a key that is equal for spellings of one name: those that differ in normalization, width, case, the
// separator that was typed, blanks beside Han characters, invisible characters, or a private-use code point that GB
// 18030 has since replaced. Different people have equal keys too: it finds candidates. It is not for showing.
func NameKey(s string) string {
	var b strings.Builder
	blank, last := false, rune(-1)
	for _, r := range NFC(s) {
		r = keyRune(r)
		switch {
		case r < 0:
			continue
		case r == ' ':
			blank = true
			continue
		case blank && joins(last) && joins(r):
			b.WriteByte(' ')
		}
		blank, last = false, r
		b.WriteRune(r)
	}
	return NFC(b.String()) // what stood between a letter and its mark is gone
}

// keyRune returns what stands for r in a key, -1 where nothing does.
func keyRune(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.Is(hidden, r) || unicode.Is(bidi, r) || unicode.Is(selectors, r) || unicode.IsControl(r):
		return -1
	case unicode.Is(dots, r):
		return '·'
	case r == '’' || r == '‘' || r == 'ʼ':
		return '\''
	}
	if folded := width.LookupRune(r).Folded(); folded != 0 {
		r = folded
	}
	return unicode.ToLower(gb18030.Modern(r))
}

// joins reports whether a blank beside r means something: not at the ends of a name, nor beside a Han character or a
// separator.
func joins(r rune) bool { return r >= 0 && !IsHan(r) && r != '·' }
