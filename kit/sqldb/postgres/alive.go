package postgres

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"
)

// doubtful reports whether a connection from the pool is asked, in a round trip, before it is used. That is where it has
// been idle for long, and where something came while nothing was asked: mostly the server's farewell.
func doubtful(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || stirred(p.Conn.PgConn().Conn())
}

// stirred reports whether something waits to be read from c, its end among that, without reading it. It waits for nobody
// who is reading: pgconn may leave a goroutine at that.
func stirred(c net.Conn) (yes bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		yes = err != unix.EAGAIN && err != unix.EINTR
	})
	return yes || err != nil
}
