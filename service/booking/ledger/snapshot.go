package ledger

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// A snapshot is a head and one part a slot, each with its length before it. The parts need not be of the same moment:
// every event changes one slot, and each part knows the last event it has seen. What crosses slots is found again from
// them, but for missed bookings, which the head has. So a slot at a time is written, and bookings go on in between.

const (
	snapshotVersion = 2 // 1 had missed bookings without their spots: they are not read
	maxPart         = 1 << 31
)

// AppendHead appends the head of a snapshot, as of the event with that sequence number, and returns how many parts follow.
func (s *State) AppendHead(b []byte, sequence uint64) (head []byte, slots int) {
	w := writer{b}
	w.number(snapshotVersion)
	w.number(uint64(s.shard))
	w.number(sequence)
	w.number(uint64(len(s.slots)))
	w.number(uint64(len(s.strikes)))
	for p, days := range s.strikes {
		w.b = append(w.b, p.person[:]...)
		w.text(p.spot)
		w.number(uint64(len(days)))
		for _, d := range days {
			w.signed(int64(d))
		}
	}
	return w.b, len(s.slots)
}

// AppendSlot appends the part of the i-th slot; an empty one where it was retired. The documents of those who wait are in
// it while they can still be served.
func (s *State) AppendSlot(b []byte, i int) []byte {
	slot := s.slots[i]
	if slot == nil {
		return b
	}
	w := writer{b}
	w.number(slot.applied)
	opened, err := json.Marshal(&Opening{ID: slot.ID, Spot: slot.Spot, Day: slot.Day, Start: slot.Start, End: slot.End, Opens: slot.Opens,
		Quotas: slot.quota, Rules: slot.Rules})
	if err != nil {
		panic(err) // plain data
	}
	w.number(uint64(len(opened)))
	w.b = append(w.b, opened...)
	w.b = append(w.b, flag(slot.Closed())|flag(slot.ended)<<1)
	w.text(slot.note)
	for c := range slot.free {
		w.signed(int64(slot.free[c].Load()))
	}
	w.quotas(slot.pending)
	w.signed(slot.back)
	w.number(uint64(slot.bookings.len()))
	for n := range uint32(slot.bookings.len()) {
		w.kept(slot, slot.bookings.at(n))
	}
	w.number(uint64(len(slot.waiting)))
	for i := range slot.waiting {
		entry := slot.waiting[i].kept(slot).Append(nil)
		w.b = append(w.b, flag(slot.waiting[i].gone))
		w.number(uint64(len(entry)))
		w.b = append(w.b, entry...)
	}
	return w.b
}

// kept returns an entry as a snapshot keeps it: without documents where nobody will make a booking of it any more.
func (w *waiting) kept(slot *Slot) *Event {
	if !w.gone && !slot.ended && !slot.Closed() {
		return &w.event
	}
	e := w.event
	e.Visitors = slices.Clone(e.Visitors)
	for i := range e.Visitors {
		e.Visitors[i].Sealed = nil
	}
	return &e
}

func (w *writer) kept(slot *Slot, b *booking) {
	w.b = append(w.b, b.key[:]...)
	w.b = binary.LittleEndian.AppendUint64(w.b, b.digest)
	w.b = binary.LittleEndian.AppendUint32(w.b, b.until)
	w.b = binary.LittleEndian.AppendUint32(w.b, b.made)
	w.b = append(w.b, byte(b.status), byte(b.channel), b.product, b.people)
	w.number(uint64(b.places))
	w.number(uint64(b.entered))
	for i := range uint32(b.people) {
		p := slot.visitors.at(b.first + i).person
		w.b = append(w.b, p[:]...)
	}
}

