package gb18030

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// AppendDecode appends src, which is a whole text in the profile's encoding, to dst as UTF-8. At the first code that it
// can't read it ends with an [Error] and what was read so far. It does not allocate where dst has room for half as much
// again as src, and 16 bytes.
func (p Profile) AppendDecode(dst, src []byte) ([]byte, error) {
	d := Decoder{Profile: p}
	return d.append(dst, src, true)
}

// Decoder turns text that comes in pieces into UTF-8. The zero Decoder reads V2022 strictly. Use either Append and
// Close, which keep a code cut in two by the end of a piece, or Transform, whose caller keeps it. A Decoder serves one
// goroutine.
type Decoder struct {
	Profile Profile
	Mode    Mode
	Report  func(Note) // called for every Note in the order of the text, also for what Replace replaces; may be nil

	offset int64 // of the input that was consumed
	cut    [4]byte
	held   int // how many bytes of cut are the beginning of a code
}

var _ transform.Transformer = (*Decoder)(nil)

// Reset prepares the decoder for another text.
func (d *Decoder) Reset() { d.offset, d.held = 0, 0 }

// Offset returns how many bytes of the text have been converted.
func (d *Decoder) Offset() int64 { return d.offset }

// Append converts the next piece and appends it to dst. A code that the piece ends in the middle of is kept for the next
// one. The error is an [Error]; after it, only Reset is of use.
func (d *Decoder) Append(dst, src []byte) ([]byte, error) {
	for d.held > 0 && len(src) > 0 {
		d.cut[d.held] = src[0]
		d.held++
		src = src[1:]
		var err error
		if dst, err = d.again(dst, false); err != nil {
			return dst, err
		}
	}
	before := d.offset
	dst, err := d.append(dst, src, false)
	d.held += copy(d.cut[d.held:], src[d.offset-before:])
	return dst, err
}

// Close ends the text: a code still unfinished is an error, or replaced.
func (d *Decoder) Close(dst []byte) ([]byte, error) { return d.again(dst, true) }

// again converts what is held, or as much of it as is complete.
func (d *Decoder) again(dst []byte, atEOF bool) ([]byte, error) {
	before := d.offset
	dst, err := d.append(dst, d.cut[:d.held], atEOF)
	d.held = copy(d.cut[:], d.cut[d.offset-before:d.held])
	return dst, err
}

func (d *Decoder) append(dst, src []byte, atEOF bool) ([]byte, error) {
	for {
		n, used, err := d.Transform(dst[len(dst):cap(dst)], src, atEOF)
		dst, src = dst[:len(dst)+n], src[used:]
		switch err {
		case transform.ErrShortDst:
			dst = slices.Grow(dst, len(src)+len(src)/2+decodeRoom)
		case transform.ErrShortSrc:
			return dst, nil
		default:
			return dst, err
		}
	}
}

// Transform implements transform.Transformer.
func (d *Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	t, start := d.Profile.table(), d.offset
	defer func() { d.offset = start + int64(nSrc) }()
	for {
		n, i := t.decodeRun(dst[nDst:], src[nSrc:])
		nDst, nSrc = nDst+n, nSrc+i
		if nSrc == len(src) {
			return nDst, nSrc, nil
		}
		r, size, kind := d.Profile.decodeRune(t, src[nSrc:], atEOF)
		switch {
		case size == 0:
			return nDst, nSrc, transform.ErrShortSrc
		case kind != 0 && d.Mode == Strict:
			return nDst, nSrc, &Error{Note{start + int64(nSrc), size, r, kind}}
		case len(dst)-nDst < utf8.RuneLen(r):
			return nDst, nSrc, transform.ErrShortDst
		}
		if d.Report != nil && (r >= utf8.RuneSelf) {
			if kind == 0 {
				kind = d.Profile.noteDecoded(r, size, src[nSrc])
			}
			if kind != 0 {
				d.Report(Note{start + int64(nSrc), size, r, kind})
			}
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += size
	}
}
