package ledger

import "encoding/binary"

const chunk = 1 << 10

// arena is a list that grows without moving what is in it.
type arena[T any] struct {
	chunks []*[chunk]T
	n      int
}

func (a *arena[T]) len() int { return a.n }

func (a *arena[T]) at(i uint32) *T { return &a.chunks[i/chunk][i%chunk] }

func (a *arena[T]) add() (uint32, *T) {
	if a.n == len(a.chunks)*chunk {
		a.chunks = append(a.chunks, new([chunk]T))
	}
	i := uint32(a.n)
	a.n++
	return i, a.at(i)
}

// parts is into how many parts a table is cut, each of which grows by itself: no booking waits for the whole to move.
const parts = 256

// table finds references by the hash of what they refer to. Removing is not needed.
type table struct {
	part [parts]struct {
		entries []entry
		used    int
	}
}

// entry has the hash beside the reference, so that nothing else is looked at while there is no match, or while it moves.
type entry struct {
	hash uint64
	ref  uint64 // + 1; 0: empty
}

// find returns the first reference of that hash for which is holds.
func (t *table) find(hash uint64, is func(ref uint64) bool) (uint64, bool) {
	p := &t.part[hash%parts]
	if p.used == 0 {
		return 0, false
	}
	mask := uint64(len(p.entries) - 1)
	for i := hash / parts & mask; p.entries[i].ref != 0; i = (i + 1) & mask {
		if e := &p.entries[i]; e.hash == hash && is(e.ref-1) {
			return e.ref - 1, true
		}
	}
	return 0, false
}

// put adds a reference.
func (t *table) put(hash, ref uint64) {
	p := &t.part[hash%parts]
	if p.used*4 >= len(p.entries)*3 {
		old := p.entries
		p.entries = make([]entry, max(8, 2*len(old)))
		for _, e := range old {
			if e.ref != 0 {
				place(p.entries, e)
			}
		}
	}
	place(p.entries, entry{hash, ref + 1})
	p.used++
}

// set replaces the reference old, which is there, by ref.
func (t *table) set(hash, old, ref uint64) {
	p := &t.part[hash%parts]
	mask := uint64(len(p.entries) - 1)
	for i := hash / parts & mask; ; i = (i + 1) & mask {
		if p.entries[i].ref == old+1 {
			p.entries[i].ref = ref + 1
			return
		}
	}
}

func place(entries []entry, e entry) {
	mask := uint64(len(entries) - 1)
	i := e.hash / parts & mask
	for entries[i].ref != 0 {
		i = (i + 1) & mask
	}
	entries[i] = e
}

// warm touches where a hash would be found, so that many can be fetched from memory at a time.
func (t *table) warm(hash uint64) uint64 {
	if t == nil {
		return 0
	}
	p := &t.part[hash%parts]
	if p.used == 0 {
		return 0
	}
	return p.entries[hash/parts&uint64(len(p.entries)-1)].ref
}

func (p Person) hash() uint64 { return binary.LittleEndian.Uint64(p[:8]) }

func (k Key) hash() uint64 { return binary.LittleEndian.Uint64(k[:8]) }

// people finds the visitors of a day by person: the table refers to the last of them, which lead on to the others.
type people struct{ table }

// ref is slot and visitor in one number.
func visitorRef(slot, visitor uint32) uint64 { return uint64(slot)<<32 | uint64(visitor) }

func (s *State) visitor(ref uint64) *visitor {
	return s.slots[ref>>32].visitors.at(uint32(ref))
}

// visits calls each for every live booking of a person on a day.
func (s *State) visits(day int32, p Person, each func(slot *Slot, v *visitor)) {
	d := s.days[day]
	if d == nil {
		return
	}
	ref, ok := d.find(p.hash(), func(ref uint64) bool { return s.visitor(ref).person == p })
	for ok {
		slot, v := s.slots[ref>>32], s.visitor(ref)
		if slot.bookings.at(v.booking).status.Live() {
			each(slot, v)
		}
		ref, ok = v.next-1, v.next != 0
	}
}

// visits of a person are linked into the day's table.
func (s *State) link(slot *Slot, i uint32, v *visitor) {
	d := s.days[slot.Day]
	if d == nil {
		d = &people{}
		s.days[slot.Day] = d
	}
	ref, hash := visitorRef(slot.Index, i), v.person.hash()
	last, ok := d.find(hash, func(ref uint64) bool { return s.visitor(ref).person == v.person })
	if ok {
		v.next = last + 1
		d.set(hash, last, ref)
		return
	}
	d.put(hash, ref)
}

// keyDays is for how many days, beside today, a key is remembered.
const keyDays = 1

// keys finds bookings by idempotency key, today's and yesterday's.
type keys struct {
	day    int64 // of the newest table
	tables [keyDays + 1]*table
}

// turn makes room for a newer day.
func (k *keys) turn(day int64) {
	by := day - k.day
	if by <= 0 {
		return
	}
	var kept [keyDays + 1]*table
	if by < int64(len(kept)) {
		copy(kept[by:], k.tables[:])
	}
	k.day, k.tables = day, kept
}

// byKey returns the booking that a key has made.
func (s *State) byKey(key Key) (Number, *booking) {
	for _, t := range s.keys.tables {
		if t == nil {
			continue
		}
		var found *booking
		ref, ok := t.find(key.hash(), func(ref uint64) bool {
			_, found = s.find(Number(ref))
			return found != nil && found.key == key
		})
		if ok {
			return Number(ref), found
		}
	}
	return 0, nil
}

const daySeconds = 24 * 60 * 60

func (s *State) remember(n Number, b *booking) {
	day := int64(b.made) / daySeconds
	s.keys.turn(day)
	age := s.keys.day - day
	if age > keyDays {
		return
	}
	t := &s.keys.tables[age]
	if *t == nil {
		*t = &table{}
	}
	(*t).put(b.key.hash(), uint64(n))
}

// Warm fetches what deciding on requests will look at. Where there are many, it makes the difference between waiting for
// memory once and waiting each time.
func (s *State) Warm(requests []Request) (touched uint64) {
	for i := range requests {
		r := &requests[i]
		touched += s.touch(r.Key, r.Slot, r.Visitors)
	}
	return touched
}

// WarmEvents is Warm for events that will be applied.
func (s *State) WarmEvents(events []Event) (touched uint64) {
	for i := range events {
		if e := &events[i]; e.Kind == Booked {
			touched += s.touch(e.Key, s.At(e.Slot), e.Visitors)
		}
	}
	return touched
}

func (s *State) touch(key Key, slot *Slot, visitors []Visitor) (touched uint64) {
	touched = s.keys.tables[0].warm(key.hash())
	if slot == nil || s.days[slot.Day] == nil {
		return touched
	}
	d := s.days[slot.Day]
	for i := range visitors {
		touched += d.warm(visitors[i].Person.hash())
	}
	return touched
}
