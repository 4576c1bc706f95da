package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/tlog"
)

// peer is an agency's node, as this house reaches it.
type peer struct {
	url    string
	client *tlog.Client
	http   *http.Client

	mu   sync.Mutex
	name string    // as it signs; empty until it did
	err  error     // of the last request
	at   time.Time // of the last answer
}

func newPeer(url string) (*peer, error) {
	c, err := tlog.NewClient(url, nil)
	if err != nil {
		return nil, err
	}
	return &peer{url: c.URL(), client: c, http: &http.Client{Timeout: sendLimit}, err: errs.New(errs.Unavailable, "尚未联系", "not reached yet")}, nil
}

func (n *peer) state() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// heard notes how the node has answered.
func (n *peer) heard(err error, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err == nil {
		n.at = now
	}
}

// is notes whose node it is.
func (n *peer) is(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name = name
}

func (n *peer) whose() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// submit hands a transaction to the node. An error of kind Invalid says that the node will not have it. A node that does
// not answer in time counts as down until it is heard again.
func (n *peer) submit(ctx context.Context, tx []byte, limit time.Duration) error {
	life := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/submit", bytes.NewReader(tx))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := n.http.Do(req)
	if err != nil {
		err = errs.Wrap(err, errs.Unavailable, "节点没有应答", "the node does not answer")
		if life.Err() == nil {
			n.heard(err, time.Time{})
		}
		return err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	if res.StatusCode/100 == 2 {
		return nil
	}
	var problem struct{ Detail string }
	_ = json.Unmarshal(text, &problem) // its words are for the operator
	if res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity {
		return errs.Newf(errs.Invalid, "理事会不接受：%s", "the council will not have it: %s", plain(problem.Detail))
	}
	return errs.Newf(errs.Unavailable, "节点应答 %d：%s", "the node answers %d: %s", res.StatusCode, plain(problem.Detail))
}

// plain makes a foreign text fit for a line of a log or a page.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return text
}

// turn asks the node whose turn it is to propose.
func (n *peer) turn(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/status", nil)
	if err != nil {
		return "", err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var status struct {
		Turn string `json:"turn"`
	}
	return status.Turn, json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&status)
}

// turns keeps whose turn it is, as a node that answers has it; nobody's where none does.
func (f *follower) turns(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		var now *string
		for _, n := range f.nodes {
			if n.state() != nil {
				continue
			}
			if turn, err := n.turn(ctx); err == nil && turn != "" {
				now = &turn
				break
			}
		}
		f.turn.Store(now)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describe says how an agency's node is.
func (f *follower) describe(s *SignerView, l lang.Lang) {
	up := false
	for _, n := range f.nodes {
		n.mu.Lock()
		if n.name == s.Name {
			up = n.err == nil
			if !n.at.IsZero() {
				at := beijing.At(n.at)
				s.Heard = &at
			}
			if e := errs.As(n.err); n.err != nil && e != nil {
				s.Problem = e.In(l)
			}
		}
		n.mu.Unlock()
	}
	s.Up = &up
	if turn := f.turn.Load(); turn != nil {
		s.Turn = *turn == s.Name
	}
}
