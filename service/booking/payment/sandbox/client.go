package sandbox

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// Client is the sandbox as a payment.Provider. It holds nothing but its fields and is safe for concurrent use.
type Client struct {
	Base   string           // URL of the sandbox, such as "https://host/api/booking/cash"
	HTTP   *http.Client     // should follow no redirects; see kit/agency.NewHTTP
	Signer crypto.Signer    // our SM2 key
	KeyOf  httpsig.Lookup   // knows the key of the sandbox and of nobody else
	Now    func() time.Time // default time.Now
}

var _ payment.Provider = (*Client)(nil)

// Create makes an order.
func (c *Client) Create(ctx context.Context, o payment.Order) payment.Answer {
	return c.exchange(ctx, http.MethodPut, o.Number, "", orderBody{Fen: o.Fen, Subject: o.Subject, Expires: beijing.At(o.Expires), Callback: o.Callback})
}

// Query asks what became of an order.
func (c *Client) Query(ctx context.Context, number string) payment.Answer {
	return c.exchange(ctx, http.MethodGet, number, "", nil)
}

// Refund gives back.
func (c *Client) Refund(ctx context.Context, r payment.Refund) payment.Answer {
	return c.exchange(ctx, http.MethodPut, r.Order, r.Number, refundBody{Fen: r.Fen})
}

// Callback reads a request that the sandbox signed.
func (c *Client) Callback(r *http.Request, body []byte) (payment.Notice, error) {
	if len(body) > maxBody {
		return payment.Notice{}, errs.New(errs.TooLarge, "回调过大", "the callback is too large").WithCode("payment.callback")
	}
	if _, err := httpsig.VerifyRequest(r, body, c.KeyOf, c.now(), window); err != nil {
		return payment.Notice{}, err
	}
	a, err := parseAnswer(body)
	if err != nil {
		return payment.Notice{}, err
	}
	if a.Outcome != payment.Done {
		return payment.Notice{}, errs.New(errs.Invalid, "回调只通知已完成的结果", "a callback says what was done").WithCode("payment.callback").WithField("outcome")
	}
	return payment.Notice{Order: a.Order, Refund: a.Refund, Answer: a.answer()}, nil
}

// exchange returns the answer where it was signed by the sandbox, to this very request, and whole. All else is unknown,
// but a request that could not be sent at all, whose outcome is unknown too: it is for an operator to mend.
func (c *Client) exchange(ctx context.Context, method, number, refund string, body any) payment.Answer {
	unknown := func(err error) payment.Answer { return payment.Answer{Outcome: payment.Unknown, Err: err} }
	req, err := c.request(ctx, method, number, refund, body)
	if err != nil {
		return unknown(err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return unknown(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return unknown(err)
	}
	if _, err := httpsig.VerifyResponse(resp, data, req, c.KeyOf, c.now(), window); err != nil {
		return unknown(err)
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "application/json" || resp.StatusCode != http.StatusOK {
		return unknown(errs.Newf(errs.FromHTTP(resp.StatusCode), "支付方答复 HTTP %d", "the provider answered HTTP %d", resp.StatusCode))
	}
	a, err := parseAnswer(data)
	if err != nil {
		return unknown(err)
	}
	if a.Order != number || a.Refund != refund {
		return unknown(errs.New(errs.Unavailable, "答复不属于该请求", "the answer is to another request"))
	}
	return a.answer()
}

func (c *Client) request(ctx context.Context, method, number, refund string, body any) (*http.Request, error) {
	target := strings.TrimSuffix(c.Base, "/") + "/orders/" + url.PathEscape(number)
	if refund != "" {
		target += "/refunds/" + url.PathEscape(refund)
	}
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, httpsig.SignRequest(req, data, c.Signer, c.now(), httpsig.NewNonce())
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
