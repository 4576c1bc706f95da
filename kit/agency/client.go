package agency

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Client asks one agency. It holds nothing but its fields and is safe for concurrent use.
//
// Its methods return an Answer that passed every check, or an *errs.Error:
//   - Unavailable, Timeout, Canceled: nobody knows whether the agency acted. Query, then try again. The code tells
//     "agency.unreachable", "agency.down" (5xx), "agency.signature" and "agency.answer" apart.
//   - Invalid, NotFound, TooLarge, Unsupported, from a signed problem document: the agency read the request, did nothing,
//     and never will. The code is the agency's own, or "agency.problem".
//   - Unauthenticated, TooMany and other kinds, from a signed problem document: this copy of the request did nothing. Where
//     something on the way repeats messages, an earlier copy may have: query, then try again.
//   - Invalid, TooLarge or Internal with code "agency.request": the request was never sent.
//
// The context bounds the time; without a deadline in it a silent agency is waited for.
type Client struct {
	Base   string           // URL of the agency, such as "https://host/api/sandbox/agencies/market"
	HTTP   *http.Client     // shared by the clients of all agencies; see NewHTTP
	Signer crypto.Signer    // the caller's SM2 key
	KeyOf  httpsig.Lookup   // knows the keys of this agency and of nobody else
	Now    func() time.Time // default time.Now
}

// NewHTTP returns an http.Client for many requests at a time to few hosts, which keeps up to perHost idle connections to
// each. It follows no redirects and asks for no compression: an answer is what was signed, from who was asked.
func NewHTTP(perHost int) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConnsPerHost:    perHost,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do asks the agency to act, once however often it is asked. The answer is done, refused or pending.
func (c *Client) Do(ctx context.Context, resource string, r Request) (Answer, error) {
	if r.Earlier == nil {
		r.Earlier = map[string]json.RawMessage{}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return Answer{}, unsent("申请表或前序结果不是合法的 JSON", "the form or an earlier output is not valid JSON", err)
	}
	if len(body) > MaxBody {
		return Answer{}, errs.New(errs.TooLarge, "请求超过 1 MiB", "the request is longer than 1 MiB").WithCode("agency.request")
	}
	return c.exchange(ctx, http.MethodPut, resource, r.RequestID, body)
}

// Query asks what became of a request; unseen where the agency has none of that id.
func (c *Client) Query(ctx context.Context, resource, requestID string) (Answer, error) {
	return c.exchange(ctx, http.MethodGet, resource, requestID, nil)
}

// Undo asks the agency to take back what a request did. Done means that nothing of it is left, now or ever: a do that
// comes after is refused. Refused means that it cannot be taken back.
func (c *Client) Undo(ctx context.Context, resource, requestID string) (Answer, error) {
	return c.exchange(ctx, http.MethodDelete, resource, requestID, nil)
}

func (c *Client) exchange(ctx context.Context, method, resource, id string, body []byte) (Answer, error) {
	req, err := c.request(ctx, method, resource, id, body)
	if err != nil {
		return Answer{}, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return Answer{}, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	switch {
	case err != nil:
		return Answer{}, unreachable(ctx, err)
	case len(data) > MaxBody:
		return Answer{}, malformed(nil)
	case resp.StatusCode >= 500:
		return Answer{}, down(resp)
	}
	if _, err := httpsig.VerifyResponse(resp, data, req, c.KeyOf, c.now(), Window); err != nil {
		return Answer{}, errs.Wrap(err, errs.Unavailable, "部门答复的签名无效，结果未知", "the agency's answer is not validly signed; the outcome is unknown").
			WithCode("agency.signature")
	}
	return decode(method, resp, data, id)
}

func (c *Client) request(ctx context.Context, method, resource, id string, body []byte) (*http.Request, error) {
	if !ValidName(resource) || !ValidID(id) {
		return nil, unsent("资源名或请求编号不合法", "the resource or the request id is not valid", nil)
	}
	target := strings.TrimSuffix(c.Base, "/") + "/" + resource + "/" + url.PathEscape(id)
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "部门地址不是合法的 URL", "the agency's address is not a URL").WithCode("agency.request")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set(label.Header, label.L1.String()) // the number of a request says nothing of anybody
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(label.Header, Grade.String())
	}
	if err := httpsig.SignRequest(req, body, c.Signer, c.now(), httpsig.NewNonce()); err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法签名请求", "the request could not be signed").WithCode("agency.request")
	}
	return req, nil
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// decode reads an answer whose signature was verified.
func decode(method string, resp *http.Response, data []byte, id string) (Answer, error) {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "application/problem+json" && resp.StatusCode >= 400 {
		return Answer{}, problem(resp.StatusCode, data)
	}
	if media != "application/json" {
		return Answer{}, malformed(nil)
	}
	a, err := parse(data)
	if err != nil {
		return Answer{}, malformed(err)
	}
	if a.RequestID != id || !fits(method, resp.StatusCode, a.Outcome) {
		return Answer{}, malformed(nil)
	}
	return a, nil
}

func parse(data []byte) (Answer, error) {
	var a Answer
	if err := strictjson.Unmarshal(data, &a); err != nil {
		return Answer{}, err
	}
	return a, a.Check()
}

// fits reports whether the protocol allows this answer to this method.
func fits(method string, status int, o Outcome) bool {
	switch o {
	case Done, Refused:
		return status == http.StatusOK
	case Pending:
		return status == http.StatusAccepted
	}
	return status == http.StatusNotFound && method == http.MethodGet
}

// problem translates a problem document. The agency's own words stay out: they may repeat what was submitted.
func problem(status int, data []byte) error {
	e := errs.Newf(errs.FromHTTP(status), "部门不接受该请求（HTTP %d）", "the agency does not accept the request (HTTP %d)", status).
		WithCode("agency.problem")
	var p struct{ Code, Field string }
	if strictjson.Check(data, strictjson.Limits{}) != nil || json.Unmarshal(data, &p) != nil {
		return e
	}
	if code, ok := strictjson.Name(p.Code); ok {
		e.Code = code
	}
	if field, ok := strictjson.Name(p.Field); ok {
		e.Field = field
	}
	return e
}

func unsent(zh, en string, cause error) error {
	return errs.Wrap(cause, errs.Invalid, zh, en).WithCode("agency.request")
}

func malformed(cause error) error {
	return errs.Wrap(cause, errs.Unavailable, "部门的答复不符合协议，结果未知", "the agency's answer breaks the protocol; the outcome is unknown").
		WithCode("agency.answer")
}

func unreachable(ctx context.Context, err error) error {
	kind := errs.Unavailable
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		kind = errs.Canceled
	case ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout():
		kind = errs.Timeout
	}
	return errs.Wrap(err, kind, "没有收到部门的答复，结果未知", "no answer came from the agency; the outcome is unknown").
		WithCode("agency.unreachable")
}

func down(resp *http.Response) error {
	e := errs.Newf(errs.Unavailable, "部门系统暂不可用（HTTP %d），结果未知", "the agency's system is unavailable (HTTP %d); the outcome is unknown", resp.StatusCode).
		WithCode("agency.down")
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && s <= 3600 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
