package powercut_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/internal/powercut"
)

// strace writes a sample as strace would: what stands between quotes or <> in hexadecimal.
func strace(sample string) string {
	sample = strings.TrimSpace(sample) + "\n"
	return regexp.MustCompile(`"[^"]*"|</[^>]*>`).ReplaceAllStringFunc(sample, func(s string) string {
		var hex strings.Builder
		for _, b := range []byte(s[1 : len(s)-1]) {
			fmt.Fprintf(&hex, `\x%02x`, b)
		}
		return s[:1] + hex.String() + s[len(s)-1:]
	})
}

func read(t *testing.T, sample string) []powercut.Call {
	t.Helper()
	calls, err := powercut.Read(strings.NewReader(strace(sample)))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// sample makes a log and a key, and answers on a socket when the log is synced.
const sample = `
7 mkdirat(AT_FDCWD</w>, "/d/db", 0700) = 0
7 openat(AT_FDCWD</w>, "/d/db/log", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5</d/db/log>
7 openat(AT_FDCWD</w>, "/d", O_RDONLY|O_CLOEXEC) = 6</d>
7 fsync(6</d>)                            = 0
7 close(6</d>)                            = 0
7 openat(AT_FDCWD</w>, "/d/db", O_RDONLY|O_CLOEXEC) = 6</d/db>
7 fsync(6</d/db>)                         = 0
7 pwrite64(5</d/db/log>, "case A", 6, 0)  = 6
8 fdatasync(5</d/db/log> <unfinished ...>
7 pwrite64(5</d/db/log>, " case B", 7, 6) = 7
8 <... fdatasync resumed>)                = 0
8 --- SIGURG {si_signo=SIGURG} ---
8 write(9<socket:[77]>, "HTTP/1.1 201 Created A.", 23) = 23
7 openat(AT_FDCWD</w>, "/d/tmp", O_RDWR|O_CREAT|O_EXCL, 0600) = 10</d/tmp>
7 write(10</d/tmp>, "secret", 6)          = 6
7 write(10</d/tmp>, "!", 1)               = 1
7 fsync(10</d/tmp>)                       = 0
7 renameat(AT_FDCWD</w>, "/d/tmp", AT_FDCWD</w>, "/d/key") = 0
7 openat(AT_FDCWD</w>, "/d", O_RDONLY) = 11</d>
7 unlink("/d/none")                       = -1 ENOENT (No such file or directory)
7 fsync(11</d>)                           = 0
7 fdatasync(5</d/db/log>)                 = 0
7 write(9<socket:[77]>, "HTTP/1.1 201 Created B.", 23) = 23
7 ftruncate(5</d/db/log>, 4)              = 0
7 write(10</d/key>(deleted), "?", 1 <unfinished ...>) = ?
8 ????( <unfinished ...>
9 pwrite64( <unavailable>)               = ?
10 fsync( <unfinished ...>
7 +++ killed by SIGKILL +++
`

// folder reads what a cut leaves.
func folder(t *testing.T, sample string, cut int, loss powercut.Loss, seed uint64) map[string]string {
	t.Helper()
	d, err := powercut.Replay("/d", read(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := d.Cut(cut, loss, seed, to); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	err = fs.WalkDir(os.DirFS(to), ".", func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var data []byte
			data, err = os.ReadFile(filepath.Join(to, path))
			files[path] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		cut  int
		loss powercut.Loss
		want string
	}{
		{1, powercut.None, ``},
		{3, powercut.All, ``},
		{3, powercut.None, `db/log=""`},
		{5, powercut.All, ``}, // the folder is there, the file's name is not
		{8, powercut.All, `db/log=""`},
		{11, powercut.All, `db/log=""`}, // the sync has not returned
		{11, powercut.None, `db/log="case A case B"`},
		{12, powercut.All, `db/log="case A"`}, // B was written when the sync had begun
		{18, powercut.All, `db/log="case A"`},
		{18, powercut.None, `db/log="case A case B" tmp="secret!"`},
		{21, powercut.All, `db/log="case A"`}, // renamed, and the folder not synced
		{21, powercut.None, `db/log="case A case B" key="secret!"`},
		{22, powercut.All, `db/log="case A" key="secret!"`},
		{23, powercut.All, `db/log="case A case B" key="secret!"`},
		{99, powercut.All, `db/log="case A case B" key="secret!"`},
		{99, powercut.None, `db/log="case" key="secret!?"`},
	} {
		files := folder(t, sample, c.cut, c.loss, 1)
		var got []string
		for path, data := range files {
			got = append(got, fmt.Sprintf("%s=%q", path, data))
		}
		slices.Sort(got)
		if have := strings.Join(got, " "); have != c.want {
			t.Errorf("cut before line %d, losing %s: %s, want %s", c.cut, c.loss, have, c.want)
		}
	}
}

func TestSomeIsLostBySectors(t *testing.T) {
	long := strings.Repeat("x", 4096)
	lines := `
1 open("/d/f", O_RDWR|O_CREAT, 0600) = 3</d/f>
1 pwrite64(3</d/f>, "` + long + `", 4096, 0) = 4096
1 pwrite64(3</d/f>, "kept", 4, 4096) = 4
`
	seen := map[string]bool{}
	for seed := range uint64(200) {
		data, there := folder(t, lines, 9, powercut.Some, seed)["f"]
		switch written := strings.Count(data, "x"); {
		case !there:
			seen["no name"] = true
		case data == "":
			seen["nothing"] = true
		case written == 4096:
			seen["whole"] = true
		case written > 0 && written%512 == 0:
			seen["torn"] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("of what may happen, 200 seeds showed %v", seen)
	}
}

func TestReplayRefusesWhatItDoesNotModel(t *testing.T) {
	const file = `1 open("/d/f", O_RDWR|O_CREAT|O_APPEND, 0600) = 3</d/f>` + "\n"
	for _, line := range []string{
		`1 writev(3</d/f>, [{iov_base="a", iov_len=1}, {iov_base="b", iov_len=1}], 2) = 2`,
		`1 write(3</d/f>, "a", 1) = 1`, // appended
		`1 lseek(3</d/f>, 0, SEEK_SET) = 0`,
		`1 pwrite64(8</d/f>, "a", 1, 0) = 1`,
		`1 open("/d/g", O_RDWR) = 4</d/g>`,
		`1 open("/d/a/g", O_RDWR|O_CREAT, 0600) = 4</d/a/g>`,
		`1 rename("/d/f", "/e/f") = 0`,
		`1 mkdir("./d", 0700) = 0`,
	} {
		if _, err := powercut.Replay("/d", read(t, file+line)); err == nil {
			t.Errorf("followed %s", line)
		}
	}
	if _, err := powercut.Replay("/d", read(t, file+`1 write(4</e/f>, "a", 1) = 1`)); err != nil {
		t.Errorf("a file elsewhere: %v", err)
	}
}

func TestReadRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, line := range []string{
		``, `write(3</d/f>, "a", 1) = 1`, `1 truncate("/d/f", 1) = 0`, `1 <... write resumed>) = 1`,
		`1 write(3</d/f>, "a"..., 1) = 1`, `1 write(x, "a", 1) = 1`, `1 write(3</d/f>, "a", 1)`, `1 write(3</d/f>, "a", 1) = x`,
		`1 pwrite64(3</d/f>, "a", 1, x) = 1`, `1 fsync() = 0`, `1 ????( <unavailable>) = 0`, `1 fsync(3</d/f>, 4) = 0`, `1 openat(5</d>, "f", O_RDONLY) = 3</d/f>`,
	} {
		if calls, err := powercut.Read(strings.NewReader(strace(line))); err == nil {
			t.Errorf("%q was read as %+v", line, calls)
		}
	}
	for _, line := range []string{`1 ???`, `1 ???(`, `1 ???( <unfinished ...>`, `1 ??? <unfinished ...>`, `1 ????( <unavailable>) = ?`, `1 ???() = ?`} {
		if _, err := powercut.Read(strings.NewReader(strace(line))); err != nil {
			t.Errorf("%q, from a process that was being killed: %v", line, err)
		}
	}
	if calls, err := powercut.Read(strings.NewReader(strace(`1 fsync(3</d/f>) = 0`) + `1 wri`)); err != nil || len(calls) != 1 {
		t.Errorf("a line cut short: %v, %v", calls, err)
	}
}

var created = regexp.MustCompile(`HTTP/1\.1 201 Created (\w+)\.`)

// kept checks every answer of a trace.
func kept(t *testing.T, sample string) (answers int, err error) {
	t.Helper()
	calls := read(t, sample)
	all := powercut.Answers(calls, created)
	for _, a := range all {
		err = errors.Join(err, a.Kept(calls, "/d/db/log"))
	}
	return len(all), err
}

func TestAnswersAreKept(t *testing.T) {
	if n, err := kept(t, sample); n != 2 || err != nil {
		t.Errorf("%d answers: %v", n, err)
	}
	lines := strings.Split(strings.TrimSpace(sample), "\n")
	move := func(from, to int) string {
		moved := slices.Delete(slices.Clone(lines), from-1, from)
		return strings.Join(slices.Insert(moved, to-1, lines[from-1]), "\n")
	}
	for name, broken := range map[string]string{
		"B is answered before its sync":              move(23, 22),
		"A is answered before its sync has returned": move(13, 11),
		"A is answered before it is written":         move(13, 8),
		"A is written after the sync has begun":      move(8, 10),
		"B is never synced":                          strings.ReplaceAll(strings.Join(lines, "\n"), "7 fdatasync(5</d/db/log>)", "7 fdatasync(6</d/db>)"),
	} {
		if n, err := kept(t, broken); n != 2 || err == nil {
			t.Errorf("%s: %d answers passed", name, n)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(strace(sample))
	for line := range strings.Lines(strace(sample)) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, trace string) {
		calls, err := powercut.Read(strings.NewReader(trace))
		if err != nil {
			return
		}
		for _, c := range calls {
			if c.Begin < 1 || c.End < c.Begin || c.Result < 0 {
				t.Errorf("%+v", c)
			}
		}
		if d, err := powercut.Replay("/d", calls); err == nil && d == nil {
			t.Error("neither a disk nor an error")
		}
	})
}
