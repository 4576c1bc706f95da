//go:build !linux

package signer

import (
	"net"

	"github.com/qiongdev/qiong/kit/errs"
)

// peerOf refuses: only Linux tells who asks in the way this package reads it.
func peerOf(*net.UnixConn) (uid uint32, pid int32, err error) {
	return 0, 0, errs.New(errs.Unsupported, "签名进程只在 Linux 上运行", "a signer runs on Linux only")
}
