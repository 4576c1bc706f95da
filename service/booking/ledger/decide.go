package ledger

import (
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
)

// Refusals that need no words of their own. Each is made once: a rush refuses faster than it sells.
var (
	ErrSoldOut   = errs.New(errs.Conflict, "该时段已约满", "this slot is sold out").WithCode("booking.sold-out").WithField("slot")
	ErrNoSlot    = errs.New(errs.NotFound, "没有此时段", "there is no such slot").WithCode("booking.slot").WithField("slot")
	ErrClosed    = errs.New(errs.Conflict, "该时段已关闭", "this slot is closed").WithCode("booking.closed").WithField("slot")
	ErrPast      = errs.New(errs.Conflict, "该时段已结束", "this slot is over").WithCode("booking.past").WithField("slot")
	ErrKeyReused = errs.New(errs.Conflict, "该幂等键已用于另一次预约", "this key has made another booking").WithCode("booking.key").WithField("Idempotency-Key")
	ErrNoBooking = errs.New(errs.NotFound, "没有此预约", "there is no such booking").WithCode("booking.unknown")
	ErrLapsed    = errs.New(errs.Conflict, "预约已失效", "the booking has lapsed").WithCode("booking.lapsed")
	ErrUnpaid    = errs.New(errs.Conflict, "预约尚未确认", "the booking is not confirmed yet").WithCode("booking.unpaid")
	ErrCameIn    = errs.New(errs.Conflict, "已入园，不能取消", "somebody of it has entered").WithCode("booking.entered")
	ErrAllIn     = errs.New(errs.Conflict, "该预约的人数均已入园", "all of this booking have entered").WithCode("booking.all-in")
	ErrEarly     = errs.New(errs.Conflict, "未到入园时间", "it is too early to enter").WithCode("booking.early")
	ErrLate      = errs.New(errs.Conflict, "已过入园时间", "it is too late to enter").WithCode("booking.late")
	ErrCutoff    = errs.New(errs.Conflict, "已过取消时限", "it is too late to cancel").WithCode("booking.cutoff")
	ErrTwice     = errs.New(errs.Invalid, "同一人出现两次", "the same person twice").WithCode("booking.twice").WithField("visitors")
	ErrSlotTaken = errs.New(errs.Conflict, "时段编号已存在", "there is a slot of this id").WithCode("booking.slot-taken").WithField("id")
	ErrListFull  = errs.New(errs.Conflict, "候补名额已满", "the waitlist is full").WithCode("booking.waitlist").WithField("slot")
	ErrFull      = errs.New(errs.Full, "该时段的预约记录已满", "this slot has had too many bookings").WithCode("booking.slot-full").WithField("slot")
)

// maxAttempts is how many bookings a slot may ever have, with those that were given up.
const maxAttempts = 1<<inSlotBits - 2

// Request asks for places.
type Request struct {
	Slot     *Slot
	Channel  Channel
	Product  uint8
	Places   int
	Key      Key
	Digest   uint64 // of everything that was asked for
	Owner    string
	Name     string // the key as it was sent
	Visitors []Visitor
}

// Emit takes an event that was decided and applied: into the log it goes, and its sequence number comes back. It is
// called before the event is applied.
type Emit func(*Event) (sequence uint64)

// commit emits and applies what was decided.
func (s *State) commit(e *Event, emit Emit) {
	if err := s.apply(emit(e), e); err != nil {
		panic(err) // decided against this very state
	}
}

// Book takes places. What a key has made already comes back, with fresh false.
func (s *State) Book(now int64, r *Request, emit Emit) (v View, fresh bool, refused *errs.Error) {
	if n, b := s.byKey(r.Key); b != nil {
		if b.digest != r.Digest {
			return View{}, false, ErrKeyReused
		}
		slot, _ := s.find(n)
		return s.view(n, slot, b), false, nil
	}
	if refused := s.check(now, r); refused != nil {
		return View{}, false, refused
	}
	if r.Slot.Left(r.Channel) < r.Places {
		return View{}, false, ErrSoldOut
	}
	return s.take(now, r, 0, emit), true, nil
}

