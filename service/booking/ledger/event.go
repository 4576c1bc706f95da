package ledger

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Kind is what an event tells.
type Kind uint8

// The kinds, as stored in the log.
const (
	SlotOpened Kind = iota + 1
	QuotaSet
	SlotClosed
	Booked
	Settled // a hold was confirmed
	Ended   // places were given up
	Came    // somebody entered
	Absent  // nobody came
	Returned
	Queued   // joined the waitlist
	Unqueued // left it, without a booking
	SlotOver
	DayRetired
)

var kindNames = [...]string{"", "slot.opened", "quota.set", "slot.closed", "booked", "settled", "ended", "came", "absent", "returned",
	"queued", "unqueued", "slot.over", "day.retired"}

// String returns the kind's name.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is one change of a shard. Which fields it has is said by its kind, in encode.
type Event struct {
	Kind    Kind
	At      int64 // milliseconds since 1970
	Slot    uint32
	N       uint32 // booking in the slot, or entry of its waitlist
	Status  Status // of the booking from now on
	Channel Channel
	Product uint8
	Places  uint32
	Until   int64 // seconds since 1970: of a hold; of the return of places
	Amount  int64 // fen: paid, or to be paid back
	Key     Key
	Digest  uint64
	Wait    uint32 // entry of the waitlist that the booking comes from, + 1
	Quotas  Quotas
	Day     int32

	Owner    string // who booked
	Name     string // the key as it was sent
	Note     string // payment, gate, reason
	Visitors []Visitor
	Opened   *Opening
}

// Opening is a slot on its way in.
type Opening struct {
	ID     string `json:"id"`
	Spot   string `json:"spot"`
	Day    int32  `json:"day"`
	Start  int64  `json:"start"`
	End    int64  `json:"end"`
	Opens  int64  `json:"opens"`
	Quotas Quotas `json:"quotas"`
	Rules  Rules  `json:"rules"`
}

// Limits of what an event holds.
const (
	MaxText     = 255
	MaxVisitors = 50
	MaxSealed   = 255
	maxOpening  = 64 << 10
	// MaxEvent is the length of the longest event.
	MaxEvent = 128 << 10
)

// Append appends the event as it stands in the log: kind, time, and the fields of the kind, numbers as varints, texts
// with their length before them.
func (e *Event) Append(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendVarint(b, e.At)
	w := writer{b}
	switch e.Kind {
	case SlotOpened:
		opened, err := json.Marshal(e.Opened)
		if err != nil {
			panic(err) // plain data
		}
		w.number(uint64(e.Slot))
		w.number(uint64(len(opened)))
		w.b = append(w.b, opened...)
	case QuotaSet:
		w.number(uint64(e.Slot))
		w.quotas(e.Quotas)
	case SlotClosed, SlotOver:
		w.number(uint64(e.Slot))
		w.text(e.Note)
	case Booked:
		w.booking(e)
	case Settled, Ended, Came, Absent:
		w.number(uint64(e.Slot))
		w.number(uint64(e.N))
		w.b = append(w.b, byte(e.Status))
		w.number(uint64(e.Places))
		w.signed(e.Until)
		w.signed(e.Amount)
		w.text(e.Owner)
		w.text(e.Note)
	case Returned:
		w.number(uint64(e.Slot))
		w.quotas(e.Quotas)
	case Queued:
		w.booking(e)
	case Unqueued:
		w.number(uint64(e.Slot))
		w.number(uint64(e.N))
		w.text(e.Owner)
		w.text(e.Note)
	case DayRetired:
		w.signed(int64(e.Day))
	default:
		panic("ledger: " + e.Kind.String())
	}
	return w.b
}

type writer struct{ b []byte }

func (w *writer) number(v uint64) { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) signed(v int64)  { w.b = binary.AppendVarint(w.b, v) }

