package wal

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// snapshot is a file with the state of whoever replays the log, as it is after a record that ends a batch.
//
//	head    magic 8 | version 4 | hash 4 | log 16 | generation 8 | last record 8 | chain 32 | received 4 | zeros 40 | CRC 4
//	body    what the caller wrote
//	tail    body bytes 8 | CRC of the body 4 | end mark 4
type snapshot struct {
	hash       Hash
	id         ID
	generation uint64 // that wrote the record
	last       uint64
	chain      Chain
	received   bool // from a leader: the log before it is not here
	path       string
}

const (
	snapshotHead  = 128
	snapshotTail  = 16
	snapshotMagic = "QIONGSNP"
)

func (h snapshot) name() string {
	return fmt.Sprintf("%016x-%016x%s", h.generation, h.last, snapshotExt)
}

func (h snapshot) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, snapshotHead), snapshotMagic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, uint32(h.hash))
	b = append(b, h.id[:]...)
	b = le.AppendUint64(b, h.generation)
	b = le.AppendUint64(b, h.last)
	b = append(b, h.chain[:]...)
	received := uint32(0)
	if h.received {
		received = 1
	}
	b = le.AppendUint32(b, received)
	b = b[:snapshotHead-4]
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseSnapshotHead(b []byte) (snapshot, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < snapshotHead:
		return snapshot{}, fmt.Errorf("the head is cut")
	case string(b[:8]) != snapshotMagic:
		return snapshot{}, fmt.Errorf("not a snapshot")
	case le.Uint32(b[snapshotHead-4:]) != crc32.Checksum(b[:snapshotHead-4], castagnoli):
		return snapshot{}, fmt.Errorf("the head's checksum does not hold")
	case le.Uint32(b[8:]) != version:
		return snapshot{}, fmt.Errorf("version %d is not known", le.Uint32(b[8:]))
	}
	received := le.Uint32(b[80:])
	h := snapshot{hash: Hash(le.Uint32(b[12:])), id: ID(b[16:32]), generation: le.Uint64(b[32:]), last: le.Uint64(b[40:]), chain: Chain(b[48:80]), received: received == 1}
	if !h.hash.known() || h.last == 0 || received > 1 || !allZero(b[84:snapshotHead-4]) {
		return snapshot{}, fmt.Errorf("the head says what no head may")
	}
	return h, nil
}

// openSnapshot reads the head of a snapshot and returns its body.
func openSnapshot(f File, path string) (snapshot, *io.SectionReader, error) {
	size, err := f.Size()
	if err != nil {
		return snapshot{}, nil, err
	}
	b := make([]byte, snapshotHead)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return snapshot{}, nil, err
	}
	h, err := parseSnapshotHead(b[:n])
	if err == nil && (h.name() != filepath.Base(path) || size < snapshotHead+snapshotTail) {
		err = fmt.Errorf("it is cut, or its name is of another")
	}
	if err != nil {
		return snapshot{}, nil, damaged(path, 0, err.Error())
	}
	h.path = path
	return h, io.NewSectionReader(f, snapshotHead, size-snapshotHead-snapshotTail), nil
}

// verify reads a snapshot to its end.
func (h snapshot) verify(fs FS) error {
	return withFile(fs, h.path, func(f File) error {
		_, body, err := openSnapshot(f, h.path)
		if err != nil {
			return err
		}
		sum := crc32.New(castagnoli)
		if _, err := io.CopyBuffer(sum, body, make([]byte, min(body.Size()+1, 1<<20))); err != nil {
			return err
		}
		var tail [snapshotTail]byte
		if _, err := f.ReadAt(tail[:], snapshotHead+body.Size()); err != nil && err != io.EOF {
			return err
		}
		if [snapshotTail]byte(snapshotEnd(body.Size(), sum.Sum32())) != tail {
			return damaged(h.path, snapshotHead+body.Size(), "the snapshot's checksum does not hold")
		}
		return nil
	})
}

