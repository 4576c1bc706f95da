package tlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Client reads a log that is served elsewhere, as [Log.Handler] or any C2SP tlog-tiles log over SM3 serves it. What it
// returns is well formed, no longer than it may be, and not yet believed: [Follow] holds it to keys and to what was
// seen before.
//
// Errors are of kind NotFound where the log has no such thing, Unavailable or Timeout where it can't be reached or does
// not answer in time, Invalid where it answers what no log answers. Their field is the path that was asked.
type Client struct {
	base    *url.URL
	http    *http.Client
	timeout time.Duration // for an answer to its last byte, beyond what it may wait for news
}

const (
	maxNote  = receipt.MaxSize
	maxNotes = 8 << 20
)

// NewClient returns a client of the log under an address, such as https://gov.example.cn/evidence/log. transport may be
// nil. Redirects are not followed: a log stands where it was configured, and nowhere it points to itself.
func NewClient(address string, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errs.New(errs.Invalid, "应为 http 或 https 地址", "must be an http or https URL").WithField("url")
	}
	return &Client{base: u, http: &http.Client{Transport: transport, CheckRedirect: stay}, timeout: 30 * time.Second}, nil
}

// stay hands a redirect to the caller as the answer that it is.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL returns the address of the log.
func (c *Client) URL() string { return c.base.String() }

// Checkpoint returns the note of the newest cosigned checkpoint.
func (c *Client) Checkpoint(ctx context.Context) (*receipt.Note, error) {
	body, err := c.get(ctx, "checkpoint", nil, maxNote, 0)
	if err != nil {
		return nil, err
	}
	n, err := receipt.ParseNote(body)
	if err != nil {
		return nil, strange(err, "checkpoint")
	}
	return n, nil
}

// Notes returns the notes of the next cosigned checkpoints beyond a size, smallest first. Where there is none yet, the
// log may wait for one; none is then no error.
func (c *Client) Notes(ctx context.Context, after uint64, wait time.Duration) ([]*receipt.Note, error) {
	query := url.Values{"after": {strconv.FormatUint(after, 10)}, "wait": {strconv.Itoa(int(wait / time.Second))}}
	body, err := c.get(ctx, "notes", query, maxNotes, wait)
	if err != nil {
		return nil, err
	}
	notes, err := ParseNotes(body)
	if err != nil {
		return nil, strange(err, "notes")
	}
	for _, n := range notes {
		if n.Checkpoint.Size <= after {
			return nil, strange(errs.New(errs.Invalid, "检查点没有依次增大", "the checkpoints do not grow"), "notes")
		}
		after = n.Checkpoint.Size
	}
	return notes, nil
}

// ParseNotes reads what a log answers about its notes: each one behind a line with its length in bytes.
func ParseNotes(body []byte) (notes []*receipt.Note, err error) {
	for rest := body; len(rest) > 0; {
		at := int64(len(body) - len(rest))
		digits, text, found := bytes.Cut(rest, []byte("\n"))
		size, err := strconv.Atoi(string(digits))
		if !found || err != nil || size < 1 || size > len(text) || strconv.Itoa(size) != string(digits) {
			return nil, errs.New(errs.Invalid, "检查点的长度有误", "the length of a note is wrong").WithCode(CodeStrange).WithOffset(at)
		}
		n, err := receipt.ParseNote(text[:size])
		if err != nil {
			return nil, errs.As(err).WithOffset(at)
		}
		notes, rest = append(notes, n), text[size:]
	}
	return notes, nil
}

