package house_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/lang"
)

// The test binary is also the child, and the house that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "child":
			os.Exit(beChild(os.Args[2], os.Args[3:]...))
		case "up":
			house.Main([]*qiong.Service{parent(os.Getenv("TEST_CHILD"), os.Getenv("TEST_CHILD_MODE"))}, nil)
		}
	}
	os.Exit(m.Run())
}

// beChild holds a lock, says what it has to say, notes its number, and stays until its standard input ends; a stubborn one
// until it is killed.
func beChild(dir string, mode ...string) int {
	stubborn := strings.Join(mode, "") == "stubborn"
	if stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	if err := flock(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, `time=2026-11-22T12:00:00Z level=WARN msg="here I am" at=home`)
	fmt.Print("without an end of line")
	begun, err := os.OpenFile(filepath.Join(dir, "begun"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(begun, os.Getpid())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if stubborn {
		time.Sleep(time.Hour) // a bare select would be a deadlock, and an end
	}
	return 0
}

// plainEnv is the environment without what tells tests of servers, which is no setting of a house.
func plainEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QIONG_") })
}

// flock waits for the lock, which its holder's end gives back.
func flock(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
}

// parent is a service with a child.
func parent(dir, mode string) *qiong.Service {
	return &qiong.Service{Name: "parent", Doc: lang.T("带子进程", "with a child"),
		New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
			h.Child("worker", "child", dir, mode)
			return &moody{}, nil
		}}
}

// begun waits until the child has begun so many times and returns its number.
func begun(t *testing.T, dir string, times int) int {
	t.Helper()
	for tick, end := time.Tick(5*time.Millisecond), time.After(30*time.Second); ; {
		data, _ := os.ReadFile(filepath.Join(dir, "begun"))
		if lines := strings.Fields(string(data)); len(lines) >= times {
			pid, err := strconv.Atoi(lines[times-1])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		select {
		case <-tick:
		case <-end:
			t.Fatalf("the child has not begun %d times: %s", times, data)
		}
	}
}

// logged is a log that may be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestAChildRunsAsLongAsItsHouse(t *testing.T) {
	dir, log := t.TempDir(), &logged{}
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{parent(dir, "")}, Log: log})
	first := begun(t, dir, 1)
	if group, err := syscall.Getpgid(first); err != nil || group != first {
		t.Errorf("the child %d is in group %d, %v", first, group, err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if second := begun(t, dir, 2); second == first {
		t.Error("the child was not started again")
	}
	_, metrics := get(t, h.URL+"/metrics")
	for _, want := range []string{`qiong_parent_child_up{child="worker"} 1`, `qiong_parent_child_restarts_total{child="worker"} 1`, `qiong_parent_child_pss_bytes{child="worker"} `} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	h.Stop()
	if err := flockNow(dir); err != nil {
		t.Errorf("the child outlived its house: %v", err)
	}
	for _, want := range []string{`level=WARN msg="here I am at=home" service=parent child=worker`, "a child has ended and is started again", "msg=\"without an end of line\""} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %s:\n%s", want, log)
		}
	}
}

func flockNow(dir string) error {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func TestAChildThatDoesNotEndIsKilled(t *testing.T) {
	dir, log := t.TempDir(), &logged{}
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{parent(dir, "stubborn")}, Log: log, Set: map[string]string{"house.grace": "100ms"}})
	begun(t, dir, 1)
	h.Stop()
	if err := flockNow(dir); err != nil {
		t.Errorf("the child outlived its house: %v", err)
	}
	if !strings.Contains(log.String(), "is killed") {
		t.Errorf("the log says nothing of it:\n%s", log)
	}
}

// A house that is killed takes its children along, even those that do not watch.
func TestAChildDiesWithAHouseThatIsKilled(t *testing.T) {
	for _, mode := range []string{"watching", "stubborn"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"))
			cmd.Env = append(plainEnv(), "TEST_CHILD="+dir, "TEST_CHILD_MODE="+mode)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			begun(t, dir, 1)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			gone := make(chan error, 1)
			go func() { gone <- flock(dir) }()
			select {
			case err := <-gone:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the child goes on")
			}
		})
	}
}

func TestChildrenThatCannotBe(t *testing.T) {
	twins := &qiong.Service{Name: "twins", Doc: lang.T("同名", "of one name"), New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
		h.Child("a")
		h.Child("a")
		return &moody{}, nil
	}}
	refuses(t, twins, "two children are called a")
	t.Setenv("QIONG_CHILD", "customs")
	refuses(t, parent(t.TempDir(), ""), "a child process has no children")
}

// refuses holds a house to what it says when it does not start.
func refuses(t *testing.T, s *qiong.Service, words string) {
	t.Helper()
	var out, errout bytes.Buffer
	code := house.Execute(t.Context(), []*qiong.Service{s}, nil, &qiong.Console{Out: &out, Err: &errout},
		[]string{"--lang", "en", "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, plainEnv())
	if code == 0 || !strings.Contains(errout.String(), words) {
		t.Errorf("exit %d: %s", code, &errout)
	}
}
