// Package payment is how bookings are paid, behind a port: a [Provider] collects money and gives it back, and a [Book]
// keeps to what every such provider forces on its users.
//
// It promises that all money is accounted for: what was collected for an order either confirmed its booking or goes back,
// whatever was late, lost, repeated or unanswered in between, and nothing goes back twice or beyond what was paid. The
// rules are pure ([Payment] and its methods); a Book carries them out, on a [Store] that the service implements beside its
// own tables.
//
// Amounts are in fen. Nothing an unanswered request may have done is assumed: its outcome is [Unknown] until the
// provider was asked again, and every request can be repeated, for order and refund bear numbers of our own.
package payment

import (
	"context"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/lang"
)

// MaxFen is the largest amount of an order.
const MaxFen = 100_000_000_00

// Provider collects money and gives it back. Its methods are safe for concurrent use, respect the context's deadline, and
// never report a failure to reach the provider as a refusal.
type Provider interface {
	// Create makes an order, once however often it is asked. Refused means that there is no such order, now or ever;
	// after its expiry an order that does not exist is refused.
	Create(ctx context.Context, o Order) Answer
	// Query asks what became of an order. Where the provider has none of that number, the answer is Refused with NotFound.
	Query(ctx context.Context, number string) Answer
	// Refund gives a part or all of what was paid back, once however often it is asked. The answer's state is Refunding or
	// Refunded, of this refund. Refused means that this request did nothing; it may be asked again.
	Refund(ctx context.Context, r Refund) Answer
	// Callback returns what a request that claims to come from the provider says, where it does come from there; otherwise
	// an error of kind Unauthenticated, or Invalid. body is the request's whole body.
	Callback(r *http.Request, body []byte) (Notice, error)
}

// Order is what a provider is asked to collect.
type Order struct {
	Number   string    // ours; see ValidNumber
	Fen      int64     // 1 to MaxFen
	Subject  lang.Text // what it is for, as the visitor reads it
	Expires  time.Time // from then on it cannot be paid
	Callback string    // URL to which the provider reports
}

// Refund is what a provider is asked to give back.
type Refund struct {
	Order  string
	Number string // ours, one for each refund
	Fen    int64
}

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Unknown Outcome = "unknown" // no answer, or none that can be believed
)

// State is where an order stands at its provider; Refunding and Refunded are also those of a single refund.
type State string

// The states.
const (
	Created   State = "created"
	Paid      State = "paid"
	Closed    State = "closed" // never paid, and cannot be any more
	Refunding State = "refunding"
	Refunded  State = "refunded"
)

// NotFound is the code of a refusal where the provider knows no order of that number.
const NotFound = "not-found"

// Answer is what a provider says of an order or, in answer to Refund, of that refund. All but Outcome, Code and Err are
// meaningful where the outcome is Done.
type Answer struct {
	Outcome   Outcome
	State     State
	Fen       int64  // what was asked for
	Paid      int64  // what was paid, in all; kept when it goes back
	Returned  int64  // what went back of it, in all
	Reference string // the provider's own number of the payment
	Cashier   string // where the visitor pays: a URL or the content of a QR code
	Code      string // of a refusal: a stable slug
	Err       error  // of an unknown outcome: why, for the log
}

// Notice is what a provider reports unasked: of an order, or of a refund where Refund is not empty.
type Notice struct {
	Order  string
	Refund string
	Answer Answer // Done
}

// ValidNumber reports whether s can be an order's number: 6 to 28 of A-Z, a-z, 0-9, '_' and '-'. Providers take 32, of
// which a refund's number needs four.
func ValidNumber(s string) bool {
	if len(s) < 6 || len(s) > 28 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
