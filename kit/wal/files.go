package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/qiongdev/qiong/kit/folder"
)

// FS is what a log asks of a file system. Paths are the log's own. The zero Options use the system's; kit/wal/faultfs
// fails on purpose.
type FS interface {
	MkdirAll(dir string) error
	// Open opens a file for reading and writing; flag adds os.O_CREATE, os.O_EXCL and os.O_TRUNC.
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	List(dir string) ([]string, error)
	// SyncDir has the names in a folder survive a power cut.
	SyncDir(dir string) error
	// Lock holds a folder until the lock is closed; an error wrapping ErrLocked where somebody else does.
	Lock(dir string) (io.Closer, error)
}

// File is an open file of an FS.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate extends the file to size with zeros for which there is room on the disk: a later write within it does
	// not fail for want of space.
	Allocate(size int64) error
	// Sync is fsync, Datasync fdatasync where there is one.
	Sync() error
	Datasync() error
}

// ErrLocked says that another process, or another log of this one, has the folder.
var ErrLocked = errors.New("the folder is locked")

// osFS is the system's file system.
type osFS struct{}

// OS returns the system's file system.
func OS() FS { return osFS{} }

func (osFS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o700) }
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (osFS) SyncDir(dir string) error { return folder.Sync(dir) }

func (osFS) Lock(dir string) (io.Closer, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Datasync() error { return datasync(f.File) }

func (f osFile) Allocate(size int64) error {
	err := allocate(f.File, size)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return zeroFill(f, size)
}

// zeroFill writes the zeros where the file system cannot promise room otherwise.
func zeroFill(f File, size int64) error {
	at, err := f.Size()
	zeros := make([]byte, 1<<20)
	for err == nil && at < size {
		n := min(size-at, int64(len(zeros)))
		_, err = f.WriteAt(zeros[:n], at)
		at += n
	}
	return err
}

// missing reports whether err says that there is no such file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
