package agency

import (
	"mime"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
)

// Callback is what an agency says of a request, unasked.
type Callback struct {
	Answer                // done or refused
	Signed httpsig.Signed // by whom; it must be the agency that the request went to
}

// VerifyCallback reads a callback, whose whole body the caller has read (no more than MaxBody). lookup knows the keys of
// the agencies that may call. Errors are those of httpsig.VerifyRequest, or of kind Invalid, TooLarge or Unsupported.
//
// A callback that comes twice says the same twice, so a replay does no harm where the reader is idempotent by RequestID;
// it should answer any 2xx then, or the agency keeps sending.
func VerifyCallback(r *http.Request, body []byte, lookup httpsig.Lookup, now time.Time) (Callback, error) {
	if len(body) > MaxBody {
		return Callback{}, errs.New(errs.TooLarge, "回调超过 1 MiB", "the callback is longer than 1 MiB").WithCode("agency.callback")
	}
	signed, err := httpsig.VerifyRequest(r, body, lookup, now, Window)
	if err != nil {
		return Callback{}, err
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		return Callback{}, errs.New(errs.Unsupported, "回调须为 application/json", "a callback is application/json").
			WithCode("agency.callback").WithField("Content-Type")
	}
	a, err := parse(body)
	if err != nil {
		return Callback{}, err
	}
	if a.Outcome != Done && a.Outcome != Refused {
		return Callback{}, errs.New(errs.Invalid, "回调只通知已办结或已拒绝", "a callback says done or refused").
			WithCode("agency.callback").WithField("outcome")
	}
	return Callback{Answer: a, Signed: signed}, nil
}
