// Package ledger is the state machine of one shard of bookings: slots and their stock by channel, bookings and what
// becomes of them, and whom a person's limits concern.
//
// It promises that no slot is ever sold beyond its quota, that a key books once, and that the same events leave the same
// state. A command is decided against the state and comes out as an [Event] or as a refusal; an event is applied without
// asking anybody, neither the clock nor chance, so that a log of events is all there is to keep. State belongs to one
// goroutine; what others may read beside it, a slot's stock, is atomic.
//
// A booking takes about 130 bytes: 48 for itself, 32 a visitor, the rest in the tables of keys and people. Slots that are
// over are retired, and give theirs back.
package ledger

import (
	"fmt"
	"sync/atomic"

	"github.com/qiongdev/qiong/kit/ident"
)

// Person is who somebody is to the ledger: the beginning of an HMAC over kind and number of a document, or over the
// account that books where names are not asked for.
type Person [16]byte

// Key is the beginning of a hash over the account that books and its idempotency key.
type Key [16]byte

// Channel is the way by which a booking comes in. Each has its own quota of a slot.
type Channel uint8

// The channels, as stored.
const (
	Online Channel = iota
	Window         // staffed, for those who can't or won't go online
	WalkIn         // at the gate, on the day
	Agency         // travel agencies
	Elderly
	Channels = 5
)

var channelNames = [Channels]string{"online", "window", "walk-in", "agency", "elderly"}

// String returns the channel's name.
func (c Channel) String() string {
	if int(c) < len(channelNames) {
		return channelNames[c]
	}
	return fmt.Sprintf("channel %d", uint8(c))
}

// ParseChannel reads a channel's name.
func ParseChannel(name string) (Channel, bool) {
	for i, n := range channelNames {
		if n == name {
			return Channel(i), true
		}
	}
	return 0, false
}

// Quotas are numbers by channel.
type Quotas [Channels]uint32

// Total returns the sum.
func (q Quotas) Total() (n uint64) {
	for _, v := range q {
		n += uint64(v)
	}
	return n
}

// MaxQuota is the largest quota of one channel in one slot, and so the most bookings a slot can ever have at a time.
const MaxQuota = 1 << 22

// Status is where a booking stands.
type Status uint8

// The statuses, as stored. A booking is live from Held to Entered: it has its places.
const (
	Held Status = iota + 1
	Confirmed
	Entered   // somebody of the party, or all of it
	Expired   // the hold ran out
	Cancelled // by the visitor
	Refunded  // the slot was closed
	Missed    // nobody came
)

var statusNames = [...]string{"", "held", "confirmed", "used", "expired", "cancelled", "refunded", "missed"}

// String returns the status's name.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Live reports whether a booking of this status has places in its slot.
func (s Status) Live() bool { return s == Held || s == Confirmed || s == Entered || s == Missed }

// Number names a booking: shard, slot in the shard, booking in the slot from 1. It is never 0.
type Number uint64

const (
	inSlotBits = 24
	slotBits   = 24
	shardBits  = 14
)

// NumberOf returns the number of the n-th booking of a slot, from 0.
func NumberOf(shard uint16, slot, n uint32) Number {
	return Number(uint64(shard)<<(slotBits+inSlotBits) | uint64(slot)<<inSlotBits | (uint64(n) + 1))
}

// String writes the number as people and URLs know it.
func (n Number) String() string { return ident.String(int64(n)) }

// ParseNumber reads what String wrote.
func ParseNumber(s string) (Number, error) {
	n, err := ident.Parse(s)
	return Number(n), err
}

// PerSlot is how many numbers a slot has.
const PerSlot Number = 1 << inSlotBits

// Shard returns the shard of the booking.
func (n Number) Shard() uint16 { return uint16(n >> (slotBits + inSlotBits)) }

// Slot returns the slot's place in the shard.
func (n Number) Slot() uint32 { return uint32(n>>inSlotBits) & (1<<slotBits - 1) }

func (n Number) inSlot() uint32 { return uint32(n)&(1<<inSlotBits-1) - 1 }

// Rules are those of a spot, as they stand for one slot.
type Rules struct {
	RealName  bool      `json:"realName"`
	Party     int       `json:"party"`               // places of one booking, at most
	Early     int64     `json:"early,omitempty"`     // seconds before the start when people may enter,
	Late      int64     `json:"late,omitempty"`      // and after the end
	PerSlot   int       `json:"perSlot"`             // places of one person in a slot, at most; 0: no limit
	PerDay    int       `json:"perDay"`              // and on a day
	Hold      int64     `json:"hold"`                // seconds that a booking waits for its payment
	Cutoff    int64     `json:"cutoff"`              // seconds before the start when cancelling ends
	ReturnMin int64     `json:"returnMin,omitempty"` // seconds until places that became free are sold again,
	ReturnMax int64     `json:"returnMax,omitempty"` // at a random moment between these two
	Waitlist  int       `json:"waitlist,omitempty"`  // places in the list of those who wait, at most
	Strikes   int       `json:"strikes,omitempty"`   // missed bookings that lead to a ban; 0: never
	Within    int64     `json:"within,omitempty"`    // days within which they count
	Ban       int64     `json:"ban,omitempty"`       // days of the ban
	Products  []Product `json:"products"`
}