// check tells whether somebody may have places, were there any.
func (s *State) check(now int64, r *Request) *errs.Error {
	slot, rules := r.Slot, &r.Slot.Rules
	switch {
	case s.slots[slot.Index] != slot:
		return ErrNoSlot
	case slot.Closed():
		return ErrClosed
	case now >= slot.End*1000:
		return ErrPast
	case now < slot.Opens*1000:
		return notYet(slot.Opens*1000 - now)
	case int(r.Product) >= len(rules.Products):
		return errs.New(errs.Invalid, "没有此票种", "there is no such product").WithField("product")
	case r.Places < 1 || r.Places > rules.Party:
		return errs.Newf(errs.Invalid, "一次可约 1 至 %d 个名额", "one booking has 1 to %d places", rules.Party).WithField("quantity").WithCode("booking.quantity")
	case rules.RealName && len(r.Visitors) != r.Places:
		return errs.New(errs.Invalid, "每个名额须有一名实名游客", "each place needs a visitor with a name").WithField("visitors")
	case slot.bookings.len() >= maxAttempts:
		return ErrFull
	}
	if refused := fits("Idempotency-Key", r.Name); refused != nil {
		return refused
	}
	for i := range r.Visitors {
		if refused := s.allowed(now, r, i); refused != nil {
			return refused
		}
	}
	return nil
}

// fits refuses a text for which a record has no room.
func fits(field, text string) *errs.Error {
	if len(text) > MaxText {
		return errs.Newf(errs.Invalid, "至多 %d 字节，一个汉字占 3 字节", "has at most %d bytes", MaxText).WithField(field)
	}
	return nil
}

func notYet(wait int64) *errs.Error {
	return errs.New(errs.Conflict, "尚未开售", "the sale has not begun").WithCode("booking.not-yet").WithField("slot").WithRetryAfter(time.Duration(wait) * time.Millisecond)
}

// allowed holds a visitor to the limits of a person.
func (s *State) allowed(now int64, r *Request, i int) *errs.Error {
	rules, p := &r.Slot.Rules, r.Visitors[i].Person
	for j := range i {
		if r.Visitors[j].Person == p {
			return ErrTwice
		}
	}
	more := 1
	if !rules.RealName {
		more = r.Places
	}
	inSlot, onDay := more, more
	s.visits(r.Slot.Day, p, func(slot *Slot, v *visitor) {
		if slot.Spot == r.Slot.Spot {
			onDay += int(v.places)
		}
		if slot == r.Slot {
			inSlot += int(v.places)
		}
	})
	switch {
	case rules.PerSlot > 0 && inSlot > rules.PerSlot:
		return limit(i, "每人每时段限约 %d 个名额", "a person may have %d places in a slot", rules.PerSlot)
	case rules.PerDay > 0 && onDay > rules.PerDay:
		return limit(i, "每人每日限约 %d 个名额", "a person may have %d places on a day", rules.PerDay)
	}
	if end := s.banned(p, r.Slot, dayOf(now)); end > 0 {
		date := beijing.Date(time.Unix(int64(end)*daySeconds, 0))
		return errs.Newf(errs.Conflict, "因多次预约未到，%[1]s 起方可预约", "after missed bookings, booking is possible again from %[1]s", date).
			WithCode("booking.banned").WithField(fmt.Sprintf("visitors[%d]", i))
	}
	return nil
}

func limit(i int, zh, en string, n int) *errs.Error {
	return errs.Newf(errs.Conflict, zh, en, n).WithCode("booking.limit").WithField(fmt.Sprintf("visitors[%d]", i))
}

// dayOf returns the Beijing day of a time in milliseconds.
func dayOf(ms int64) int32 { return int32((ms/1000 + 8*60*60) / daySeconds) }

// DayOf returns the day of a time in seconds since 1970: days since 1970 in Beijing.
func DayOf(seconds int64) int32 { return dayOf(seconds * 1000) }

// take makes the booking.
func (s *State) take(now int64, r *Request, wait uint32, emit Emit) View {
	slot := r.Slot
	e := Event{Kind: Booked, At: now, Slot: slot.Index, N: uint32(slot.bookings.len()), Status: Held, Channel: r.Channel, Product: r.Product,
		Places: uint32(r.Places), Until: now/1000 + slot.Rules.Hold, Amount: slot.Rules.Products[r.Product].Price * int64(r.Places),
		Key: r.Key, Digest: r.Digest, Owner: r.Owner, Name: r.Name, Visitors: r.Visitors, Wait: wait}
	if e.Amount == 0 {
		e.Status, e.Until = Confirmed, 0
	}
	s.commit(&e, emit)
	return s.view(NumberOf(s.shard, e.Slot, e.N), slot, slot.bookings.at(e.N))
}

