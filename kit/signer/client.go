package signer

import (
	"context"
	"crypto"
	"errors"
	"io"
	"io/fs"
	"net"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// ClientOptions say how patient a client is.
type ClientOptions struct {
	Wait        time.Duration // for an answer at most, connecting again included; default 3 s
	Connections int           // at once at most; default 4
}

// Client asks a signer at a socket. It connects when it is first asked and again when it must; it is safe for concurrent
// use. All that it is told it verifies.
type Client struct {
	socket string
	wait   time.Duration
	places chan struct{} // one for each connection

	mu     sync.Mutex
	idle   []net.Conn
	closed bool
}

// NewClient returns a client of the signer at a socket, which need not be there yet.
func NewClient(socket string, o ClientOptions) *Client {
	if o.Wait == 0 {
		o.Wait = 3 * time.Second
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	return &Client{socket: socket, wait: o.Wait, places: make(chan struct{}, o.Connections)}
}

// Socket returns the path of the socket.
func (c *Client) Socket() string { return c.socket }

// Close closes the connections that are idle; the others when they are.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var all []error
	for _, conn := range c.idle {
		all = append(all, conn.Close())
	}
	c.idle = nil
	return errors.Join(all...)
}

// Keys returns the keys that the signer has.
func (c *Client) Keys(ctx context.Context) ([]Public, error) {
	a, err := c.ask(ctx, request{kind: askKeys})
	if err != nil {
		return nil, err
	}
	if a.kind != sayKeys {
		return nil, c.strange(errFrame)
	}
	return a.keys, nil
}

// Find returns the public key that the signer lists by a name; an error of kind NotFound where it has none, or two.
func (c *Client) Find(name string) (*gm.PublicKey, error) {
	keys, err := c.Keys(context.Background())
	if err != nil {
		return nil, err
	}
	var found *gm.PublicKey
	for _, k := range keys {
		if k.Name != name {
			continue
		}
		if found != nil {
			return nil, errs.Newf(errs.Conflict, "签名进程 %s 有两把同名的密钥 %s", "the signer at %s has two keys called %s", c.socket, name)
		}
		found = k.Key
	}
	if found == nil {
		return nil, errs.Newf(errs.NotFound, "签名进程 %s 没有密钥 %s", "the signer at %s has no key %s", c.socket, name).WithCode(CodeNoKey)
	}
	return found, nil
}

// Signer returns what signs with the private key of pub. Whether the signer has it shows when it is to sign. Errors are
// of kind NotFound where it has not, Unavailable or Timeout where it does not answer, Forbidden and TooMany where it
// refuses, and Internal with CodeWrong or CodeStrange where it answers what is wrong.
func (c *Client) Signer(pub *gm.PublicKey) crypto.Signer {
	pub.Precompute() // every signature is verified
	return &remote{c, pub, idOf(pub)}
}

// remote is a key elsewhere.
type remote struct {
	client *Client
	pub    *gm.PublicKey
	id     keyID
}

// Public implements crypto.Signer with the *gm.PublicKey.
func (r *remote) Public() crypto.PublicKey { return r.pub }

// Sign implements crypto.Signer over a finished SM2 digest.
func (r *remote) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	if len(digest) != 32 {
		return nil, errs.New(errs.Internal, "SM2 摘要必须为 32 字节", "an SM2 digest is 32 bytes")
	}
	a, err := r.client.ask(context.Background(), request{askSign, r.id, [32]byte(digest)})
	if err != nil {
		return nil, err
	}
	if a.kind != saySigned {
		return nil, r.client.strange(errFrame)
	}
	der, err := toDER(a.sig)
	if err == nil {
		err = gm.VerifyDigest(r.pub, digest, der)
	}
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "签名进程 "+r.client.socket+" 给出的签名与公钥 "+r.id.String()+" 不符",
			"the signer at "+r.client.socket+" gave a signature that the public key "+r.id.String()+" does not verify").WithCode(CodeWrong).
			WithHint("不要再用这个签名进程，直到查明原因", "do not use this signer until you know why")
	}
	return der, nil
}

