package wal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// segment is a file of frames.
type segment struct {
	header
	path  string
	marks []mark // guarded by the store's mutex
}

// mark is where a frame begins, one for every so many bytes, so that a reader need not begin with the segment.
type mark struct {
	next  uint64 // number of the frame's first record
	at    int64
	chain Chain // before it
}

const markEvery = 64 << 10

// start returns the last mark at or before record lsn.
func (g *segment) start(lsn uint64) mark {
	m := mark{g.first, headerSize, g.chain}
	for i := len(g.marks) - 1; i >= 0; i-- {
		if g.marks[i].next <= lsn {
			return g.marks[i]
		}
	}
	return m
}

// note takes a mark where the last one is far enough.
func (g *segment) note(m mark) {
	last := int64(headerSize)
	if n := len(g.marks); n > 0 {
		last = g.marks[n-1].at
	}
	if m.at-last >= markEvery {
		g.marks = append(g.marks, m)
	}
}

// end is where the frames of a segment end.
type end struct {
	mark
	lastAt   int64 // where the last frame begins; 0 where there is none
	lastSize int
	torn     int64 // bytes after the end that are not zeros, up to the last that is not
	size     int64 // of the file
}

// Torn is the rest of a batch that a crash kept from being written whole. Nobody was told that it was kept.
type Torn struct {
	File   string
	Offset int64
	Bytes  int64
}

// scan reads the newest segment up to the end of its frames, by their checksums, and judges what follows.
func (g *segment) scan(f File) (end, error) {
	e := end{mark: mark{g.first, headerSize, g.chain}}
	var err error
	if e.size, err = f.Size(); err != nil {
		return e, err
	}
	w := window{f: f, size: e.size}
	s := seed(g.id, g.generation)
	for {
		frame, h, err := w.frame(e.at, s)
		if err != nil {
			return e, err
		}
		if frame == nil {
			break
		}
		if h.first != e.next {
			return e, damaged(g.path, e.at, fmt.Sprintf("record %d where %d belongs", h.first, e.next))
		}
		g.note(e.mark)
		e.lastAt, e.lastSize = e.at, h.size
		e.mark = mark{h.last() + 1, e.at + int64(h.size), chainOf(frame)}
	}
	return e, g.judge(f, &e, s)
}

// judge looks at what follows the last whole frame: zeros, a torn tail, or damage.
func (g *segment) judge(f File, e *end, s uint32) error {
	written, err := lastWritten(f, e.at, e.size)
	if err != nil || written == e.at {
		return err
	}
	rest := make([]byte, e.size-e.at)
	if _, err := f.ReadAt(rest, e.at); err != nil && err != io.EOF {
		return err
	}
	if why := classify(rest, e.at, int(written-e.at), s, e.next); why != "" {
		return damaged(g.path, e.at, why)
	}
	e.torn = written - e.at
	return nil
}

// lastWritten returns where the bytes that are not zeros end.
func lastWritten(f File, from, to int64) (int64, error) {
	last := from
	buf := make([]byte, min(to-from, 1<<20))
	for at := from; at < to; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), to-at)]
		if _, err := f.ReadAt(buf, at); err != nil && err != io.EOF {
			return 0, err
		}
		if allZero(buf) {
			continue
		}
		for i := len(buf) - 1; i >= 0; i-- {
			if buf[i] != 0 {
				last = at + int64(i) + 1
				break
			}
		}
	}
	return last, nil
}

