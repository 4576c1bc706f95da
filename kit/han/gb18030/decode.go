package gb18030

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const tops = 0x8080808080808080 // the high bit of each of eight bytes

// What the fast paths need to have before them, in bytes.
const (
	decodeRead, decodeRoom = 8, 16
	encodeRead, encodeRoom = 16, 8
)

// decodeRun decodes what is common from src to dst: ASCII by eight bytes, two-byte codes by four. It stops at the first code
// that is not, and near the end of either slice.
func (t *table) decodeRun(dst, src []byte) (n, i int) {
	for len(src)-i >= decodeRead && len(dst)-n >= decodeRoom {
		w := binary.LittleEndian.Uint64(src[i:])
		if w&tops == 0 {
			binary.LittleEndian.PutUint64(dst[n:], w)
			n, i = n+8, i+8
			continue
		}
		a, b := t.decode[uint16(w)], t.decode[uint16(w>>16)]
		c, d := t.decode[uint16(w>>32)], t.decode[uint16(w>>48)]
		if a&b&c&d >= plain {
			binary.LittleEndian.PutUint64(dst[n:], uint64(a&0xFFFFFF)|uint64(b)<<24)
			binary.LittleEndian.PutUint64(dst[n+6:], uint64(c&0xFFFFFF)|uint64(d)<<24)
			n, i = n+12, i+8
			continue
		}
		if ascii := bits.TrailingZeros64(w&tops) / 8; ascii > 0 {
			binary.LittleEndian.PutUint64(dst[n:], w)
			n, i = n+ascii, i+ascii
			continue
		}
		binary.LittleEndian.PutUint32(dst[n:], a)
		switch {
		case a&b&c >= plain:
			binary.LittleEndian.PutUint32(dst[n+3:], b)
			binary.LittleEndian.PutUint32(dst[n+6:], c)
			n, i = n+9, i+6
		case a&b >= plain:
			binary.LittleEndian.PutUint32(dst[n+3:], b)
			n, i = n+6, i+4
		case a >= plain:
			n, i = n+3, i+2
		case a >= short:
			n, i = n+2, i+2
		default:
			return n, i
		}
	}
	return n, i
}

// decodeRune reads the code that src begins with; src is not empty. Size is 0 where more bytes are needed to know, and
// kind not 0 where there is no such code: then size counts the bytes that are to blame, without swallowing what may
// belong to the next character.
func (p Profile) decodeRune(t *table, src []byte, atEOF bool) (r rune, size int, kind Kind) {
	lead := src[0]
	switch {
	case lead < utf8.RuneSelf:
		return rune(lead), 1, 0
	case lead == 0x80 && (p == V2022 || p == CP936):
		return '€', 1, 0
	case lead == 0x80 || lead == 0xFF:
		return utf8.RuneError, 1, Malformed
	case len(src) < 2:
		return incomplete(atEOF)
	}
	trail := src[1]
	if trail >= '0' && trail <= '9' && p.four() {
		return p.decodeFour(src, atEOF)
	}
	if trail < 0x40 || trail == 0x7F || trail == 0xFF {
		return utf8.RuneError, 1, Malformed
	}
	entry := t.decode[uint16(lead)|uint16(trail)<<8]
	switch {
	case entry >= plain:
		return rune(entry&0xF)<<12 | rune(entry>>8&0x3F)<<6 | rune(entry>>16&0x3F), 2, 0
	case entry >= short:
		return rune(entry&0x1F)<<6 | rune(entry>>8&0x3F), 2, 0
	case entry != 0:
		return p.special(rune(entry)), 2, 0
	}
	return utf8.RuneError, 2, Unmapped
}

func incomplete(atEOF bool) (rune, int, Kind) {
	if atEOF {
		return utf8.RuneError, 1, Truncated
	}
	return utf8.RuneError, 0, 0
}

// special returns what the profile's edition has for a private-use code point of the edition of 2005.
func (p Profile) special(r rune) rune {
	if p == V2005 {
		return r
	}
	if c := changed(r); c != nil {
		return c.new
	}
	if r == spaceAlias && p == V2022 {
		return '\u3000'
	}
	return r
}

// spaceAlias is the code point of A3A0 in the user-defined area. Old pages wrote that code for an ideographic space.
const spaceAlias = 0xE5E5

func (p Profile) decodeFour(src []byte, atEOF bool) (rune, int, Kind) {
	for i, b := range src[1:min(len(src), 4)] {
		if digit := b >= '0' && b <= '9'; i%2 == 0 && !digit || i%2 == 1 && (b < 0x81 || b == 0xFF) {
			return utf8.RuneError, 1, Malformed
		}
	}
	if len(src) < 4 {
		return incomplete(atEOF)
	}
	index := ((int(src[0]-0x81)*10+int(src[1]-'0'))*126+int(src[2]-0x81))*10 + int(src[3]-'0')
	r := fromFour(index)
	switch {
	case r < 0:
		return utf8.RuneError, 4, Unmapped
	case r == of2005.new:
		r = of2005.old
	case p == Strict2022:
		if c := changed(r); c != nil {
			r = c.old
		}
	}
	return r, 4, 0
}

// noteDecoded returns what is to be said of a code of the given size that was read as r, or 0.
func (p Profile) noteDecoded(r rune, size int, lead byte) Kind {
	switch c := changed(r); {
	case c != nil && size == 4 && p == V2022:
		return Alias
	case c != nil && p.four():
		return Changed
	case p == V2022 && (lead == 0x80 || lead == 0xA3 && r == '\u3000'):
		return Alias
	case private(r):
		return PrivateUse
	}
	return 0
}
