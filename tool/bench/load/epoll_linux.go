package load

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/schedule"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// runEpoll runs the plan on event loops, one thread each.
func runEpoll(ctx context.Context, p *Plan) (*Outcome, error) {
	addr, err := resolve(ctx, p.Target.Addr)
	if err != nil {
		return nil, err
	}
	loops := make([]*loop, p.Workers)
	defer func() {
		for _, l := range loops {
			l.close()
		}
	}()
	for i := range loops {
		share := p.Conns / p.Workers
		if i < p.Conns%p.Workers {
			share++
		}
		if loops[i], err = newLoop(p, i, share, addr); err != nil {
			return nil, err
		}
	}
	if err := each(loops, func(l *loop) error { return l.connectAll(ctx) }); err != nil {
		return nil, err
	}
	begin := p.Start()
	err = each(loops, func(l *loop) error { return l.run(ctx, begin) })
	o := &Outcome{Ended: ctx.Err() != nil}
	var all []*tally.Tally
	for _, l := range loops {
		all = append(all, l.tally)
		o.Took = max(o.Took, l.now())
		o.Busy = max(o.Busy, l.busy())
	}
	o.Tally = sum(p, all)
	return o, err
}

// each runs f on every loop, on a thread of its own, so that timers are as exact as the kernel's.
func each(loops []*loop, f func(l *loop) error) error {
	fails := make([]error, len(loops))
	var wg sync.WaitGroup
	for i, l := range loops {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			exactTimers()
			fails[i] = f(l)
		})
	}
	wg.Wait()
	return errors.Join(fails...)
}

// exactTimers asks the kernel not to gather this thread's timers, which by default it does within 50 µs.
func exactTimers() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // a kernel that can't is later by that
}

// resolve returns the address as connect(2) wants it.
func resolve(ctx context.Context, addr string) (unix.Sockaddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "目标地址不对", "the target's address is wrong")
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "目标端口不对", "the target's port is wrong")
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil || len(ips) == 0 {
		return nil, errs.Wrap(err, errs.Unavailable, "找不到目标主机", "the target's host can't be found")
	}
	for _, ip := range ips { // the families of 127.0.0.1 first: servers on the loopback often listen there alone
		if four := ip.IP.To4(); four != nil {
			return &unix.SockaddrInet4{Port: n, Addr: [4]byte(four)}, nil
		}
	}
	six := &unix.SockaddrInet6{Port: n, Addr: [16]byte(ips[0].IP.To16())}
	if ips[0].Zone != "" {
		if ifi, err := net.InterfaceByName(ips[0].Zone); err == nil {
			six.ZoneId = uint32(ifi.Index)
		}
	}
	return six, nil
}

// ownCopy returns an address that one thread may use: package unix writes into those it is given.
func ownCopy(a unix.Sockaddr) unix.Sockaddr {
	if four, ok := a.(*unix.SockaddrInet4); ok {
		return &unix.SockaddrInet4{Port: four.Port, Addr: four.Addr}
	}
	six, _ := a.(*unix.SockaddrInet6) // the only other kind that resolve returns
	return &unix.SockaddrInet6{Port: six.Port, Addr: six.Addr, ZoneId: six.ZoneId}
}

// loop is one worker: an event loop with its share of the connections. Times are since the beginning of the plan.
type loop struct {
	plan   *Plan
	source Source
	tally  *tally.Tally
	cursor *schedule.Cursor
	due    time.Duration // of the next request
	more   bool          // there is a next request
	end    time.Duration // of a closed loop

	addr    unix.Sockaddr
	epoll   int
	events  []unix.EpollEvent
	conns   []conn
	idle    ring // connections that are free, the longest first
	opening int
	flying  int
	buf     []byte

	begin    time.Time
	waited   time.Duration // in epoll
	finished time.Duration
	coarse   bool // the kernel has no epoll_pwait2
	seen     counts
}

func newLoop(p *Plan, i, share int, addr unix.Sockaddr) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l := &loop{
		plan: p, source: p.Source(p.Shard*p.Workers+i, p.Shards*p.Workers), tally: tally.New(p.Kinds, tally.IntervalOf(p.length())), addr: ownCopy(addr), epoll: epoll,
		events: make([]unix.EpollEvent, 256), conns: make([]conn, share), buf: make([]byte, 64<<10), end: p.Closed,
	}
	for i := range l.conns {
		l.conns[i].fd = -1
	}
	l.idle.grow(share)
	if p.Closed == 0 {
		l.cursor = p.Schedule.Part(p.Shard*p.Workers+i, p.Shards*p.Workers, p.Seed)
		l.due, l.more = l.cursor.Next()
	}
	return l, nil
}

