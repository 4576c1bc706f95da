package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// target is where checkpoints are anchored, as it was configured.
type target struct {
	text string
	to   anchor
}

// anchor takes a note to a place outside.
type anchor interface {
	publish(ctx context.Context, n *receipt.Note) (answer string, err error)
}

// Chain is an external main chain on which checkpoints are anchored.
type Chain interface {
	// Anchor has the checkpoint of the note written on the chain, and returns by what it is found there, such as the
	// hash of a transaction. It may be called again for a checkpoint that was written, and answers the same then. An
	// error is of kind Unavailable or Timeout where a later try may succeed.
	Anchor(ctx context.Context, n *receipt.Note) (found string, err error)
}

// target reads one entry of evidence.publish.
func (x *Evidence) target(text string, chains map[string]Chain) (anchor, error) {
	bad := func(zh, en string) error { return errs.New(errs.Invalid, zh, en).WithField("evidence.publish") }
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "file":
		if rest == "" {
			return nil, bad("file: 之后须为路径", "file: is followed by a path")
		}
		return fileTarget(rest), nil
	case "chain":
		if c := chains[rest]; c != nil {
			return chainTarget{c}, nil
		}
		return nil, bad("本程序没有此主链的适配器", "this program has no adapter for that chain")
	}
	kind, address, found := strings.Cut(text, "+")
	if !found {
		kind, address = "", text
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, bad("须为 file:路径、http(s) 地址、house+http(s) 地址、chain+http(s) 地址或 chain:名称",
			"must be file:PATH, an http(s) URL, house+ or chain+ with such a URL, or chain:NAME")
	}
	switch kind {
	case "":
		return &httpTarget{url: address}, nil
	case "chain":
		return chainTarget{&HTTPChain{URL: address}}, nil
	case "house":
		return &houseTarget{x: x, address: strings.TrimSuffix(address, "/") + "/evidence/witness"}, nil
	}
	return nil, bad("不认识这种目标", "there is no such kind of target")
}

// anchored is a line of a target that is a file.
type anchored struct {
	Time   beijing.Time `json:"time"`
	Origin string       `json:"origin"`
	Size   uint64       `json:"size"`
	Root   string       `json:"root"`
	Note   string       `json:"note"`
}

// fileTarget appends a line of JSON to a file, or, where it is a folder, puts the note into a file there: a disk that is
// written once, or what leaves the building by other ways.
type fileTarget string

func (f fileTarget) publish(_ context.Context, n *receipt.Note) (string, error) {
	text, err := n.Marshal()
	if err != nil {
		return "", err
	}
	path, mode := string(f), os.O_CREATE|os.O_WRONLY|os.O_APPEND
	var latest int64
	for _, s := range n.Signatures {
		latest = max(latest, s.Time)
	}
	c := n.Checkpoint
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path, mode = filepath.Join(path, fmt.Sprintf("%020d.checkpoint", c.Size)), os.O_CREATE|os.O_WRONLY|os.O_TRUNC
	} else if text, err = json.Marshal(anchored{beijing.Time(latest * 1000), c.Origin, c.Size, c.Root.String(), string(text)}); err != nil {
		return "", err
	} else {
		text = append(text, '\n')
	}
	file, err := os.OpenFile(path, mode, 0o644)
	if err != nil {
		return "", errs.Wrap(err, errs.Unavailable, "写不了文件", "the file cannot be written")
	}
	defer file.Close()
	if _, err = file.Write(text); err == nil {
		err = file.Sync()
	}
	if err != nil {
		return "", errs.Wrap(err, errs.Unavailable, "写不了文件", "the file cannot be written")
	}
	return path, nil
}

// httpTarget posts the note as it is.
type httpTarget struct{ url string }

func (t *httpTarget) publish(ctx context.Context, n *receipt.Note) (string, error) {
	text, err := n.Marshal()
	if err != nil {
		return "", err
	}
	body, err := post(ctx, t.url, "text/plain; charset=utf-8", text)
	return plain(string(body)), err
}

// outward follows no redirects: a target stands where it was configured.
var outward = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func post(ctx context.Context, address, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	res, err := outward.Do(req)
	if err != nil {
		return nil, errs.Wrap(err, errs.Unavailable, "目标没有应答", "the target does not answer")
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, errs.Wrap(err, errs.Unavailable, "目标没有答完", "the target's answer broke off")
	}
	if res.StatusCode/100 != 2 {
		return nil, errs.Newf(errs.Unavailable, "目标应答 %d", "the target answers %d", res.StatusCode)
	}
	return answer, nil
}

// chainTarget anchors on a main chain.
type chainTarget struct{ chain Chain }

func (t chainTarget) publish(ctx context.Context, n *receipt.Note) (string, error) {
	return t.chain.Anchor(ctx, n)
}

// HTTPChain is the adapter of a main chain that is reached over HTTP. It posts
//
//	{"origin": "…", "size": 1024, "root": "<base64>", "note": "…"}
//
// and is answered {"found": "…"}: by what the anchoring is found on the chain.
type HTTPChain struct{ URL string }

// Anchor implements Chain.
func (c *HTTPChain) Anchor(ctx context.Context, n *receipt.Note) (string, error) {
	text, err := n.Marshal()
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{"origin": n.Checkpoint.Origin, "size": n.Checkpoint.Size, "root": n.Checkpoint.Root, "note": string(text)})
	if err != nil {
		return "", err
	}
	answer, err := post(ctx, c.URL, "application/json", body)
	if err != nil {
		return "", err
	}
	var v struct{ Found string }
	if err := json.Unmarshal(answer, &v); err != nil || v.Found == "" {
		return "", errs.New(errs.Unavailable, "主链的应答没有 found", "the chain's answer has no found")
	}
	return v.Found, nil
}

// houseTarget has the witness of another house cosign, and keeps what it signs beside the others' signatures. That
// witness finds out where this log is set back or rewritten.
type houseTarget struct {
	x       *Evidence
	address string
}

func (t *houseTarget) publish(ctx context.Context, n *receipt.Note) (string, error) {
	w, err := tlog.NewWitnessClient(t.address, t.x.trust(), nil)
	if err != nil {
		return "", err
	}
	s, err := t.x.log.Ask(ctx, w, n, n.Checkpoint.Size)
	if err != nil {
		return "", err
	}
	err = t.x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error { return t.x.log.Cosigned(ctx, tx, n.Checkpoint.Size, s) })
	return s.Name + " " + beijing.Time(s.Time*1000).String(), err
}
