package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// spare is the file of a segment that is to come: room for it is there, a name is not.
type spare struct {
	file File
	path string
}

// spares makes the next segment's file while there is still room in the one that is written, so that a full disk is
// known of before anything fails.
type spares struct {
	fs   FS
	dir  string
	size int64

	want  chan struct{}
	ready chan made
	ended sync.WaitGroup

	mu  sync.Mutex
	err error // of the last attempt
}

type made struct {
	*spare
	err error
}

func newSpares(fs FS, dir string, size int64) *spares {
	s := &spares{fs: fs, dir: dir, size: size, want: make(chan struct{}, 1), ready: make(chan made, 1)}
	s.want <- struct{}{}
	s.ended.Go(func() {
		n := 0
		for range s.want {
			n++
			sp, err := s.make(fmt.Sprintf("%ssegment-%d", tempPrefix, n))
			s.note(err)
			s.ready <- made{sp, err}
		}
	})
	return s
}

func (s *spares) make(name string) (*spare, error) {
	path := filepath.Join(s.dir, name)
	f, err := create(s.fs, path)
	if err != nil {
		return nil, noRoom(err)
	}
	if err := f.Allocate(s.size); err != nil {
		return nil, noRoom(errors.Join(err, f.Close(), s.fs.Remove(path)))
	}
	return &spare{f, path}, nil
}

func (s *spares) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *spares) health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// take returns the spare and has the next one made. Where the last attempt has failed, it makes another.
func (s *spares) take() (*spare, error) {
	m := <-s.ready
	if m.err != nil {
		s.want <- struct{}{}
		m = <-s.ready
	}
	if m.err != nil {
		s.ready <- m
		return nil, m.err
	}
	s.want <- struct{}{}
	return m.spare, nil
}

// put removes a spare that could not be used.
func (s *spares) put(sp *spare) {
	_ = sp.file.Close()      // nothing was written
	_ = s.fs.Remove(sp.path) // Open removes it otherwise
}

// retry has another attempt made where the last has failed: there may be room now.
func (s *spares) retry() {
	select {
	case m := <-s.ready:
		if m.err == nil {
			s.ready <- m
			return
		}
		s.want <- struct{}{}
	default:
	}
}

func (s *spares) close() error {
	close(s.want)
	s.ended.Wait()
	select {
	case m := <-s.ready:
		if m.err == nil {
			return errors.Join(m.file.Close(), s.fs.Remove(m.path))
		}
	default:
	}
	return nil
}
