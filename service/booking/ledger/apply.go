package ledger

import (
	"fmt"
	"maps"
	"slices"
)

// waiting is an entry of a slot's waitlist.
type waiting struct {
	event Event // as it was queued
	gone  bool
}

// Replay applies an event from the log. What a snapshot has seen already is passed over.
func (s *State) Replay(sequence uint64, data []byte, e *Event) error {
	if err := e.ParseBare(data); err != nil {
		return err
	}
	return s.apply(sequence, e)
}

// Apply is Replay of an event that was read by ParseBare.
func (s *State) Apply(sequence uint64, e *Event) error { return s.apply(sequence, e) }

// apply changes the state as e says. An error means that the event doesn't fit the state: the log is another's, or the
// program is wrong.
func (s *State) apply(sequence uint64, e *Event) error {
	switch e.Kind {
	case SlotOpened:
		return s.open(sequence, e)
	case DayRetired:
		s.retire(e.Day)
		return nil
	}
	if int(e.Slot) >= len(s.slots) {
		return misfit(e, "there is no slot %d", e.Slot)
	}
	slot := s.slots[e.Slot]
	if slot == nil {
		return nil // retired since
	}
	seen := sequence <= slot.applied
	if sequence > s.misses {
		switch {
		case e.Kind == Absent:
			s.strike(slot, e)
		case e.Kind == Came && e.Amount == wasMissed:
			s.pardon(slot, e)
		}
	}
	if seen {
		return nil
	}
	slot.applied = sequence
	switch e.Kind {
	case QuotaSet:
		for c := range slot.quota {
			slot.free[c].Add(int32(e.Quotas[c]) - int32(slot.quota[c]))
		}
		slot.quota = e.Quotas
		slot.room.Store(new(e.Quotas))
	case SlotClosed:
		slot.note = e.Note
		slot.closed.Store(true)
	case SlotOver:
		slot.ended = true
	case Booked:
		return s.book(slot, e)
	case Returned:
		for c, n := range e.Quotas {
			slot.pending[c] -= n
			slot.free[c].Add(int32(n))
		}
		slot.back = 0
	case Queued:
		entry := *e
		entry.Visitors = slices.Clone(e.Visitors)
		slot.waiting = append(slot.waiting, waiting{event: entry})
	case Unqueued:
		if int(e.N) >= len(slot.waiting) {
			return misfit(e, "there is no entry %d", e.N)
		}
		slot.waiting[e.N].gone = true
	case Settled, Ended, Came, Absent:
		return s.move(slot, e)
	default:
		return misfit(e, "is unknown")
	}
	return nil
}

func misfit(e *Event, format string, args ...any) error {
	return fmt.Errorf("event %s does not fit: "+format, append([]any{e.Kind}, args...)...)
}

func (s *State) open(sequence uint64, e *Event) error {
	if int(e.Slot) != len(s.slots) {
		return misfit(e, "slot %d is not the next", e.Slot)
	}
	slot := newSlot(e.Slot, e.Opened)
	slot.applied = sequence
	s.slots = append(s.slots, slot)
	s.publish(func(byID map[string]*Slot) { byID[slot.ID] = slot })
	return nil
}

func newSlot(index uint32, o *Opening) *Slot {
	slot := &Slot{Index: index, ID: o.ID, Spot: o.Spot, Day: o.Day, Start: o.Start, End: o.End, Opens: o.Opens, Rules: o.Rules, quota: o.Quotas}
	slot.room.Store(new(o.Quotas))
	for c, n := range o.Quotas {
		slot.free[c].Store(int32(n))
	}
	return slot
}

// publish replaces the map that others read.
func (s *State) publish(change func(map[string]*Slot)) {
	byID := maps.Clone(*s.byID.Load())
	change(byID)
	s.byID.Store(&byID)
}