// Tile returns the hashes of a tile at its width. Where a partial one is gone, since the log has grown, it is cut from
// the full one (C2SP tlog-tiles).
func (c *Client) Tile(ctx context.Context, t merkle.Tile) ([]byte, error) {
	body, err := c.get(ctx, t.Path(), nil, t.Width*merkle.HashSize, 0)
	if err != nil && errs.KindOf(err) == errs.NotFound && t.Width < merkle.TileWidth {
		full := merkle.Tile{Level: t.Level, Index: t.Index, Width: merkle.TileWidth}
		if body, err = c.get(ctx, full.Path(), nil, merkle.TileWidth*merkle.HashSize, 0); err == nil {
			body = body[:min(len(body), t.Width*merkle.HashSize)]
		}
	}
	if err == nil && len(body) != t.Width*merkle.HashSize {
		err = strange(errs.Newf(errs.Invalid, "散列块应为 %d 字节，得到 %d 字节", "a tile of %d bytes has %d", t.Width*merkle.HashSize, len(body)), t.Path())
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// Entries returns the entries from an index up to the end of their bundle, in a log of the given size: 1 to 256 of them.
func (c *Client) Entries(ctx context.Context, from, size uint64) ([][]byte, error) {
	b, err := merkle.BundleAt(from, size)
	if err != nil {
		return nil, err
	}
	const most = merkle.TileWidth * (2 + merkle.MaxEntry)
	path := b.Path()
	body, err := c.get(ctx, path, nil, most, 0)
	width := b.Width
	if err != nil && errs.KindOf(err) == errs.NotFound && b.Width < merkle.TileWidth {
		path, width = merkle.Bundle{Index: b.Index, Width: merkle.TileWidth}.Path(), merkle.TileWidth
		body, err = c.get(ctx, path, nil, most, 0)
	}
	if err != nil {
		return nil, err
	}
	entries, err := merkle.ParseBundle(body, width)
	if err != nil {
		return nil, strange(err, path)
	}
	return entries[from%merkle.TileWidth : b.Width], nil
}

// Inclusion returns the proof, made from tiles, that an entry is in the log of the given size.
func (c *Client) Inclusion(ctx context.Context, index, size uint64) ([]merkle.Hash, error) {
	return merkle.ProveInclusion(index, size, c.reader(ctx, size))
}

// Consistency returns the proof, made from tiles, that the log of the newer size begins with that of the older.
func (c *Client) Consistency(ctx context.Context, older, newer uint64) ([]merkle.Hash, error) {
	return merkle.ProveConsistency(older, newer, c.reader(ctx, newer))
}

func (c *Client) reader(ctx context.Context, size uint64) merkle.Reader {
	return merkle.TileReader(size, func(t merkle.Tile) ([]byte, error) { return c.Tile(ctx, t) })
}

// CodeStrange is the code of errors that say a log answered what no log answers.
const CodeStrange = "log.strange"

func strange(err error, path string) error {
	return errs.Wrap(err, errs.Invalid, "日志的应答有误："+errs.As(err).Msg.ZH, "the log's answer is wrong: "+errs.As(err).Msg.EN).
		WithCode(CodeStrange).WithField(path)
}

// get returns the body of an answer, of at most so many bytes. The log may wait so long for news.
func (c *Client) get(ctx context.Context, path string, query url.Values, most int, wait time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+c.timeout)
	defer cancel()
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, away(ctx, err, path)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errs.New(errs.NotFound, "日志没有此项", "the log has no such thing").WithField(path)
	case resp.StatusCode != http.StatusOK:
		return nil, errs.Newf(errs.Unavailable, "日志返回状态 %d", "the log answered with status %d", resp.StatusCode).WithField(path)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return nil, away(ctx, err, path)
	}
	if len(body) > most {
		return nil, strange(errs.New(errs.Invalid, fmt.Sprintf("超过 %d 字节", most), fmt.Sprintf("longer than %d bytes", most)), path)
	}
	return body, nil
}

// away says why there is no answer. A caller that has left gets its own error back.
func away(ctx context.Context, err error, path string) error {
	if ctx.Err() == context.Canceled {
		return context.Canceled
	}
	if ctx.Err() == context.DeadlineExceeded {
		return errs.Wrap(err, errs.Timeout, "日志未在限时内应答", "the log did not answer in time").WithField(path)
	}
	return errs.Wrap(err, errs.Unavailable, "连接不上日志", "the log can't be reached").WithField(path)
}
