package ledger

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// A record that cannot be read would stop the shard for good.
func TestTextsHaveRoomInARecord(t *testing.T) {
	s, log, slot := setUp(t, 10)
	v, _, _ := s.Book(before, request(slot, 1, 1), log.emit)
	long, whole := strings.Repeat("台", 86), strings.Repeat("台", 85)
	for _, refused := range []error{
		second(s.Cancel(before, v.Number, long, false, 0, log.emit)),
		s.Close(before, slot, long, log.emit),
	} {
		if refused == nil || !strings.Contains(refused.Error(), "255") {
			t.Errorf("a reason of 258 bytes: %v", refused)
		}
	}
	s.Confirm(before, v.Number, 5000, long, log.emit)
	if refused := second(s.Enter((slot.Start)*1000, v.Number, 1, long, log.emit)); refused == nil || !strings.Contains(refused.Error(), "gate") {
		t.Errorf("a gate's name of 258 bytes: %v", refused)
	}
	if refused := s.Close(before, slot, whole, log.emit); refused != nil {
		t.Error(refused)
	}
	other, _ := New(3)
	replay(t, other, log, 0)
	if note := other.At(slot.Index).Note(); note != whole {
		t.Errorf("%d bytes of 255", len(note))
	}
}

func second[T any](_ T, err error) error { return err }

func TestTextsBeyondTheirRoomAreCutWhole(t *testing.T) {
	for _, c := range []string{"台", "𠮷", "a", "\xff"} {
		var e Event
		text := strings.Repeat(c, 300)
		if err := e.Parse((&Event{Kind: SlotClosed, Note: text}).Append(nil)); err != nil {
			t.Fatal(err)
		}
		if len(e.Note) <= MaxText-utf8.UTFMax || len(e.Note) > MaxText || !strings.HasPrefix(text, e.Note) || utf8.ValidString(text) != utf8.ValidString(e.Note) {
			t.Errorf("%q: %d bytes, %q", c, len(e.Note), e.Note)
		}
	}
}

func TestAnOpeningHasRoomInARecord(t *testing.T) {
	s, log, _ := setUp(t, 10)
	o := opening("s2", day+12*hour, 1)
	o.Rules.Products = []Product{{Name: strings.Repeat("x", maxOpening)}}
	if _, refused := s.Open(before, o, log.emit); refused == nil || refused.Field != "products" || len(log.events) != 1 {
		t.Errorf("%v, %d events", refused, len(log.events))
	}
}

func TestWhatIsFreeGoesToThoseWhoWait(t *testing.T) {
	for name, free := range map[string]func(s *State, slot *Slot, n Number, log *record){
		"a booking is cancelled": func(s *State, _ *Slot, n Number, log *record) { s.Cancel(before, n, "", false, 0, log.emit) },
		"a hold runs out":        func(s *State, _ *Slot, n Number, log *record) { s.Expire(before+900_000, n, 0, log.emit) },
		"there are more for online": func(s *State, slot *Slot, _ Number, log *record) {
			s.SetQuotas(before, slot, Quotas{2, 5, 5, 5, 5}, log.emit)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := New(3)
			log := &record{}
			o := opening("s1", day+8*hour, 1)
			o.Rules.ReturnMin, o.Rules.ReturnMax = 0, 0
			slot, refused := s.Open(before, o, log.emit)
			if refused != nil {
				t.Fatal(refused)
			}
			v, _, _ := s.Book(before, request(slot, 1, 1), log.emit)
			if _, refused := s.Wait(before, request(slot, 2, 2), log.emit); refused != nil {
				t.Fatal(refused)
			}
			free(s, slot, v.Number, log)
			if _, _, refused := s.Book(before, request(slot, 3, 3), log.emit); refused != ErrSoldOut {
				t.Errorf("who came later: %v", refused)
			}
			if got, fresh, refused := s.Book(before, request(slot, 2, 2), log.emit); refused != nil || fresh || got.Status != Held {
				t.Errorf("who waited: %+v, %v", got, refused)
			}
		})
	}
}

