package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// cut takes back every record after p, which must be there with the same chain. What is cut off is kept in files of
// another ending, as segments that can be read. The newest goes first, so that a crash leaves a log that is shorter.
func (s *store) cut(p point) error {
	at, within := s.tip, (*segment)(nil)
	if p.lsn+1 != s.tip.next {
		c, err := s.cursor(p.lsn + 1)
		if err != nil {
			return err
		}
		at, within = c.mark, c.g
		if err := c.close(); err != nil {
			return err
		}
	}
	if at.next != p.lsn+1 || at.chain != p.chain {
		return peer(fmt.Errorf("record %d is not the same here and at the leader", p.lsn))
	}
	if p.lsn+1 == s.tip.next {
		return nil
	}
	if err := s.leave(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.snapshots); n > 0 && s.snapshots[n-1].last > p.lsn; n-- {
		if err := s.aside(s.snapshots[n-1].path); err != nil {
			return err
		}
		s.snapshots = s.snapshots[:n-1]
	}
	segments := slices.Clone(s.segments)
	for n := len(segments); n > 0 && segments[n-1].first > p.lsn; n-- {
		if err := s.aside(segments[n-1].path); err != nil {
			return err
		}
		segments = segments[:n-1]
	}
	if n := len(segments); n > 0 && segments[n-1] == within { // else it ends there
		if err := s.cutSegment(within, at); err != nil {
			return err
		}
	}
	s.segments, s.tip = segments, at
	return s.fs.SyncDir(s.dir)
}

// leave closes the segment that is written. The next frame begins another.
func (s *store) leave() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

// cutSegment keeps the rest of a segment in a file of its own, and then cuts it off.
func (s *store) cutSegment(g *segment, at mark) error {
	g.marks = slices.DeleteFunc(slices.Clone(g.marks), func(m mark) bool { return m.at >= at.at })
	return withFile(s.fs, g.path, func(f File) error {
		size, err := f.Size()
		if err == nil {
			size, err = lastWritten(f, at.at, size)
		}
		if err != nil || size <= at.at {
			return err
		}
		h := g.header
		h.first, h.chain = at.next, at.chain
		if err := s.copyAside(h, io.NewSectionReader(f, at.at, size-at.at)); err != nil {
			return err
		}
		return errors.Join(f.Truncate(at.at), f.Sync())
	})
}

// copyAside makes a segment of frames, under a name that no log reads.
func (s *store) copyAside(h header, frames io.Reader) error {
	temp := filepath.Join(s.dir, tempPrefix+h.name())
	f, err := create(s.fs, temp)
	if err != nil {
		return noRoom(err)
	}
	w := io.NewOffsetWriter(f, 0)
	_, err = w.Write(h.encode())
	if err == nil {
		_, err = io.Copy(w, frames)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return s.moveAside(temp, filepath.Join(s.dir, h.name()))
}

// aside keeps a file under a name that no log reads.
func (s *store) aside(path string) error { return s.moveAside(path, path) }

func (s *store) moveAside(path, name string) error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	to := filepath.Base(name) + asideExt
	for n := 2; slices.Contains(names, to); n++ {
		to = fmt.Sprintf("%s.%d%s", filepath.Base(name), n, asideExt)
	}
	return errors.Join(s.fs.Rename(path, filepath.Join(s.dir, to)), s.fs.SyncDir(s.dir))
}

// anew puts the whole log aside.
func (s *store) anew() error {
	if err := s.leave(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.segments); n > 0; n-- {
		if err := s.aside(s.segments[n-1].path); err != nil {
			return err
		}
		s.segments = s.segments[: n-1 : n-1]
	}
	for n := len(s.snapshots); n > 0; n-- {
		if err := s.aside(s.snapshots[n-1].path); err != nil {
			return err
		}
		s.snapshots = s.snapshots[: n-1 : n-1]
	}
	s.tip = mark{next: 1}
	return nil
}

// installed has the log go on from a snapshot that a leader has sent and that is in the folder: what the leader is known
// to have had up to common is dropped, everything else put aside.
func (s *store) installed(h snapshot, common uint64) error {
	if err := s.leave(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.tip.next - 1
	for n := len(s.segments); n > 0; n-- {
		if err := s.drop(s.segments[n-1].path, end <= common); err != nil {
			return err
		}
		end = s.segments[n-1].first - 1
		s.segments = s.segments[: n-1 : n-1]
	}
	for _, old := range s.snapshots {
		if old.last != h.last {
			if err := s.drop(old.path, old.last <= common); err != nil {
				return err
			}
		}
	}
	s.snapshots, s.tip = []snapshot{h}, mark{next: h.last + 1, chain: h.chain}
	s.found.Last = h.last
	return s.fs.SyncDir(s.dir)
}

func (s *store) drop(path string, known bool) error {
	if known {
		return s.fs.Remove(path)
	}
	return s.aside(path)
}

func standbyBusy() error {
	return errs.New(errs.Conflict, "备机已在跟随一个主机", "the standby follows a leader already")
}
