package ticket

import (
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// GateConfig is what a gate is made of.
type GateConfig struct {
	ID      uint32
	Journal [8]byte       // random, new where a journal is begun, so that no two journals are taken for one
	Spot    uint16        // where it stands
	Keys    *Keys         // whose codes it believes
	Grace   time.Duration // how much too early or late is still let in
}

// Gate is the state of a gate device, which may be without a network for days. It remembers who came through it, and what
// it was told of other gates and of cancelled bookings. It belongs to one caller at a time, which writes what [Gate.Enter]
// returns to the journal before it opens.
type Gate struct {
	cfg     GateConfig
	cursor  Cursor
	people  map[uint64]passage
	revoked map[uint64]bool
	upTo    uint64 // how many revocations there were so far
}

// passage is how many of a booking have entered.
type passage struct {
	here, elsewhere uint16
	until           uint32 // Unix minutes: the end of its validity
}

// Decision is what a gate says of a code.
type Decision struct {
	Reason Reason // OK: they may enter
	Ticket Ticket // empty where the code is no true one
	Before int    // of the party, who had entered before
	People int    // who enter now; 0 but where Reason is OK
	Left   int    // of the party, who may enter later
}

// NewGate returns a gate with an empty journal, and the journal's head, with which its file begins.
func NewGate(cfg GateConfig) (*Gate, []byte) {
	g := &Gate{cfg: cfg, people: map[uint64]passage{}, revoked: map[uint64]bool{}}
	head := journalHead(cfg.ID, cfg.Journal)
	g.cursor = begin(cfg.ID, cfg.Journal)
	return g, head
}

// OpenGate returns the gate that wrote a journal, as it was at its last whole entry, and the length up to there: cut the
// file to it, since a power cut may have left a part of an entry. The gate's id and the journal's are read from it.
func OpenGate(cfg GateConfig, journal []byte) (*Gate, int, error) {
	cursor, err := parseHead(journal)
	if err != nil {
		return nil, 0, err
	}
	if cursor.Gate != cfg.ID {
		return nil, 0, errs.New(errs.Invalid, "不是本闸机的日志", "the journal of another gate").WithCode("ticket.journal")
	}
	cfg.Journal = cursor.Journal
	g, _ := NewGate(cfg)
	whole := len(journal) - (len(journal)-headSize)%entrySize
	entries, cursor, err := cursor.Read(journal[headSize:whole])
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		g.count(e)
	}
	g.cursor = cursor
	return g, whole, nil
}

// Check says whether the rest of a code's party may enter now. It changes nothing.
func (g *Gate) Check(code string, now time.Time) Decision { return g.decide(code, 0, now) }

// Enter lets people of a code's party in, all that are left where people is 0, and returns the entry to append to the
// journal: write and sync it, then open. The entry is nil where they are refused.
func (g *Gate) Enter(code string, people int, now time.Time) (Decision, []byte) {
	d := g.decide(code, people, now)
	if d.Reason != OK {
		return d, nil
	}
	e := Entry{
		Gate: g.cfg.ID, Journal: g.cfg.Journal, Sequence: g.cursor.Sequence + 1,
		Booking: d.Ticket.Booking, Slot: d.Ticket.Slot, People: uint16(d.People), Party: d.Ticket.Party,
		At: time.UnixMilli(now.UnixMilli()), Until: d.Ticket.Until,
	}
	var record []byte
	record, g.cursor = g.cursor.append(e)
	g.count(e)
	return d, record
}

func (g *Gate) decide(code string, people int, now time.Time) Decision {
	c, err := Parse(code)
	if err != nil {
		return Decision{Reason: Malformed}
	}
	if why := g.cfg.Keys.signed(c.Key, c.body[:], c.sig[:]); why != OK {
		return Decision{Reason: why}
	}
	p := g.people[c.Ticket.Booking]
	d := Decision{Ticket: c.Ticket, Before: int(p.here) + int(p.elsewhere)}
	d.Left = max(int(c.Ticket.Party)-d.Before, 0)
	d.Reason = c.Ticket.valid(g.cfg.Spot, now, g.cfg.Grace)
	switch {
	case d.Reason != OK:
	case g.revoked[c.Ticket.Booking]:
		d.Reason = Revoked
	case d.Left == 0:
		d.Reason = Entered
	case people < 0 || people > d.Left:
		d.Reason = TooMany
	default:
		if d.People = people; people == 0 {
			d.People = d.Left
		}
		d.Left -= d.People
	}
	return d
}

func (g *Gate) count(e Entry) {
	p := g.people[e.Booking]
	p.here += e.People
	p.until = uint32(e.Until.Unix() / 60)
	g.people[e.Booking] = p
}

// Elsewhere tells the gate how many people of a booking have come through other gates in all, until when its ticket is
// valid. Told again, it keeps the greater number.
func (g *Gate) Elsewhere(booking uint64, people int, until time.Time) {
	p := g.people[booking]
	p.elsewhere = max(p.elsewhere, uint16(min(max(people, 0), 1<<16-1)))
	p.until = uint32(until.Unix() / 60)
	g.people[booking] = p
}

// Prune forgets the bookings whose tickets are no longer valid; call it once a day.
func (g *Gate) Prune(now time.Time) {
	for booking, p := range g.people {
		if now.Add(-g.cfg.Grace).Unix()/60 > int64(p.until) {
			delete(g.people, booking)
		}
	}
}

// SetKeys replaces the keys whose codes the gate believes.
func (g *Gate) SetKeys(k *Keys) { g.cfg.Keys = k }

// Cursor returns the end of the gate's journal.
func (g *Gate) Cursor() Cursor { return g.cursor }
