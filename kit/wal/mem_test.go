package wal

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// memory is a folder in memory: tests that open thousands of logs take milliseconds with it.
type memory struct {
	mu     sync.Mutex
	files  map[string]*memFile
	locked bool
}

func newMemory(all map[string][]byte) *memory {
	m := &memory{files: map[string]*memFile{}}
	for name, data := range all {
		m.files[name] = &memFile{data: bytes.Clone(data)}
	}
	return m
}

// contents returns every file as it is.
func (m *memory) contents() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string][]byte{}
	for name, f := range m.files {
		f.mu.Lock()
		all[name] = bytes.Clone(f.data)
		f.mu.Unlock()
	}
	return all
}

func (m *memory) MkdirAll(string) error { return nil }
func (m *memory) SyncDir(string) error  { return nil }

func (m *memory) Open(name string, flag int) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Base(name)
	f := m.files[name]
	if f == nil {
		if flag&os.O_CREATE == 0 {
			return nil, fs.ErrNotExist
		}
		f = &memFile{}
		m.files[name] = f
	}
	if flag&os.O_TRUNC != 0 {
		return f, f.Truncate(0)
	}
	return f, nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = filepath.Base(from), filepath.Base(to)
	if m.files[from] == nil {
		return fs.ErrNotExist
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[filepath.Base(name)] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, filepath.Base(name))
	return nil
}

func (m *memory) List(string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		names = append(names, name)
	}
	return names, nil
}

func (m *memory) Lock(string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, ErrLocked
	}
	m.locked = true
	return unlock{m}, nil
}

type unlock struct{ m *memory }

func (u unlock) Close() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.m.locked = false
	return nil
}

type memFile struct {
	mu   sync.RWMutex
	data []byte
}

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if more := at + int64(len(p)) - int64(len(f.data)); more > 0 {
		f.data = append(f.data, make([]byte, more)...)
	}
	return copy(f.data[at:], p), nil
}

func (f *memFile) Size() (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size <= int64(len(f.data)) {
		f.data = f.data[:size:size]
		return nil
	}
	f.data = append(f.data, make([]byte, size-int64(len(f.data)))...)
	return nil
}

func (f *memFile) Allocate(size int64) error {
	if now, _ := f.Size(); now >= size {
		return nil
	}
	return f.Truncate(size)
}

func (f *memFile) Sync() error     { return nil }
func (f *memFile) Datasync() error { return nil }
func (f *memFile) Close() error    { return nil }
