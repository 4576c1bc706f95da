package gb18030

import (
	_ "embed" // for the codes
	"math/bits"
	"sync"
	"unicode/utf8"
)

//go:generate go run ./gen

// codes has the code points of the two-byte codes of GB 18030-2000 in order, two bytes each; see gen.
//
//go:embed two.bin
var codes string

// table is laid out for speed: an entry is what is written to the output. It holds what is the same in all profiles that
// share it. Everything rare is left to the slow path: private use and characters that changed have special entries, and
// four-byte codes none.
type table struct {
	// decode is indexed by a code whose lead is the low byte, as it is loaded from the text. An entry is plain|UTF-8 of
	// three bytes, short|UTF-8 of two bytes, the special code point, or 0.
	decode [1 << 16]uint32
	// encode is indexed by a code point from U+0800. An entry is the code, lead in the low byte; it is special where the
	// lead's high bit is off.
	encode [1 << 16]uint16
	short  [0x800]uint16 // the same for code points below
}

const (
	plain = 1 << 31 // an entry of three bytes of UTF-8
	short = 1 << 30 // an entry of two bytes of UTF-8
	high  = 0x80    // of an encode entry: not special
)

// The tables are made when first needed, in less than a millisecond each, and never change.
var tables = [...]func() *table{
	V2022: gb18030Table, V2005: gb18030Table, Strict2022: gb18030Table,
	GBK: gbkTable, CP936: gbkTable,
	GB2312: gb2312Table,
}

var (
	gb18030Table = sync.OnceValue(func() *table { return newTable(func(uint16, rune) bool { return true }) })
	gbkTable     = sync.OnceValue(func() *table { return newTable(inGBK) })
	gb2312Table  = sync.OnceValue(func() *table { return newTable(inGB2312) })
)

func (p Profile) table() *table {
	if int(p) >= len(tables) {
		p = V2022
	}
	return tables[p]()
}

// newTable makes the table of the codes that has reports, as the edition of 2005 has them.
func newTable(has func(code uint16, r rune) bool) *table {
	t := new(table)
	eachTwo(func(code uint16, r rune) {
		if code == of2005.code {
			r = of2005.new
		}
		if has(code, r) {
			t.add(code, r)
		}
	})
	for _, c := range of2022 {
		if at := bits.ReverseBytes16(c.code); t.decode[at] != 0 {
			t.encode[c.new] = at &^ high
		}
	}
	return t
}

func (t *table) add(code uint16, r rune) {
	at := bits.ReverseBytes16(code)
	var b [utf8.UTFMax]byte
	switch n := utf8.EncodeRune(b[:], r); {
	case private(r):
		t.decode[at] = uint32(r)
		t.encode[r] = at &^ high
	case n == 2:
		t.decode[at] = short | uint32(b[0]) | uint32(b[1])<<8
		t.short[r] = at
	default:
		t.decode[at] = plain | uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		t.encode[r] = at
	}
}

// eachTwo calls do for each two-byte code, in order, with its code point in the edition of 2000.
func eachTwo(do func(code uint16, r rune)) {
	i := 0
	for lead := 0x81; lead <= 0xFE; lead++ {
		for trail := 0x40; trail <= 0xFE; trail++ {
			if trail == 0x7F {
				continue
			}
			do(uint16(lead<<8|trail), rune(codes[i])<<8|rune(codes[i+1]))
			i += 2
		}
	}
}

// inGBK reports whether a code stands in GBK: all but private use and what GB 18030 added.
func inGBK(code uint16, r rune) bool {
	added := code == 0xA2E3 || code == 0xA8BC || code == 0xA8BF || code >= 0xA989 && code <= 0xA995 || code >= 0xFE50
	return !added && !private(r)
}

// inGB2312 reports whether a code stands in GB 2312-1980.
func inGB2312(code uint16, _ rune) bool {
	row, cell := int(code>>8)-0xA0, int(code&0xFF)-0xA0
	if row < 1 || cell < 1 {
		return false
	}
	switch row {
	case 2:
		return cell >= 17 && cell <= 66 || cell >= 69 && cell <= 78 || cell >= 81 && cell <= 92
	case 4:
		return cell <= 83
	case 5:
		return cell <= 86
	case 6:
		return cell <= 24 || cell >= 33 && cell <= 56
	case 7:
		return cell <= 33 || cell >= 49 && cell <= 81
	case 8:
		return cell <= 26 || cell >= 37 && cell <= 73
	case 9:
		return cell >= 4 && cell <= 79
	case 55:
		return cell <= 89
	}
	return row <= 3 || row >= 16 && row <= 87
}

const (
	fourBMP    = 39420  // how many code points of the basic plane have four-byte codes
	fourOthers = 189000 // the index of U+10000
	fourEnd    = fourOthers + 1<<20
)

// fours maps between the code points of the basic plane and the indexes of four-byte codes from 81308130, which number,
// in the order of Unicode, what the edition of 2000 gave no two-byte code.
type fours struct {
	runes [fourBMP]uint16
	index [1 << 16]uint16
}

var fourTable = sync.OnceValue(func() *fours {
	var taken [1 << 16]bool
	eachTwo(func(_ uint16, r rune) { taken[r] = true })
	t, n := new(fours), 0
	for r := rune(utf8.RuneSelf); r < 1<<16; r++ {
		if !taken[r] && utf8.ValidRune(r) {
			t.runes[n], t.index[r] = uint16(r), uint16(n)
			n++
		}
	}
	return t
})

// fromFour returns the code point of the edition of 2000 at an index of the four-byte codes, or -1.
func fromFour(index int) rune {
	switch {
	case index < fourBMP:
		return rune(fourTable().runes[index])
	case index >= fourOthers && index < fourEnd:
		return rune(index-fourOthers) + 0x10000
	}
	return -1
}

// toFour returns the index of the four-byte code of r in the edition of 2000, in which r has no shorter code.
func toFour(r rune) int {
	if r >= 0x10000 {
		return int(r) - 0x10000 + fourOthers
	}
	return int(fourTable().index[r])
}