// Confirm settles a hold that was paid. Settling it again changes nothing. ErrLapsed means that the money goes back.
func (s *State) Confirm(now int64, n Number, amount int64, note string, emit Emit) (View, *errs.Error) {
	slot, b := s.find(n)
	switch {
	case b == nil:
		return View{}, ErrNoBooking
	case b.status == Held && now < int64(b.until)*1000 && !slot.Closed():
		s.commit(&Event{Kind: Settled, At: now, Slot: n.Slot(), N: n.inSlot(), Status: Confirmed, Amount: amount, Note: note}, emit)
	case b.status != Confirmed && b.status != Entered:
		return View{}, ErrLapsed
	}
	return s.view(n, slot, b), nil
}

// Expire ends a hold whose time is over. Nothing happens where it is none.
func (s *State) Expire(now int64, n Number, chance uint64, emit Emit) {
	slot, b := s.find(n)
	if b == nil || b.status != Held || now < int64(b.until)*1000 {
		return
	}
	s.end(now, n, slot, b, Expired, "", chance, emit)
}

// Cancel gives a booking's places back before the cut-off, or whenever it is forced to.
func (s *State) Cancel(now int64, n Number, note string, force bool, chance uint64, emit Emit) (View, *errs.Error) {
	slot, b := s.find(n)
	switch {
	case b == nil:
		return View{}, ErrNoBooking
	case b.status == Cancelled:
		return s.view(n, slot, b), nil
	case b.status == Entered:
		return View{}, ErrCameIn
	case b.status != Held && b.status != Confirmed:
		return View{}, ErrLapsed
	case !force && now >= (slot.Start-slot.Rules.Cutoff)*1000:
		return View{}, ErrCutoff
	}
	if refused := fits("reason", note); refused != nil {
		return View{}, refused
	}
	s.end(now, n, slot, b, Cancelled, note, chance, emit)
	return s.view(n, slot, b), nil
}

// end gives up places, and says what is to be paid back.
func (s *State) end(now int64, n Number, slot *Slot, b *booking, status Status, note string, chance uint64, emit Emit) {
	e := Event{Kind: Ended, At: now, Slot: n.Slot(), N: n.inSlot(), Status: status, Places: uint32(b.places), Note: note}
	if b.status == Confirmed {
		e.Amount = slot.price(b)
	}
	if r := &slot.Rules; r.ReturnMax > 0 && status != Refunded {
		e.Until = now/1000 + r.ReturnMin + int64(chance%uint64(r.ReturnMax-r.ReturnMin+1))
	}
	s.commit(&e, emit)
	if e.Until == 0 {
		s.serve(now, slot, emit)
	}
}

// wasMissed is the Amount of a Came event that undoes a miss.
const wasMissed = 1

// Enter lets some of a booking in, at the time when they came.
func (s *State) Enter(now int64, n Number, count int, gate string, emit Emit) (View, *errs.Error) {
	slot, b := s.find(n)
	switch {
	case b == nil:
		return View{}, ErrNoBooking
	case b.status == Held:
		return View{}, ErrUnpaid
	case b.status != Confirmed && b.status != Entered && b.status != Missed: // a gate without a network tells later
		return View{}, ErrLapsed
	case now < (slot.Start-slot.Rules.Early)*1000:
		return View{}, ErrEarly
	case now >= (slot.End+slot.Rules.Late)*1000:
		return View{}, ErrLate
	case count < 1 || count > int(b.places):
		return View{}, errs.New(errs.Invalid, "人数不对", "that is not how many may enter").WithField("count")
	case int(b.entered)+count > int(b.places):
		return View{}, ErrAllIn
	}
	if refused := fits("gate", gate); refused != nil {
		return View{}, refused
	}
	e := Event{Kind: Came, At: now, Slot: n.Slot(), N: n.inSlot(), Status: Entered, Places: uint32(count), Note: gate}
	if b.status == Missed {
		e.Amount = wasMissed
	}
	s.commit(&e, emit)
	return s.view(n, slot, b), nil
}
