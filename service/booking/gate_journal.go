package booking

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// maxJournal is the longest upload: some 100,000 entries.
const maxJournal = 4 << 20

// JournalAnswer is up to where a journal was taken in, and what was wrong with the entries sent.
type JournalAnswer struct {
	_       struct{}     `grade:"L2"`
	Gate    uint32       `json:"gate"`
	Journal string       `json:"journal" doc:"闸机日志的随机标识 / the journal's random name"`
	Cursor  uint32       `json:"cursor" doc:"已收到的最后一条 / the last entry that is here"`
	Check   string       `json:"check" doc:"该条的校验 / its check"`
	Taken   int          `json:"taken" doc:"本次新收条数 / new entries of this upload"`
	Late    int          `json:"late,omitempty" doc:"预约已归档、未计入的条数 / entries of bookings the ledger has retired"`
	Doubles []DoubleView `json:"doubles" doc:"所传条目中不应入园的 / entries sent that should not have been"`
}

// DoubleView is an entry that a gate let in and should not have.
type DoubleView struct {
	_        struct{}     `grade:"L2"`
	Gate     uint32       `json:"gate"`
	Journal  string       `json:"journal"`
	Sequence uint32       `json:"sequence"`
	Booking  string       `json:"booking"`
	People   int          `json:"people" doc:"入园人数 / who entered"`
	Over     int          `json:"over" doc:"其中不应入园的 / of whom too many"`
	Reason   string       `json:"reason" enum:"all-in,revoked,missed,unpaid,unknown"`
	At       beijing.Time `json:"at" doc:"闸机时钟 / by the gate's clock"`
	Found    beijing.Time `json:"found"`
	n        int64
}

func (b *Booking) postJournal(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	answer, err := b.takeJournal(r.Context(), body)
	if err != nil {
		return err
	}
	w.Header()["Content-Type"] = jsonType
	return json.NewEncoder(w).Encode(answer)
}

// takeJournal takes in a journal's head and records of it from any place up to where it was left off on. The ledger
// comes first and the cursor after it, so that what a crash cuts short is done again when it is sent again.
func (b *Booking) takeJournal(ctx context.Context, body []byte) (v JournalAnswer, err error) {
	begin, err := ticket.NewTally().Cursor(body)
	if err != nil {
		return v, err
	}
	records := body[ticket.HeadSize:]
	at, err := b.store.cursor(ctx, begin)
	if err != nil {
		return v, err
	}
	if err := continues(at, records); err != nil {
		return v, err
	}
	read, end, err := at.Read(records)
	if err != nil {
		if e := errs.As(err); e.HasOffset { // of the body, not of its records
			err = errs.New(e.Kind, e.Msg.ZH, e.Msg.EN).WithCode(e.Code).WithOffset(e.Offset + int64(ticket.HeadSize))
		}
		return v, err
	}
	arrivals := make([]*arrival, len(read))
	for i, e := range read {
		arrivals[i] = arrivalOf(e)
	}
	if err := b.arrive(ctx, arrivals); err != nil {
		return v, err
	}
	doubles, late, err := b.judge(ctx, read, arrivals)
	if err != nil {
		return v, err
	}
	if err := b.keepJournal(ctx, at, end, doubles); err != nil {
		return v, err
	}
	v = JournalAnswer{Gate: end.Gate, Journal: hex.EncodeToString(end.Journal[:]), Cursor: end.Sequence, Check: hex.EncodeToString(end.Check[:]), Taken: len(read), Late: late}
	v.Doubles, err = b.doublesAmong(ctx, end, records)
	return v, err
}

// continues refuses records that are another continuation of the journal than what was taken in, as a gate writes whose
// disk was put back to an earlier day.
func continues(at ticket.Cursor, records []byte) error {
	for i := 0; i+ticket.EntrySize <= len(records); i += ticket.EntrySize {
		r := records[i : i+ticket.EntrySize]
		if binary.BigEndian.Uint32(r) == at.Sequence && string(r[ticket.EntrySize-len(at.Check):]) != string(at.Check[:]) {
			return errs.New(errs.Conflict, "日志与已上传的不一致", "the journal is another than what was uploaded").WithCode("booking.journal").
				WithOffset(int64(ticket.HeadSize+i)).WithHint("另起一个日志文件，并保留旧文件备查", "begin a new journal, and keep this file for inquiry")
		}
	}
	return nil
}

func arrivalOf(e ticket.Entry) *arrival {
	return &arrival{booking: ledger.Number(e.Booking), people: int(e.People), past: e.At, gate: strconv.FormatUint(uint64(e.Gate), 10),
		id: fmt.Sprintf("%x-%d", e.Journal, e.Sequence), check: fmt.Sprintf("%x", e.At.UnixMilli())}
}

// judge finds the entries that should not have been, and counts those of bookings that the ledger has forgotten.
func (b *Booking) judge(ctx context.Context, read []ticket.Entry, arrivals []*arrival) (doubles []DoubleView, late int, err error) {
	for i, a := range arrivals {
		e := &read[i]
		if a.reused {
			return nil, 0, errs.New(errs.Conflict, "日志与已上传的不一致", "the journal is another than what was uploaded").WithCode("booking.journal")
		}
		over := int(e.People) - a.admitted
		if over <= 0 {
			continue
		}
		why := reasonAllIn
		if a.admitted == 0 {
			why = a.reason()
		}
		if why == reasonUnknown {
			switch _, err := b.store.booking(ctx, a.booking); {
			case err == nil:
				late++
				continue
			case err != ledger.ErrNoBooking:
				return nil, 0, err
			}
		}
		doubles = append(doubles, DoubleView{Gate: e.Gate, Journal: hex.EncodeToString(e.Journal[:]), Sequence: e.Sequence, Booking: a.booking.String(),
			People: int(e.People), Over: over, Reason: why.name, At: beijing.At(e.At)})
	}
	return doubles, late, nil
}

