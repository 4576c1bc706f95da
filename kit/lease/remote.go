package lease

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
)

// Remote is a voter behind a [Handler] elsewhere. It believes an answer only when the voter's key has signed it, to this
// very request.
type Remote struct {
	name, url string
	key       *gm.PublicKey
	signer    crypto.Signer
	client    *http.Client
	session   atomic.Pointer[string]
}

// NewRemote returns the voter with a name and a key, whose handler is at a URL. The signer has the key of the replica that
// asks. The client is shared by all voters; see NewHTTP.
func NewRemote(name, url string, key *gm.PublicKey, signer crypto.Signer, client *http.Client) *Remote {
	r := &Remote{name: name, url: url, key: key, signer: signer, client: client}
	r.session.Store(new(string))
	return r
}

// NewHTTP returns a client for voters: it keeps connections, follows no redirects, and asks for no compression.
func NewHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Name implements Peer.
func (p *Remote) Name() string { return p.name }

// Ask implements Peer. A voter that was started again does not hear requests for its earlier life: it is asked twice.
func (p *Remote) Ask(ctx context.Context, r Request) (Answer, error) {
	for range 2 {
		m, err := p.send(ctx, asked{*p.session.Load(), r})
		if err != nil {
			return Answer{}, err
		}
		if m.Answer != nil {
			return *m.Answer, nil
		}
		p.session.Store(&m.Session)
	}
	return Answer{}, errs.New(errs.Unavailable, "投票者正在重启", "the voter is being started again")
}

func (p *Remote) send(ctx context.Context, m asked) (answered, error) {
	body := encode(m)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return answered{}, errs.Wrap(err, errs.Invalid, "投票者地址有误", "the voter's address is wrong").WithField("voters")
	}
	req.Header.Set("Content-Type", "application/json")
	if err := httpsig.SignRequest(req, body, p.signer, time.Now(), httpsig.NewNonce()); err != nil {
		return answered{}, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answered{}, silent(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err != nil {
		return answered{}, silent(err)
	}
	if resp.StatusCode != http.StatusOK {
		return answered{}, refused(resp.StatusCode)
	}
	if _, err := httpsig.VerifyResponse(resp, data, req, Keys{p.name: p.key}.lookup, time.Now(), anyAge); err != nil {
		return answered{}, errs.Wrap(err, errs.Unavailable, "答复没有投票者的签名", "the answer is not signed by the voter").WithCode("lease.signature")
	}
	a, err := parseAnswered(data)
	if err != nil || a.Voter != p.name {
		return answered{}, errs.Wrap(err, errs.Unavailable, "答复不符合协议", "the answer breaks the protocol").WithCode("lease.answer")
	}
	return a, nil
}

// refused says what an unsigned refusal may mean: it is believed only as far as it answers nothing.
func refused(status int) error {
	kind := errs.FromHTTP(status)
	switch kind {
	case errs.Unauthenticated:
		return errs.New(errs.Forbidden, "投票者不认识本副本的密钥", "the voter does not know this replica's key").WithHint("在投票者的机器上用 qiong keys trust 信任它", "trust it with qiong keys trust on the voter's machine")
	case errs.Forbidden:
		return errs.New(kind, "投票者不让本副本参与这个租约", "the voter gives this replica no part in this lease")
	}
	return errs.Newf(kind, "投票者以状态 %d 拒绝", "the voter refused with status %d", status)
}

func silent(err error) error {
	kind := errs.Unavailable
	switch {
	case errors.Is(err, context.Canceled):
		kind = errs.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		kind = errs.Timeout
	}
	return errs.Wrap(err, kind, "没有收到投票者的答复", "no answer came from the voter")
}
