package booking

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

const (
	givePage    = 256
	giveWorkers = 8           // that go back at a time
	giveRest    = time.Minute // before one that could not go back is tried again
)

// given is a booking that was given up, and what goes back.
type given struct{ n, fen int64 }

// giveBack tells payments of all bookings that were given up. One that comes to an error rests, and holds up no other.
func (b *Booking) giveBack(ctx context.Context, stuck map[int64]time.Time) error {
	now := b.host.Now()
	for last := int64(0); ; {
		page, err := sqldb.All(ctx, b.host.DB, func(r sqldb.Scanner) (d given, err error) { return d, r.Scan(&d.n, &d.fen) },
			"SELECT booking, refund FROM given_up WHERE booking > $1 ORDER BY booking LIMIT $2", last, int64(givePage))
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].n
		page = slices.DeleteFunc(page, func(d given) bool { return now.Before(stuck[d.n]) })
		failed := make([]error, len(page))
		var g errgroup.Group
		g.SetLimit(giveWorkers)
		for i, d := range page {
			g.Go(func() error {
				failed[i] = b.giveOne(ctx, d)
				return nil
			})
		}
		_ = g.Wait() // each has its own
		for i, d := range page {
			if failed[i] == nil || ctx.Err() != nil {
				delete(stuck, d.n)
				continue
			}
			stuck[d.n] = now.Add(giveRest)
			b.host.Log.ErrorContext(ctx, "refund", "booking", ledger.Number(d.n).String(), "fen", d.fen, "again", giveRest, "err", failed[i])
		}
	}
}

func (b *Booking) giveOne(ctx context.Context, d given) error {
	err := b.cancelPayment(ctx, ledger.Number(d.n), d.fen)
	if errs.Is(err, errs.Unavailable) {
		return nil // the money is on its way: at the next turn
	}
	if err != nil && !errs.Is(err, errs.NotFound) {
		return err
	}
	_, err = b.host.DB.Exec(ctx, sqldb.Durable, "DELETE FROM given_up WHERE booking = $1", d.n)
	return err
}
