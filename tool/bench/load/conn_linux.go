package load

import (
	"context"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/http1"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// conn is one connection of a loop.
type conn struct {
	fd     int
	state  connState
	wants  bool // is registered for EPOLLOUT
	kind   int
	out    []byte // the request; kept for its room
	sentTo int    // how much of it is written
	tag    []byte
	due    time.Duration // of the request under way
	sent   time.Duration // when it was sent, or the connection begun
	ready  time.Duration // since when it is free, or from when on it may be opened again
	failed int           // attempts to open it in a row
	parser http1.Parser
}

type connState uint8

const (
	away connState = iota // to be opened, from ready on
	opening
	free
	flying
)

func (c *conn) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // nothing is left to be written
		c.fd = -1
	}
	c.state = away
}

// atOnce bounds how many connections a loop opens at a time, so that thousands do not overrun the server's backlog.
const atOnce = 32

// connectAll opens all connections, or says why that cannot be.
func (l *loop) connectAll(ctx context.Context) error {
	l.begin = time.Now()
	for opened := 0; l.idle.n < len(l.conns); {
		if err := ctx.Err(); err != nil {
			return err
		}
		for ; opened < len(l.conns) && l.opening < atOnce; opened++ {
			l.open(&l.conns[opened])
		}
		n, err := l.wait(tick)
		if err != nil {
			return err
		}
		for i := range n {
			l.event(int(l.events[i].Fd), l.events[i].Events)
		}
		for i := range l.conns {
			if c := &l.conns[i]; c.failed > 0 || c.state == opening && l.now()-c.sent > l.plan.Timeout {
				return errs.New(errs.Unavailable, "无法连接目标", "the target can't be reached").WithHint("目标是否在运行？连接数是否超过其上限？", "does the target run? are these more connections than it takes?")
			}
		}
	}
	l.tally.Connects = int64(len(l.conns))
	return nil
}

// open begins a connection.
func (l *loop) open(c *conn) {
	fd, err := unix.Socket(family(l.addr), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		l.lost(c)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // slower without
	c.fd, c.state, c.sent, c.wants = fd, opening, l.now(), true
	c.parser.Reset()
	l.opening++
	index := int32((uintptr(unsafe.Pointer(c)) - uintptr(unsafe.Pointer(&l.conns[0]))) / unsafe.Sizeof(conn{}))
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: index}); err != nil {
		l.lost(c)
		return
	}
	if err := unix.Connect(fd, l.addr); err != nil && err != unix.EINPROGRESS {
		l.lost(c)
	}
}

func family(a unix.Sockaddr) int {
	if _, six := a.(*unix.SockaddrInet6); six {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// lost closes a connection that could not be opened, to be tried again after a pause that grows up to a second.
func (l *loop) lost(c *conn) {
	if c.state == opening {
		l.opening--
	}
	c.close()
	c.failed++
	c.ready = l.now() + min(time.Second, 10*time.Millisecond<<min(c.failed, 7))
	l.tally.Failures[tally.Connect]++
}

// event handles what happened on a connection.
func (l *loop) event(i int, what uint32) {
	c := &l.conns[i]
	switch c.state {
	case opening:
		l.opened(i, c)
	case flying:
		if what&unix.EPOLLOUT != 0 && c.sentTo < len(c.out) {
			l.write(c)
		}
		if c.state == flying && what&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			l.read(i, c)
		}
	case free: // the server closed it, or talks out of turn
		l.idle.remove(i)
		c.close()
		l.open(c)
		l.tally.Connects++
	}
}

// opened finishes opening a connection.
func (l *loop) opened(i int, c *conn) {
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code != 0 {
		l.lost(c)
		return
	}
	l.opening--
	c.failed = 0
	l.wantWrite(i, c, false)
	l.rest(i, c)
}

// rest makes a connection free.
func (l *loop) rest(i int, c *conn) {
	c.state, c.ready = free, l.now()
	l.idle.push(i)
}

func (l *loop) wantWrite(i int, c *conn, wants bool) {
	if c.wants == wants {
		return
	}
	c.wants = wants
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if wants {
		e.Events |= unix.EPOLLOUT
	}
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &e) // it is registered
}

