package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
)

// store is a log's folder: its segments, its snapshots and who has it. One goroutine writes; any number read.
type store struct {
	fs    FS
	dir   string
	o     Options
	lock  io.Closer
	owner File
	have  owner // what owner says
	id    ID    // zero in an empty folder

	mu        sync.RWMutex
	segments  []*segment // oldest first; the writer's is the last
	snapshots []snapshot // oldest first; valid when the folder was opened, or made since

	file File // of the segment that is written; nil before the first
	tip  mark // where the next frame goes

	found Recovery
}

// Recovery is what Open found in the folder.
type Recovery struct {
	Last     uint64   // number of the last record
	Torn     *Torn    // what was dropped; nil where nothing was
	Snapshot uint64   // last record that the newest valid snapshot holds; 0 where there is none
	Skipped  []string // names of newer snapshots that are damaged
}

// openStore locks a folder and reads what is in it. Torn tails are cut off.
func openStore(dir string, o Options) (*store, error) {
	s := &store{fs: o.FS, dir: dir, o: o}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) open() error {
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := errors.Join(s.fs.SyncDir(filepath.Dir(s.dir)), s.hold()); err != nil {
		return err
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(s.dir, name)
		switch {
		case strings.HasPrefix(name, tempPrefix): // a crash has left it half made
			err = s.fs.Remove(path)
		case strings.HasSuffix(name, segmentExt):
			err = s.addSegment(path)
		}
		if err != nil {
			return err
		}
	}
	if err := s.findSnapshots(names); err != nil {
		return err
	}
	return s.recover()
}

// hold locks the folder and reads whose it was.
func (s *store) hold() (err error) {
	path := filepath.Join(s.dir, ownerName)
	read := func(f File) error {
		b := make([]byte, ownerSize+1)
		n, err := f.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return err
		}
		if s.have, err = parseOwner(b[:n]); err != nil {
			return damaged(path, 0, err.Error())
		}
		return nil
	}
	if s.lock, err = s.fs.Lock(s.dir); errors.Is(err, ErrLocked) {
		s.lock = nil
		_ = withFile(s.fs, path, read) // the process is named where it can be
		return errs.Wrap(err, errs.Conflict, fmt.Sprintf("进程 %d 正在使用日志 %s", s.have.pid, s.dir),
			fmt.Sprintf("process %d uses the log %s", s.have.pid, s.dir)).WithCode(CodeLocked)
	} else if err != nil {
		return err
	}
	if s.owner, err = s.fs.Open(path, os.O_CREATE); err != nil {
		return err
	}
	return read(s.owner)
}

// claim writes a generation into the folder: from now on a writer of a lower one finds that it has been overtaken.
func (s *store) claim(generation uint64) error {
	o := owner{generation, uint64(os.Getpid())}
	if _, err := s.owner.WriteAt(o.encode(), 0); err != nil {
		return err
	}
	if err := errors.Join(s.owner.Sync(), s.fs.SyncDir(s.dir)); err != nil {
		return err
	}
	s.have = o
	return nil
}

// overtaken returns an error where another generation than ours has been claimed since.
func (s *store) overtaken() error {
	var b [ownerSize]byte
	if _, err := s.owner.ReadAt(b[:], 0); err != nil {
		return err
	}
	now, err := parseOwner(b[:])
	if err == nil && now.generation != s.have.generation {
		err = fenced(now.generation, s.have.generation)
	}
	return err
}

// addSegment takes in the next segment by its header.
func (s *store) addSegment(path string) error {
	g, f, err := openSegment(s.fs, path)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if s.id == (ID{}) {
		s.id, s.o.Hash = g.id, g.hash
	}
	if g.id != s.id || g.hash != s.o.Hash {
		return damaged(path, 0, "it is of another log")
	}
	if n := len(s.segments); n > 0 && g.first < s.segments[n-1].first {
		return damaged(path, 0, "a newer generation begins before an older one")
	}
	s.segments = append(s.segments, g)
	return nil
}

// recover finds where the log ends.
func (s *store) recover() error {
	if err := s.dropEmpty(); err != nil {
		return err
	}
	if len(s.segments) == 0 {
		return s.beginAtSnapshot()
	}
	g := s.segments[len(s.segments)-1]
	err := withFile(s.fs, g.path, func(f File) error {
		e, err := g.scan(f)
		if err != nil {
			return err
		}
		if e.torn > 0 {
			s.found.Torn = &Torn{filepath.Base(g.path), e.at, e.torn}
		}
		s.tip = e.mark
		return settle(f, e)
	})
	if err != nil {
		return err
	}
	s.found.Last = s.tip.next - 1
	return s.chooseSnapshot()
}