func snapshotEnd(size int64, sum uint32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(size))
	return append(binary.LittleEndian.AppendUint32(b, sum), endMark...)
}

// save makes a snapshot's file: written under another name, synced, renamed, and the folder synced.
func (s *store) save(h snapshot, write func(io.Writer) error) (err error) {
	temp := filepath.Join(s.dir, tempPrefix+h.name())
	h.path = filepath.Join(s.dir, h.name())
	f, err := create(s.fs, temp)
	if err != nil {
		return noRoom(err)
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, f.Close(), s.fs.Remove(temp))
		}
	}()
	w := &summing{f: f, w: io.NewOffsetWriter(f, 0)}
	if _, err := w.w.Write(h.encode()); err != nil {
		return noRoom(err)
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	if err := errors.Join(write(buffered), buffered.Flush()); err != nil {
		return err
	}
	if _, err := w.w.Write(snapshotEnd(w.size, w.sum)); err != nil {
		return noRoom(err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	open = false
	if err := f.Close(); err != nil {
		return err
	}
	if err := errors.Join(s.fs.Rename(temp, h.path), s.fs.SyncDir(s.dir)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots = append(slices.DeleteFunc(slices.Clone(s.snapshots), func(o snapshot) bool { return o.last == h.last }), h)
	slices.SortFunc(s.snapshots, func(a, b snapshot) int { return cmp.Compare(a.last, b.last) })
	return nil
}

// summing counts and sums what is written through it. It syncs now and then: much at once would make the log wait.
type summing struct {
	f     File
	w     io.Writer
	size  int64
	sum   uint32
	dirty int
}

const mostDirty = 8 << 20

func (w *summing) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.size += int64(n)
	w.sum = crc32.Update(w.sum, castagnoli, p[:n])
	if w.dirty += n; err == nil && w.dirty >= mostDirty {
		w.dirty = 0
		err = w.f.Datasync()
	}
	return n, err
}

// findSnapshots reads the heads of the snapshots in the folder.
func (s *store) findSnapshots(names []string) error {
	for _, name := range names {
		if _, _, ok := parseName(name, snapshotExt); !ok {
			continue
		}
		path := filepath.Join(s.dir, name)
		err := withFile(s.fs, path, func(f File) error {
			h, _, err := openSnapshot(f, path)
			if err != nil {
				return err
			}
			if s.id == (ID{}) {
				s.id, s.o.Hash = h.id, h.hash
			}
			if h.id != s.id || h.hash != s.o.Hash {
				return damaged(path, 0, "it is of another log")
			}
			s.snapshots = append(s.snapshots, h)
			return nil
		})
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil {
			s.found.Skipped = append(s.found.Skipped, name)
		}
	}
	return nil
}

func isDamage(err error) bool {
	var e *errs.Error
	return errors.As(err, &e) && e.Code == CodeDamaged
}

// chooseSnapshot finds the newest snapshot that is whole, and holds that the log goes on from it.
func (s *store) chooseSnapshot() error {
	for n := len(s.snapshots); n > 0; n-- {
		h := s.snapshots[n-1]
		err := h.verify(s.fs)
		if err == nil {
			s.snapshots = s.snapshots[:n]
			s.found.Snapshot = h.last
			if h.received && h.last > s.found.Last {
				return s.installed(h, 0) // a crash came between its coming and the going of what was before
			}
			return s.reaches(h)
		}
		if !isDamage(err) {
			return err
		}
		s.found.Skipped = append(s.found.Skipped, filepath.Base(h.path))
	}
	s.snapshots = nil
	return s.reaches(snapshot{})
}

// reaches reports as damage where records between a snapshot and the end of the log are not there.
func (s *store) reaches(h snapshot) error {
	switch {
	case len(s.segments) == 0:
		return nil
	case h.last > s.found.Last:
		return damaged(s.segments[len(s.segments)-1].path, s.tip.at, fmt.Sprintf("it ends with record %d, and a snapshot holds %d", s.found.Last, h.last))
	case s.segments[0].first > h.last+1:
		return damaged(s.segments[0].path, 0, fmt.Sprintf("it begins with record %d, and no snapshot that is whole holds what was before", s.segments[0].first))
	}
	return nil
}

// beginAtSnapshot has the log go on from a snapshot that a leader has sent, or from nothing.
func (s *store) beginAtSnapshot() error {
	s.tip = mark{next: 1}
	if len(s.snapshots)+len(s.found.Skipped) == 0 {
		return nil
	}
	if err := s.chooseSnapshot(); err != nil {
		return err
	}
	if s.found.Last == 0 {
		return damaged(s.dir, 0, "there are snapshots and no segments")
	}
	return nil
}

// newestGeneration returns the highest generation that the folder has seen.
func (s *store) newestGeneration() uint64 {
	newest := s.have.generation
	for _, g := range s.segments {
		newest = max(newest, g.generation)
	}
	for _, h := range s.snapshots {
		newest = max(newest, h.generation)
	}
	return newest
}

// Snapshot keeps a state under the number of the last record that it holds, which must be durable and the last of its
// batch. The write must not call the log's Close. The log is written meanwhile.
func (l *Log) Snapshot(last uint64, write func(io.Writer) error) error {
	return l.s.snapshot(last, l.Durable(), write)
}

func (s *store) snapshot(last, durable uint64, write func(io.Writer) error) error {
	if last == 0 || last > durable {
		return errs.New(errs.Invalid, "快照只能截至已持久的记录", "a snapshot ends with a record that is durable")
	}
	h, err := s.endsBatch(last)
	if err != nil {
		return err
	}
	return s.save(h, write)
}

// Restore returns the newest valid snapshot, and the last record it holds; 0 and an empty reader where there is none.
// Read from there on. It is one that Open found, or one made since.
func (l *Log) Restore() (uint64, io.ReadCloser, error) { return l.s.restore() }

func (s *store) restore() (uint64, io.ReadCloser, error) {
	o, err := s.newestSnapshot()
	if err != nil || o == nil {
		return 0, empty{}, err
	}
	return o.last, bodyReader{o.body, o}, nil
}

// opened is a snapshot that is being read.
type opened struct {
	snapshot
	File
	body *io.SectionReader
}

// newestSnapshot opens the newest snapshot; nil where there is none.
func (s *store) newestSnapshot() (*opened, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.snapshots) == 0 {
		return nil, nil
	}
	h := s.snapshots[len(s.snapshots)-1]
	f, err := s.fs.Open(h.path, 0)
	if err != nil {
		return nil, err
	}
	_, body, err := openSnapshot(f, h.path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &opened{h, f, body}, nil
}

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
func (empty) Close() error             { return nil }

type bodyReader struct {
	*io.SectionReader
	io.Closer
}

// Retain drops what nobody needs for the records after last: whole segments, and snapshots but for the newest two. The
// log is kept from the older of these on.
func (l *Log) Retain(last uint64) error {
	err := l.s.retain(last)
	l.spare.retry()
	return err
}

func (s *store) retain(last uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.snapshots) == 0 {
		return nil
	}
	keep := max(len(s.snapshots)-2, 0)
	var gone []string
	for _, h := range s.snapshots[:keep] {
		gone = append(gone, h.path)
	}
	s.snapshots = s.snapshots[keep:]
	last = min(last, s.snapshots[0].last)
	n := 0
	for n+1 < len(s.segments) && s.segments[n+1].first <= last+1 {
		gone = append(gone, s.segments[n].path)
		n++
	}
	s.segments = s.segments[n:]
	for _, path := range gone { // snapshots first: what is left reaches back to those that are kept
		if err := s.fs.Remove(path); err != nil {
			return err
		}
	}
	return s.fs.SyncDir(s.dir)
}
