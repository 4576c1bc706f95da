package house

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
)

// lock keeps a second house out of a data folder, for as long as the process lives: the kernel gives it back however
// the process ends.
type lock struct{ f *os.File }

func lockFolder(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "house.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return nil, occupied(f)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &lock{f}, nil
}

func occupied(f *os.File) error {
	content, _ := io.ReadAll(io.LimitReader(f, 32)) // without it the message says less
	pid := strings.TrimSpace(string(content))
	return errs.Newf(errs.Conflict, "数据目录正被另一个进程使用（进程号 %s）", "another process (pid %s) uses the data folder", pid).
		WithHint("停止该进程，或用 --data 指定其他目录", "stop that process, or name another folder with --data")
}

func (l *lock) release() error { return l.f.Close() }
