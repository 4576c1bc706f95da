package booking

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// connect opens the connection over which this server follows the log of a shard.
func (p *pair) connect(ctx context.Context, leader *sighting, shard int) (net.Conn, error) {
	req, err := p.signed(ctx, leader.url+shipPath, boarding{leader.ticket, shard}, http.Header{"Connection": {"Upgrade"}, "Upgrade": {pairLog}})
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, meetFor)
	defer cancel()
	conn, err := dial(short, req.URL)
	if err != nil {
		return nil, err
	}
	follow, err := p.board(conn, req, leader.name)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return follow, nil
}

func dial(ctx context.Context, to *url.URL) (net.Conn, error) {
	port := to.Port()
	if port == "" {
		port = to.Scheme
	}
	address := net.JoinHostPort(to.Hostname(), port)
	if to.Scheme == "https" {
		return (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// board sends the request and reads the answer, which the leader must have signed.
func (p *pair) board(conn net.Conn, req *http.Request, leader string) (net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(meetFor)); err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		_ = resp.Body.Close() // the connection ends with it
		return nil, errs.Newf(errs.FromHTTP(resp.StatusCode), "对方服务器以状态 %d 拒绝", "the other server refused with status %d", resp.StatusCode)
	}
	if err := p.answeredBy(leader, resp, nil, req); err != nil {
		return nil, err
	}
	return &boarded{conn, in}, conn.SetDeadline(time.Time{})
}

// boarded is a connection of which a reader may have read ahead.
type boarded struct {
	net.Conn
	in io.Reader
}

func (c *boarded) Read(p []byte) (int, error) { return c.in.Read(p) }
