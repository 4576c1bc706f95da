package sandbox

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// Handler serves the sandbox; mount it below Config.Base's path with http.StripPrefix.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /orders/{number}", s.signed(func(r *http.Request, body []byte) (answerBody, error) {
		var b orderBody
		number := r.PathValue("number")
		if err := strictjson.Unmarshal(body, &b); err != nil {
			return answerBody{}, err
		}
		if !payment.ValidNumber(number) || b.Fen < 1 || b.Fen > payment.MaxFen || b.Callback == "" {
			return answerBody{}, errs.New(errs.Invalid, "支付单不合法", "not a valid order")
		}
		return s.create(number, b), nil
	}))
	mux.HandleFunc("GET /orders/{number}", s.signed(func(r *http.Request, _ []byte) (answerBody, error) {
		return s.query(r.PathValue("number")), nil
	}))
	mux.HandleFunc("PUT /orders/{number}/refunds/{refund}", s.signed(func(r *http.Request, body []byte) (answerBody, error) {
		var b refundBody
		if err := strictjson.Unmarshal(body, &b); err != nil {
			return answerBody{}, err
		}
		if name := r.PathValue("refund"); b.Fen < 1 || len(name) > 64 {
			return answerBody{}, errs.New(errs.Invalid, "退款不合法", "not a valid refund")
		}
		return s.repay(r.PathValue("number"), r.PathValue("refund"), b.Fen), nil
	}))
	mux.HandleFunc("GET /cashier/{number}", s.page)
	mux.HandleFunc("POST /cashier/{number}", s.payPage)
	return mux
}

// signed serves a signed request under the lock, and signs the answer.
func (s *Sandbox) signed(work func(*http.Request, []byte) (answerBody, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "the body is too large or was cut", http.StatusRequestEntityTooLarge)
			return
		}
		if _, err := httpsig.VerifyRequest(r, body, s.cfg.KeyOf, s.cfg.Now(), window); err != nil {
			http.Error(w, "the signature is not valid", errs.KindOf(err).HTTP())
			return
		}
		s.mu.Lock()
		a, err := work(r, body)
		key := r.Method + " " + r.URL.Path
		s.requests[key]++
		broken := s.chance("error", key, s.requests[key]) < s.cfg.Faults.Error
		s.mu.Unlock()
		s.notify()
		switch {
		case err != nil:
			http.Error(w, errs.As(err).In(lang.EN), errs.KindOf(err).HTTP())
		case broken:
			http.Error(w, "internal error", http.StatusInternalServerError)
		default:
			s.reply(w, r, a)
		}
	}
}

func (s *Sandbox) reply(w http.ResponseWriter, r *http.Request, a answerBody) {
	data, err := json.Marshal(a)
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		err = httpsig.SignResponse(w.Header(), http.StatusOK, data, r, s.cfg.Signer, s.cfg.Now(), httpsig.NewNonce())
	}
	if err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "an answer could not be signed", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(data) // the caller is gone where this fails
}

const cashierPage = `<!doctype html><html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>收银台（沙箱） / Cashier (sandbox)</title>
<h1>收银台（沙箱） / Cashier (sandbox)</h1>
<p>%s<br>%s</p><p>¥ %d.%02d</p><p>%s</p>
`

const payButton = `<form method="post"><button>支付（模拟） / Pay (play money)</button></form>`

// page shows an order to the visitor.
func (s *Sandbox) page(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	o := s.orders[r.PathValue("number")]
	var body orderBody
	action := ""
	if o != nil {
		body, action = o.body, payButton
		if state := s.state(o); state != payment.Created {
			action = map[payment.State]string{
				payment.Paid:     "已支付 / paid",
				payment.Closed:   "已关闭 / closed",
				payment.Refunded: "已退款 / refunded",
			}[state]
		}
	}
	s.mu.Unlock()
	if o == nil {
		http.Error(w, "没有这笔订单 / no such order", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, cashierPage, html.EscapeString(body.Subject.In(lang.ZH)), html.EscapeString(body.Subject.In(lang.EN)), body.Fen/100, body.Fen%100, action)
}

func (s *Sandbox) payPage(w http.ResponseWriter, r *http.Request) {
	if err := s.Pay(r.PathValue("number"), 0); err != nil {
		http.Error(w, "这笔订单无法支付 / the order cannot be paid", http.StatusConflict)
		return
	}
	s.page(w, r)
}
