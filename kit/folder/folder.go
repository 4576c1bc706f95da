// Package folder has files and their names survive a power cut: what it has returned from is on the disk, under its name.
package folder

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Sync has the names in a folder survive a power cut: of files that were made, renamed or removed in it.
func Sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Place puts a file, which its owner alone can read, in its place: whole, or the former one stays.
func Place(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return Sync(filepath.Dir(path))
}
