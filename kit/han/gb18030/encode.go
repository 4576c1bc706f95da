package gb18030

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The shape of two characters of three bytes of UTF-8 in the low six bytes of a word.
const (
	shapeMask = 0xC0C0F0_C0C0F0
	shape     = 0x8080E0_8080E0
)

// twoRunes returns the code points of two such characters, in bits 0–15 and 24–39.
func twoRunes(w uint64) uint64 {
	return w&0x00000F_00000F<<12 | w>>2&0x000FC0_000FC0 | w>>16&0x00003F_00003F
}

// encodeRun encodes what is common from src to dst: ASCII by eight bytes, characters with two-byte codes by four. It
// stops at the first character that is not, and near the end of either slice.
func (t *table) encodeRun(dst, src []byte) (n, i int) {
	for len(src)-i >= encodeRead && len(dst)-n >= encodeRoom {
		w := binary.LittleEndian.Uint64(src[i:])
		if w&tops == 0 {
			binary.LittleEndian.PutUint64(dst[n:], w)
			n, i = n+8, i+8
			continue
		}
		if w&shapeMask == shape {
			v := binary.LittleEndian.Uint64(src[i+6:])
			ab, cd := twoRunes(w), twoRunes(v)
			a, b := t.encode[uint16(ab)], t.encode[uint16(ab>>24)]
			c, d := t.encode[uint16(cd)], t.encode[uint16(cd>>24)]
			if v&shapeMask == shape && a&b&c&d&high != 0 {
				binary.LittleEndian.PutUint64(dst[n:], uint64(a)|uint64(b)<<16|uint64(c)<<32|uint64(d)<<48)
				n, i = n+8, i+12
				continue
			}
			if a&b&high != 0 {
				binary.LittleEndian.PutUint32(dst[n:], uint32(a)|uint32(b)<<16)
				n, i = n+4, i+6
				continue
			}
		}
		if ascii := bits.TrailingZeros64(w&tops) / 8; ascii > 0 {
			binary.LittleEndian.PutUint64(dst[n:], w)
			n, i = n+ascii, i+ascii
			continue
		}
		var code uint16
		size := 3
		if w&0xC0C0F0 == 0x8080E0 {
			code = t.encode[uint16(twoRunes(w))]
		} else if w&0xC0E0 == 0x80C0 {
			code, size = t.short[w&0x1F<<6|w>>8&0x3F], 2
		}
		if code&high == 0 {
			return n, i
		}
		binary.LittleEndian.PutUint16(dst[n:], code)
		n, i = n+2, i+size
	}
	return n, i
}

// encodeRune returns the code of r, low byte first, and its size; 0 where the profile has none.
func (p Profile) encodeRune(t *table, r rune) (code uint32, size int) {
	switch {
	case r < utf8.RuneSelf:
		return uint32(r), 1
	case r < 0x800:
		code = uint32(t.short[r])
	case r == '€' && p == CP936:
		return 0x80, 1
	case r < 0x10000:
		code = uint32(t.encode[r])
	}
	if code&high != 0 {
		return code, 2
	}
	if code != 0 {
		return p.encodeSpecial(code|high, r)
	}
	if !p.four() {
		return 0, 0
	}
	if r == of2005.old {
		r = of2005.new
	}
	return fourBytes(toFour(r)), 4
}

// encodeSpecial returns the code of a character that is for private use or changed, and has a two-byte code in some
// edition.
func (p Profile) encodeSpecial(code uint32, r rune) (uint32, int) {
	c := changed(r)
	if c != nil && (p == V2005 && r == c.new || p == Strict2022 && r == c.old) {
		return fourBytes(toFour(c.new)), 4
	}
	return code, 2
}

// fourBytes returns the four-byte code at an index, low byte first.
func fourBytes(index int) uint32 {
	n := uint32(index) // unsigned, whose divisions by constants are cheaper
	return (n/12600 + 0x81) | (n/1260%10+'0')<<8 | (n/10%126+0x81)<<16 | (n%10+'0')<<24
}

// noteEncoded returns what is to be said of r, or 0.
func (p Profile) noteEncoded(r rune) Kind {
	switch c := changed(r); {
	case p == V2022 && (c != nil && r == c.old || r == spaceAlias):
		return Alias
	case c != nil && p.four():
		return Changed
	case private(r):
		return PrivateUse
	}
	return 0
}
