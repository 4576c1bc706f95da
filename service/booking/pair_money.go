package booking

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// Payments stand in the tables of the server that led when they were made. They are not shipped, since they need not be:
// an order bears the number of its booking, a refund that of its order, and the provider does each once however often it is
// asked. So the server that takes over makes a payment anew where it hears of one, asks the provider what became of it, and
// goes on.

const (
	recallFor = time.Hour          // holds that ended so long ago may have been paid without anybody having been told
	refundFor = 7 * 24 * time.Hour // so long a standby remembers what the leader was to give back
)

// recall makes the payment of a booking anew, where the booking costs something.
func (b *Booking) recall(ctx context.Context, n ledger.Number) error {
	if int(n.Shard()) >= len(b.seats) {
		return ledger.ErrNoBooking
	}
	if err := b.seats[n.Shard()].caughtUp(ctx); err != nil {
		return err
	}
	k, err := b.store.booking(ctx, n)
	if err != nil {
		return err
	}
	name, _ := spotOf(k.slot)
	spot := b.spots[name]
	if k.amount == 0 || spot == nil {
		return errs.New(errs.NotFound, "没有此支付", "there is no such payment").WithCode("booking.payment")
	}
	_, err = payments{b.host.DB}.Insert(ctx, payment.Payment{Number: n.String(), Booking: n.String(), Fen: k.amount,
		Subject: lang.T(spot.Title.In(lang.ZH)+" 预约", spot.Title.In(lang.EN)+" booking"), Expires: time.UnixMilli(k.until), Phase: payment.Creating, Next: b.host.Now()})
	return err
}

// recallAll recalls the payments of holds, those that ended a while ago among them: their callbacks may be lost.
func (b *Booking) recallAll(ctx context.Context) error {
	for _, seat := range b.seats {
		if err := seat.caughtUp(ctx); err != nil {
			return err
		}
	}
	numbers, err := sqldb.All(ctx, b.host.DB, func(r sqldb.Scanner) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT number FROM booking WHERE amount > 0 AND until_at > $1 AND status IN ($2, $3)`,
		b.host.Now().Add(-recallFor).UnixMilli(), int64(ledger.Held), int64(ledger.Expired))
	for _, n := range numbers {
		if err := b.recall(ctx, ledger.Number(n)); err != nil {
			return err
		}
	}
	return err
}

// notify takes in what the provider reports, of an order that another server made, too.
func (b *Booking) notify(r *http.Request, body []byte) error {
	err := b.payments().Notify(r.Context(), r, body)
	if b.pair == nil || !errs.Is(err, errs.NotFound) {
		return err
	}
	notice, unread := b.payments().Provider.Callback(r, body)
	n, unknown := ledger.ParseNumber(notice.Order)
	if unread != nil || unknown != nil {
		return err
	}
	if err := b.recall(r.Context(), n); err != nil {
		return err
	}
	return b.payments().Notify(r.Context(), r, body)
}

// cancelPayment is Cancel of the book, of an order that another server made, too.
func (b *Booking) cancelPayment(ctx context.Context, n ledger.Number, fen int64) error {
	_, err := b.payments().Cancel(ctx, n.String(), "cancel", fen)
	if b.pair == nil || fen == 0 || !errs.Is(err, errs.NotFound) {
		return err
	}
	if err := b.recall(ctx, n); err != nil {
		return err
	}
	_, err = b.payments().Cancel(ctx, n.String(), "cancel", fen)
	return err
}

// forget drops what a standby remembers of bookings that were given up and the leader has seen to. Nothing goes back for
// most of them; for the others it is remembered for a while, should the leader fail before it has.
func (s *standing) forget(ctx context.Context) {
	b := s.p.b
	_, err := b.host.DB.Exec(ctx, sqldb.Relaxed, "DELETE FROM given_up WHERE refund = 0 OR booking IN (SELECT number FROM booking WHERE changed_at < $1)",
		b.host.Now().Add(-refundFor).UnixMilli())
	if err != nil && ctx.Err() == nil {
		b.host.Log.LogAttrs(ctx, slog.LevelError, "refunds that the leader saw to were not forgotten", slog.Any("err", err))
	}
}
