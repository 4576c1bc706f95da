package gb18030

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// AppendEncode appends src, which is a whole text in UTF-8, to dst in the profile's encoding. At the first character
// that has no code, and at bytes that are not UTF-8, it ends with an [Error] and what was written so far. It does not
// allocate where dst has room for twice as much as src, and 8 bytes; Chinese text needs two thirds.
func (p Profile) AppendEncode(dst, src []byte) ([]byte, error) {
	e := Encoder{Profile: p}
	return e.append(dst, src, true)
}

// Encoder turns UTF-8 that comes in pieces into a GB encoding. The zero Encoder writes V2022 strictly. Use either Append
// and Close, which keep a character cut in two by the end of a piece, or Transform, whose caller keeps it. An Encoder
// serves one goroutine.
type Encoder struct {
	Profile Profile
	Mode    Mode
	Report  func(Note) // called for every Note in the order of the text, also for what Replace replaces; may be nil

	offset int64 // of the input that was consumed
	cut    [4]byte
	held   int // how many bytes of cut are the beginning of a character
}

var _ transform.Transformer = (*Encoder)(nil)

// Reset prepares the encoder for another text.
func (e *Encoder) Reset() { e.offset, e.held = 0, 0 }

// Offset returns how many bytes of the text have been converted.
func (e *Encoder) Offset() int64 { return e.offset }

// Append converts the next piece and appends it to dst. A character that the piece ends in the middle of is kept for the
// next one. The error is an [Error]; after it, only Reset is of use.
func (e *Encoder) Append(dst, src []byte) ([]byte, error) {
	for e.held > 0 && len(src) > 0 {
		e.cut[e.held] = src[0]
		e.held++
		src = src[1:]
		var err error
		if dst, err = e.again(dst, false); err != nil {
			return dst, err
		}
	}
	before := e.offset
	dst, err := e.append(dst, src, false)
	e.held += copy(e.cut[e.held:], src[e.offset-before:])
	return dst, err
}

// Close ends the text: a character still unfinished is an error, or replaced.
func (e *Encoder) Close(dst []byte) ([]byte, error) { return e.again(dst, true) }

// again converts what is held, or as much of it as is complete.
func (e *Encoder) again(dst []byte, atEOF bool) ([]byte, error) {
	before := e.offset
	dst, err := e.append(dst, e.cut[:e.held], atEOF)
	e.held = copy(e.cut[:], e.cut[e.offset-before:e.held])
	return dst, err
}

func (e *Encoder) append(dst, src []byte, atEOF bool) ([]byte, error) {
	for {
		n, used, err := e.Transform(dst[len(dst):cap(dst)], src, atEOF)
		dst, src = dst[:len(dst)+n], src[used:]
		switch err {
		case transform.ErrShortDst:
			dst = slices.Grow(dst, len(src)+encodeRoom)
		case transform.ErrShortSrc:
			return dst, nil
		default:
			return dst, err
		}
	}
}

// Transform implements transform.Transformer.
func (e *Encoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	t, start := e.Profile.table(), e.offset
	defer func() { e.offset = start + int64(nSrc) }()
	for {
		n, i := t.encodeRun(dst[nDst:], src[nSrc:])
		nDst, nSrc = nDst+n, nSrc+i
		if nSrc == len(src) {
			return nDst, nSrc, nil
		}
		r, size, kind := decodeUTF8(src[nSrc:], atEOF)
		if size == 0 {
			return nDst, nSrc, transform.ErrShortSrc
		}
		code, width := e.Profile.encodeRune(t, r)
		if kind == 0 && width == 0 {
			kind = Unmapped
		}
		switch {
		case kind != 0 && e.Mode == Strict:
			return nDst, nSrc, &Error{Note{start + int64(nSrc), size, r, kind}}
		case width == 0:
			code, width = '?', 1
		}
		if len(dst)-nDst < width {
			return nDst, nSrc, transform.ErrShortDst
		}
		if e.Report != nil && r >= utf8.RuneSelf {
			if kind == 0 {
				kind = e.Profile.noteEncoded(r)
			}
			if kind != 0 {
				e.Report(Note{start + int64(nSrc), size, r, kind})
			}
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], code)
		nDst += copy(dst[nDst:], b[:width])
		nSrc += size
	}
}

// decodeUTF8 reads the character that src begins with. Size is 0 where more bytes are needed to know.
func decodeUTF8(src []byte, atEOF bool) (r rune, size int, kind Kind) {
	r, size = utf8.DecodeRune(src)
	switch {
	case r != utf8.RuneError || size > 1:
		return r, size, 0
	case utf8.FullRune(src):
		return r, 1, Malformed
	case atEOF:
		return r, 1, Truncated
	}
	return r, 0, 0
}
