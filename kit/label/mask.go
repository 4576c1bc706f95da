package label

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"

	"github.com/qiongdev/qiong/kit/errs"
)

// Mask is how a value is shown to those who may not see it whole. The zero Mask is none, which shows nothing: whoever
// applies it drops the value. Masks count code points, never bytes: a Han character is kept or hidden whole.
type Mask struct {
	mode       maskMode
	head, tail uint8 // code points that stay
}

type maskMode uint8

const (
	maskNone maskMode = iota
	maskKeep
	maskAll
	maskDrop
	maskDetect
)

// The masks without figures. In tags: all, drop, detect.
var (
	MaskAll    = Mask{mode: maskAll}    // six asterisks, whatever the length
	MaskDrop   = Mask{mode: maskDrop}   // the zero value of its type; null in foreign JSON
	MaskDetect = Mask{mode: maskDetect} // in text and embedded JSON, only the numbers that are recognized
)

const hidden = "******"

// Keep returns the mask that shows the first head and the last tail code points and an asterisk for every other one. A
// value that would be shown whole, or but for one code point of more than two, is hidden whole instead.
func Keep(head, tail uint8) Mask { return Mask{mode: maskKeep, head: head, tail: tail} }

// ParseMask reads a mask as tags and catalogues spell it: "3-4" keeps three and four code points, and "all", "drop" and
// "detect" are the masks of that name.
func ParseMask(s string) (Mask, error) {
	switch s {
	case "all":
		return MaskAll, nil
	case "drop":
		return MaskDrop, nil
	case "detect":
		return MaskDetect, nil
	}
	head, tail, ok := strings.Cut(s, "-")
	h, errH := strconv.ParseUint(head, 10, 7)
	t, errT := strconv.ParseUint(tail, 10, 7)
	if !ok || errH != nil || errT != nil || strconv.FormatUint(h, 10)+"-"+strconv.FormatUint(t, 10) != s {
		return Mask{}, errs.New(errs.Invalid, "掩码应形如 3-4，或为 all、drop、detect", "a mask is like 3-4, or all, drop or detect").
			WithCode("mask.unknown")
	}
	return Keep(uint8(h), uint8(t)), nil
}

// String returns what ParseMask reads; empty for the zero Mask.
func (m Mask) String() string {
	switch m.mode {
	case maskKeep:
		return strconv.Itoa(int(m.head)) + "-" + strconv.Itoa(int(m.tail))
	case maskAll:
		return "all"
	case maskDrop:
		return "drop"
	case maskDetect:
		return "detect"
	}
	return ""
}

// IsZero reports whether m is no mask.
func (m Mask) IsZero() bool { return m == Mask{} }

// Drops reports whether nothing of a value is left under m.
func (m Mask) Drops() bool { return m.mode == maskDrop || m.mode == maskNone }

// Append appends s as m shows it to dst. An empty value stays empty. It allocates nothing where dst has room.
func (m Mask) Append(dst []byte, s string) []byte {
	if s == "" {
		return dst
	}
	switch m.mode {
	case maskKeep:
		begin := len(dst)
		dst = append(dst, s...)
		return dst[:begin+m.keep(dst[begin:])]
	case maskAll:
		return append(dst, hidden...)
	case maskDetect:
		return AppendMasked(dst, s)
	}
	return dst
}

// AppendBytes is Append of bytes.
func (m Mask) AppendBytes(dst, s []byte) []byte { return m.Append(dst, view(s)) }

// Apply returns s as m shows it.
func (m Mask) Apply(s string) string { return string(m.Append(nil, s)) }

// Shorten masks b in place and returns how many bytes of it are left, where m is made by [Keep], which makes nothing
// longer. It returns false for other masks.
func (m Mask) Shorten(b []byte) (n int, ok bool) {
	if m.mode != maskKeep {
		return 0, false
	}
	return m.keep(b), true
}

// keep hides all but the ends of b. Most graded values are short and ASCII, where code points are bytes. Elsewhere a code
// point is a byte and the continuation bytes after it, so that what is not UTF-8 is no trouble.
func (m Mask) keep(b []byte) int {
	head, tail, runes := int(m.head), int(m.tail), len(b)
	if !ascii(b) {
		runes = 0
		for _, c := range b {
			runes += starts(c)
		}
	}
	middle := runes - head - tail
	if conceals(middle, head+tail) {
		star(b[:runes])
		return runes
	}
	from, to := head, len(b)-tail
	if runes == len(b) {
		star(b[from:to])
		return runes
	}
	from, to = 0, len(b)
	for ; head > 0; head-- {
		for from++; starts(b[from]) == 0; from++ {
		}
	}
	for ; tail > 0; tail-- {
		for to--; starts(b[to]) == 0; to-- {
		}
	}
	star(b[from : from+middle])
	return from + middle + copy(b[from+middle:], b[to:])
}

// conceals reports whether a value is hidden whole, because what its ends would leave out is too little.
func conceals(middle, kept int) bool { return middle < 1 || middle == 1 && kept > 1 }

// starts returns 1 for a byte that begins a code point, and 0 for one that continues it.
func starts(c byte) int {
	if c&0xc0 == 0x80 {
		return 0
	}
	return 1
}

// ascii reads eight bytes at a time.
func ascii(b []byte) bool {
	i, all := 0, uint64(0)
	for ; i+8 <= len(b); i += 8 {
		all |= binary.LittleEndian.Uint64(b[i:])
	}
	for ; i < len(b); i++ {
		all |= uint64(b[i])
	}
	return all&0x8080808080808080 == 0
}

func star(b []byte) {
	for n := 1; n > 0; b = b[n:] {
		n = copy(b, "********************************")
	}
}

// view returns b as a string without copying it, for reading while b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
