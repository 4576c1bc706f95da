package booking

import (
	"context"
	"net/http"
	"strconv"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

var intoRevocation = sqldb.NewInto("revocation", "spot", "n", "booking")

// revoked returns the rows for the bookings that were given up among records: numbered by spot, in the order of the log,
// so that they have the same numbers whenever the tables are made anew.
func (s *seat) revoked(ctx context.Context, tx *sqldb.Tx, records []record) (rows []sqldb.Insert, err error) {
	spots := map[uint32]string{}
	last := map[string]int64{}
	for i := range records {
		e := &records[i].Event
		if e.Kind != ledger.Ended {
			continue
		}
		spot, ok := spots[e.Slot]
		if !ok {
			if spot, err = sqldb.Value[string](ctx, tx, "SELECT spot FROM slot WHERE shard = $1 AND place = $2", int64(s.number), int64(e.Slot)); err != nil {
				return nil, err
			}
			spots[e.Slot] = spot
		}
		if _, ok := last[spot]; !ok {
			if last[spot], err = lastRevocation(ctx, tx, spot); err != nil {
				return nil, err
			}
		}
		last[spot]++
		rows = append(rows, intoRevocation.Row(spot, last[spot], int64(ledger.NumberOf(s.number, e.Slot, e.N))))
	}
	return rows, nil
}

func lastRevocation(ctx context.Context, q sqldb.Querier, spot string) (int64, error) {
	return sqldb.Value[int64](ctx, q, "SELECT COALESCE(MAX(n), 0) FROM revocation WHERE spot = $1", spot)
}

// revocations is how many a list has at most: 800 kB.
const revocations = 100_000

// getRevocations answers the signed list of what was given up at a spot after the first since. A list that has none is
// the end.
func (b *Booking) getRevocations(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	spot, err := b.spotBy(q.Get("spot"))
	if err != nil {
		return err
	}
	since := int64(0)
	if text := q.Get("since"); text != "" {
		if since, err = strconv.ParseInt(text, 10, 64); err != nil || since < 0 {
			return errs.New(errs.Invalid, "应为不小于 0 的整数", "must be a whole number, 0 or more").WithField("since")
		}
	}
	last, err := lastRevocation(r.Context(), b.host.DB, spot.Name)
	if err != nil {
		return err
	}
	if since > last {
		return errs.New(errs.Conflict, "没有那么多", "there are not so many").WithCode("booking.revocations").WithField("since").
			WithHint("从 0 重新下载", "fetch them anew, from 0")
	}
	bookings, err := sqldb.All(r.Context(), b.host.DB, func(r sqldb.Scanner) (uint64, error) {
		var n int64
		err := r.Scan(&n)
		return uint64(n), err
	}, "SELECT booking FROM revocation WHERE spot = $1 AND n > $2 ORDER BY n LIMIT $3", spot.Name, since, int64(revocations))
	if err != nil {
		return err
	}
	list, err := ticket.SignRevocations(b.key, uint16(spot.Code), uint64(since), bookings)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", octets)
	_, err = w.Write(list)
	return err
}

// spotBy finds a spot by its name, or by its code, which is what gates know.
func (b *Booking) spotBy(text string) (*Spot, error) {
	if s := b.spots[text]; s != nil {
		return s, nil
	}
	if code, err := strconv.Atoi(text); err == nil {
		for _, s := range b.spots {
			if s.Code == code {
				return s, nil
			}
		}
	}
	return nil, errs.New(errs.NotFound, "没有此景区", "there is no such spot").WithField("spot")
}
