package ledger

import (
	"github.com/qiongdev/qiong/kit/errs"
)

// Open opens a slot.
func (s *State) Open(now int64, o *Opening, emit Emit) (*Slot, *errs.Error) {
	if refused := o.check(); refused != nil {
		return nil, refused
	}
	if s.Slot(o.ID) != nil {
		return nil, ErrSlotTaken
	}
	if now >= o.End*1000 {
		return nil, ErrPast
	}
	if len(s.slots) >= 1<<slotBits {
		return nil, ErrFull
	}
	e := Event{Kind: SlotOpened, At: now, Slot: uint32(len(s.slots)), Opened: o}
	if len(e.Append(nil)) > maxOpening {
		return nil, errs.New(errs.Invalid, "票种的文字过长", "the texts of the products are too long").WithField("products")
	}
	s.commit(&e, emit)
	return s.Slot(o.ID), nil
}

// check holds an opening to what the engine can bear.
func (o *Opening) check() *errs.Error {
	bad := func(field, zh, en string) *errs.Error { return errs.New(errs.Invalid, zh, en).WithField(field) }
	r := &o.Rules
	switch {
	case o.ID == "" || len(o.ID) > MaxText:
		return bad("id", "时段编号为 1 至 255 字节", "a slot's id has 1 to 255 bytes")
	case o.Start >= o.End || o.Start <= 0:
		return bad("end", "结束须晚于开始", "the end must be after the start")
	case len(r.Products) == 0 || len(r.Products) > 255:
		return bad("products", "须有 1 至 255 个票种", "there must be 1 to 255 products")
	case r.Party < 1 || r.Party > MaxVisitors:
		return bad("party", "一次预约可有 1 至 50 个名额", "a booking may have 1 to 50 places")
	case r.Hold < 1:
		return bad("hold", "应为正的时长", "must be a positive duration")
	case r.ReturnMin < 0 || r.ReturnMax < r.ReturnMin:
		return bad("return", "回库时间的下限不得高于上限", "the shortest time must not be above the longest")
	}
	for _, p := range r.Products {
		if p.Price < 0 || p.Price > 1e9 {
			return bad("price", "票价应为 0 至 1000 万元", "a price is 0 to 10 million yuan")
		}
	}
	return o.Quotas.check()
}

func (q Quotas) check() *errs.Error {
	for _, n := range q {
		if n > MaxQuota {
			return errs.Newf(errs.Invalid, "一个渠道的名额至多 %d", "a channel has at most %d places", MaxQuota).WithField("quotas")
		}
	}
	return nil
}

// SetQuotas changes how many places each channel has, which is never less than it has given away.
func (s *State) SetQuotas(now int64, slot *Slot, q Quotas, emit Emit) *errs.Error {
	if refused := q.check(); refused != nil {
		return refused
	}
	if s.slots[slot.Index] != slot {
		return ErrNoSlot
	}
	for c := range q {
		if taken := int64(slot.quota[c]) - int64(slot.Left(Channel(c))); int64(q[c]) < taken {
			return errs.Newf(errs.Conflict, "%[1]s 渠道已售出 %[2]d 个名额", "channel %[1]s has given away %[2]d places", Channel(c), taken).WithField("quotas")
		}
	}
	s.commit(&Event{Kind: QuotaSet, At: now, Slot: slot.Index, Quotas: q}, emit)
	s.serve(now, slot, emit)
	return nil
}

// Quotas returns a slot's quotas. It is for the state's goroutine.
func (s *Slot) Quotas() Quotas { return s.quota }

// Pending returns the places that became free and are not yet on sale, and when they will be.
func (s *Slot) Pending() (q Quotas, at int64) { return s.pending, s.back }

// Close closes a slot. Sweep then gives its bookings up.
func (s *State) Close(now int64, slot *Slot, note string, emit Emit) *errs.Error {
	switch {
	case s.slots[slot.Index] != slot:
		return ErrNoSlot
	case slot.Closed():
		return nil
	case slot.ended:
		return ErrPast
	}
	if refused := fits("reason", note); refused != nil {
		return refused
	}
	s.commit(&Event{Kind: SlotClosed, At: now, Slot: slot.Index, Note: note}, emit)
	return nil
}

// Finish ends a slot whose time is over. Sweep then marks who did not come.
func (s *State) Finish(now int64, slot *Slot, emit Emit) bool {
	if s.slots[slot.Index] != slot || slot.ended || now < (slot.End+slot.Rules.Late)*1000 {
		return false
	}
	s.commit(&Event{Kind: SlotOver, At: now, Slot: slot.Index}, emit)
	return true
}

// Sweep goes through the bookings of a closed or finished slot from one on, at most a number of them, and returns where to
// go on; 0 when it is through.
func (s *State) Sweep(now int64, slot *Slot, from uint32, most int, note string, emit Emit) (next uint32) {
	if s.slots[slot.Index] != slot || !slot.Closed() && !slot.ended {
		return 0
	}
	for i := from; int(i) < slot.bookings.len(); i++ {
		if int(i-from) == most {
			return i
		}
		b, n := slot.bookings.at(i), NumberOf(s.shard, slot.Index, i)
		switch {
		case slot.Closed() && (b.status == Held || b.status == Confirmed):
			s.end(now, n, slot, b, Refunded, note, 0, emit)
		case !slot.Closed() && b.status == Confirmed:
			s.commit(&Event{Kind: Absent, At: now, Slot: slot.Index, N: i, Status: Missed}, emit)
		}
	}
	return 0
}

