package wal

import (
	"errors"
	"os"
	"syscall"
)

// datasync leaves out what is not needed to read the data again, such as the time of change.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func allocate(f *os.File, size int64) error {
	for {
		switch err := syscall.Fallocate(int(f.Fd()), 0, 0, size); {
		case err == syscall.EINTR:
		case err == syscall.EOPNOTSUPP || err == syscall.ENOSYS:
			return errors.ErrUnsupported
		default:
			return os.NewSyscallError("fallocate", err)
		}
	}
}
