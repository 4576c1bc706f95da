package payment

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Phase is where a payment stands in our own books.
type Phase string

// The phases.
const (
	Creating  Phase = "creating"  // it is not certain that the provider has the order
	Open      Phase = "open"      // the visitor can pay
	Collected Phase = "collected" // the money is there, and the booking is not told yet
	Confirmed Phase = "confirmed" // the booking is confirmed with this money
	Void      Phase = "void"      // all that was collected goes back
	Ended     Phase = "closed"    // nothing was collected
)

// Payment is a row of our books. Its methods are the rules: they take in what was learned and say what to do next. They
// know the time only from their caller.
type Payment struct {
	Number    string
	Booking   string
	Fen       int64
	Subject   lang.Text
	Expires   time.Time // when the hold of the booking ends, and with it the order
	Phase     Phase
	Cashier   string // where to pay
	Reference string // the provider's number
	Paid      int64  // collected, as the provider said
	Foreign   int64  // went back without us, as the provider said
	Refunds   []Return
	Abandoned bool // the booking is gone: what may still be paid goes back

	Attempts  int       // of what is to be done next
	Next      time.Time // when to do it; the zero time: nothing is to be done
	Attention string    // code of what a person should look at; empty: nothing
	Version   int64     // kept by the Store
}

// Return is money that goes back.
type Return struct {
	Number string `json:"number"`
	Key    string `json:"key"` // by whom it was asked for; one key, one return
	Fen    int64  `json:"fen"`
	Done   bool   `json:"done,omitempty"`
}

// The codes of Attention.
const (
	WrongAmount   = "payment.amount"         // another amount was paid than was asked for; it goes back
	Contradiction = "payment.contradiction"  // the provider says what cannot follow on what it said before
	ForeignRefund = "payment.foreign-refund" // money went back that we did not ask for
	RefundRefused = "payment.refund-refused" // the provider refused; it is asked again
	NeverClosed   = "payment.never-closed"   // long after its expiry the order can still be paid
	Vanished      = "payment.vanished"       // the provider does not know an order that it made
)

// VoidKey is the key of the return of all that was collected for nothing.
const VoidKey = "void"

const (
	maxReturns = 99
	skew       = 2 * time.Minute // by which clocks may differ: what expired is over for certain after it
	neglect    = 24 * time.Hour
)

// Begin returns the payment of an order; it is to be stored before the provider hears of it.
func Begin(o Order, booking string, now time.Time) (Payment, error) {
	bad := func(field string) error {
		return errs.New(errs.Invalid, "支付单不合法", "not a valid order").WithCode("payment.order").WithField(field)
	}
	switch {
	case !ValidNumber(o.Number):
		return Payment{}, bad("number")
	case o.Fen < 1 || o.Fen > MaxFen:
		return Payment{}, bad("fen")
	case booking == "":
		return Payment{}, bad("booking")
	case !o.Expires.After(now):
		return Payment{}, bad("expires")
	}
	return Payment{Number: o.Number, Booking: booking, Fen: o.Fen, Subject: o.Subject, Expires: o.Expires, Phase: Creating, Next: now}, nil
}

// Act is what is to be done next.
type Act string

// The acts.
const (
	Nothing Act = ""
	Create  Act = "create"
	Query   Act = "query"
	Confirm Act = "confirm"
	Repay   Act = "refund" // the Return of Pending
)

// Act returns what is to be done now.
func (p *Payment) Act(now time.Time) Act {
	if p.Next.IsZero() || now.Before(p.Next) {
		return Nothing
	}
	return p.todo(now)
}

func (p *Payment) todo(now time.Time) Act {
	switch p.Phase {
	case Creating:
		if now.Before(p.Expires) && !p.Abandoned {
			return Create
		}
		return Query
	case Open:
		return Query
	case Collected:
		return Confirm
	case Confirmed, Void:
		if _, ok := p.Pending(); ok {
			return Repay
		}
	}
	return Nothing
}

// Pending returns the first return that is not done.
func (p *Payment) Pending() (Return, bool) {
	i := slices.IndexFunc(p.Refunds, func(r Return) bool { return !r.Done })
	if i < 0 {
		return Return{}, false
	}
	return p.Refunds[i], true
}