// send draws a request that was due and writes it.
func (l *loop) send(c *conn, due, now time.Duration) {
	r := l.source.Next()
	c.kind = r.Kind()
	c.out = r.AppendHTTP1(c.out[:0])
	c.tag = r.AppendTag(c.tag[:0])
	c.parser.Keep, c.parser.NoBody = r.NeedsBody(), r.Method() == "HEAD"
	c.state, c.sentTo, c.due, c.sent = flying, 0, due, now
	l.flying++
	l.tally.SendAt(due, c.ready, now)
	l.write(c)
}

// write writes as much of the request as the kernel takes.
func (l *loop) write(c *conn) {
	i := int((uintptr(unsafe.Pointer(c)) - uintptr(unsafe.Pointer(&l.conns[0]))) / unsafe.Sizeof(conn{}))
	for c.sentTo < len(c.out) {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&c.out[c.sentTo])), uintptr(len(c.out)-c.sentTo), unix.MSG_NOSIGNAL, 0, 0)
		switch e {
		case 0:
			c.sentTo += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			l.wantWrite(i, c, true)
			return
		default:
			l.fail(c, tally.Closed)
			return
		}
	}
	l.wantWrite(i, c, false)
}

// read reads what came of the answer.
func (l *loop) read(i int, c *conn) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)))
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return
	case e != 0:
		l.fail(c, tally.Closed)
		return
	case n == 0:
		if c.parser.End() {
			l.answered(i, c)
		} else {
			l.fail(c, tally.Closed)
		}
		return
	}
	data := l.buf[:n]
	used, whole, err := c.parser.Feed(data)
	switch {
	case err != nil, whole && (used < len(data) || c.sentTo < len(c.out)): // an answer before its question, or two
		l.fail(c, tally.Malformed)
	case whole:
		l.answered(i, c)
	}
}

// answered takes an answer down and frees its connection.
func (l *loop) answered(i int, c *conn) {
	now := l.now()
	ok := l.source.Judge(c.kind, c.parser.Status, c.parser.Body, c.tag)
	l.tally.Answer(c.kind, c.parser.Status, c.parser.Size, c.due, c.sent, now, ok)
	l.flying--
	if c.parser.Close {
		c.close()
		l.open(c)
		l.tally.Connects++
		return
	}
	c.state, c.ready = free, now
	if l.cursor == nil && now < l.end {
		l.send(c, now, now)
		return
	}
	if l.more && l.due <= now && l.idle.n == 0 {
		due := l.due
		l.due, l.more = l.cursor.Next()
		l.send(c, due, now)
		return
	}
	l.idle.push(i)
}

// fail takes a failure down and opens the connection anew.
func (l *loop) fail(c *conn, why tally.Failure) {
	l.tally.Fail(c.kind, why, c.due, l.now())
	l.flying--
	c.close()
	l.open(c)
	l.tally.Connects++
}

// counts is what was published last.
type counts struct{ sent, done, failed, dropped int64 }

// publish tells the watch what is new.
func (l *loop) publish() {
	now := counts{l.tally.Sent, l.tally.Done(), l.tally.Failed(), l.tally.Dropped}
	w := l.plan.Watch
	w.Sent.Add(now.sent - l.seen.sent)
	w.Done.Add(now.done - l.seen.done)
	w.Failed.Add(now.failed - l.seen.failed)
	w.Dropped.Add(now.dropped - l.seen.dropped)
	l.seen = now
}

// ring is a queue of numbers below its size.
type ring struct {
	at   []int
	head int
	n    int
}

func (r *ring) grow(size int) { r.at = make([]int, max(size, 1)) }

func (r *ring) push(i int) {
	r.at[(r.head+r.n)%len(r.at)] = i
	r.n++
}

func (r *ring) pop() int {
	i := r.at[r.head]
	r.head = (r.head + 1) % len(r.at)
	r.n--
	return i
}

// remove takes out a number, wherever it stands.
func (r *ring) remove(i int) {
	for range r.n {
		if j := r.pop(); j != i {
			r.push(j)
		}
	}
}
