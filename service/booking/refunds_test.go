package booking

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// purse is a provider that gives everything back at once.
type purse struct{ payment.Provider }

func (purse) Refund(_ context.Context, r payment.Refund) payment.Answer {
	return payment.Answer{Outcome: payment.Done, State: payment.Refunded, Fen: r.Fen, Returned: r.Fen}
}

// Of many bookings that were given up, one whose money cannot go back holds up no other, and rests.
func TestOneRefundHoldsUpNoOther(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		ctx, now := context.Background(), time.Now()
		if err := db.Migrate(ctx, "booking", sqldb.Files(tables)); err != nil {
			t.Fatal(err)
		}
		b := &Booking{host: &qiong.Host{DB: db, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}}
		b.payments = func() *payment.Book { return &payment.Book{Provider: purse{}, Store: payments{db}, Now: b.host.Now} }
		const bookings, price = 3*givePage + 1, 5000
		var rows []sqldb.Insert
		for i := range uint32(bookings) {
			n := ledger.NumberOf(0, 1, i)
			rows = append(rows, intoGivenUp.Row(int64(n), int64(price)))
			p := payment.Payment{Number: n.String(), Booking: n.String(), Fen: price, Paid: price, Phase: payment.Confirmed}
			if i == 0 { // at the provider's console somebody gave it back already
				p.Foreign = price
			}
			if _, err := (payments{db}).Insert(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Append(ctx, rows...); err != nil {
			t.Fatal(err)
		}
		stuck := map[int64]time.Time{}
		left := func() int64 {
			if err := b.giveBack(ctx, stuck); err != nil {
				t.Fatal(err)
			}
			n, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM given_up")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := left(); n != 1 || len(stuck) != 1 {
			t.Errorf("%d did not go back, %d are stuck", n, len(stuck))
		}
		last, err := (payments{db}).Get(ctx, ledger.NumberOf(0, 1, bookings-1).String())
		if err != nil || len(last.Refunds) != 1 || !last.Refunds[0].Done {
			t.Errorf("the last: %+v, %v", last, err)
		}
		first := ledger.NumberOf(0, 1, 0)
		until := stuck[int64(first)]
		if left(); stuck[int64(first)] != until {
			t.Error("it was tried again at once")
		}
		if now = now.Add(giveRest); left() != 1 || stuck[int64(first)] == until {
			t.Error("it was not tried again")
		}
	})
}

func TestAProviderThatIsNotThere(t *testing.T) {
	b := &Booking{cfg: Config{Payment: "till"}}
	err := b.openPayments(map[string]Provide{"desk": nil})
	if e := errs.As(err); e == nil || e.Field != "booking.payment" || !strings.Contains(e.Hint.In(lang.EN), "desk, sandbox") {
		t.Errorf("%v", err)
	}
}
