package booking

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

type store struct {
	db  sqldb.DB
	ids *sync.Map // of slots, by slotPlace: they never change
}

type slotPlace struct {
	shard uint16
	place uint32
}

var (
	intoBooking = sqldb.NewInto("booking", "number", "slot", "owner", "req_key", "channel", "product", "places", "status", "until_at", "amount", "refund",
		"entered", "made_at", "changed_at", "visitors")
	intoAct     = sqldb.NewInto("act", "booking", "lsn", "kind", "status", "places", "amount", "at", "note")
	intoSlot    = sqldb.NewInto("slot", "id", "shard", "place", "spot", "day", "start_at", "end_at", "opens_at", "quotas", "status", "note")
	intoBatch   = sqldb.NewInto("batch", "shard", "first", "last", "lsns")
	intoGivenUp = sqldb.NewInto("given_up", "booking", "refund")
	intoQueue   = sqldb.NewInto("queue", "slot", "entry", "owner", "places", "status", "booking", "at")
)

func beijingTime(ms int64) string { return beijing.Format(beijing.FromMilli(ms)) }

func (b *Booking) salt(place []byte) [32]byte { return b.salts.Sum(place) }

// reader names who reads a shard's log.
func reader(name string, shard uint16) string { return name + "/" + strconv.Itoa(int(shard)) }

// progress returns how far a reader has got, and writes down that it exists.
func (s store) progress(ctx context.Context, name string) (uint64, error) {
	if _, err := s.db.Exec(ctx, sqldb.Relaxed, "INSERT INTO progress (name, lsn) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING", name); err != nil {
		return 0, err
	}
	lsn, err := sqldb.Value[int64](ctx, s.db, "SELECT lsn FROM progress WHERE name = $1", name)
	return uint64(lsn), err
}

// advance moves a reader on. Of two that read the same, one fails.
func (s store) advance(ctx context.Context, tx *sqldb.Tx, name string, from, to uint64) error {
	n, err := tx.Exec(ctx, "UPDATE progress SET lsn = $1 WHERE name = $2 AND lsn = $3", int64(to), name, int64(from))
	if err == nil && n != 1 {
		err = fmt.Errorf("somebody else has advanced %s", name)
	}
	return err
}

// slotAt returns the id of a slot in a shard.
func (s store) slotAt(ctx context.Context, q sqldb.Querier, shard uint16, place uint32) (string, error) {
	at := slotPlace{shard, place}
	if id, ok := s.ids.Load(at); ok {
		return id.(string), nil
	}
	id, err := sqldb.Value[string](ctx, q, "SELECT id FROM slot WHERE shard = $1 AND place = $2", int64(shard), int64(place))
	if err == nil {
		s.ids.Store(at, id) // also where the transaction is undone: the log will say the same again
	}
	return id, err
}

// change writes a later state of a booking.
func (s store) change(ctx context.Context, tx *sqldb.Tx, n ledger.Number, r *row) error {
	_, err := tx.Exec(ctx, "UPDATE booking SET status = $1, refund = refund + $2, entered = entered + $3, changed_at = $4 WHERE number = $5",
		int64(r.last.Status), r.refund, r.entered, r.last.At, int64(n))
	return err
}

// served writes down that somebody who waited has a booking.
func (s store) served(ctx context.Context, tx *sqldb.Tx, shard uint16, place, entry uint32, n ledger.Number) error {
	id, err := s.slotAt(ctx, tx, shard, place)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE queue SET status = 'served', booking = $1 WHERE slot = $2 AND entry = $3", int64(n), id, int64(entry))
	return err
}

func (s store) unqueue(ctx context.Context, tx *sqldb.Tx, shard uint16, place, entry uint32) error {
	id, err := s.slotAt(ctx, tx, shard, place)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE queue SET status = 'left' WHERE slot = $1 AND entry = $2", id, int64(entry))
	return err
}

// kept is a booking as the tables have it.
type kept struct {
	number   ledger.Number
	slot     string
	owner    string
	key      string
	channel  ledger.Channel
	product  int
	places   int
	status   ledger.Status
	until    int64
	amount   int64
	refund   int64
	entered  int
	made     int64
	changed  int64
	visitors []byte
}

const bookingColumns = "number, slot, owner, req_key, channel, product, places, status, until_at, amount, refund, entered, made_at, changed_at, visitors"

func scanBooking(s sqldb.Scanner) (k kept, err error) {
	var number, channel, product, places, status, entered int64
	err = s.Scan(&number, &k.slot, &k.owner, &k.key, &channel, &product, &places, &status, &k.until, &k.amount, &k.refund, &entered, &k.made, &k.changed, &k.visitors)
	k.number, k.channel, k.product, k.places = ledger.Number(number), ledger.Channel(channel), int(product), int(places)
	k.status, k.entered = ledger.Status(status), int(entered)
	return k, err
}

