package gm

import (
	"bufio"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// A sealed stream is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015) over SM4-GCM:
//
//	version ‖ salt[16] ‖ chunk…      chunk = ciphertext of 64 KiB of plaintext, the last one shorter ‖ tag[16]
//	nonce = prefix[7] ‖ counter[4, big-endian] ‖ 1 for the last chunk, else 0
//
// Key and prefix are derived from the Sealer's key by the salt, so nonces of two streams never meet, and the aad binds
// every chunk. The counter catches chunks that are moved, the flag of the last chunk catches a cut.
const (
	chunkSize  = 64 << 10
	saltSize   = 16
	prefixSize = 7
)

type stream struct {
	aead  cipher.AEAD
	nonce [nonceSize]byte
	aad   []byte
	count uint64 // chunks done
}

func (s *Sealer) newStream(salt, aad []byte) (*stream, error) {
	material, err := Derive(s.stream, salt, "qiong/gm/stream/key", 16+prefixSize)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(material[:16])
	if err != nil {
		return nil, err
	}
	st := &stream{aead: aead, aad: slices.Clone(aad)}
	copy(st.nonce[:], material[16:])
	return st, nil
}

// next returns the nonce of the next chunk.
func (s *stream) next(last bool) ([]byte, error) {
	if s.count > math.MaxUint32 {
		return nil, errs.New(errs.TooLarge, "密封流超过 256 TiB", "a sealed stream is at most 256 TiB")
	}
	binary.BigEndian.PutUint32(s.nonce[prefixSize:], uint32(s.count))
	s.nonce[nonceSize-1] = 0
	if last {
		s.nonce[nonceSize-1] = 1
	}
	s.count++
	return s.nonce[:], nil
}

// SealWriter returns a writer that seals what is written to it into w, in constant memory. Close writes the last chunk
// and must be called; without it the stream reads as cut. It does not close w.
func (s *Sealer) SealWriter(w io.Writer, aad []byte) (io.WriteCloser, error) {
	head := make([]byte, 1+saltSize)
	head[0] = sealedStream
	rand.Read(head[1:])
	st, err := s.newStream(head[1:], aad)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	return &sealWriter{stream: st, w: w, buf: make([]byte, 0, chunkSize+tagSize)}, nil
}

type sealWriter struct {
	*stream
	w   io.Writer
	buf []byte // plaintext of the chunk under way; sealed in place
	err error  // the first failure, or errClosed
}

var errClosed = errors.New("gm: write to a closed sealed stream")

// Write seals a full chunk only when a byte beyond it arrives: until then it might be the last.
func (w *sealWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if len(w.buf) == chunkSize {
			w.flush(false)
			continue
		}
		part := min(chunkSize-len(w.buf), len(p))
		w.buf = append(w.buf, p[:part]...)
		p = p[part:]
		n += part
	}
	return n, w.err
}

func (w *sealWriter) Close() error {
	if w.err != nil {
		if w.err == errClosed {
			return nil
		}
		return w.err
	}
	if w.flush(true); w.err != nil {
		return w.err
	}
	w.err = errClosed
	return nil
}

func (w *sealWriter) flush(last bool) {
	nonce, err := w.next(last)
	if err != nil {
		w.err = err
		return
	}
	_, w.err = w.w.Write(w.aead.Seal(w.buf[:0], nonce, w.buf, w.aad))
	w.buf = w.buf[:0]
}

// OpenReader returns a reader of the plaintext that SealWriter sealed into r with the same aad, in constant memory.
// It gives out verified bytes only, and io.EOF only after the last chunk was verified: a caller who acts on a part
// must undo it if a later Read fails. That failure is as in Open.
func (s *Sealer) OpenReader(r io.Reader, aad []byte) (io.Reader, error) {
	head := make([]byte, 1+saltSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, endsEarly(err)
	}
	if head[0] != sealedStream {
		return nil, damaged()
	}
	st, err := s.newStream(head[1:], aad)
	if err != nil {
		return nil, err
	}
	return &openReader{stream: st, r: bufio.NewReaderSize(r, chunkSize), buf: make([]byte, chunkSize+tagSize)}, nil
}

type openReader struct {
	*stream
	r    *bufio.Reader
	buf  []byte
	rest []byte // verified plaintext in buf, not yet given out
	err  error
}

func (r *openReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.rest, r.err = r.chunk()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// chunk returns the next chunk's plaintext, with io.EOF where it is the last.
func (r *openReader) chunk() ([]byte, error) {
	n, err := io.ReadFull(r.r, r.buf)
	last := false
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		last = true
	case err != nil:
		return nil, endsEarly(err)
	default:
		if _, err := r.r.Peek(1); errors.Is(err, io.EOF) {
			last = true
		} else if err != nil {
			return nil, err
		}
	}
	first := r.count == 0
	nonce, err := r.next(last)
	if err != nil {
		return nil, err
	}
	text, err := r.aead.Open(r.buf[:0], nonce, r.buf[:n], r.aad)
	if err != nil || len(text) == 0 && !first { // only an empty stream has an empty chunk
		return nil, damaged()
	}
	if last {
		return text, io.EOF
	}
	return text, nil
}

// endsEarly tells a stream that stops too soon from a reader that fails.
func endsEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged()
	}
	return err
}