func (s *State) retire(day int32) {
	s.publish(func(byID map[string]*Slot) {
		for i, slot := range s.slots {
			if slot != nil && slot.Day == day {
				s.live -= slot.bookings.len()
				s.slots[i] = nil
				delete(byID, slot.ID)
			}
		}
	})
	delete(s.days, day)
}

func (s *State) book(slot *Slot, e *Event) error {
	i, b := slot.bookings.add()
	if i != e.N {
		return misfit(e, "booking %d of slot %d is not the next", e.N, e.Slot)
	}
	*b = booking{key: e.Key, digest: e.Digest, until: uint32(e.Until), first: uint32(slot.visitors.len()), made: uint32(e.At / 1000),
		places: uint16(e.Places), people: uint8(len(e.Visitors)), status: e.Status, channel: e.Channel, product: e.Product}
	for j := range e.Visitors {
		at, v := slot.visitors.add()
		*v = visitor{person: e.Visitors[j].Person, booking: i, places: 1}
		if !slot.Rules.RealName {
			v.places = b.places
		}
		s.link(slot, at, v)
	}
	slot.free[e.Channel].Add(-int32(e.Places))
	if e.Wait > 0 && int(e.Wait) <= len(slot.waiting) {
		slot.waiting[e.Wait-1].gone = true
	}
	s.live++
	s.remember(NumberOf(s.shard, e.Slot, i), b)
	return nil
}

// move gives a booking its next status.
func (s *State) move(slot *Slot, e *Event) error {
	if int(e.N) >= slot.bookings.len() {
		return misfit(e, "there is no booking %d", e.N)
	}
	b := slot.bookings.at(e.N)
	if e.Kind == Came {
		b.entered += uint16(e.Places)
	}
	was := b.status
	b.status = e.Status
	if e.Kind != Ended || !was.Live() {
		return nil
	}
	if e.Until == 0 {
		slot.free[b.channel].Add(int32(b.places))
		return nil
	}
	slot.pending[b.channel] += uint32(b.places)
	if slot.back == 0 {
		slot.back = e.Until
	}
	return nil
}

// maxStrikes is how many missed bookings of somebody at a spot are remembered: more than any rule asks for.
const maxStrikes = 4096

// strike remembers that the people of a booking did not come.
func (s *State) strike(slot *Slot, e *Event) {
	if slot.Rules.Strikes == 0 || int(e.N) >= slot.bookings.len() {
		return
	}
	b := slot.bookings.at(e.N)
	for i := range uint32(b.people) {
		p := visiting{slot.visitors.at(b.first + i).person, slot.Spot}
		days := slices.DeleteFunc(s.strikes[p], func(d int32) bool { return int64(slot.Day-d) > slot.Rules.Within })
		if len(days) == maxStrikes {
			days = days[1:]
		}
		s.strikes[p] = append(days, slot.Day)
	}
}

// pardon takes back what strike remembered: they had come.
func (s *State) pardon(slot *Slot, e *Event) {
	if int(e.N) >= slot.bookings.len() {
		return
	}
	b := slot.bookings.at(e.N)
	for i := range uint32(b.people) {
		p := visiting{slot.visitors.at(b.first + i).person, slot.Spot}
		days := s.strikes[p]
		if at := slices.Index(days, slot.Day); at >= 0 {
			days = slices.Delete(days, at, at+1)
		}
		if s.strikes[p] = days; len(days) == 0 {
			delete(s.strikes, p)
		}
	}
}

// banned returns the day on which a person's ban at a slot's spot ends; 0 where there is none.
func (s *State) banned(p Person, slot *Slot, today int32) int32 {
	r := &slot.Rules
	if r.Strikes == 0 {
		return 0
	}
	days := s.strikes[visiting{p, slot.Spot}]
	if len(days) < r.Strikes {
		return 0
	}
	last := slices.Max(days)
	counting := 0
	for _, d := range days {
		if int64(last-d) <= r.Within {
			counting++
		}
	}
	if end := last + int32(r.Ban); counting >= r.Strikes && today < end {
		return end
	}
	return 0
}
