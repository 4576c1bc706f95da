// Package express lets the connections of a net/http server answer plain requests of a few routes by themselves, in a
// third of the processor time. Everything else is net/http's, on the same connections.
//
// A connection stands between the socket and net/http. While net/http waits for the next request, what comes whole in one
// read, is a request of one of the routes, and has nothing about it that needs thought, is handled right there by the
// server's own handler, and net/http goes on waiting; any other bytes are passed on as they are. So nothing is decided here
// about a request that net/http would decide otherwise (a fuzz test holds the two together), and every limit of the server
// is kept: a request is no longer than net/http's buffer, and slow or cut ones are net/http's.
//
// A handler of such a route must not keep anything of the request, its header among them, beyond its return; and its
// context does not end when the client hangs up.
package express

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Listener accepts the connections of one server.
type Listener struct {
	net.Listener
	server *http.Server
	routes map[string]*url.URL // by method and path, with a space between
	ctx    context.Context     // of requests
	late   atomic.Int64        // connections that were closed while they had a request
}

// Listen returns a listener for server, to be given to its Serve. A route is a method and a path, such as
// "POST /api/x/do". It sets the server's ConnState, and must be called once its other fields are set.
func Listen(l net.Listener, server *http.Server, routes []string) (*Listener, error) {
	listener := &Listener{Listener: l, server: server, routes: map[string]*url.URL{}}
	for _, route := range routes {
		_, path, _ := strings.Cut(route, " ")
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return nil, err
		}
		listener.routes[route] = u
	}
	base := context.Background()
	if server.BaseContext != nil {
		base = server.BaseContext(listener)
	}
	listener.ctx = context.WithValue(base, http.ServerContextKey, server)
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*conn); ok && state == http.StateIdle {
			c.between, c.renewed = true, time.Time{}
		}
	}
	return listener, nil
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && len(l.routes) > 0 {
		return &conn{TCPConn: tcp, l: l}, nil
	}
	return c, err
}

// Wait returns when all requests that were under way at the server's Shutdown have been answered, or ctx ends. To
// Shutdown, which must have returned, their connections were idle.
func (l *Listener) Wait(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.late.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// The states of a connection.
const (
	open    = iota
	busy    // with a request of ours
	closing // and to be closed after it
	closed
)

// conn is a connection as net/http sees it.
type conn struct {
	*net.TCPConn
	l       *Listener
	state   atomic.Int32
	whole   int       // what net/http reads at once where it has nothing left to parse
	between bool      // net/http waits for the next request
	renewed time.Time // when the deadlines were set
	desk    *desk     // made for the first request
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.whole == 0 {
		c.whole = len(p)
	}
	for {
		n, err := c.TCPConn.Read(p)
		if !c.between {
			return n, err
		}
		if err == nil && len(p) == c.whole {
			if served, err := c.serve(p[:n]); served && err == nil {
				continue
			} else if served {
				return 0, err
			}
		}
		c.between = false // what follows may be the rest of this
		return n, err
	}
}

// serve answers p where it is a plain request of one of the routes.
func (c *conn) serve(p []byte) (served bool, err error) {
	if c.desk == nil {
		c.desk = newDesk(c.l, c.RemoteAddr().String())
	}
	r := c.desk.read(p)
	if r == nil {
		return false, nil
	}
	if !c.state.CompareAndSwap(open, busy) {
		return true, net.ErrClosed
	}
	defer func() {
		if !c.state.CompareAndSwap(busy, open) { // it is closing
			err = c.end()
		}
	}()
	if err := c.renew(); err != nil {
		return true, err
	}
	w := &c.desk.reply
	w.reset()
	defer r.Body.Close() //nolint:errcheck // it has no error
	c.l.server.Handler.ServeHTTP(w, r)
	_, err = c.TCPConn.Write(w.finish(time.Now(), c.state.Load() == closing))
	return true, err
}

// renew moves the deadlines on, from time to time.
func (c *conn) renew() error {
	now := time.Now()
	idle, write := cmp.Or(c.l.server.IdleTimeout, c.l.server.ReadTimeout), c.l.server.WriteTimeout
	if now.Sub(c.renewed) < min(idle, write)/8 {
		return nil
	}
	c.renewed = now
	return errors.Join(c.SetReadDeadline(after(now, idle)), c.SetWriteDeadline(after(now, write)))
}

// after returns the deadline of a limit, of which 0 is none.
func after(now time.Time, limit time.Duration) time.Time {
	if limit <= 0 {
		return time.Time{}
	}
	return now.Add(limit)
}

// Close implements net.Conn. A request of ours is answered first.
func (c *conn) Close() error {
	for {
		if c.state.CompareAndSwap(open, closed) {
			return c.TCPConn.Close()
		}
		c.l.late.Add(1)
		if c.state.CompareAndSwap(busy, closing) {
			return nil
		}
		c.l.late.Add(-1)
		if s := c.state.Load(); s == closing || s == closed {
			return net.ErrClosed
		}
	}
}

// end is the rest of a Close that came during a request.
func (c *conn) end() error {
	defer c.l.late.Add(-1)
	c.state.Store(closed)
	_ = c.TCPConn.Close()
	return net.ErrClosed
}
