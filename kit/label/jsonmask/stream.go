package jsonmask

import (
	"bytes"
	"io"
)

// stream feeds chunks to a scan.
type stream struct {
	scan
	carry []byte // of what came before, not consumed
	out   []byte // what the last chunk became
	err   error
}

// feed returns what becomes of chunk, valid until the next call.
func (s *stream) feed(chunk []byte, final bool) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	src := chunk
	if len(s.carry) > 0 {
		s.carry = append(s.carry, chunk...)
		if src = s.carry; !final && s.waits(chunk) {
			return nil, nil
		}
	}
	var n int
	if s.out, n, s.err = s.run(s.out[:0], src, final); s.err != nil {
		return nil, s.err
	}
	s.carry = append(s.carry[:0], src[n:]...) // may overlap, which append allows
	return s.out, nil
}

// waits reports whether chunk can't end the string that carry begins with, so that a string which comes in many chunks
// isn't read anew for each.
func (s *stream) waits(chunk []byte) bool {
	return len(s.carry) < longest && (s.carry[0] == '"' || s.phase == inDetected) && bytes.IndexByte(chunk, '"') < 0
}

// Writer masks what is written to it and writes it on. Close must be called: only then is the document known to be
// whole. Between writes it keeps no more than one token, of at most 64 KiB.
type Writer struct {
	stream
	w io.Writer
}

// NewWriter returns a Writer to w.
func (m *Masker) NewWriter(w io.Writer) *Writer {
	out := &Writer{w: w}
	out.m = m
	out.reset()
	return out
}

// Reset has the Writer begin anew, with another Masker and to another writer, and keeps its memory.
func (w *Writer) Reset(m *Masker, to io.Writer) {
	if w.m != m {
		clear(w.guesses[:]) // they are of the other's rules
	}
	w.reset()
	w.m, w.w, w.err, w.carry = m, to, nil, w.carry[:0]
}

// Write masks p. After an error, which is of kind Invalid or that of the underlying writer, it writes no more.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.write(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is left. It is an error if the document is not whole. It does not close the underlying writer.
func (w *Writer) Close() error { return w.write(nil, true) }

func (w *Writer) write(p []byte, final bool) error {
	out, err := w.feed(p, final)
	if err == nil && len(out) > 0 {
		_, err = w.w.Write(out)
		w.err = err
	}
	return err
}

// Reader reads JSON and masks it.
type Reader struct {
	stream
	r     io.Reader
	chunk []byte
	left  []byte // of out, not read yet
	end   bool
}

// NewReader returns a Reader of what r has. Its Read returns io.EOF only after a whole document.
func (m *Masker) NewReader(r io.Reader) *Reader {
	in := &Reader{r: r, chunk: make([]byte, 16<<10)}
	in.m = m
	in.reset()
	return in
}

// Read reads masked JSON.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && len(p) > 0 {
		if r.end || r.err != nil {
			return 0, r.ended()
		}
		n, err := r.r.Read(r.chunk)
		if r.end = err == io.EOF; err != nil && !r.end {
			r.err = err
			return 0, err
		}
		if r.left, err = r.feed(r.chunk[:n], r.end); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *Reader) ended() error {
	if r.err != nil {
		return r.err
	}
	return io.EOF
}
