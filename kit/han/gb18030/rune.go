package gb18030

import (
	"encoding/binary"
	"unicode/utf8"
)

// IsError reports whether k is about something that could not be converted, rather than a note.
func (k Kind) IsError() bool { return k >= Malformed }

// DecodeRune reads the character that src begins with, for programs that look at each one; the other functions are many
// times faster. Kind is 0 where there is nothing to say. An error has the rune utf8.RuneError and the number of bytes
// to blame. Size is 0 where src is empty, and where it may go on and more of it is needed.
func (p Profile) DecodeRune(src []byte, atEOF bool) (r rune, size int, kind Kind) {
	if len(src) == 0 {
		return utf8.RuneError, 0, 0
	}
	r, size, kind = p.decodeRune(p.table(), src, atEOF)
	if kind == 0 && size > 0 && r >= utf8.RuneSelf {
		kind = p.noteDecoded(r, size, src[0])
	}
	return r, size, kind
}

// AppendRune appends the code of r to dst. Kind is Unmapped where the profile has none, and then nothing is appended.
func (p Profile) AppendRune(dst []byte, r rune) ([]byte, Kind) {
	if !utf8.ValidRune(r) {
		return dst, Unmapped
	}
	code, size := p.encodeRune(p.table(), r)
	if size == 0 {
		return dst, Unmapped
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], code)
	return append(dst, b[:size]...), p.noteEncoded(r)
}