// Return puts what became free back on sale, once its moment has come. Whatever is free goes first to those who wait.
func (s *State) Return(now int64, slot *Slot, emit Emit) {
	if s.slots[slot.Index] != slot {
		return
	}
	if slot.back > 0 && now >= slot.back*1000 {
		s.commit(&Event{Kind: Returned, At: now, Slot: slot.Index, Quotas: slot.pending}, emit)
	}
	s.serve(now, slot, emit)
}

// serving is how many of those who wait are served at once; the next Return goes on.
const serving = 200

// serve gives free places to those who wait, in their order; whoever wants more than there is keeps waiting.
func (s *State) serve(now int64, slot *Slot, emit Emit) {
	if slot.Closed() || slot.ended {
		return
	}
	for i, most := 0, serving; i < len(slot.waiting) && most > 0; i++ {
		w := &slot.waiting[i]
		if w.gone || slot.Left(w.event.Channel) < int(w.event.Places) {
			continue
		}
		most--
		r := w.request(slot)
		if refused := s.check(now, r); refused != nil {
			s.commit(&Event{Kind: Unqueued, At: now, Slot: slot.Index, N: uint32(i), Owner: r.Owner, Note: refused.Code}, emit)
			continue
		}
		s.take(now, r, uint32(i)+1, emit)
	}
}

func (w *waiting) request(slot *Slot) *Request {
	e := &w.event
	return &Request{Slot: slot, Channel: e.Channel, Product: e.Product, Places: int(e.Places), Key: e.Key, Digest: e.Digest,
		Owner: e.Owner, Name: e.Name, Visitors: e.Visitors}
}

// Wait puts somebody on the waitlist of a slot that is sold out, and returns their entry. Asking again with the same key
// changes nothing.
func (s *State) Wait(now int64, r *Request, emit Emit) (entry int, refused *errs.Error) {
	slot, there := r.Slot, 0
	for i := range slot.waiting {
		w := &slot.waiting[i]
		if w.event.Key == r.Key {
			if w.event.Digest != r.Digest {
				return 0, ErrKeyReused
			}
			return i, nil
		}
		if !w.gone {
			there++
		}
	}
	if refused := s.check(now, r); refused != nil {
		return 0, refused
	}
	if slot.Left(r.Channel) >= r.Places {
		return 0, errs.New(errs.Conflict, "尚有余票，请直接预约", "there are places left: book them").WithCode("booking.places-left").WithField("slot")
	}
	if there >= slot.Rules.Waitlist || len(slot.waiting) >= 8*slot.Rules.Waitlist {
		return 0, ErrListFull
	}
	entry = len(slot.waiting)
	s.commit(&Event{Kind: Queued, At: now, Slot: slot.Index, N: uint32(entry), Status: Held, Channel: r.Channel, Product: r.Product,
		Places: uint32(r.Places), Key: r.Key, Digest: r.Digest, Owner: r.Owner, Name: r.Name, Visitors: r.Visitors}, emit)
	return entry, nil
}

// Leave takes somebody off the waitlist.
func (s *State) Leave(now int64, slot *Slot, entry int, owner string, emit Emit) *errs.Error {
	if s.slots[slot.Index] != slot || entry < 0 || entry >= len(slot.waiting) || slot.waiting[entry].event.Owner != owner {
		return ErrNoBooking
	}
	if !slot.waiting[entry].gone {
		s.commit(&Event{Kind: Unqueued, At: now, Slot: slot.Index, N: uint32(entry), Owner: owner}, emit)
	}
	return nil
}

// Retire forgets a day whose slots are all over. It reports whether it did.
func (s *State) Retire(now int64, day int32, emit Emit) bool {
	there := false
	for _, slot := range s.slots {
		if slot != nil && slot.Day == day {
			if !slot.ended && now < slot.End*1000 {
				return false
			}
			there = true
		}
	}
	if there {
		s.commit(&Event{Kind: DayRetired, At: now, Day: day}, emit)
	}
	return there
}

// At returns the slot of an index; nil where there is none, or no longer. It is for the state's goroutine.
func (s *State) At(index uint32) *Slot {
	if int(index) >= len(s.slots) {
		return nil
	}
	return s.slots[index]
}

// Due calls each for every live slot, in their order. It is for the state's goroutine.
func (s *State) Due(each func(slot *Slot)) {
	for _, slot := range s.slots {
		if slot != nil {
			each(slot)
		}
	}
}

// Holds calls each for every booking that waits for its payment: what a wheel is filled with after a start.
func (s *State) Holds(each func(n Number, until int64)) {
	s.Due(func(slot *Slot) {
		for i := range uint32(slot.bookings.len()) {
			if b := slot.bookings.at(i); b.status == Held {
				each(NumberOf(s.shard, slot.Index, i), int64(b.until))
			}
		}
	})
}

// Ended reports whether the slot's time was found over.
func (s *Slot) Ended() bool { return s.ended }

// Note returns why the slot was closed.
func (s *Slot) Note() string { return s.note }

// Keys calls each for every key that is remembered.
func (s *State) Keys(each func(Key)) {
	s.Due(func(slot *Slot) {
		for i := range uint32(slot.bookings.len()) {
			each(slot.bookings.at(i).key)
		}
	})
}
