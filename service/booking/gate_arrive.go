package booking

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/shard"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// arrival is people of a booking at a gate, on their way into the ledger. One with the same id is taken once, however
// often it is told: the id stands in the log, in the event's note, and so survives every crash that the entry survives.
type arrival struct {
	booking ledger.Number
	people  int       // 0: all that are left
	past    time.Time // when they entered, where a gate let them in by itself; else zero
	gate    string
	id      string // without '#' and '.'
	check   string // of what was asked for under the id

	// What became of it.
	admitted int
	left     int
	refused  *errs.Error
	status   ledger.Status // where it was refused
	reused   bool          // the id stands for something else
}

func (a *arrival) note() string { return a.gate + "#" + a.id + "." + a.check }

// words returns the note of an act for people: of an entry, just the gate.
func (a *actRow) words() string {
	if a.kind != ledger.Came {
		return a.note
	}
	gate, _, _ := strings.Cut(a.note, "#")
	return gate
}

// reason says what the ledger said.
func (a *arrival) reason() reason {
	switch {
	case a.refused == nil:
		return reasonOf(ticket.OK)
	case a.refused == ledger.ErrNoBooking:
		return reasonUnknown
	case a.refused == ledger.ErrUnpaid:
		return reasonUnpaid
	case a.refused == ledger.ErrLapsed && a.status == ledger.Missed:
		return reasonMissed
	case a.refused == ledger.ErrLapsed:
		return reasonOf(ticket.Revoked)
	case a.refused == ledger.ErrEarly:
		return reasonOf(ticket.TooEarly)
	case a.refused == ledger.ErrLate:
		return reasonOf(ticket.TooLate)
	case a.left == 0:
		return reasonAllIn
	}
	return reasonOf(ticket.TooMany)
}

// entries is who has come of a booking, as the tables know it.
type entries struct {
	people int
	byID   map[string]entry
}

type entry struct {
	people, total int // of this one, and of all up to it
	check         string
}

func (e *entries) add(note string, people int) {
	e.people += people
	_, rest, _ := strings.Cut(note, "#")
	id, check, _ := strings.Cut(rest, ".")
	e.byID[id] = entry{people, e.people, check}
}

// visits is who has come since a shard was opened, by booking. Its map belongs to the shard's writer.
type visits struct {
	of    *shard.Shard
	known map[ledger.Number]*entries
}

// maxVisits is how many bookings are kept in memory: some 50 MB.
const maxVisits = 200_000

// visits returns those of a seat's shard. They end with the shard, since what it has not made durable never was.
func (s *seat) visits(of *shard.Shard) *visits {
	place := &s.b.gates.visits[s.number]
	for {
		now := place.Load()
		if now != nil && now.of == of {
			return now
		}
		if place.CompareAndSwap(now, &visits{of, map[ledger.Number]*entries{}}) {
			return place.Load()
		}
	}
}

// learn takes over what was looked up and is newer, and forgets some where there are too many: they can be looked up again.
func (v *visits) learn(found map[ledger.Number]*entries) {
	for n, e := range found {
		if k := v.known[n]; k == nil || k.people < e.people {
			v.known[n] = e
		}
	}
	for n := range v.known {
		if len(v.known) <= maxVisits {
			return
		}
		delete(v.known, n)
	}
}

const (
	arrivePiece  = 500 // arrivals that the writer takes at a time
	arriveRounds = 10
)

// arrive has the ledgers decide on arrivals, each once and in their order for each booking. After an error some may have
// been taken; telling them again leads to the same.
func (b *Booking) arrive(ctx context.Context, all []*arrival) error {
	byShard := map[uint16][]*arrival{}
	for _, a := range all {
		if n := a.booking.Shard(); int(n) < len(b.seats) {
			byShard[n] = append(byShard[n], a)
		} else {
			a.refused = ledger.ErrNoBooking
		}
	}
	for n, of := range byShard {
		for piece := range slices.Chunk(of, arrivePiece) {
			if err := b.seats[n].arrive(ctx, piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrive asks the writer first. Where the ledger knows of more people than are remembered, as after a restart, one of them
// may be this very arrival: it is looked up who they are, and the writer is asked again.
func (s *seat) arrive(ctx context.Context, todo []*arrival) error {
	found := map[ledger.Number]*entries{}
	for range arriveRounds {
		running, err := s.shard()
		if err != nil {
			return err
		}
		var again []*arrival
		visits, asked := s.visits(running), todo
		if err := running.Do(ctx, func(now int64, st *ledger.State, emit ledger.Emit) {
			visits.learn(found)
			again = decide(now, st, emit, asked, visits.known)
		}); err != nil {
			return err
		}
		if todo = again; len(todo) == 0 {
			return nil
		}
		found = map[ledger.Number]*entries{}
		if err := s.caughtUp(ctx); err != nil {
			return err
		}
		for _, a := range todo {
			if found[a.booking], err = s.b.store.entries(ctx, a.booking); err != nil {
				return err
			}
		}
	}
	return errs.New(errs.Unavailable, "同一预约正在多处入园，请再试一次", "others of this booking are entering: try again").WithCode("booking.busy").WithRetryAfter(time.Second)
}

// decide decides on arrivals, and returns those of which more must be known first.
func decide(now int64, st *ledger.State, emit ledger.Emit, todo []*arrival, known map[ledger.Number]*entries) (again []*arrival) {
	for _, a := range todo {
		v, ok := st.Look(a.booking)
		if !ok {
			a.refused = ledger.ErrNoBooking
			continue
		}
		k := known[a.booking]
		if k == nil {
			k = &entries{byID: map[string]entry{}}
			known[a.booking] = k
		}
		if v.Entered != k.people {
			again = append(again, a)
		} else if e, told := k.byID[a.id]; told {
			a.admitted, a.left, a.reused = e.people, v.Places-e.total, e.check != a.check
		} else if a.enter(now, v, st, emit); a.admitted > 0 {
			k.add(a.note(), a.admitted)
		}
	}
	return again
}

// enter asks the ledger. Of those whom a gate has let in already, as many are taken as still may enter.
func (a *arrival) enter(now int64, v ledger.View, st *ledger.State, emit ledger.Emit) {
	left, people := v.Places-v.Entered, a.people
	switch {
	case people == 0:
		people = left
	case !a.past.IsZero():
		people = min(people, left)
		r := &v.Slot.Rules // the gate has its own clock, and some grace
		now = min(max(a.past.UnixMilli(), (v.Slot.Start-r.Early)*1000), (v.Slot.End+r.Late)*1000-1)
	}
	if _, a.refused = st.Enter(now, a.booking, max(people, 1), a.note(), emit); a.refused != nil {
		a.left, a.status = left, v.Status
		return
	}
	a.admitted, a.left = people, left-people
}

// entries returns who has come of a booking.
func (s store) entries(ctx context.Context, n ledger.Number) (*entries, error) {
	e := &entries{byID: map[string]entry{}}
	_, err := sqldb.All(ctx, s.db, func(r sqldb.Scanner) (none struct{}, err error) {
		var note string
		var places int64
		if err = r.Scan(&note, &places); err == nil {
			e.add(note, int(places))
		}
		return none, err
	}, "SELECT note, places FROM act WHERE booking = $1 AND kind = $2 ORDER BY lsn", int64(n), int64(ledger.Came))
	return e, err
}
