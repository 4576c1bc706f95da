// Package blob keeps objects in a folder so that each is there whole or not at all: written to a temporary file, synced,
// renamed, and the folder synced, before anyone hears that it is kept.
package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
)

// Store is a folder of objects. Names are the caller's own numbers, never what a person typed.
type Store struct{ dir string }

const temporary = "tmp-"

// Open returns the store in dir, which it makes where it is missing, and clears away what a crash left half written.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, temporary+"*"))
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("blob: %w", err)
		}
	}
	return &Store{dir}, nil
}

// Writer takes an object in. It must end in Commit or Abort.
type Writer struct {
	f   *os.File
	dir string
}

// Create begins an object.
func (s *Store) Create() (*Writer, error) {
	f, err := os.CreateTemp(s.dir, temporary+"*") // mode 0600
	if err != nil {
		return nil, classify(err)
	}
	return &Writer{f, s.dir}, nil
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, classify(err)
}

// Abort drops the object. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.f == nil {
		return
	}
	_ = w.f.Close()           // what was written is not wanted
	_ = os.Remove(w.f.Name()) // Open removes it otherwise
	w.f = nil
}

// Commit keeps the object under name.
func (w *Writer) Commit(name string) error {
	if !valid(name) {
		return fmt.Errorf("blob: %q is no name", name)
	}
	if err := errors.Join(w.f.Sync(), w.f.Close()); err != nil {
		return classify(err)
	}
	if err := os.Rename(w.f.Name(), filepath.Join(w.dir, name)); err != nil {
		return classify(err)
	}
	w.f = nil
	return classify(folder.Sync(w.dir))
}

// Get opens the object called name; NotFound where there is none.
func (s *Store) Get(name string) (io.ReadCloser, error) {
	if !valid(name) {
		return nil, fmt.Errorf("blob: %q is no name", name)
	}
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, classify(err)
	}
	return f, nil
}

// Delete removes the object called name; no error where there is none.
func (s *Store) Delete(name string) error {
	if !valid(name) {
		return fmt.Errorf("blob: %q is no name", name)
	}
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify(err)
	}
	return nil
}

// valid allows what stays in the folder on every file system.
func valid(name string) bool {
	if name == "" || len(name) > 200 || strings.HasPrefix(name, temporary) {
		return false
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG):
		return errs.Wrap(err, errs.Full, "存储空间不足，文件未保存", "no storage left; the file was not kept")
	case errors.Is(err, fs.ErrNotExist):
		return errs.Wrap(err, errs.NotFound, "文件不存在", "there is no such file")
	}
	return fmt.Errorf("blob: %w", err)
}
