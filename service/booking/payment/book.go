package payment

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Store keeps payments. What it returns it has stored durably.
type Store interface {
	// Insert stores a new payment, and returns it with its version; where there is one of that number, it returns that one.
	Insert(ctx context.Context, p Payment) (Payment, error)
	// Get returns a payment; of an unknown number the error is of kind NotFound.
	Get(ctx context.Context, number string) (Payment, error)
	// Update stores p where the stored one still has p's version, and gives it the next; otherwise the error is of kind
	// Conflict. What the service tells others of a payment it writes in the same transaction.
	Update(ctx context.Context, p Payment) error
	// Due returns the numbers of up to limit payments whose Next has come, the earliest first.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)
}

// Bookings is told of money.
type Bookings interface {
	// Confirm confirms a booking with the payment of a number. True means that it is confirmed with this payment, now or
	// before; false, that it is not and never will be. An error means that nobody knows, and it is asked again.
	Confirm(ctx context.Context, booking, number string) (bool, error)
}

// Book carries the rules out. It holds nothing but its fields, is safe for concurrent use, and several may work on one
// Store: what they do twice at once, provider and bookings take for one.
type Book struct {
	Provider Provider
	Store    Store
	Bookings Bookings
	Callback string           // URL to which the provider reports
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default slog.Default()
	Timeout  time.Duration    // of one request to the provider; default 10 s
	Workers  int              // payments that Work attends to at a time; default 8
}

const (
	maxSteps = 16  // acts on one payment in a row
	maxRaces = 16  // updates of one payment that others were before
	batch    = 256 // payments that Work fetches at a time
)

// Open stores the payment of a booking and makes its order at the provider. Asked again with the same number it returns
// the same payment, also after its expiry; with another booking or amount the error is of kind Conflict. The payment may
// be in phase Creating where the provider has not answered: [Book.Work] goes on with it.
func (b *Book) Open(ctx context.Context, o Order, booking string) (Payment, error) {
	p, err := b.Store.Get(ctx, o.Number)
	if errs.Is(err, errs.NotFound) {
		if p, err = Begin(o, booking, b.now()); err == nil {
			p, err = b.Store.Insert(ctx, p)
		}
	}
	if err != nil {
		return Payment{}, err
	}
	if p.Booking != booking || p.Fen != o.Fen {
		return Payment{}, errs.New(errs.Conflict, "该支付单号已用于其他预约或金额", "the number stands for another booking or amount").WithCode("payment.number")
	}
	return b.Advance(ctx, p.Number)
}

