package booking

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// projection is how many records of the log one transaction takes over.
const projection = 2000

// follow reads what is durable in a log from where a reader stopped, and hands it over in pieces that take writes into
// the tables in the transaction of the reader's own progress.
func (s *seat) follow(ctx context.Context, log journal, name string, most int, settle, late time.Duration, take func(records []record) (func(context.Context, *sqldb.Tx) error, error)) error {
	name = reader(name, s.number)
	at, err := s.b.store.progress(ctx, name)
	if err != nil {
		return err
	}
	m := manners{seat: s, at: time.Now(), late: late}
	for {
		if err := log.Wait(ctx, at+1); err != nil {
			return ending(ctx, err)
		}
		if settle > 0 && log.Durable() < at+uint64(most) { // a fuller piece costs less
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
		}
		records, err := pieceOf(log, at, most)
		if err != nil || len(records) == 0 {
			return errors.Join(err, ctx.Err())
		}
		began := time.Now()
		write, err := take(records)
		if err != nil {
			return err
		}
		end := &records[len(records)-1]
		last := end.lsn
		err = s.b.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
			if err := write(ctx, tx); err != nil {
				return err
			}
			return s.b.store.advance(ctx, tx, name, at, last)
		})
		if err != nil {
			return ending(ctx, err)
		}
		at = last
		if m.yield(ctx, time.Since(began), log.Durable()-at, s.b.host.Now().Sub(time.UnixMilli(end.At))); ctx.Err() != nil {
			return nil
		}
	}
}

// In a rush, who reads the log rests so many times as long as it works, but no longer than longRest, so that it notices
// soon when the rush is over; and not at all where it is more than so many records or so long behind.
const (
	rush      = 1000 // bookings a second
	restFor   = 30
	longRest  = 2 * time.Second
	farBehind = 2_000_000
	rowsLate  = 10 * time.Second // of the tables
	actsLate  = 4 * time.Second  // of evidence: receipts are there ten seconds after a peak
)

// manners lets those go first who wait for an answer: the tables can be a little late, people cannot.
type manners struct {
	seat   *seat
	booked uint64
	at     time.Time
	late   time.Duration
}

// yield rests where bookings are rushing in, after work that took so long.
func (m *manners) yield(ctx context.Context, took time.Duration, behind uint64, late time.Duration) {
	running, err := m.seat.shard()
	if err != nil {
		return
	}
	booked, now := running.Counts().Booked.Load(), time.Now()
	rate := float64(booked-m.booked) / now.Sub(m.at).Seconds()
	m.booked, m.at = booked, now
	if rate < rush || behind > farBehind || late > m.late {
		return
	}
	select {
	case <-time.After(min(restFor*took, longRest)):
	case <-ctx.Done():
	}
}

