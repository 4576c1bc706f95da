package keys

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func writeMaster(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

var (
	goodMaster  = strings.Repeat("0123456789abcdef", 4) + "\n"
	otherMaster = strings.Repeat("fedcba9876543210", 4) + "\n"
)

func wantError(t *testing.T, name string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", name)
		return
	}
	e := errs.As(err)
	if e.Hint.ZH == "" || e.Hint.EN == "" {
		t.Errorf("%s: no hint in %v", name, err)
	}
	for _, w := range words {
		if !strings.Contains(e.In(lang.EN), w) {
			t.Errorf("%s: %v does not say %q", name, err, w)
		}
	}
}

func TestMasterFileIsChecked(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(t.TempDir(), "absent")
	for name, path := range map[string]string{
		"group-readable": writeMaster(t, goodMaster, 0o640),
		"world-readable": writeMaster(t, goodMaster, 0o604),
		"empty":          writeMaster(t, "", 0o600),
		"short":          writeMaster(t, goodMaster[:minMaster-1], 0o600),
		"absent":         absent,
		"folder":         t.TempDir(),
		"pipe":           fifo,
	} {
		dir := t.TempDir()
		_, err := Open(dir, Options{MasterFile: path, CreateMaster: true})
		wantError(t, name, err, path)
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("%s: left %v, %v", name, files, err)
		}
	}
	if exists(absent) {
		t.Error("a named master file was created")
	}
	if _, err := Open(t.TempDir(), Options{MasterFile: writeMaster(t, strings.Repeat("x", maxMaster+1), 0o600)}); err == nil {
		t.Error("a huge master was taken")
	}
	if _, err := Open(t.TempDir(), Options{MasterFile: writeMaster(t, goodMaster, 0o400)}); err != nil {
		t.Error(err)
	}
}

func TestNoMasterWithoutPermission(t *testing.T) {
	for _, opt := range []Options{{}, {ReadOnly: true}, {ReadOnly: true, CreateMaster: true}} {
		dir := t.TempDir()
		_, err := Open(dir, opt)
		wantError(t, "no master", err, masterName)
		if exists(filepath.Join(dir, masterName)) {
			t.Errorf("%+v made a master", opt)
		}
	}
}

func TestLostMasterIsNotReplaced(t *testing.T) {
	for left, lost := range map[string][]string{ // what is left besides the master, and what is lost with it
		"check and key": {},
		"check alone":   {"a.key"},
		"key alone":     {checkFile},
	} {
		dir := t.TempDir()
		r := open(t, dir, Options{CreateMaster: true})
		must[*Key](t)(r.Signer("a"))
		for _, name := range append(lost, masterName) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(dir, Options{CreateMaster: true})
		wantError(t, left, err, "missing", masterName)
		if exists(filepath.Join(dir, masterName)) {
			t.Error("a new master was made over sealed keys")
		}
	}
}

func TestWrongMasterIsToldFromDamage(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{MasterFile: writeMaster(t, goodMaster, 0o600)})
	must[*Key](t)(r.Signer("a"))
	_, err := Open(dir, Options{MasterFile: writeMaster(t, otherMaster, 0o600)})
	wantError(t, "wrong master", err, "not the one of this ring")
	_, err = Open(dir, Options{MasterFile: writeMaster(t, strings.TrimSpace(goodMaster), 0o600)})
	wantError(t, "all bytes of the master count", err, "not the one of this ring")

	if err := os.Remove(filepath.Join(dir, checkFile)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, Options{MasterFile: writeMaster(t, otherMaster, 0o600)})
	wantError(t, "lost check", err, checkFile)
}

func TestMasterIsLocal(t *testing.T) {
	away := writeMaster(t, goodMaster, 0o600)
	linked := t.TempDir()
	if err := os.Symlink(away, filepath.Join(linked, masterName)); err != nil {
		t.Fatal(err)
	}
	inside := t.TempDir()
	if err := os.WriteFile(filepath.Join(inside, "my.secret"), []byte(goodMaster), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		dir  string
		opt  Options
		want bool
	}{
		{"made here", t.TempDir(), Options{CreateMaster: true}, true},
		{"named inside", inside, Options{MasterFile: filepath.Join(inside, "my.secret")}, true},
		{"named elsewhere", t.TempDir(), Options{MasterFile: away}, false},
		{"a link to elsewhere", linked, Options{}, false},
	} {
		if got := open(t, c.dir, c.opt).MasterIsLocal(); got != c.want {
			t.Errorf("%s: MasterIsLocal = %v", c.name, got)
		}
	}
}