func (s store) booking(ctx context.Context, n ledger.Number) (k kept, err error) {
	k, err = scanBooking(s.db.QueryRow(ctx, "SELECT "+bookingColumns+" FROM booking WHERE number = $1", int64(n)))
	if errors.Is(err, sqldb.ErrNoRows) {
		err = ledger.ErrNoBooking
	}
	return k, err
}

// sought says which bookings are listed.
type sought struct {
	owner  string
	slot   *ledger.Number // the first of its bookings; nil: of any slot
	status ledger.Status
	before ledger.Number // from the newest, and 0: from there
	after  ledger.Number // from the oldest, where oldest says so
	oldest bool
	limit  int
}

func (s store) list(ctx context.Context, f sought) ([]kept, error) {
	var where []string
	var args []any
	add := func(column, op string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf("%s %s $%d", column, op, len(args)))
	}
	if f.owner != "" {
		add("owner", "=", f.owner)
	}
	if f.slot != nil {
		add("number", ">=", int64(*f.slot))
		add("number", "<", int64(*f.slot+ledger.PerSlot))
	}
	if f.status != 0 {
		add("status", "=", int64(f.status))
	}
	order := "DESC"
	if f.before > 0 {
		add("number", "<", int64(f.before))
	}
	if f.oldest {
		order = "ASC"
		if f.after > 0 {
			add("number", ">", int64(f.after))
		}
	}
	args = append(args, int64(f.limit))
	return sqldb.All(ctx, s.db, scanBooking, fmt.Sprintf("SELECT %s FROM booking WHERE %s ORDER BY number %s LIMIT $%d",
		bookingColumns, strings.Join(append(where, "1 = 1"), " AND "), order, len(args)), args...)
}

// acts returns what happened to a booking, in order.
func (s store) acts(ctx context.Context, n ledger.Number) ([]actRow, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (a actRow, err error) {
		var lsn, kind, status, places int64
		err = r.Scan(&lsn, &kind, &status, &places, &a.amount, &a.at, &a.note)
		a.lsn, a.kind, a.status, a.places = uint64(lsn), ledger.Kind(kind), ledger.Status(status), uint32(places)
		return a, err
	}, "SELECT lsn, kind, status, places, amount, at, note FROM act WHERE booking = $1 ORDER BY lsn", int64(n))
}

// batchOf returns the batch that a record of the log went to evidence with; ErrNoRows where it has not yet.
func (s store) batchOf(ctx context.Context, shard uint16, lsn uint64) (first uint64, lsns []byte, err error) {
	var at int64
	err = s.db.QueryRow(ctx, "SELECT first, lsns FROM batch WHERE shard = $1 AND last >= $2 ORDER BY last LIMIT 1", int64(shard), int64(lsn)).Scan(&at, &lsns)
	return uint64(at), lsns, err
}

// filled returns slots that ended before a time and whose bookings may still hold documents, those that ended first.
func (s store) filled(ctx context.Context, before int64) ([]slotPlace, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (slotPlace, error) {
		var shard, place int64
		err := r.Scan(&shard, &place)
		return slotPlace{uint16(shard), uint32(place)}, err
	}, "SELECT shard, place FROM slot WHERE end_at < $1 AND erased = 0 ORDER BY end_at", before)
}

// erase drops the documents of the visitors of a slot, piece by piece.
func (s store) erase(ctx context.Context, slot slotPlace) error {
	first := int64(ledger.NumberOf(slot.shard, slot.place, 0))
	last, err := sqldb.Value[int64](ctx, s.db, "SELECT coalesce(max(number), 0) FROM booking WHERE number >= $1 AND number < $2", first, first+int64(ledger.PerSlot)-1)
	for at := first; err == nil && at <= last; at += erasePiece {
		_, err = s.db.Exec(ctx, sqldb.Durable, "UPDATE booking SET visitors = $1 WHERE number >= $2 AND number <= $3 AND length(visitors) > 0",
			[]byte{}, at, min(at+erasePiece-1, last))
	}
	return err
}

// empty notes that a slot's bookings hold no documents any more, and that no booking will come.
func (s store) empty(ctx context.Context, slot slotPlace) error {
	_, err := s.db.Exec(ctx, sqldb.Durable, "UPDATE slot SET erased = 1 WHERE shard = $1 AND place = $2", int64(slot.shard), int64(slot.place))
	return err
}
