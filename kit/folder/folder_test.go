package folder_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/folder"
)

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second, and longer"} {
		if err := folder.Place(path, func(w io.Writer) error { _, err := fmt.Fprint(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	broken := errors.New("broken")
	if err := folder.Place(path, func(w io.Writer) error { _, _ = fmt.Fprint(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Fatalf("%v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "second, and longer" {
		t.Errorf("a failed one has left %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v is left, %v", names, err)
	}
}

func TestWhereThereIsNoFolder(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if err := folder.Sync(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := folder.Place(filepath.Join(gone, "file"), func(io.Writer) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