// ending is nil where something failed because it had to end.
func ending(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// record is an event with its number in the log.
type record struct {
	lsn uint64
	ledger.Event
}

func pieceOf(log journal, after uint64, most int) ([]record, error) {
	records := make([]record, 0, min(most, 256))
	for r, err := range log.Read(after) {
		if err != nil {
			return nil, err
		}
		e := record{lsn: r.LSN}
		if err := e.Parse(r.Data); err != nil {
			return nil, fmt.Errorf("record %d: %w", r.LSN, err)
		}
		if records = append(records, e); len(records) == most {
			break
		}
	}
	return records, nil
}

// project writes slots, bookings and their history into the tables.
func (s *seat) project(ctx context.Context, log journal) error {
	return s.follow(ctx, log, "rows", projection, 20*time.Millisecond, rowsLate, func(records []record) (func(context.Context, *sqldb.Tx) error, error) {
		return func(ctx context.Context, tx *sqldb.Tx) error { return s.rows(ctx, tx, records) }, nil
	})
}

// row is a booking on its way into the tables.
type row struct {
	made            *ledger.Event // nil where it is there already
	last            *ledger.Event
	refund, entered int64
}

// rows takes records over. Of a booking that was made among them, only the last state is written.
func (s *seat) rows(ctx context.Context, tx *sqldb.Tx, records []record) error {
	rows := map[ledger.Number]*row{}
	order := make([]ledger.Number, 0, len(records))
	inserts := make([]sqldb.Insert, 0, 2*len(records))
	for i := range records {
		e := &records[i].Event
		switch e.Kind {
		case ledger.Booked, ledger.Settled, ledger.Ended, ledger.Came, ledger.Absent:
			n := ledger.NumberOf(s.number, e.Slot, e.N)
			r := rows[n]
			if r == nil {
				r = &row{}
				rows[n] = r
				order = append(order, n)
			}
			if e.Kind == ledger.Booked {
				r.made = e
				if e.Wait > 0 {
					if err := s.b.store.served(ctx, tx, s.number, e.Slot, e.Wait-1, n); err != nil {
						return err
					}
				}
			}
			if e.Kind == ledger.Ended {
				r.refund = e.Amount
				inserts = append(inserts, intoGivenUp.Row(int64(n), e.Amount))
			}
			if e.Kind == ledger.Came {
				r.entered += int64(e.Places)
			}
			r.last = e
			inserts = append(inserts, intoAct.Row(int64(n), int64(records[i].lsn), int64(e.Kind), int64(e.Status), int64(e.Places), e.Amount, e.At, e.Note))
		default:
			if err := s.slotRow(ctx, tx, e); err != nil {
				return err
			}
		}
	}
	for _, n := range order {
		r := rows[n]
		if r.made == nil {
			if err := s.b.store.change(ctx, tx, n, r); err != nil {
				return err
			}
			continue
		}
		slot, err := s.b.store.slotAt(ctx, tx, s.number, r.made.Slot)
		if err != nil {
			return err
		}
		inserts = append(inserts, intoBooking.Row(int64(n), slot, r.made.Owner, r.made.Name, int64(r.made.Channel), int64(r.made.Product), int64(r.made.Places),
			int64(r.last.Status), r.made.Until*1000, r.made.Amount, r.refund, r.entered, r.made.At, r.last.At, packVisitors(r.made.Visitors)))
	}
	given, err := s.revoked(ctx, tx, records)
	if err != nil {
		return err
	}
	return tx.Insert(ctx, append(inserts, given...)...)
}

// slotRow takes over what concerns a slot.
func (s *seat) slotRow(ctx context.Context, tx *sqldb.Tx, e *ledger.Event) error {
	switch e.Kind {
	case ledger.SlotOpened:
		o := e.Opened
		return tx.Insert(ctx, intoSlot.Row(o.ID, int64(s.number), int64(e.Slot), o.Spot, int64(o.Day), o.Start*1000, o.End*1000, o.Opens*1000, quotasJSON(o.Quotas), "open", ""))
	case ledger.QuotaSet:
		_, err := tx.Exec(ctx, "UPDATE slot SET quotas = $1 WHERE shard = $2 AND place = $3", quotasJSON(e.Quotas), int64(s.number), int64(e.Slot))
		return err
	case ledger.SlotClosed, ledger.SlotOver:
		status := "closed"
		if e.Kind == ledger.SlotOver {
			status = "over"
		}
		_, err := tx.Exec(ctx, "UPDATE slot SET status = $1, note = $2 WHERE shard = $3 AND place = $4 AND status <> 'closed'", status, e.Note, int64(s.number), int64(e.Slot))
		if err != nil || e.Kind == ledger.SlotOver {
			return err
		}
		id, err := s.b.store.slotAt(ctx, tx, s.number, e.Slot)
		if err != nil {
			return err
		}
		return s.b.host.Box.Publish(ctx, tx, outbox.Event{Type: EventClosed, Key: id, Act: true, Version: 1, Grade: "L1",
			Data: map[string]any{"slot": id, "reason": e.Note, "at": e.At}})
	case ledger.Queued:
		id, err := s.b.store.slotAt(ctx, tx, s.number, e.Slot)
		if err != nil {
			return err
		}
		return tx.Insert(ctx, intoQueue.Row(id, int64(e.N), e.Owner, int64(e.Places), "waiting", 0, e.At))
	case ledger.Unqueued:
		return s.b.store.unqueue(ctx, tx, s.number, e.Slot, e.N)
	}
	return nil
}

func quotasJSON(q ledger.Quotas) string {
	byName := map[string]uint32{}
	for c, n := range q {
		byName[ledger.Channel(c).String()] = n
	}
	text, err := json.Marshal(byName)
	if err != nil {
		panic(err) // plain data
	}
	return string(text)
}

// packVisitors is how a row keeps visitors: digest, whether a child, length and sealed document of each.
func packVisitors(all []ledger.Visitor) []byte {
	out := make([]byte, 0, len(all)*96)
	for i := range all {
		v := &all[i]
		out = append(out, v.Person[:]...)
		out = append(out, flag(v.Child), byte(len(v.Sealed)))
		out = append(out, v.Sealed...)
	}
	return out
}

func unpackVisitors(data []byte) (all []ledger.Visitor, err error) {
	for len(data) > 0 {
		var v ledger.Visitor
		n := copy(v.Person[:], data)
		if len(data) < n+2 || len(data) < n+2+int(data[n+1]) {
			return nil, errors.New("visitors of a booking are damaged")
		}
		end := n + 2 + int(data[n+1])
		v.Child, v.Sealed = data[n] == 1, data[n+2:end]
		all, data = append(all, v), data[end:]
	}
	return all, nil
}

// maxActs is how many acts go to evidence under one record, and actsSettle how long a smaller batch waits for more.
const (
	maxActs    = 4096
	actsSettle = time.Second
)

// anchor sends what happened to evidence: the commitments of many acts under one message.
func (s *seat) anchor(ctx context.Context, log journal) error {
	return s.follow(ctx, log, "acts", maxActs, actsSettle, actsLate, func(records []record) (func(context.Context, *sqldb.Tx) error, error) {
		var acts [][32]byte
		var lsns []byte
		before := records[0].lsn - 1
		first := before
		for i := range records {
			r := &records[i]
			if !isAct(r.Kind) {
				continue
			}
			lsns = binary.AppendUvarint(lsns, r.lsn-before)
			before = r.lsn
			acts = append(acts, s.b.original(s.number, r.lsn, ledger.NumberOf(s.number, r.Slot, r.N), actOf(&r.Event)).Commitment())
		}
		last := records[len(records)-1].lsn
		return func(ctx context.Context, tx *sqldb.Tx) error {
			if len(acts) == 0 {
				return nil
			}
			if err := tx.Insert(ctx, intoBatch.Row(int64(s.number), int64(first+1), int64(last), lsns)); err != nil {
				return err
			}
			return s.b.host.Box.Publish(ctx, tx, outbox.Event{Type: EventBatch, Key: batchKey(s.number, first+1), Act: true, Version: 1, Grade: "L1", Acts: acts,
				Data: map[string]any{"shard": s.number, "first": first + 1, "last": last}})
		}, nil
	})
}

func batchKey(shard uint16, first uint64) string { return fmt.Sprintf("acts-%d-%d", shard, first) }

func isAct(k ledger.Kind) bool {
	return k == ledger.Booked || k == ledger.Settled || k == ledger.Ended || k == ledger.Came || k == ledger.Absent
}

// actRow is something that happened to a booking.
type actRow struct {
	lsn    uint64
	kind   ledger.Kind
	status ledger.Status
	places uint32
	amount int64
	at     int64
	note   string
}

func actOf(e *ledger.Event) actRow {
	return actRow{kind: e.Kind, status: e.Status, places: e.Places, amount: e.Amount, at: e.At}
}

// original returns what an act's commitment commits to: always the same for the same record of the log.
func (b *Booking) original(shard uint16, lsn uint64, n ledger.Number, a actRow) *receipt.Original {
	var place [10]byte
	binary.BigEndian.PutUint16(place[:], shard)
	binary.BigEndian.PutUint64(place[2:], lsn)
	salt := b.salt(place[:])
	o := &receipt.Original{Data: appendAct(nil, n, a)}
	copy(o.Salt[:], salt[:])
	return o
}

// appendAct appends an act as a receipt's original says it. Amounts are in fen; nothing in it needs escaping.
func appendAct(out []byte, n ledger.Number, a actRow) []byte {
	out = append(append(append(out, `{"booking":"`...), n.String()...), `","act":"`...)
	out = append(append(append(out, a.kind.String()...), `","status":"`...), a.status.String()...)
	out = strconv.AppendUint(append(out, `","places":`...), uint64(a.places), 10)
	out = strconv.AppendInt(append(out, `,"amount":`...), a.amount, 10)
	out = append(append(append(out, `,"at":"`...), beijingTime(a.at)...), `"}`...)
	return out
}
