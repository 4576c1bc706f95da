package booking_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/payment"
	"github.com/qiongdev/qiong/service/evidence"
)

// till is a provider of somebody's own, at which whoever has an order has paid.
type till struct{}

func (till) Create(_ context.Context, o payment.Order) payment.Answer {
	return payment.Answer{Outcome: payment.Done, State: payment.Paid, Fen: o.Fen, Paid: o.Fen, Reference: "till-" + o.Number, Cashier: "https://till.invalid/" + o.Number}
}

func (t till) Query(context.Context, string) payment.Answer {
	return payment.Answer{Outcome: payment.Unknown, Err: errs.New(errs.Unavailable, "未知", "unknown")}
}

func (till) Refund(_ context.Context, r payment.Refund) payment.Answer {
	return payment.Answer{Outcome: payment.Done, State: payment.Refunded, Fen: r.Fen, Returned: r.Fen}
}

func (till) Callback(*http.Request, []byte) (payment.Notice, error) {
	return payment.Notice{}, errs.New(errs.Unauthenticated, "不接受回调", "no callbacks")
}

func TestAProviderOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bay.yaml"), []byte(bay), 0o600); err != nil {
		t.Fatal(err)
	}
	service := booking.NewService(map[string]booking.Provide{"till": func(*qiong.Host) (payment.Provider, error) { return till{}, nil }})
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{service, evidence.New()}, Set: map[string]string{"booking.spots": dir, "booking.payment": "till"}})
	eventually(t, "slots", func() bool { return len(slots(t, h)) > 0 })
	c := h.As("visitor", auth.Applicant)
	made, err := reserve(c, "till-key-1", map[string]any{"slot": slots(t, h)[0].ID, "product": "boat", "visitors": []any{someone(5)}})
	if err != nil || made.Status != "held" {
		t.Fatalf("%+v, %v", made, err)
	}
	var v booking.BookingView
	eventually(t, "paid at the till", func() bool {
		_ = c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/pay"}, nil) // refused once it is paid
		get(t, c, "/api/booking/bookings/"+made.ID, &v)
		return v.Status == "confirmed" && v.Payment != nil && v.Payment.Paid == 12000
	})
	if resp, err := http.Get(h.URL + "/api/booking/cash/"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("the sandbox's cashier is open beside the till: %v, %v", resp, err)
	}
}
