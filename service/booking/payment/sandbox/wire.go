// Package sandbox is a payment provider for development and rehearsal: a real HTTP server that collects play money, and
// the [Client] through which package payment speaks to it.
//
// It promises to behave as real providers do on bad days, by configuration: callbacks late, lost or sent twice, refunds
// refused at first, answers of 500 after the work was done; and to keep an account of what it holds, so that a mistake in
// the caller's books shows. Requests, answers and callbacks are signed with SM2 (kit/httpsig). Which fault strikes which
// request depends on the seed and the request alone, so a run can be repeated.
//
// The orders live in memory: they end with the process.
package sandbox

import (
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// What goes over the wire, below the base URL:
//
//	PUT  /orders/{number}                    orderBody → answerBody      the same number, the same order
//	GET  /orders/{number}                    → answerBody
//	PUT  /orders/{number}/refunds/{refund}   refundBody → answerBody     the same refund, the same answer
//	GET  /cashier/{number}                   a page on which the visitor pays
//	POST /cashier/{number}                   the visitor pays
//
// and the sandbox POSTs a noticeBody to the order's callback.
const (
	maxBody = 64 << 10
	window  = time.Minute // how old a signature may be
)

type orderBody struct {
	Fen      int64        `json:"fen"`
	Subject  lang.Text    `json:"subject"`
	Expires  beijing.Time `json:"expires"`
	Callback string       `json:"callback"`
}

type refundBody struct {
	Fen int64 `json:"fen"`
}

type answerBody struct {
	Order     string          `json:"order"`
	Refund    string          `json:"refund,omitempty"`
	Outcome   payment.Outcome `json:"outcome"` // done or refused
	State     payment.State   `json:"state,omitempty"`
	Fen       int64           `json:"fen,omitempty"`
	Paid      int64           `json:"paid,omitempty"`
	Returned  int64           `json:"returned,omitempty"`
	Reference string          `json:"reference,omitempty"`
	Cashier   string          `json:"cashier,omitempty"`
	Code      string          `json:"code,omitempty"`
}

func parseAnswer(data []byte) (answerBody, error) {
	var a answerBody
	if err := strictjson.Unmarshal(data, &a); err != nil {
		return answerBody{}, err
	}
	if !a.whole() {
		return answerBody{}, errs.New(errs.Invalid, "答复不符合协议", "the answer breaks the protocol").WithCode("payment.answer")
	}
	return a, nil
}

// whole reports whether the parts of a suit each other.
func (a answerBody) whole() bool {
	if a.Fen < 0 || a.Paid < 0 || a.Returned < 0 || a.Returned > a.Paid || a.Fen > payment.MaxFen || a.Paid > payment.MaxFen {
		return false
	}
	if a.Outcome == payment.Refused {
		_, ok := strictjson.Name(a.Code)
		return ok && a.State == ""
	}
	paid := a.State == payment.Paid || a.State == payment.Refunding || a.State == payment.Refunded
	if a.Outcome != payment.Done || a.Code != "" || a.Fen == 0 || paid != (a.Paid > 0) {
		return false
	}
	if a.Refund != "" {
		return a.State == payment.Refunding || a.State == payment.Refunded
	}
	return paid || a.State == payment.Created || a.State == payment.Closed
}

func (a answerBody) answer() payment.Answer {
	return payment.Answer{
		Outcome: a.Outcome, State: a.State, Fen: a.Fen, Paid: a.Paid, Returned: a.Returned,
		Reference: a.Reference, Cashier: a.Cashier, Code: a.Code,
	}
}
