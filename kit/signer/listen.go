package signer

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/qiongdev/qiong/kit/errs"
)

// maxPath is the longest path of a socket that Linux takes, less what stands behind it while it is made.
const maxPath = 107 - len(".new")

// Listener is a socket that nobody but those it was made for can reach.
type Listener struct {
	*net.UnixListener
	path string
	lock *os.File
}

// Listen makes the socket at a path: for its owner alone, or, where group is not negative, for that group too. What a
// signer that was killed has left there is taken away; where one still runs, or something else than a socket is there,
// the error is of kind Conflict. A file <path>.lock stays beside it.
func Listen(path string, group int) (*Listener, error) {
	if len(path) > maxPath {
		return nil, errs.Newf(errs.Invalid, "套接字路径不得超过 %d 字节", "the path of a socket has at most %d bytes", maxPath).WithField("listen")
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(err, path)
	}
	l := &Listener{path: path, lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errs.Wrap(err, errs.Conflict, "另一个签名进程正在 "+path+" 监听", "another signer listens at "+path), lock.Close())
	}
	if err := l.listen(group); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return l, nil
}

// listen makes the socket beside its place and moves it there once it is closed to others, over one that is stale.
func (l *Listener) listen(group int) error {
	if info, err := os.Lstat(l.path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return errs.New(errs.Conflict, l.path+" 已存在且不是套接字", l.path+" exists and is no socket").WithField("listen")
	}
	making := l.path + ".new"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable(err, l.path)
	}
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return unusable(err, l.path)
	}
	u.SetUnlinkOnClose(false)
	mode := fs.FileMode(0o600)
	if group >= 0 {
		if mode, err = 0o660, os.Chown(making, -1, group); err != nil {
			return errors.Join(unusable(err, l.path), u.Close())
		}
	}
	if err = os.Chmod(making, mode); err == nil {
		err = os.Rename(making, l.path)
	}
	if err != nil {
		return errors.Join(unusable(err, l.path), u.Close())
	}
	l.UnixListener = u
	return nil
}

// Close takes the socket away and ends listening.
func (l *Listener) Close() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.UnixListener.Close(), l.lock.Close())
}

func unusable(err error, path string) error {
	return errs.Wrap(err, errs.Invalid, "无法在 "+path+" 监听", "can't listen at "+path).WithField("listen")
}