// A batch has room for so many events only.
func TestMostOfALongListIsServedLater(t *testing.T) {
	s, _ := New(3)
	log := &record{}
	o := opening("s1", day+8*hour, 1)
	o.Rules.Waitlist = 1000
	slot, _ := s.Open(before, o, log.emit)
	s.Book(before, request(slot, 1, 1), log.emit)
	for i := range uint64(700) {
		if _, refused := s.Wait(before, request(slot, 2+i, 2+i), log.emit); refused != nil {
			t.Fatal(refused)
		}
	}
	had := len(log.events)
	s.SetQuotas(before, slot, Quotas{701, 5, 5, 5, 5}, log.emit)
	for rounds := 0; slot.Left(Online) > 0; rounds++ {
		if n := len(log.events) - had; n > serving+1 || rounds > 4 {
			t.Fatalf("%d events at once, in round %d", n, rounds)
		}
		had = len(log.events)
		s.Return(before, slot, log.emit)
	}
	if n := slot.bookings.len(); n != 701 {
		t.Errorf("%d bookings", n)
	}
}

// miss books a person into a slot as often as said, and has nobody come.
func miss(t *testing.T, s *State, log *record, slot *Slot, who uint64, times int) {
	t.Helper()
	for i := range times {
		r := request(slot, who<<32|uint64(slot.Index)<<16|uint64(i), who)
		r.Product = 1
		if _, _, refused := s.Book(before, r, log.emit); refused != nil {
			t.Fatal(refused)
		}
	}
	over := (slot.End + hour) * 1000
	s.Finish(over, slot, log.emit)
	s.Sweep(over, slot, 0, 1<<20, "", log.emit)
}

func TestABanIsOfOneSpot(t *testing.T) {
	s, log, slot := setUp(t, 10)
	open := func(id, spot string, days int64) *Slot {
		o := opening(id, day+days*daySeconds+8*hour, 10)
		o.Spot = spot
		slot, refused := s.Open(before, o, log.emit)
		if refused != nil {
			t.Fatal(refused)
		}
		return slot
	}
	miss(t, s, log, slot, 1, 1)
	miss(t, s, log, open("s2", "spot", 1), 1, 1)
	for spot, want := range map[string]string{"spot": "booking.banned", "another": ""} {
		next := open("next-"+spot, spot, 3)
		if _, _, refused := s.Book((next.Start-hour)*1000, request(next, 100+uint64(len(spot)), 1), log.emit); code(refused) != want {
			t.Errorf("at %s: %v", spot, refused)
		}
	}
}

func TestManyMissedBookingsAreReadBack(t *testing.T) {
	s, _ := New(3)
	log := &record{}
	o := opening("s1", day+8*hour, 2*maxStrikes)
	o.Rules.PerSlot, o.Rules.PerDay = 0, 0
	slot, _ := s.Open(before, o, log.emit)
	miss(t, s, log, slot, 1, maxStrikes+100)
	head, slots := s.AppendHead(nil, uint64(len(log.events)))
	parts := [][]byte{head}
	for i := range slots {
		parts = append(parts, s.AppendSlot(nil, i))
	}
	other, _ := New(3)
	if _, err := other.ReadSnapshot(reading(parts)); err != nil {
		t.Fatal(err)
	}
	if a, b := content(s), content(other); a != b {
		t.Errorf("states differ:\n%s", difference(a, b))
	}
	if n := len(other.strikes[visiting{person(1), "spot"}]); n != maxStrikes {
		t.Errorf("%d missed bookings", n)
	}
}

func TestSnapshotsOfTheFirstVersionAreRead(t *testing.T) {
	w := writer{}
	for _, n := range []uint64{1, 3, 7, 0, 1} { // version, shard, sequence, slots, people who missed bookings
		w.number(n)
	}
	w.b = append(w.b, bytes.Repeat([]byte{9}, 16)...)
	w.number(2)
	w.signed(20000)
	w.signed(20001)
	s, _ := New(3)
	sequence, err := s.ReadSnapshot(reading([][]byte{w.b}))
	if err != nil || sequence != 7 || len(s.strikes) != 0 {
		t.Errorf("%d, %v, %v", sequence, err, s.strikes)
	}
}
