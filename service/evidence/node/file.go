package node

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
)

func unwritable(err error) error {
	kind := errs.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = errs.Full
	}
	return errs.Wrap(err, kind, "无法写入文件", "couldn't write the file")
}

func unreadable(err error, file string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(err, errs.NotFound, "文件不存在", "there is no such file").WithField(file)
	}
	return errs.Wrap(err, errs.Internal, "无法读取文件", "couldn't read the file").WithField(file)
}

// readFile reads a file that the operator has named.
func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(err, path)
	}
	return data, nil
}

// replaceFile writes a file durably, whole or not at all, for its owner alone.
func replaceFile(path string, data []byte) error {
	return writeFile(path, data, func(temp string) error { return os.Rename(temp, path) })
}

// createFile is replaceFile for a file that must not be there, unless with these very bytes.
func createFile(path string, data []byte) error {
	err := writeFile(path, data, func(temp string) error {
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
	if errors.Is(err, fs.ErrExist) {
		if have, readErr := os.ReadFile(path); readErr == nil && bytes.Equal(have, data) {
			return nil
		}
		return errs.New(errs.Conflict, "文件已存在，不会覆盖", "the file exists, and nothing is overwritten").WithField(path)
	}
	return err
}

func writeFile(path string, data []byte, place func(temp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".*.tmp") // 0600
	if err != nil {
		return unwritable(err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = place(f.Name())
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
		return unwritable(err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	if err := folder.Sync(dir); err != nil {
		return unwritable(err)
	}
	return nil
}
