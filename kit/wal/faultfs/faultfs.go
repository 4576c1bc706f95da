// Package faultfs is a file layer that fails on purpose: where a test says so, an operation of a log's file system does
// nothing, or only a part, and returns an error. It is for tests of what is built on kit/wal.
package faultfs

import (
	"io"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/qiongdev/qiong/kit/wal"
)

// Op is an operation that can fail.
type Op string

// The operations.
const (
	Open     Op = "open"
	Read     Op = "read"
	Write    Op = "write"
	Sync     Op = "sync"
	Datasync Op = "datasync"
	Truncate Op = "truncate"
	Allocate Op = "allocate"
	Rename   Op = "rename"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
)

// Call is an operation that is about to be done.
type Call struct {
	Op    Op
	Name  string // of the file, without its folder
	At    int64  // offset of a write, size of Truncate and Allocate
	Bytes int    // of a write
}

// Fault is what becomes of a Call. The zero Fault lets it be done.
type Fault struct {
	Err  error // what it returns; nothing is done but what Part says
	Part int   // bytes of a write that are written before it fails
}

// The errors that disks give.
var (
	NoSpace error = syscall.ENOSPC
	IO      error = syscall.EIO
)

// FS is a file system in which calls fail.
type FS struct {
	under wal.FS

	mu    sync.Mutex
	fault func(Call) Fault
	dead  bool
}

// New returns a file system that does what under does.
func New(under wal.FS) *FS { return &FS{under: under} }

// Fail has fault judge every call from now on, one at a time; nil lets all be done. It must not use the file system.
func (f *FS) Fail(fault func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Once has the next call of an operation fail with err, and all others be done.
func (f *FS) Once(op Op, err error) {
	over := false
	f.Fail(func(c Call) Fault {
		if c.Op != op || over {
			return Fault{}
		}
		over = true
		return Fault{Err: err}
	})
}

// Die has everything fail from now on, as if the process had been killed: what it has done stays.
func (f *FS) Die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

func (f *FS) judge(op Op, path string, at int64, n int) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.dead:
		return Fault{Err: IO}
	case f.fault == nil:
		return Fault{}
	}
	return f.fault(Call{op, filepath.Base(path), at, n})
}

// MkdirAll implements wal.FS.
func (f *FS) MkdirAll(dir string) error { return f.under.MkdirAll(dir) }

// List implements wal.FS.
func (f *FS) List(dir string) ([]string, error) { return f.under.List(dir) }

// Lock implements wal.FS.
func (f *FS) Lock(dir string) (io.Closer, error) { return f.under.Lock(dir) }

// Open implements wal.FS.
func (f *FS) Open(name string, flag int) (wal.File, error) {
	if fault := f.judge(Open, name, 0, 0); fault.Err != nil {
		return nil, fault.Err
	}
	under, err := f.under.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &file{under, f, name}, nil
}

// Rename implements wal.FS.
func (f *FS) Rename(from, to string) error {
	if fault := f.judge(Rename, to, 0, 0); fault.Err != nil {
		return fault.Err
	}
	return f.under.Rename(from, to)
}

// Remove implements wal.FS.
func (f *FS) Remove(name string) error {
	if fault := f.judge(Remove, name, 0, 0); fault.Err != nil {
		return fault.Err
	}
	return f.under.Remove(name)
}

// SyncDir implements wal.FS.
func (f *FS) SyncDir(dir string) error {
	if fault := f.judge(SyncDir, dir, 0, 0); fault.Err != nil {
		return fault.Err
	}
	return f.under.SyncDir(dir)
}

type file struct {
	wal.File
	fs   *FS
	name string
}

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	if fault := f.fs.judge(Read, f.name, at, len(p)); fault.Err != nil {
		return 0, fault.Err
	}
	return f.File.ReadAt(p, at)
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	fault := f.fs.judge(Write, f.name, at, len(p))
	if fault.Err == nil {
		return f.File.WriteAt(p, at)
	}
	n, err := f.File.WriteAt(p[:min(fault.Part, len(p))], at)
	if err == nil {
		err = fault.Err
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	if fault := f.fs.judge(Truncate, f.name, size, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Truncate(size)
}

func (f *file) Allocate(size int64) error {
	if fault := f.fs.judge(Allocate, f.name, size, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Allocate(size)
}

func (f *file) Sync() error {
	if fault := f.fs.judge(Sync, f.name, 0, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Sync()
}

func (f *file) Datasync() error {
	if fault := f.fs.judge(Datasync, f.name, 0, 0); fault.Err != nil {
		return fault.Err
	}
	return f.File.Datasync()
}
