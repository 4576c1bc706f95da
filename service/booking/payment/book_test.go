package payment_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/service/booking/payment"
	"github.com/qiongdev/qiong/service/booking/payment/sandbox"
)

// open makes an order of a booking that is held for 15 minutes.
func (w *world) open(t *testing.T, number string) payment.Payment {
	t.Helper()
	until := time.Now().Add(15 * time.Minute)
	w.holds.rows["of "+number] = &hold{until: until}
	p, err := w.books[0].Open(t.Context(), payment.Order{Number: number, Fen: 8800, Expires: until}, "of "+number)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// callback is what the provider would send at a time; without a key, unsigned.
func callback(t *testing.T, signer *gm.PrivateKey, at time.Time, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://house.test/paid", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if signer != nil {
		if err := httpsig.SignRequest(r, []byte(body), signer, at, httpsig.NewNonce()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestCallbacksThatMustNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, sandbox.Faults{}, 0)
		theirs, stranger := key(t), key(t)
		w.client.KeyOf = lookup(theirs.PublicKey())
		w.books[0].Provider = w.client
		w.holds.rows["of order-1"] = &hold{until: time.Now().Add(time.Hour)}
		if _, err := w.store.Insert(t.Context(), payment.Payment{Number: "order-1", Booking: "of order-1", Fen: 8800, Phase: payment.Open}); err != nil {
			t.Fatal(err)
		}
		const paid = `{"order":"order-1","outcome":"done","state":"paid","fen":8800,"paid":8800,"reference":"x"}`
		now := time.Now()
		for name, c := range map[string]struct {
			signer *gm.PrivateKey
			at     time.Time
			signed string
			sent   string
			want   errs.Kind
		}{
			"forged":            {stranger, now, paid, paid, errs.Unauthenticated},
			"not signed":        {nil, now, paid, paid, errs.Unauthenticated},
			"changed":           {theirs, now, paid, `{"order":"order-1","outcome":"done","state":"paid","fen":8800,"paid":8801,"reference":"x"}`, errs.Unauthenticated},
			"from yesterday":    {theirs, now.Add(-24 * time.Hour), paid, paid, errs.Unauthenticated},
			"of nobody's order": {theirs, now, `{"order":"order-2","outcome":"done","state":"created","fen":1}`, "", errs.NotFound},
			"of no number":      {theirs, now, `{"order":"../../x","outcome":"done","state":"created","fen":1}`, "", errs.NotFound},
			"paid nothing":      {theirs, now, `{"order":"order-1","outcome":"done","state":"paid","fen":8800}`, "", errs.Invalid},
			"of two minds":      {theirs, now, `{"order":"order-1","order":"order-2","outcome":"done","state":"created","fen":1}`, "", errs.Invalid},
		} {
			r := callback(t, c.signer, c.at, c.signed)
			body := c.sent
			if body == "" {
				body = c.signed
			}
			if err := w.books[0].Notify(t.Context(), r, []byte(body)); !errs.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if p, _ := w.store.Get(t.Context(), "order-1"); p.Version != 0 {
			t.Errorf("one of them left a trace: %+v", p)
		}
		if err := w.books[0].Notify(t.Context(), callback(t, theirs, now, paid), []byte(paid)); err != nil {
			t.Fatalf("the true one: %v", err)
		}
		if p, _ := w.store.Get(t.Context(), "order-1"); p.Phase != payment.Confirmed {
			t.Errorf("after the true one it is %s", p.Phase)
		}
	})
}

func TestOneNumberOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, sandbox.Faults{}, 0)
		first := w.open(t, "order-1")
		if first.Phase != payment.Open || first.Cashier != "http://cash.test/cashier/order-1" {
			t.Fatalf("opened: %+v", first)
		}
		again := payment.Order{Number: "order-1", Fen: 8800, Expires: first.Expires}
		if p, err := w.books[1].Open(t.Context(), again, first.Booking); err != nil || p.Version != first.Version {
			t.Errorf("again: %+v, %v", p, err)
		}
		if _, err := w.books[1].Open(t.Context(), again, "another"); !errs.Is(err, errs.Conflict) {
			t.Errorf("for another booking: %v", err)
		}
		again.Fen++
		if _, err := w.books[1].Open(t.Context(), again, first.Booking); !errs.Is(err, errs.Conflict) {
			t.Errorf("with another amount: %v", err)
		}
		time.Sleep(time.Hour)
		again.Fen--
		if p, err := w.books[1].Open(t.Context(), again, first.Booking); err != nil || p.Phase != payment.Ended {
			t.Errorf("after its expiry: %+v, %v", p, err)
		}
		again.Number = "order-2"
		if _, err := w.books[1].Open(t.Context(), again, first.Booking); !errs.Is(err, errs.Invalid) {
			t.Errorf("a new one that has expired: %v", err)
		}
		if n := w.sandbox.Account().Orders; n != 1 {
			t.Errorf("the provider has %d orders", n)
		}
	})
}

// Both servers send the same money back at the same moment, for a spot is closed: it goes back once.
func TestMassRefundByTwoServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, sandbox.Faults{Refuse: 1}, 0)
		const n = 40
		numbers := make([]string, n)
		for i := range numbers {
			numbers[i] = "order-" + string(rune('A'+i/26)) + string(rune('a'+i%26))
			w.open(t, numbers[i])
			if err := w.sandbox.Pay(numbers[i], 0); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for range 2 {
			work(t, w.books[0])
		}
		ctx, done := t.Context(), make(chan error, 2*n)
		for _, b := range w.books {
			for _, number := range numbers {
				go func() {
					_, err := b.Cancel(ctx, number, "closure", 8800)
					done <- err
				}()
			}
		}
		for range 2 * n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour)
		work(t, w.books[1])
		if a := w.sandbox.Account(); a.Collected != n*8800 || a.Returned != n*8800 {
			t.Errorf("the provider collected %d and gave %d back", a.Collected, a.Returned)
		}
		for _, number := range numbers {
			if p, _ := w.store.Get(ctx, number); p.State() != payment.Refunded || len(p.Refunds) != 1 || p.Attention != "" {
				t.Errorf("%s is %s with %d returns, attention %q", number, p.State(), len(p.Refunds), p.Attention)
			}
		}
	})
}

func work(t *testing.T, b *payment.Book) {
	t.Helper()
	if _, err := b.Work(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}