// cursor returns up to where a journal was taken in.
func (s store) cursor(ctx context.Context, begin ticket.Cursor) (ticket.Cursor, error) {
	var sequence int64
	var check []byte
	err := s.db.QueryRow(ctx, "SELECT sequence, checked FROM gate_journal WHERE gate = $1 AND journal = $2", int64(begin.Gate), hex.EncodeToString(begin.Journal[:])).Scan(&sequence, &check)
	if errors.Is(err, sqldb.ErrNoRows) {
		return begin, nil
	}
	if err == nil && len(check) != len(begin.Check) {
		err = errors.New("the cursor of a journal is damaged")
	}
	if err == nil {
		begin.Sequence = uint32(sequence)
		copy(begin.Check[:], check)
	}
	return begin, err
}

// keepJournal moves the cursor, and keeps the doubles that were not known.
func (b *Booking) keepJournal(ctx context.Context, at, end ticket.Cursor, doubles []DoubleView) error {
	if at == end {
		return nil
	}
	journal, now := hex.EncodeToString(end.Journal[:]), b.host.Now().UnixMilli()
	return b.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if err := tx.Lock(ctx, "gate_double"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO gate_journal (gate, journal, sequence, checked, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (gate, journal) DO UPDATE SET sequence = excluded.sequence, checked = excluded.checked, at = excluded.at
			WHERE gate_journal.sequence < excluded.sequence`, int64(end.Gate), journal, int64(end.Sequence), end.Check[:], now); err != nil {
			return err
		}
		n, err := sqldb.Value[int64](ctx, tx, "SELECT COALESCE(MAX(n), 0) FROM gate_double")
		if err != nil {
			return err
		}
		for _, d := range doubles {
			number, _ := ledger.ParseNumber(d.Booking) // it was written by us
			made, err := tx.Exec(ctx, `INSERT INTO gate_double (n, gate, journal, sequence, booking, people, over, reason, at, found_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (gate, journal, sequence) DO NOTHING`,
				n+1, int64(d.Gate), d.Journal, int64(d.Sequence), int64(number), int64(d.People), int64(d.Over), d.Reason, int64(d.At), now)
			if err != nil {
				return err
			}
			if n += made; made > 0 {
				tx.OnCommit(b.gates.doubles.WithLabelValues(d.Reason).Inc)
			}
		}
		return nil
	})
}

const doubleColumns = "n, gate, journal, sequence, booking, people, over, reason, at, found_at"

func scanDouble(r sqldb.Scanner) (d DoubleView, err error) {
	var gate, sequence, booking, people, over, at, found int64
	err = r.Scan(&d.n, &gate, &d.Journal, &sequence, &booking, &people, &over, &d.Reason, &at, &found)
	d.Gate, d.Sequence, d.Booking, d.People, d.Over = uint32(gate), uint32(sequence), ledger.Number(booking).String(), int(people), int(over)
	d.At, d.Found = beijing.Time(at), beijing.Time(found)
	return d, err
}

// doublesAmong returns the doubles among records, also where they were taken in before: who sends again is told again.
func (b *Booking) doublesAmong(ctx context.Context, end ticket.Cursor, records []byte) ([]DoubleView, error) {
	if len(records) == 0 {
		return []DoubleView{}, nil
	}
	first, last := binary.BigEndian.Uint32(records), binary.BigEndian.Uint32(records[len(records)-ticket.EntrySize:])
	all, err := sqldb.All(ctx, b.host.DB, scanDouble, "SELECT "+doubleColumns+" FROM gate_double WHERE gate = $1 AND journal = $2 AND sequence >= $3 AND sequence <= $4 ORDER BY sequence",
		int64(end.Gate), hex.EncodeToString(end.Journal[:]), int64(first), int64(last))
	if all == nil {
		all = []DoubleView{}
	}
	return all, err
}

func (b *Booking) listDoubles(ctx context.Context, in *struct{ httpapi.PageQuery }) (*struct{ Body httpapi.Page[DoubleView] }, error) {
	before := int64(1<<63 - 1)
	if position, err := in.Position(); err != nil {
		return nil, err
	} else if position != "" {
		if before, err = strconv.ParseInt(position, 10, 64); err != nil {
			return nil, errs.New(errs.Invalid, "游标无效", "the cursor is not valid").WithField("cursor")
		}
	}
	rows, err := sqldb.All(ctx, b.host.DB, scanDouble, "SELECT "+doubleColumns+" FROM gate_double WHERE n < $1 ORDER BY n DESC LIMIT $2", before, int64(in.Limit+1))
	if err != nil {
		return nil, err
	}
	return &struct{ Body httpapi.Page[DoubleView] }{httpapi.PageOf(rows, in.Limit, func(d DoubleView) string { return strconv.FormatInt(d.n, 10) })}, nil
}
