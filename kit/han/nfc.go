package han

import (
	"math/bits"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// IsNFC reports whether s is in Normalization Form C. It answers as golang.org/x/text does, many times faster on Chinese
// text: eight bytes at a time are looked at for one that could begin anything but ASCII, Latin-1 or a common ideograph,
// and only what is left is asked of the full tables.
func IsNFC[T string | []byte](s T) bool {
	i := 0
words:
	for len(s)-i >= 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		for doubt := doubtful(w); doubt != 0; {
			at := i + bits.TrailingZeros64(doubt)/8
			if punctuation(s[at:]) {
				doubt &= doubt - 1
				continue
			}
			next := examine(s, at)
			if next < 0 {
				return false
			}
			if next >= i+8 {
				i = next
				continue words
			}
			doubt &^= 1<<(8*(next-i)) - 1
		}
		i += 8
	}
	for i < len(s) {
		if i = examine(s, i); i < 0 {
			return false
		}
	}
	return true
}

// punctuation reports whether s begins with one of the marks that are frequent in Chinese text: U+3000 to U+3029, and
// full-width forms.
func punctuation[T string | []byte](s T) bool {
	if len(s) < 3 || s[2]&0xC0 != 0x80 {
		return false
	}
	return s[0] == 0xE3 && s[1] == 0x80 && s[2] < 0xAA || s[0] == 0xEF && (s[1] == 0xBC || s[1] == 0xBD)
}

// examine asks about the character at i, together with those beside it that it may act upon, and returns where the next
// one begins; -1 where s is not in NFC.
func examine[T string | []byte](s T, i int) int {
	r, size := decodeRune(s[i:])
	end := i + size
	if inert(r) {
		return end
	}
	for end < len(s) {
		r, size := decodeRune(s[end:])
		if inert(r) {
			break
		}
		end += size
	}
	if !norm.NFC.IsNormal([]byte(s[i-lastRune(s[:i]) : end])) {
		return -1
	}
	return end
}

// NFC returns s in Normalization Form C. It changes text: compatibility ideographs become others. Use it for what is
// compared or searched, and keep what was submitted.
func NFC(s string) string {
	if IsNFC(s) {
		return s
	}
	return norm.NFC.String(s)
}

// doubtful marks the bytes of w that begin a character beyond U+02FF other than U+4000 to U+9FFF: CC and above, but for
// E4 to E9.
func doubtful(w uint64) uint64 {
	const ones = 0x0101010101010101
	low, top := w&(0x7F*ones), w&(0x80*ones)
	return top & (low + (0x80-0x4C)*ones) & (^(low + (0x80-0x64)*ones) | (low + (0x80-0x6A)*ones))
}

// inert reports whether r is known to be left alone by NFC whatever stands beside it: it neither changes, nor combines
// with what precedes it, nor is it reordered. It need not know every such code point.
func inert(r rune) bool {
	switch {
	case r < 0x300:
		return r != utf8.RuneError
	case r < 0x3000:
		return r >= 0x2002 && r < 0x20D0 || r >= 0x2190 && r < 0x2329 || r >= 0x232B && r < 0x2ADC
	case r < 0xA66F:
		return r != 0x3099 && r != 0x309A && (r < 0x302A || r > 0x302F)
	case r < 0xF900:
		return r >= 0xAC00 && r < 0xD7A4 || r >= 0xE000
	case r < 0x10000:
		return r >= 0xFF00 && r < utf8.RuneError
	}
	return r >= 0x1F000 && r < 0x1FC00 || r >= 0x20000 && r < 0x2F800 || r >= 0x30000 && r < 0x34000
}

func decodeRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}

// lastRune returns the size of the last character of s, 0 where s is empty.
func lastRune[T string | []byte](s T) int {
	_, size := utf8.DecodeLastRuneInString(string(s[max(0, len(s)-utf8.UTFMax):]))
	return size
}
