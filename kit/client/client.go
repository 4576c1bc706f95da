// Package client calls a house's JSON API for the command line: a problem document comes back as the error it tells of,
// in the words of the language that was asked for.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// Client calls one house as one principal.
type Client struct {
	URL   string // of the house, such as "http://127.0.0.1:8460"
	Token string
	Lang  lang.Lang
	HTTP  *http.Client // default: one with a time-out of 30 s
}

// Request is one call.
type Request struct {
	Method  string
	Path    string // with its query
	Body    any    // sent as JSON; an io.Reader is sent as it is
	Header  map[string]string
	Timeout time.Duration // default 30 s; below zero for none
}

// Do makes the call and decodes the answer into out, where out is not nil.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	resp, err := c.Send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("answer to %s %s: %w", r.Method, r.Path, err)
	}
	return nil
}

// Send makes the call and returns the answer where it is a success; its body must be closed.
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	hc := c.HTTP
	if hc == nil {
		hc = &http.Client{Timeout: 30 * time.Second}
		if r.Timeout != 0 {
			hc.Timeout = max(r.Timeout, 0)
		}
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errs.Wrap(err, errs.Unavailable, "连接不上服务", "the house can't be reached").
			WithHint("确认服务已启动（qiong up），并检查 --url", "start it with qiong up, and check --url")
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, c.problem(resp)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Host == "" {
		return nil, errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("--url")
	}
	var body io.Reader
	switch b := r.Body.(type) {
	case nil:
	case io.Reader:
		body = b
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, strings.TrimSuffix(c.URL, "/")+r.Path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept-Language", string(c.Lang))
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	return req, nil
}

// problem turns a problem document back into the error it was made from.
func (c *Client) problem(resp *http.Response) error {
	var p struct {
		Detail, Code, Field, Hint, TraceID string
		Offset                             *int64
		Line                               int
		Errors                             []struct {
			Detail, Code, Field string
			Offset              *int64
		}
	}
	kind := errs.FromHTTP(resp.StatusCode)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&p); err != nil || p.Detail == "" {
		return errs.Newf(kind, "服务返回状态 %d", "the house answered with status %d", resp.StatusCode)
	}
	e := errs.New(kind, p.Detail, p.Detail).WithCode(p.Code).WithField(p.Field).WithLine(p.Line).WithHint(p.Hint, p.Hint)
	if p.Offset != nil {
		e.WithOffset(*p.Offset)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.WithRetryAfter(time.Duration(s) * time.Second)
	}
	for _, f := range p.Errors {
		also := errs.New(kind, f.Detail, f.Detail).WithCode(f.Code).WithField(f.Field)
		if f.Offset != nil {
			also.WithOffset(*f.Offset)
		}
		e.Also = append(e.Also, also)
	}
	return e
}