// Product is what is sold for a slot. All products of a slot share its stock.
type Product struct {
	Name  string `json:"name"`
	Price int64  `json:"price"` // of one place, in fen
}

// Slot is a stretch of time at a spot, with its places.
type Slot struct {
	Index uint32 // in the shard
	ID    string
	Spot  string
	Day   int32 // days since 1970, Beijing time
	Start int64 // seconds since 1970
	End   int64
	Opens int64 // when its sale begins
	Rules Rules

	quota  Quotas
	free   [Channels]atomic.Int32 // what may be sold; others read it
	room   atomic.Pointer[Quotas] // quota; others read it
	closed atomic.Bool
	ended  bool
	note   string // why it was closed

	pending  Quotas // became free, and goes back on sale later
	back     int64  // when; 0 while nothing is pending
	bookings arena[booking]
	visitors arena[visitor]
	waiting  []waiting
	applied  uint64 // the last event that this slot has seen
}

// Left returns how many places of a channel may be sold now. Any goroutine may ask.
func (s *Slot) Left(c Channel) int { return int(s.free[c].Load()) }

// Capacity returns how many places each channel of the slot has. Any goroutine may ask.
func (s *Slot) Capacity() Quotas { return *s.room.Load() }

// Closed reports whether the slot was closed. Any goroutine may ask.
func (s *Slot) Closed() bool { return s.closed.Load() }

// booking is what the ledger remembers of one.
type booking struct {
	key     Key
	digest  uint64 // of what the key asked for
	until   uint32 // seconds since 1970 when a hold expires
	first   uint32 // visitor
	made    uint32 // seconds since 1970
	places  uint16
	entered uint16
	people  uint8 // visitors with names
	status  Status
	channel Channel
	product uint8
}

// visitor is one person of a booking.
type visitor struct {
	person  Person
	next    uint64 // the next of the same person and day; 0 ends, else reference + 1
	booking uint32
	places  uint16
}

// Visitor is a person of a booking on its way in.
type Visitor struct {
	Person Person
	Child  bool   // goes with an adult
	Sealed []byte // the document, sealed; at most 255 bytes
}

// State is a shard.
type State struct {
	shard   uint16
	slots   []*Slot // nil where retired
	byID    atomic.Pointer[map[string]*Slot]
	days    map[int32]*people
	keys    keys
	strikes map[visiting][]int32 // days on which bookings were missed
	misses  uint64               // the last event that strikes have seen
	live    int
}

// visiting is a person at a spot.
type visiting struct {
	person Person
	spot   string
}

// New returns the empty state of a shard.
func New(shard uint16) (*State, error) {
	if shard >= 1<<shardBits {
		return nil, fmt.Errorf("shard %d is not below %d", shard, 1<<shardBits)
	}
	s := &State{shard: shard, days: map[int32]*people{}, strikes: map[visiting][]int32{}}
	s.byID.Store(&map[string]*Slot{})
	return s, nil
}

// Slot returns the slot with an id; nil where there is none. Any goroutine may ask.
func (s *State) Slot(id string) *Slot { return (*s.byID.Load())[id] }

// Slots returns all slots that are not retired, in no order. Any goroutine may ask.
func (s *State) Slots() []*Slot {
	byID := *s.byID.Load()
	all := make([]*Slot, 0, len(byID))
	for _, slot := range byID {
		all = append(all, slot)
	}
	return all
}

// Len returns how many bookings are remembered.
func (s *State) Len() int { return s.live }

// find returns a booking and its slot; nil where there is none, or no longer.
func (s *State) find(n Number) (*Slot, *booking) {
	if n.Shard() != s.shard || int(n.Slot()) >= len(s.slots) {
		return nil, nil
	}
	slot := s.slots[n.Slot()]
	if slot == nil || int(n.inSlot()) >= slot.bookings.len() {
		return nil, nil
	}
	return slot, slot.bookings.at(n.inSlot())
}

// View is what the ledger knows of a booking.
type View struct {
	Number  Number
	Slot    *Slot
	Status  Status
	Channel Channel
	Product int
	Places  int
	Entered int
	Until   int64 // when a hold expires
}

// Look returns a booking.
func (s *State) Look(n Number) (View, bool) {
	slot, b := s.find(n)
	if b == nil {
		return View{}, false
	}
	return s.view(n, slot, b), true
}

func (s *State) view(n Number, slot *Slot, b *booking) View {
	return View{Number: n, Slot: slot, Status: b.status, Channel: b.channel, Product: int(b.product), Places: int(b.places),
		Entered: int(b.entered), Until: int64(b.until)}
}

// price returns what a booking costs, in fen.
func (s *Slot) price(b *booking) int64 {
	return s.Rules.Products[b.product].Price * int64(b.places)
}