func (l *loop) close() {
	if l == nil {
		return
	}
	for i := range l.conns {
		l.conns[i].close()
	}
	_ = unix.Close(l.epoll) // nothing is kept in it
}

func (l *loop) now() time.Duration { return time.Since(l.begin) }

// busy is the share of the time in which the loop did not wait.
func (l *loop) busy() float64 {
	if l.finished <= 0 {
		return 0
	}
	return 1 - l.waited.Seconds()/l.finished.Seconds()
}

// tick is how often a loop looks after what no event tells: time-outs, its context, what others watch.
const tick = 20 * time.Millisecond

// run carries the plan out.
func (l *loop) run(ctx context.Context, begin time.Time) error {
	l.begin = begin
	l.waited, l.finished = 0, 0
	for { // connections are open; the moment to begin may be ahead
		early := -l.now()
		if early <= 0 || ctx.Err() != nil {
			break
		}
		if _, err := l.wait(min(early, tick)); err != nil {
			return err
		}
	}
	l.waited = 0
	next := tick
	for {
		now := l.now()
		if now >= next {
			next = now + tick
			l.look(now)
			if ctx.Err() != nil {
				break
			}
		}
		l.sendDue(now)
		if l.done(now) {
			break
		}
		n, err := l.wait(l.pause(now, next))
		if err != nil {
			return err
		}
		for i := range n {
			l.event(int(l.events[i].Fd), l.events[i].Events)
		}
	}
	l.finished = l.now()
	l.publish()
	return nil
}

// done reports whether nothing is left to do.
func (l *loop) done(now time.Duration) bool {
	if l.cursor == nil {
		return now >= l.end && l.flying == 0
	}
	return !l.more && l.flying == 0
}

// pause is how long there is nothing to do but for events.
func (l *loop) pause(now, next time.Duration) time.Duration {
	if l.more && l.idle.n > 0 {
		next = min(next, l.due)
	}
	return max(0, next-now)
}

// sendDue sends what is due on connections that are free.
func (l *loop) sendDue(now time.Duration) {
	if l.cursor == nil {
		for l.idle.n > 0 && now < l.end {
			c := &l.conns[l.idle.pop()]
			l.send(c, now, now)
		}
		return
	}
	for l.more && l.due <= now && l.idle.n > 0 {
		c := &l.conns[l.idle.pop()]
		due := l.due
		l.due, l.more = l.cursor.Next()
		l.send(c, due, now)
		now = l.now()
	}
}

// look ends what took too long, and drops what waited too long for a connection.
func (l *loop) look(now time.Duration) {
	for i := range l.conns {
		c := &l.conns[i]
		switch {
		case c.state == flying && now-c.sent > l.plan.Timeout:
			l.fail(c, tally.TimedOut)
		case c.state == opening && now-c.sent > l.plan.Timeout:
			l.lost(c)
		case c.state == away && now >= c.ready:
			l.open(c)
		}
	}
	for l.more && now-l.due > l.plan.Timeout {
		l.tally.Drop(l.due, now)
		l.due, l.more = l.cursor.Next()
	}
	l.publish()
}

// wait waits for events, at most for d.
func (l *loop) wait(d time.Duration) (int, error) {
	before := time.Now()
	n, err := l.poll(d)
	if d > 0 {
		l.waited += time.Since(before)
	}
	if err == unix.EINTR {
		return 0, nil
	}
	return n, os.NewSyscallError("epoll_wait", err)
}

// poll waits to the nanosecond where the kernel can (5.11), to the millisecond elsewhere.
func (l *loop) poll(d time.Duration) (int, error) {
	if d == 0 {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), 0, 0, 0)
		return result(n, e)
	}
	if !l.coarse {
		ts := unix.NsecToTimespec(d.Nanoseconds())
		n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if e != unix.ENOSYS && e != unix.EPERM {
			return result(n, e)
		}
		l.coarse = true
	}
	return unix.EpollWait(l.epoll, l.events, int((d+time.Millisecond-1)/time.Millisecond))
}

func result(n uintptr, e unix.Errno) (int, error) {
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