// Notify takes in a callback of the provider, whose whole body the caller has read. Answer 2xx where it returns nil, so
// that the provider ceases. One that is forged is of kind Unauthenticated, one of an unknown order of kind NotFound; both
// leave no trace but in the log.
func (b *Book) Notify(ctx context.Context, r *http.Request, body []byte) error {
	n, err := b.Provider.Callback(r, body)
	if err != nil {
		return err
	}
	if !ValidNumber(n.Order) {
		return errs.New(errs.NotFound, "没有这笔支付", "there is no such payment").WithCode("payment.unknown")
	}
	err = b.change(ctx, n.Order, func(p *Payment) error {
		if n.Refund != "" {
			p.Repaid(n.Refund, n.Answer, b.now())
		} else {
			p.Learn(n.Answer, b.now())
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = b.Advance(ctx, n.Order)
	return err
}

// Cancel is [Payment.Cancel], after the bookings were asked where that is due; what is to go back is asked for at once.
// Cancel the booking first: from then on Confirm must say whether it was confirmed before.
func (b *Book) Cancel(ctx context.Context, number, key string, fen int64) (Payment, error) {
	if _, err := b.Advance(ctx, number); err != nil {
		return Payment{}, err
	}
	if err := b.change(ctx, number, func(p *Payment) error { return p.Cancel(key, fen, b.now()) }); err != nil {
		return Payment{}, err
	}
	return b.Advance(ctx, number)
}

// Advance does what is due of a payment, and returns it as it then is. That the provider or the bookings failed is no
// error: it is written down, and tried again when its time has come.
func (b *Book) Advance(ctx context.Context, number string) (Payment, error) {
	for range maxSteps {
		p, err := b.Store.Get(ctx, number)
		if err != nil {
			return Payment{}, err
		}
		act := p.Act(b.now())
		if act == Nothing {
			return p, nil
		}
		learn := b.perform(ctx, act, p)
		if err := ctx.Err(); err != nil {
			return p, err
		}
		if err := b.change(ctx, number, learn); err != nil {
			return p, err
		}
	}
	return b.Store.Get(ctx, number)
}

// perform carries an act out and returns how the payment takes in what came of it, whatever it has become meanwhile.
func (b *Book) perform(ctx context.Context, act Act, p Payment) func(*Payment) error {
	timeout := b.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch act {
	case Confirm:
		confirmed, err := b.Bookings.Confirm(ctx, p.Booking, p.Number)
		if err != nil {
			b.log().WarnContext(ctx, "a booking could not be told of its payment", "payment", p.Number, "error", err)
			return func(p *Payment) error { p.Retry(b.now()); return nil }
		}
		return func(p *Payment) error { p.Settle(confirmed, b.now()); return nil }
	case Repay:
		r, _ := p.Pending()
		a := b.Provider.Refund(ctx, Refund{Order: p.Number, Number: r.Number, Fen: r.Fen})
		b.note(ctx, act, p, a)
		return func(p *Payment) error { p.Repaid(r.Number, a, b.now()); return nil }
	}
	a := b.ask(ctx, act, p)
	b.note(ctx, act, p, a)
	return func(p *Payment) error { p.Learn(a, b.now()); return nil }
}

func (b *Book) ask(ctx context.Context, act Act, p Payment) Answer {
	if act == Create {
		return b.Provider.Create(ctx, Order{Number: p.Number, Fen: p.Fen, Subject: p.Subject, Expires: p.Expires, Callback: b.Callback})
	}
	return b.Provider.Query(ctx, p.Number)
}

// note writes to the log what an operator may want to know.
func (b *Book) note(ctx context.Context, act Act, p Payment, a Answer) {
	switch {
	case a.Outcome == Unknown:
		b.log().WarnContext(ctx, "the payment provider gave no answer", "act", string(act), "payment", p.Number, "attempts", p.Attempts, "error", a.Err)
	case a.Outcome == Refused && a.Code != NotFound:
		b.log().WarnContext(ctx, "the payment provider refused", "act", string(act), "payment", p.Number, "code", a.Code)
	}
}

// change updates a payment as it is now, again where another was before.
func (b *Book) change(ctx context.Context, number string, f func(*Payment) error) error {
	for race := 0; ; race++ {
		p, err := b.Store.Get(ctx, number)
		if err != nil {
			return err
		}
		if err := f(&p); err != nil {
			return err
		}
		err = b.Store.Update(ctx, p)
		if err == nil || race == maxRaces || !errs.Is(err, errs.Conflict) {
			return err
		}
	}
}

// Work does what is due of all payments, and returns how many it attended to; call it every second or so. It goes on
// after a payment that could not be stored, and returns the first such error.
func (b *Book) Work(ctx context.Context) (int, error) {
	done, began := 0, b.now()
	for {
		due, err := b.Store.Due(ctx, began, batch)
		if err != nil || len(due) == 0 {
			return done, err
		}
		if err := b.advanceAll(ctx, due); err != nil {
			return done, err
		}
		done += len(due)
		if len(due) < batch {
			return done, nil
		}
	}
}

func (b *Book) advanceAll(ctx context.Context, numbers []string) error {
	workers := b.Workers
	if workers <= 0 {
		workers = 8
	}
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	queue := make(chan string)
	for range min(workers, len(numbers)) {
		wg.Go(func() {
			for number := range queue {
				if _, err := b.Advance(ctx, number); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for _, number := range numbers {
		queue <- number
	}
	close(queue)
	wg.Wait()
	return first
}

func (b *Book) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *Book) log() *slog.Logger {
	if b.Log == nil {
		return slog.Default()
	}
	return b.Log
}