// text writes what a record has room for. Commands refuse longer texts; none may make a record that nobody can read.
func (w *writer) text(s string) {
	for len(s) > MaxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	w.b = append(w.b, byte(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) quotas(q Quotas) {
	for _, v := range q {
		w.number(uint64(v))
	}
}

func (w *writer) booking(e *Event) {
	w.number(uint64(e.Slot))
	w.number(uint64(e.N))
	w.b = append(w.b, byte(e.Status), byte(e.Channel), e.Product)
	w.number(uint64(e.Places))
	w.signed(e.Until)
	w.signed(e.Amount)
	w.b = append(w.b, e.Key[:]...)
	w.b = binary.LittleEndian.AppendUint64(w.b, e.Digest)
	w.number(uint64(e.Wait))
	w.text(e.Owner)
	w.text(e.Name)
	w.b = append(w.b, byte(len(e.Visitors)))
	for i := range e.Visitors {
		v := &e.Visitors[i]
		w.b = append(w.b, v.Person[:]...)
		w.b = append(w.b, flag(v.Child), byte(len(v.Sealed)))
		w.b = append(w.b, v.Sealed...)
	}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Parse reads an event, into the visitors that e has. Texts and sealed documents are copies.
func (e *Event) Parse(b []byte) error { return e.parse(b, false) }

// ParseBare is Parse without what the state doesn't remember of a booking: texts and sealed documents.
func (e *Event) ParseBare(b []byte) error { return e.parse(b, true) }

func (e *Event) parse(b []byte, bare bool) error {
	visitors := e.Visitors[:0]
	*e = Event{Visitors: visitors}
	r := reader{b: b, whole: len(b)}
	if len(b) > 0 {
		r.bare = bare && Kind(b[0]) != Queued && Kind(b[0]) != SlotClosed
	}
	e.Kind = Kind(r.byte())
	e.At = r.signed()
	switch e.Kind {
	case SlotOpened:
		e.Slot = r.index(slotBits)
		opened := r.bytes(r.length(maxOpening))
		if r.err == nil {
			e.Opened = new(Opening)
			if err := json.Unmarshal(opened, e.Opened); err != nil {
				return fmt.Errorf("event %s: %w", e.Kind, err)
			}
		}
	case QuotaSet, Returned:
		e.Slot = r.index(slotBits)
		r.quotas(&e.Quotas)
	case SlotClosed, SlotOver:
		e.Slot = r.index(slotBits)
		e.Note = r.text()
	case Booked, Queued:
		r.booking(e)
	case Settled, Ended, Came, Absent:
		e.Slot = r.index(slotBits)
		e.N = r.index(inSlotBits)
		e.Status = Status(r.byte())
		e.Places = uint32(r.number(1 << 16))
		e.Until = r.signed()
		e.Amount = r.signed()
		e.Owner = r.text()
		e.Note = r.text()
	case Unqueued:
		e.Slot = r.index(slotBits)
		e.N = r.index(inSlotBits)
		e.Owner = r.text()
		e.Note = r.text()
	case DayRetired:
		e.Day = int32(r.signed())
	default:
		return fmt.Errorf("%s at byte 0", e.Kind)
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return fmt.Errorf("event %s: %w", e.Kind, r.err)
	}
	return nil
}

// reader reads what a writer wrote. After the first fault it reads zeros.
type reader struct {
	b     []byte
	whole int
	bare  bool
	err   error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("damaged at byte %d", r.whole-len(r.b))
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

// number reads a number up to most.
func (r *reader) number(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) index(bits int) uint32 { return uint32(r.number(1<<bits - 1)) }
func (r *reader) length(most int) int   { return int(r.number(uint64(most))) }

func (r *reader) text() string {
	text := r.bytes(int(r.byte()))
	if r.bare {
		return ""
	}
	return string(text)
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) quotas(q *Quotas) {
	for i := range q {
		q[i] = uint32(r.number(MaxQuota))
	}
}

func (r *reader) booking(e *Event) {
	e.Slot = r.index(slotBits)
	e.N = r.index(inSlotBits)
	e.Status, e.Channel, e.Product = Status(r.byte()), Channel(r.byte()), r.byte()
	e.Places = uint32(r.number(1<<16 - 1))
	e.Until = r.signed()
	e.Amount = r.signed()
	copy(e.Key[:], r.bytes(len(e.Key)))
	if digest := r.bytes(8); digest != nil {
		e.Digest = binary.LittleEndian.Uint64(digest)
	}
	e.Wait = uint32(r.number(1 << inSlotBits))
	e.Owner = r.text()
	e.Name = r.text()
	n := int(r.byte())
	if n > MaxVisitors || e.Channel >= Channels {
		r.fail()
	}
	for range n {
		var v Visitor
		copy(v.Person[:], r.bytes(len(v.Person)))
		v.Child = r.byte() == 1
		if sealed := r.bytes(int(r.byte())); len(sealed) > 0 && !r.bare {
			v.Sealed = append([]byte(nil), sealed...)
		}
		e.Visitors = append(e.Visitors, v)
	}
}