// ask sends a request until it is answered, on another connection where one breaks, for as long as the client waits.
// Signing again what may have been signed does no harm: the signature that was lost nobody has.
func (c *Client) ask(ctx context.Context, r request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		return nil, c.away(ctx, nil)
	}
	var last error
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		a, err := c.once(ctx, r)
		switch {
		case err == nil && a.kind == sayNo && a.why == tooMany && a.wait < c.wait:
			err, pause = a.refusal(c.socket), max(a.wait, pause)
		case err == nil && a.kind == sayNo:
			return nil, a.refusal(c.socket)
		case err == nil:
			return a, nil
		case errors.Is(err, errStrange):
			return nil, c.strange(err)
		case errors.Is(err, fs.ErrPermission): // it won't pass
			return nil, (&answer{why: forbidden}).refusal(c.socket)
		}
		if last == nil || ctx.Err() == nil && !timedOut(err) { // which a connection may notice before ctx does
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, c.away(ctx, last)
		case <-time.After(pause):
		}
	}
}

var errStrange = errors.New("what came back is not of this protocol")

// once asks once: on a connection that is idle, and where that has been closed meanwhile, on a new one.
func (c *Client) once(ctx context.Context, r request) (*answer, error) {
	for {
		conn, fresh, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		a, err := exchange(ctx, conn, r)
		if err == nil && a.kind != sayNo {
			c.keep(conn)
			return a, nil
		}
		_ = conn.Close() // what it had to say is in err
		if err == nil || fresh || errors.Is(err, errStrange) || ctx.Err() != nil {
			return a, err
		}
	}
}

// connect returns a connection that is idle, or a new one.
func (c *Client) connect(ctx context.Context) (conn net.Conn, fresh bool, err error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	if conn != nil {
		return conn, false, nil
	}
	var d net.Dialer
	conn, err = d.DialContext(ctx, "unix", c.socket)
	return conn, true, err
}

func (c *Client) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close() // nothing is under way on it
		return
	}
	c.idle = append(c.idle, conn)
}

// exchange sends one request and reads its answer, and leaves nothing behind either.
func exchange(ctx context.Context, conn net.Conn, r request) (*answer, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // what waits then ends
	defer stop()
	if _, err := conn.Write(r.append(nil)); err != nil {
		// A signer that refuses a connection says why and closes it, perhaps before it was asked.
		if a, said := readAnswer(conn); said == nil && a.kind == sayNo {
			return a, nil
		}
		return nil, err
	}
	return readAnswer(conn)
}

func readAnswer(conn net.Conn) (*answer, error) {
	p, err := readFrame(conn, maxAnswer)
	if errors.Is(err, errFrame) {
		return nil, errors.Join(errStrange, err)
	}
	if err != nil {
		return nil, err
	}
	a, err := parseAnswer(p)
	if err != nil {
		return nil, errors.Join(errStrange, err)
	}
	return a, nil
}

// away says that there was no answer, and where it was expected.
func (c *Client) away(ctx context.Context, err error) error {
	if context.Cause(ctx) == context.Canceled {
		return context.Canceled
	}
	var refused *errs.Error
	if errors.As(err, &refused) {
		return refused
	}
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial" // then nobody was there to be slow
	if err == nil || !dialing && timedOut(err) {
		return errs.Wrap(err, errs.Timeout, "签名进程 "+c.socket+" 未在限时内应答", "the signer at "+c.socket+" did not answer in time").WithCode(CodeAway)
	}
	return errs.Wrap(err, errs.Unavailable, "签名进程 "+c.socket+" 没有应答", "the signer at "+c.socket+" does not answer").WithCode(CodeAway).
		WithHint("启动签名进程；本程序会自行继续", "start the signer; this program goes on by itself")
}

func timedOut(err error) bool {
	var timeout net.Error // context.DeadlineExceeded is one, too
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (c *Client) strange(err error) error {
	return errs.Wrap(err, errs.Internal, "签名进程 "+c.socket+" 的应答不合协议", "the answer of the signer at "+c.socket+" is not of the protocol").WithCode(CodeStrange)
}