// State returns where the payment stands, in the words of the port.
func (p *Payment) State() State {
	_, pending := p.Pending()
	switch {
	case p.Phase == Ended:
		return Closed
	case pending:
		return Refunding
	case p.Paid > 0 && p.Returned() == p.Paid:
		return Refunded
	case p.Paid > 0:
		return Paid
	}
	return Created
}

// Returned returns how much has gone back for certain.
func (p *Payment) Returned() int64 {
	sum := p.Foreign
	for _, r := range p.Refunds {
		if r.Done {
			sum += r.Fen
		}
	}
	return sum
}

// left returns how much has neither gone back nor is to.
func (p *Payment) left() int64 {
	sum := p.Paid - p.Foreign
	for _, r := range p.Refunds {
		sum -= r.Fen
	}
	return max(sum, 0)
}

// Learn takes in what the provider said of the order, in an answer to Create or Query or unasked. A callback is taken in
// whenever it comes: what was collected after we took the order for closed is collected all the same.
func (p *Payment) Learn(a Answer, now time.Time) {
	switch a.Outcome {
	case Done:
		p.learn(a, now)
	case Refused:
		p.refused(a.Code, now)
	default:
		p.again(now)
	}
}

func (p *Payment) learn(a Answer, now time.Time) {
	if a.Cashier != "" {
		p.Cashier = a.Cashier
	}
	switch {
	case a.State == Created && p.Phase == Creating:
		p.enter(Open, now)
		p.again(now)
	case a.State == Created && p.Phase == Open:
		if now.Sub(p.Expires) > neglect {
			p.Attention = NeverClosed
		}
		p.again(now)
	case a.State == Closed && (p.Phase == Creating || p.Phase == Open):
		p.enter(Ended, time.Time{})
	case a.State == Paid || a.State == Refunding || a.State == Refunded:
		p.collected(a, now)
	case a.State == Closed && p.Paid > 0: // while Created, from before the payment, may only have been late
		p.Attention = Contradiction
	}
}

// collected takes in that money is there.
func (p *Payment) collected(a Answer, now time.Time) {
	switch {
	case a.Paid <= 0 || p.Paid != 0 && a.Paid != p.Paid:
		p.Attention = Contradiction
		if p.Paid == 0 {
			p.again(now)
		}
		return
	case p.Paid == 0:
		p.Paid, p.Reference = a.Paid, a.Reference
		p.enter(Collected, now)
		if p.Paid != p.Fen {
			p.Attention = WrongAmount
		}
	}
	p.foreign(a.Returned)
	switch {
	case p.Phase != Collected:
	case p.Paid != p.Fen || p.Abandoned || p.Foreign > 0:
		p.void(now)
	}
}

// foreign takes in that more went back than we asked for.
func (p *Payment) foreign(returned int64) {
	asked := int64(0)
	for _, r := range p.Refunds {
		asked += r.Fen
	}
	if over := min(returned, p.Paid) - asked; over > p.Foreign {
		p.Foreign, p.Attention = over, ForeignRefund
	}
}

// refused takes in that the provider has no such order, or will not make it.
func (p *Payment) refused(code string, now time.Time) {
	if p.Phase != Creating && p.Phase != Open {
		return
	}
	switch {
	case code != NotFound && p.Phase == Creating:
		p.enter(Ended, time.Time{})
	case code == NotFound && now.Sub(p.Expires) >= skew:
		if p.Phase == Open {
			p.Attention = Vanished
		}
		p.enter(Ended, time.Time{})
	default:
		p.again(now)
	}
}

// Settle takes in whether the booking is confirmed with this money. Where it is not, all of it goes back.
func (p *Payment) Settle(confirmed bool, now time.Time) {
	switch {
	case p.Phase != Collected:
	case confirmed:
		p.enter(Confirmed, time.Time{})
	default:
		p.void(now)
	}
}

// Retry takes in that an act came to nothing.
func (p *Payment) Retry(now time.Time) { p.again(now) }

// void sends all back that is left.
func (p *Payment) void(now time.Time) {
	p.enter(Void, now)
	p.give(VoidKey, p.left())
	if _, ok := p.Pending(); !ok {
		p.Next = time.Time{}
	}
}