// classify says why rest, which begins at an offset where a whole frame would, is damaged; "" where it is a torn tail:
// what a write leaves that a crash has ended. It knows that the frame before was synced before this one was written, and
// this one before any other; that the file was zeros here; and that a crash leaves each sector as it was or as it was
// meant to be, or ends the write at some byte. rest goes up to the end of the file, and is zeros from written on.
func classify(rest []byte, offset int64, written int, s uint32, next uint64) string {
	for at := unit; at < written; at += unit {
		if h, ok := parseHead(rest[at:], s); ok && h.first > next && at+h.size <= len(rest) && h.whole(rest[at:at+h.size], s) {
			return fmt.Sprintf("a frame that is not whole, and a whole one %d bytes on", at)
		}
	}
	h, ok := parseHead(rest, s)
	switch {
	case ok && h.first != next:
		return fmt.Sprintf("record %d where %d belongs", h.first, next)
	case ok && h.size > len(rest): // the file ends before the frame
		return ""
	case ok && written > h.size:
		return "a frame that is not whole, and something after it"
	case ok && rest[h.size-1] == 0: // it was not written to its end
		return ""
	case ok && blanks(rest[:h.size]) > h.blank && (lacksSector(rest[:h.size], offset) || lacksSector(rest[:h.size], 0)):
		return ""
	case ok:
		return "a frame was written to its end, and its checksum does not hold"
	case written < headSize: // its head was not written to its end
		return ""
	case allZero(rest[:headSize]) && written <= maxFrame: // its first sector is not there
		return ""
	}
	return "the head of a frame does not hold"
}

const sector = 512

// lacksSector reports whether a sector, or what of it belongs to the frame, is all zeros. Sectors are counted from an
// offset: that of the frame in its file, and 0 for disks that cut a write at its own multiples.
func lacksSector(frame []byte, offset int64) bool {
	for len(frame) > 0 {
		n := min(sector-int(offset%sector), len(frame))
		if allZero(frame[:n]) {
			return true
		}
		frame, offset = frame[n:], offset+int64(n)
	}
	return false
}

// window reads a file forward, some of it ahead.
type window struct {
	f     File
	size  int64 // of the file
	at    int64 // of data in the file
	data  []byte
	ahead int // bytes to read the next time, at least
}

const (
	aheadLeast = 4 << 10
	aheadMost  = 256 << 10
)

// bytes returns n bytes at an offset, or as many as there are. They are good until the next call.
func (w *window) bytes(at int64, n int) ([]byte, error) {
	if at < w.at || at+int64(n) > w.at+int64(len(w.data)) {
		w.ahead = min(max(2*w.ahead, aheadLeast), aheadMost)
		want := min(int64(max(n, w.ahead)), max(w.size-at, 0))
		if int64(cap(w.data)) < want {
			w.data = make([]byte, want)
		}
		w.data = w.data[:want]
		got, err := w.f.ReadAt(w.data, at)
		if err != nil && err != io.EOF {
			w.data = nil
			return nil, err
		}
		w.at, w.data = at, w.data[:got]
	}
	from := w.data[at-w.at:]
	return from[:min(n, len(from))], nil
}

// forget drops what was read ahead, since more has been written.
func (w *window) forget() { w.data, w.ahead = w.data[:0], 0 }

// frame returns the whole frame at an offset, nil where there is none.
func (w *window) frame(at int64, s uint32) ([]byte, head, error) {
	b, err := w.bytes(at, headSize)
	if err != nil {
		return nil, head{}, err
	}
	h, ok := parseHead(b, s)
	if !ok || at+int64(h.size) > w.size {
		return nil, head{}, nil
	}
	if b, err = w.bytes(at, h.size); err != nil || !h.whole(b, s) {
		return nil, head{}, err
	}
	return b, h, nil
}

// openSegment reads the header of a segment.
func openSegment(fs FS, path string) (*segment, File, error) {
	f, err := fs.Open(path, 0)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		_ = f.Close() // nothing was written
		return nil, nil, err
	}
	h, err := parseHeader(b[:n])
	if err == nil && h.name() != filepath.Base(path) {
		err = fmt.Errorf("the name is of another")
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, nil, damaged(path, 0, err.Error())
	}
	return &segment{header: h, path: path}, f, nil
}

// read calls do with the segment's open file.
func withFile(fs FS, path string, do func(File) error) error {
	f, err := fs.Open(path, 0)
	if err != nil {
		return err
	}
	err = do(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// create makes an empty file of which nobody else has heard.
func create(fs FS, path string) (File, error) { return fs.Open(path, os.O_CREATE|os.O_TRUNC) }
