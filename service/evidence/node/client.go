package node

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// Client asks an agency's node. Problems come back as the errors they tell of; kind Unavailable where it is not reached.
type Client struct{ http client.Client }

// NewClient returns a client of the node at an address such as http://127.0.0.1:8471.
func NewClient(address string, l lang.Lang) *Client {
	return &Client{client.Client{URL: strings.TrimSuffix(address, "/"), Lang: l}}
}

const askFor = 10 * time.Second

func (c *Client) ask(ctx context.Context, method, path string, body io.Reader, out any) error {
	r := client.Request{Method: method, Path: path, Timeout: askFor}
	if body != nil {
		r.Body = body
	}
	return reachable(c.http.Do(ctx, r, out))
}

// reachable gives the error of a connection that was not made the hint for a node.
func reachable(err error) error {
	if e := errs.As(err); err != nil && e.Kind == errs.Unavailable && e.Err != nil {
		return errs.Wrap(e.Err, errs.Unavailable, "连接不上部门的节点", "the agency's node can't be reached").
			WithHint("确认节点已启动（qiong evidence node），并检查地址", "start it with qiong evidence node, and check the address")
	}
	return err
}

// Submit hands a transaction to the node. Nil says that the node holds it and passes it on, not that it is ordered: who
// must be sure submits again until the log has it.
func (c *Client) Submit(ctx context.Context, tx []byte) error {
	return c.ask(ctx, "POST", "/submit", bytes.NewReader(tx), nil)
}

// Status asks how the node is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := new(Status)
	return s, c.ask(ctx, "GET", "/status", nil, s)
}

// Policies asks for the policy in force and those before.
func (c *Client) Policies(ctx context.Context) (*Policies, error) {
	p := new(Policies)
	return p, c.ask(ctx, "GET", "/policy", nil, p)
}

const maxLight = 1 << 20

// Light asks for what [council.Node.LightBlock] returns.
func (c *Client) Light(ctx context.Context, height int64) ([]byte, error) {
	resp, err := c.http.Send(ctx, client.Request{Method: "GET", Path: "/light/" + strconv.FormatInt(height, 10), Timeout: askFor})
	if err != nil {
		return nil, reachable(err)
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxLight))
}

func fetchLight(ctx context.Context, from council.Member, height int64) ([]byte, error) {
	return NewClient(from.HTTP, lang.EN).Light(ctx, height)
}