// settle has the disk hold what was read, and nothing after it. A kernel that could not write a page may have told so
// once and forgotten, so the last frame, the only one that can have been written and not synced, is written again.
func settle(f File, e end) error {
	if e.lastAt > 0 {
		frame := make([]byte, e.lastSize)
		if _, err := f.ReadAt(frame, e.lastAt); err != nil {
			return err
		}
		if _, err := f.WriteAt(frame, e.lastAt); err != nil {
			return err
		}
	}
	if e.size > e.at {
		if err := f.Truncate(e.at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// dropEmpty removes segments in which nothing was written before another began in their place.
func (s *store) dropEmpty() error {
	for i := 0; i+1 < len(s.segments); {
		if s.segments[i].first != s.segments[i+1].first {
			i++
			continue
		}
		at := i
		empty, err := s.emptySegment(s.segments[at])
		if err == nil && !empty {
			at++
			empty, err = s.emptySegment(s.segments[at])
		}
		if err == nil && !empty {
			err = damaged(s.segments[at].path, headerSize, "two generations hold the same record")
		}
		if err == nil {
			err = s.fs.Remove(s.segments[at].path)
		}
		if err != nil {
			return err
		}
		s.segments = slices.Delete(s.segments, at, at+1)
	}
	return nil
}

func (s *store) emptySegment(g *segment) (empty bool, err error) {
	err = withFile(s.fs, g.path, func(f File) error {
		e, err := g.scan(f)
		empty = e.next == g.first
		return err
	})
	g.marks = nil
	return empty, err
}

// writtenBy returns the generation of the newest record.
func (s *store) writtenBy() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := len(s.segments) - 1; i >= 0; i-- {
		if s.segments[i].first < s.tip.next {
			return s.segments[i].generation
		}
	}
	return 0
}

// begin starts a segment in a file that was allocated before. What is in it is synced before it gets its name, and its
// name before anything is written to it.
func (s *store) begin(sp *spare, generation uint64) error {
	h := header{s.o.Hash, s.id, generation, s.tip.next, s.tip.chain}
	g := &segment{header: h, path: filepath.Join(s.dir, h.name())}
	if _, err := sp.file.WriteAt(h.encode(), 0); err != nil {
		return errors.Join(err, sp.file.Close())
	}
	if err := sp.file.Sync(); err != nil {
		return errors.Join(err, sp.file.Close())
	}
	if err := errors.Join(s.fs.Rename(sp.path, g.path), s.fs.SyncDir(s.dir)); err != nil {
		return errors.Join(err, sp.file.Close())
	}
	old, used := s.file, s.tip.at
	s.file, s.tip.at = sp.file, headerSize
	if old != nil { // what it does not use is given back; if that does not survive, no harm is done
		if err := errors.Join(old.Truncate(used), old.Close()); err != nil {
			return err
		}
	}
	return s.replace(g)
}

// replace appends a segment, in the place of one in which nothing was written.
func (s *store) replace(g *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var empty string
	if n := len(s.segments); n > 0 && s.segments[n-1].first == g.first {
		empty = s.segments[n-1].path
		s.segments = s.segments[: n-1 : n-1]
	}
	s.segments = append(s.segments[:len(s.segments):len(s.segments)], g)
	if empty == "" || empty == g.path {
		return nil
	}
	return errors.Join(s.fs.Remove(empty), s.fs.SyncDir(s.dir))
}

// write puts a frame at the tip. It is not synced.
func (s *store) write(frame []byte, h head) error {
	if _, err := s.file.WriteAt(frame, s.tip.at); err != nil {
		return err
	}
	s.mu.Lock()
	s.segments[len(s.segments)-1].note(s.tip)
	s.mu.Unlock()
	s.tip = mark{h.last() + 1, s.tip.at + int64(h.size), chainOf(frame)}
	return nil
}

// trim gives back what the written segment does not use.
func (s *store) trim() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Truncate(s.tip.at), s.file.Sync())
}

func (s *store) close() error {
	var all []error
	for _, c := range s.handles() {
		all = append(all, c.Close())
	}
	s.file, s.owner, s.lock = nil, nil, nil
	return errors.Join(all...)
}

// segmentFor returns the segment that holds record lsn, and the number at which the next begins, 0 where it is the last.
func (s *store) segmentFor(lsn uint64) (g *segment, m mark, until uint64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := len(s.segments) - 1; i >= 0; i-- {
		if g := s.segments[i]; g.first <= lsn {
			if i+1 < len(s.segments) {
				until = s.segments[i+1].first
			}
			return g, g.start(lsn), until, nil
		}
	}
	return nil, mark{}, 0, notKept(lsn)
}

func (s *store) handles() (open []io.Closer) {
	if s.file != nil {
		open = append(open, s.file)
	}
	if s.owner != nil {
		open = append(open, s.owner)
	}
	if s.lock != nil {
		open = append(open, s.lock)
	}
	return open
}
