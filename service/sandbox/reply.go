package sandbox

import (
	"crypto"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// reply is an answer before it is signed.
type reply struct {
	status     int
	media      string
	lang       lang.Lang
	grade      label.Grade
	retryAfter time.Duration
	body       []byte
}

func jsonReply(status int, a agency.Answer) reply {
	body, err := json.Marshal(a)
	if err != nil {
		panic("sandbox: an answer that was stored cannot be written: " + err.Error())
	}
	return reply{status: status, media: "application/json", grade: agency.Grade, body: body}
}

func problem(r *http.Request, err error) reply {
	l := lang.FromAccept(r.Header.Get("Accept-Language"))
	p := httpapi.ProblemOf(err, l, telemetry.TraceID(r.Context()))
	body, merr := json.Marshal(p)
	if merr != nil {
		panic("sandbox: a problem cannot be written: " + merr.Error())
	}
	return reply{status: p.Status, media: "application/problem+json", lang: l, grade: label.L1, retryAfter: errs.As(err).RetryAfter, body: body}
}

// send signs and writes rep as o, or as nobody where there is no such agency, with the fault that strikes the answer.
func (s *Sandbox) send(w http.ResponseWriter, r *http.Request, o *office, rep reply, fault FaultKind) {
	if fault == Lost {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	h := w.Header()
	h.Set("Content-Type", rep.media)
	h.Set("Content-Length", strconv.Itoa(len(rep.body)))
	h.Set("Cache-Control", "no-store")
	h.Set(label.Header, rep.grade.String())
	if rep.lang != "" {
		h.Set("Content-Language", string(rep.lang))
	}
	if rep.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(rep.retryAfter.Seconds()))))
	}
	if o != nil {
		var signer crypto.Signer = o.key
		if fault == WrongSignature {
			signer = s.forger
		}
		// A request whose own signature header is broken cannot be answered to with a signature bound to it; it is refused
		// either way.
		if err := httpsig.SignResponse(h, rep.status, rep.body, r, signer, s.now(), httpsig.NewNonce()); err != nil {
			s.deps.Log.DebugContext(r.Context(), "an answer is not signed", "agency", o.name, "error", err)
		}
	}
	w.WriteHeader(rep.status)
	if fault == Drip {
		s.drip(w, r, rep.body)
		return
	}
	_, _ = w.Write(rep.body) // the caller may leave
}

// dripEvery is the time between two bytes of a dripping answer, at the natural speed.
const dripEvery = 10 * time.Millisecond

func (s *Sandbox) drip(w http.ResponseWriter, r *http.Request, body []byte) {
	flush := http.NewResponseController(w)
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil || flush.Flush() != nil {
			return
		}
		if !s.wait(r.Context(), time.Duration(s.cfg.Speed*float64(dripEvery))) {
			return
		}
	}
}
