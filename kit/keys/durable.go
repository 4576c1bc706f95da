package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
)

// A file appears whole or not at all: its bytes are written to a temporary file in the same folder and synced before
// the name exists, and the folder is synced before anyone is told. After a crash a temporary file may remain; its name
// begins with a dot, and nothing reads it.

// createFile makes path with mode 0600. The error is fs.ErrExist where path exists: a link, unlike a rename, never
// replaces, so of two processes one wins.
func createFile(path string, data []byte) error {
	return writeFile(path, data, func(temp string) error {
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

// replaceFile makes path with mode 0600, or puts the new bytes in the place of the old.
func replaceFile(path string, data []byte) error {
	return writeFile(path, data, func(temp string) error { return os.Rename(temp, path) })
}

func writeFile(path string, data []byte, place func(temp string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = place(f.Name()); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// realPath returns path absolute and without symbolic links, as far as that can be known.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

func storage(err error, path string) error {
	kind := errs.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = errs.Full
	}
	return errs.Wrap(err, kind, "无法读写 "+path, "cannot read or write "+path)
}