func (p *Payment) give(key string, fen int64) {
	if fen > 0 {
		p.Refunds = append(slices.Clone(p.Refunds), Return{Number: fmt.Sprintf("%s-r%02d", p.Number, len(p.Refunds)+1), Key: key, Fen: fen})
	}
}

// Cancel takes in that the booking was cancelled, or a part of it. Where it was confirmed, fen go back; asked again with
// the same key, it changes nothing. Where it was not, all that was or may yet be paid goes back. More than is left is of
// kind Conflict and code "payment.refund". While the money is there and the booking has not said whether it is confirmed,
// the error is of kind Unavailable and code "payment.settling".
func (p *Payment) Cancel(key string, fen int64, now time.Time) error {
	if key == "" || len(key) > 64 || key == VoidKey || strings.ContainsAny(key, " \n") || fen < 0 {
		return errs.New(errs.Invalid, "退款请求不合法", "not a valid request to refund").WithCode("payment.refund")
	}
	switch p.Phase {
	case Creating, Open:
		p.Abandoned = true
		if p.Next.After(now) {
			p.Attempts, p.Next = 0, now
		}
		return nil
	case Collected: // whether it was confirmed before it was cancelled, and so what goes back, is about to be known
		return errs.New(errs.Unavailable, "支付正在入账，请稍后再试", "the payment is being settled; try again").
			WithCode("payment.settling").WithRetryAfter(firstPause)
	case Void, Ended:
		p.Abandoned = true
		return nil
	}
	if i := slices.IndexFunc(p.Refunds, func(r Return) bool { return r.Key == key }); i >= 0 {
		if p.Refunds[i].Fen != fen {
			return errs.New(errs.Conflict, "同一退款请求的金额不同", "the same refund was asked for with another amount").WithCode("payment.refund")
		}
		return nil
	}
	if fen > p.left() || len(p.Refunds) >= maxReturns {
		return errs.New(errs.Conflict, "退款超过可退金额", "more than is left to refund").WithCode("payment.refund")
	}
	if p.give(key, fen); fen > 0 && p.Next.IsZero() {
		p.Attempts, p.Next = 0, now
	}
	return nil
}

// Repaid takes in what the provider said of a return.
func (p *Payment) Repaid(number string, a Answer, now time.Time) {
	i := slices.IndexFunc(p.Refunds, func(r Return) bool { return r.Number == number })
	switch {
	case i < 0:
		p.Attention = ForeignRefund
		return
	case p.Refunds[i].Done:
		return
	case a.Outcome != Done || a.State != Refunded:
		if a.Outcome == Refused {
			p.Attention = RefundRefused
		}
		p.again(now)
		return
	}
	p.Refunds = slices.Clone(p.Refunds)
	p.Refunds[i].Done = true
	p.Attempts, p.Next = 0, now
	if _, more := p.Pending(); !more {
		p.Next = time.Time{}
		if p.Attention == RefundRefused {
			p.Attention = ""
		}
	}
}

// enter begins a phase, whose act is due at next.
func (p *Payment) enter(phase Phase, next time.Time) { p.Phase, p.Attempts, p.Next = phase, 0, next }

const (
	firstPause = 2 * time.Second
	openPause  = time.Minute // the longest while the visitor may be paying
	lastPause  = time.Hour
)

// again sets when the act is tried next: after 2 s, 4 s and so on. An order that can be paid is asked about every minute
// at least, and as soon as it has expired.
func (p *Payment) again(now time.Time) {
	if p.todo(now) == Nothing { // another did it meanwhile
		p.Attempts, p.Next = 0, time.Time{}
		return
	}
	pause := min(firstPause<<min(p.Attempts, 20), lastPause)
	p.Attempts++
	waiting := p.Phase == Creating || p.Phase == Open
	if waiting && now.Before(p.Expires) {
		pause = min(pause, openPause, p.Expires.Sub(now)+time.Millisecond)
		if p.Expires.Sub(now) <= pause {
			p.Attempts = 0
		}
	}
	if waiting && !now.Before(p.Expires) && now.Sub(p.Expires) < neglect {
		pause = min(pause, 10*openPause)
	}
	p.Next = now.Add(pause)
}