// ReadSnapshot reads a snapshot into an empty state, part by part from next, which returns io.EOF after the last. It
// returns the sequence number of the head, from which on the log is replayed.
func (s *State) ReadSnapshot(next func() ([]byte, error)) (sequence uint64, err error) {
	head, err := next()
	if err != nil {
		return 0, fmt.Errorf("snapshot: head: %w", err)
	}
	r := reader{b: head, whole: len(head)}
	version := r.number(1 << 32)
	if r.err == nil && (version < 1 || version > snapshotVersion) {
		return 0, fmt.Errorf("snapshot of version %d, of which this program knows nothing", version)
	}
	if shard := r.number(1 << shardBits); r.err == nil && shard != uint64(s.shard) {
		return 0, fmt.Errorf("snapshot of shard %d, not %d", shard, s.shard)
	}
	sequence = r.number(1<<64 - 1)
	s.misses = sequence
	slots := r.length(1 << slotBits)
	for range r.length(1 << 32) {
		var p visiting
		copy(p.person[:], r.bytes(len(p.person)))
		if version > 1 {
			p.spot = r.text()
		}
		days := make([]int32, r.length(len(r.b)))
		for i := range days {
			days[i] = int32(r.signed())
		}
		if r.err != nil {
			break
		}
		if version > 1 {
			s.strikes[p] = days
		}
	}
	if r.err != nil || len(r.b) > 0 {
		return 0, fmt.Errorf("snapshot: head: %w", r.ended())
	}
	byID := map[string]*Slot{}
	for i := range slots {
		part, err := next()
		if err != nil {
			return 0, fmt.Errorf("snapshot: slot %d of %d: %w", i, slots, err)
		}
		s.slots = append(s.slots, nil)
		if len(part) == 0 {
			continue
		}
		slot, err := s.readSlot(uint32(i), part)
		if err != nil {
			return 0, fmt.Errorf("snapshot: slot %d: %w", i, err)
		}
		byID[slot.ID] = slot
	}
	if _, err := next(); err != io.EOF {
		return 0, fmt.Errorf("snapshot: there is more after %d slots", slots)
	}
	s.byID.Store(&byID)
	return sequence, nil
}

// Mark commits an event that changes nothing: it retires a day that no slot has. Snapshots are named by their last event;
// where nothing happens, this makes room for a newer one.
func (s *State) Mark(now int64, emit Emit) {
	s.commit(&Event{Kind: DayRetired, At: now, Day: -1}, emit)
}

// ended says that something is left over, where nothing was wrong before.
func (r *reader) ended() error {
	if len(r.b) > 0 {
		r.fail()
	}
	return r.err
}

func (s *State) readSlot(index uint32, part []byte) (*Slot, error) {
	r := reader{b: part, whole: len(part)}
	applied := r.number(1<<64 - 1)
	opened := r.bytes(r.length(maxOpening))
	if r.err != nil {
		return nil, r.err
	}
	var o Opening
	if err := json.Unmarshal(opened, &o); err != nil {
		return nil, err
	}
	if refused := o.check(); refused != nil {
		return nil, refused
	}
	slot := newSlot(index, &o)
	s.slots[index] = slot
	slot.applied = applied
	flags := r.byte()
	slot.closed.Store(flags&1 != 0)
	slot.ended = flags&2 != 0
	slot.note = r.text()
	for c := range slot.free {
		slot.free[c].Store(int32(r.signed()))
	}
	r.quotas(&slot.pending)
	slot.back = r.signed()
	for range r.length(maxAttempts) {
		if s.readBooking(slot, &r); r.err != nil {
			return nil, r.err
		}
	}
	for range r.length(1 << inSlotBits) {
		var w waiting
		w.gone = r.byte() == 1
		entry := r.bytes(r.length(MaxEvent))
		if r.err != nil {
			return nil, r.err
		}
		if err := w.event.Parse(entry); err != nil {
			return nil, err
		}
		slot.waiting = append(slot.waiting, w)
	}
	return slot, r.ended()
}

func (s *State) readBooking(slot *Slot, r *reader) {
	n, b := slot.bookings.add()
	copy(b.key[:], r.bytes(len(b.key)))
	if fixed := r.bytes(20); fixed != nil {
		b.digest = binary.LittleEndian.Uint64(fixed)
		b.until = binary.LittleEndian.Uint32(fixed[8:])
		b.made = binary.LittleEndian.Uint32(fixed[12:])
		b.status, b.channel, b.product, b.people = Status(fixed[16]), Channel(fixed[17]), fixed[18], fixed[19]
	}
	b.places = uint16(r.number(1<<16 - 1))
	b.entered = uint16(r.number(1<<16 - 1))
	b.first = uint32(slot.visitors.len())
	if b.channel >= Channels || b.people > MaxVisitors || int(b.product) >= len(slot.Rules.Products) {
		r.fail()
	}
	for range b.people {
		at, v := slot.visitors.add()
		copy(v.person[:], r.bytes(len(v.person)))
		v.booking, v.places = n, 1
		if !slot.Rules.RealName {
			v.places = b.places
		}
		if r.err != nil {
			return
		}
		s.link(slot, at, v)
	}
	if r.err == nil {
		s.live++
		s.remember(NumberOf(s.shard, slot.Index, n), b)
	}
}
