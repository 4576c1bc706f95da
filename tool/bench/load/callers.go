package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/qiongdev/qiong/tool/bench/http1"
	"github.com/qiongdev/qiong/tool/bench/tally"
)

// failureOf names why a call failed.
func failureOf(ctx context.Context, err error) tally.Failure {
	var dial *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
		return tally.TimedOut
	case errors.As(err, &dial) && dial.Op == "dial":
		return tally.Connect
	case errors.Is(err, http1.ErrHead), errors.Is(err, http1.ErrFraming), errors.Is(err, http1.ErrLimit), errors.Is(err, http1.ErrChunk), errors.Is(err, errTrailing):
		return tally.Malformed
	}
	return tally.Closed
}

var errTrailing = errors.New("more follows the answer than was asked for")

// http1Caller speaks HTTP/1.1, with or without TLS.
type http1Caller struct {
	target *Target
	conn   net.Conn
	out    []byte
	in     []byte
	parser http1.Parser
}

func dialHTTP1(ctx context.Context, p *Plan, _ int) ([]caller, error) {
	c := &http1Caller{target: &p.Target, in: make([]byte, 16<<10)}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return []caller{c}, c.open(ctx)
}

func (c *http1Caller) open(ctx context.Context) error {
	var err error
	c.parser.Reset()
	if c.target.TLS == nil {
		c.conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", c.target.Addr)
		return err
	}
	config := c.target.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", c.target.Addr)
	if err == nil {
		c.conn = conn
	}
	return err
}

func (c *http1Caller) close() {
	if c.conn != nil {
		_ = c.conn.Close() // what mattered was read
		c.conn = nil
	}
}

func (c *http1Caller) call(ctx context.Context, r Request) (answer, error) {
	a, err := c.exchange(ctx, r)
	if err != nil || c.parser.Close {
		c.close()
	}
	return a, err
}

func (c *http1Caller) exchange(ctx context.Context, r Request) (answer, error) {
	if c.conn == nil {
		if err := c.open(ctx); err != nil {
			return answer{}, err
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetDeadline(deadline); err != nil {
			return answer{}, err
		}
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a closed one needs none
	defer func() {
		if !stop() {
			c.close() // the deadline may yet be set: it must not hit the next request
		}
	}()
	c.out = r.AppendHTTP1(c.out[:0])
	c.parser.Keep, c.parser.NoBody = r.NeedsBody(), r.Method() == "HEAD"
	if _, err := c.conn.Write(c.out); err != nil {
		return answer{}, err
	}
	for {
		n, err := c.conn.Read(c.in)
		used, whole, bad := c.parser.Feed(c.in[:n])
		switch {
		case bad != nil:
			return answer{}, bad
		case whole && used < n:
			return answer{}, errTrailing
		case whole || errors.Is(err, io.EOF) && c.parser.End():
			return answer{c.parser.Status, c.parser.Body, c.parser.Size}, nil
		case err != nil:
			return answer{}, err
		}
	}
}

// http2Conn is one connection of HTTP/2, opened anew where it was lost.
type http2Conn struct {
	transport *http.Transport
	target    *Target
	scheme    string

	mu   sync.Mutex
	conn *http.ClientConn
}

// http2Caller makes requests on a stream at a time of a connection.
type http2Caller struct {
	*http2Conn
	buf bytes.Buffer
}

func dialHTTP2(ctx context.Context, p *Plan, callers int) ([]caller, error) {
	t := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	c := &http2Conn{transport: t, target: &p.Target, scheme: "http"}
	if p.Target.TLS != nil {
		c.scheme = "https"
		t.TLSClientConfig = p.Target.TLS.Clone()
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if _, err := c.open(ctx); err != nil {
		return nil, err
	}
	var all []caller
	for range callers {
		all = append(all, &http2Caller{http2Conn: c})
	}
	return all, nil
}

// open returns the connection, a new one where the last is lost.
func (c *http2Conn) open(ctx context.Context) (*http.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil && c.conn.Err() == nil {
		return c.conn, nil
	}
	conn, err := c.transport.NewClientConn(ctx, c.scheme, c.target.Addr)
	if err != nil {
		return nil, err
	}
	if c.conn != nil {
		_ = c.conn.Close() // it is lost
	}
	c.conn = conn
	return conn, nil
}

func (c *http2Conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.Close() // the callers share it; closing again does nothing
}

func (c *http2Caller) call(ctx context.Context, r Request) (answer, error) {
	conn, err := c.open(ctx)
	if err != nil {
		return answer{}, err
	}
	u, err := url.Parse(c.scheme + "://" + c.target.Host + r.Path())
	if err != nil {
		return answer{}, err
	}
	request := (&http.Request{Method: r.Method(), URL: u, Host: c.target.Host, Header: http.Header{}}).WithContext(ctx)
	r.Header(func(k, v string) { request.Header.Add(k, v) })
	if body := r.AppendBody(nil); len(body) > 0 {
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	resp, err := conn.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	c.buf.Reset()
	a := answer{status: resp.StatusCode}
	if r.NeedsBody() {
		if _, err := io.CopyN(&c.buf, resp.Body, http1.MaxBody); err != nil && !errors.Is(err, io.EOF) {
			return a, err
		}
		a.body, a.size = c.buf.Bytes(), int64(c.buf.Len())
	}
	n, err := io.Copy(io.Discard, resp.Body)
	a.size += n
	return a, err
}

// grpcCaller makes unary calls. Messages are bytes that were encoded before.
type grpcCaller struct{ conn *grpc.ClientConn }

// rawCodec passes messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return nil, fmt.Errorf("a message of type %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a message of type %T", v)
	}
	*b = bytes.Clone(data)
	return nil
}

func dialGRPC(ctx context.Context, p *Plan, callers int) ([]caller, error) {
	secure := insecure.NewCredentials()
	if p.Target.TLS != nil {
		secure = credentials.NewTLS(p.Target.TLS.Clone())
	}
	// "passthrough" connects to the one address, without a resolver or a proxy of the environment.
	conn, err := grpc.NewClient("passthrough:///"+p.Target.Addr, grpc.WithTransportCredentials(secure), grpc.WithAuthority(p.Target.Host), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	conn.Connect()
	for s := conn.GetState(); s.String() != "READY"; s = conn.GetState() {
		if s.String() == "TRANSIENT_FAILURE" || !conn.WaitForStateChange(ctx, s) {
			_ = conn.Close() // it was never open
			return nil, errors.New("the connection of gRPC can't be made")
		}
	}
	var all []caller
	for range callers {
		all = append(all, &grpcCaller{conn})
	}
	return all, nil
}

func (c *grpcCaller) close() { _ = c.conn.Close() } // the callers share it; closing again does nothing

func (c *grpcCaller) call(ctx context.Context, r Request) (answer, error) {
	r.Header(func(k, v string) { ctx = metadata.AppendToOutgoingContext(ctx, k, v) })
	in := r.AppendBody(nil)
	var out []byte
	err := c.conn.Invoke(ctx, r.Path(), &in, &out)
	if s, ok := status.FromError(err); ok && ctx.Err() == nil {
		return answer{status: int(s.Code()), body: out, size: int64(len(out))}, nil
	}
	return answer{}, err
}
