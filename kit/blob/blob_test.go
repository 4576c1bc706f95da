package blob_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/blob"
	"github.com/qiongdev/qiong/kit/errs"
)

func put(t *testing.T, s *blob.Store, name, body string) {
	t.Helper()
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(name); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsCommittedIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "A1", "琼")
	half, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	// the process dies here: a new one clears up
	if s, err = blob.Open(dir); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
	r, err := s.Get("A1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if body, err := io.ReadAll(r); err != nil || string(body) != "琼" {
		t.Errorf("%q, %v", body, err)
	}
	if info, _ := os.Stat(filepath.Join(dir, "A1")); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	for range 2 {
		if err := s.Delete("A1"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Get("A1"); !errs.Is(err, errs.NotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	s, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "../x", "a/b", "a\\b", "tmp-1", "a\x00b", "琼", "."} {
		if _, err := s.Get(name); err == nil {
			t.Errorf("Get(%q) was allowed", name)
		}
		if err := s.Delete(name); err == nil {
			t.Errorf("Delete(%q) was allowed", name)
		}
		w, err := s.Create()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(name); err == nil {
			t.Errorf("Commit(%q) was allowed", name)
		}
		w.Abort()
	}
}
