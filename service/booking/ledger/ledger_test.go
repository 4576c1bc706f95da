package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// day is midnight in Beijing, 2026-10-01.
var day = time.Date(2026, 10, 1, 0, 0, 0, 0, time.FixedZone("CST", 8*60*60)).Unix()

const hour = 60 * 60

// record is a log in memory.
type record struct{ events [][]byte }

func (r *record) emit(e *Event) uint64 {
	r.events = append(r.events, e.Append(nil))
	return uint64(len(r.events))
}

func rules() Rules {
	return Rules{RealName: true, Party: 5, PerSlot: 1, PerDay: 2, Hold: 900, Cutoff: 2 * hour, Early: hour, Late: hour, ReturnMin: 60, ReturnMax: 600, Waitlist: 10,
		Strikes: 2, Within: 180, Ban: 30, Products: []Product{{"adult", 5000}, {"free", 0}}}
}

func opening(id string, start int64, quota uint32) *Opening {
	return &Opening{ID: id, Spot: "spot", Day: DayOf(start), Start: start, End: start + 2*hour, Opens: day - 7*daySeconds,
		Quotas: Quotas{quota, 5, 5, 5, 5}, Rules: rules()}
}

func setUp(t *testing.T, quota uint32) (*State, *record, *Slot) {
	t.Helper()
	s, err := New(3)
	if err != nil {
		t.Fatal(err)
	}
	log := &record{}
	slot, refused := s.Open(before, opening("s1", day+8*hour, quota), log.emit)
	if refused != nil {
		t.Fatal(refused)
	}
	return s, log, slot
}

// before is a moment of the sale, in milliseconds.
var before = (day - daySeconds) * 1000

func person(n uint64) (p Person) {
	binary.LittleEndian.PutUint64(p[:], n*0x9e3779b97f4a7c15)
	return p
}

func request(slot *Slot, key, who uint64) *Request {
	r := &Request{Slot: slot, Places: 1, Digest: who, Owner: fmt.Sprint("owner", who), Name: fmt.Sprint("key", key),
		Visitors: []Visitor{{Person: person(who), Sealed: []byte("sealed")}}}
	binary.BigEndian.PutUint64(r.Key[8:], key)
	binary.LittleEndian.PutUint64(r.Key[:8], key*0x9e3779b97f4a7c15)
	return r
}

func code(err *errs.Error) string {
	if err == nil {
		return ""
	}
	return err.Code
}

func TestOneBookingsWay(t *testing.T) {
	s, log, slot := setUp(t, 2)
	v, fresh, refused := s.Book(before, request(slot, 1, 1), log.emit)
	if refused != nil || !fresh || v.Status != Held || slot.Left(Online) != 1 {
		t.Fatalf("booked %+v, fresh %v, %v, left %d", v, fresh, refused, slot.Left(Online))
	}
	again, fresh, refused := s.Book(before+1, request(slot, 1, 1), log.emit)
	if refused != nil || fresh || again != v || slot.Left(Online) != 1 {
		t.Fatalf("the key again: %+v, fresh %v, %v", again, fresh, refused)
	}
	if _, _, refused := s.Book(before, request(slot, 1, 2), log.emit); refused != ErrKeyReused {
		t.Fatalf("the key for another: %v", refused)
	}
	if _, refused := s.Enter(before, v.Number, 1, "gate", log.emit); refused != ErrUnpaid {
		t.Fatalf("entered unpaid: %v", refused)
	}
	for range 2 {
		if v, refused = s.Confirm(before, v.Number, 5000, "paid", log.emit); refused != nil || v.Status != Confirmed {
			t.Fatalf("confirmed %+v, %v", v, refused)
		}
	}
	if _, refused = s.Enter(before, v.Number, 1, "gate", log.emit); refused != ErrEarly {
		t.Fatalf("entered a day before: %v", refused)
	}
	if _, refused = s.Enter((slot.End+hour)*1000, v.Number, 1, "gate", log.emit); refused != ErrLate {
		t.Fatalf("entered when it was over: %v", refused)
	}
	if v, refused = s.Enter(slot.Start*1000, v.Number, 1, "gate", log.emit); refused != nil || v.Status != Entered || v.Entered != 1 {
		t.Fatalf("entered %+v, %v", v, refused)
	}
	if _, refused = s.Enter(slot.Start*1000, v.Number, 1, "gate", log.emit); refused != ErrAllIn {
		t.Fatalf("entered twice: %v", refused)
	}
	if _, refused = s.Cancel(before, v.Number, "", true, 0, log.emit); refused != ErrCameIn {
		t.Fatalf("cancelled after entering: %v", refused)
	}
	parsed, err := ParseNumber(v.Number.String())
	if err != nil || parsed != v.Number {
		t.Fatalf("number %v, %v", parsed, err)
	}
}

func TestRefusals(t *testing.T) {
	s, log, slot := setUp(t, 1)
	later, refused := s.Open(before, opening("s2", day+10*hour, 5), log.emit)
	if refused != nil {
		t.Fatal(refused)
	}
	third, _ := s.Open(before, opening("s3", day+12*hour, 5), log.emit)
	book := func(now int64, change func(*Request)) string {
		r := request(slot, rand.Uint64(), 7)
		change(r)
		_, _, refused := s.Book(now, r, log.emit)
		return code(refused)
	}
	for _, c := range []struct {
		name, want string
		now        int64
		change     func(*Request)
	}{
		{"too early", "booking.not-yet", (day - 8*daySeconds) * 1000, func(*Request) {}},
		{"past", "booking.past", slot.End * 1000, func(*Request) {}},
		{"no places", "booking.quantity", before, func(r *Request) { r.Places = 0 }},
		{"negative", "booking.quantity", before, func(r *Request) { r.Places = -1 }},
		{"huge", "booking.quantity", before, func(r *Request) { r.Places = 1 << 30 }},
		{"no names", "", before, func(r *Request) { r.Visitors, r.Places = nil, 1 }},
		{"product", "", before, func(r *Request) { r.Product = 200 }},
		{"twice", "booking.twice", before, func(r *Request) { r.Visitors, r.Places = append(r.Visitors, r.Visitors[0]), 2 }},
		{"more than there is", "booking.sold-out", before, func(r *Request) {
			r.Places, r.Visitors = 2, append(r.Visitors, Visitor{Person: person(99)})
		}},
	} {
		r := request(slot, rand.Uint64(), 7)
		c.change(r)
		_, _, refused := s.Book(c.now, r, log.emit)
		if refused == nil || code(refused) != c.want {
			t.Errorf("%s: %v, want %q", c.name, refused, c.want)
		}
	}
	if got := book(before, func(*Request) {}); got != "" {
		t.Fatal(got)
	}
	if got := book(before, func(r *Request) { r.Channel = Window }); got != "booking.limit" {
		t.Errorf("twice in a slot: %q", got)
	}
	if got := book(before, func(r *Request) { r.Slot = later }); got != "" {
		t.Error(got)
	}
	if got := book(before, func(r *Request) { r.Slot = third }); got != "booking.limit" {
		t.Errorf("three on a day: %q", got)
	}
	if slot.Left(Online) != 0 || len(log.events) != 5 {
		t.Errorf("left %d after %d events", slot.Left(Online), len(log.events))
	}
	// A hundred people with one identity: one books.
	one := 0
	for i := range 100 {
		r := request(later, uint64(1000+i), 500)
		r.Owner = fmt.Sprint("person", i)
		if _, _, refused := s.Book(before, r, log.emit); refused == nil {
			one++
		}
	}
	if one != 1 {
		t.Errorf("%d of a hundred with one identity booked", one)
	}
}

func TestWhatIsGivenUpReturns(t *testing.T) {
	s, log, slot := setUp(t, 1)
	v, _, _ := s.Book(before, request(slot, 1, 1), log.emit)
	if _, refused := s.Wait(before, request(slot, 2, 2), log.emit); refused != nil {
		t.Fatal(refused)
	}
	if entry, refused := s.Wait(before, request(slot, 2, 2), log.emit); refused != nil || entry != 0 {
		t.Fatalf("waits again as %d, %v", entry, refused)
	}
	s.Expire(v.Until*1000-1, v.Number, 5, log.emit)
	if got, _ := s.Look(v.Number); got.Status != Held {
		t.Fatalf("expired early: %v", got.Status)
	}
	now := v.Until * 1000
	s.Expire(now, v.Number, 5, log.emit)
	if _, refused := s.Confirm(now, v.Number, 5000, "late", log.emit); refused != ErrLapsed {
		t.Fatalf("a late payment: %v", refused)
	}
	if slot.Left(Online) != 0 {
		t.Fatal("what was given up is on sale at once")
	}
	q, at := slot.Pending()
	if q[Online] != 1 || at != now/1000+60+5 {
		t.Fatalf("pending %v at %d", q, at)
	}
	s.Return(at*1000-1, slot, log.emit)
	s.Return(at*1000, slot, log.emit)
	if slot.Left(Online) != 0 {
		t.Fatal("the one who waits did not get it")
	}
	got, _, refused := s.Book(before, request(slot, 2, 2), log.emit)
	if refused != nil || got.Status != Held || got.Number == v.Number {
		t.Fatalf("the one who waits has %+v, %v", got, refused)
	}
}

func TestClosing(t *testing.T) {
	s, log, slot := setUp(t, 100)
	var paid []Number
	for i := range uint64(100) {
		v, _, refused := s.Book(before, request(slot, i+1, i+1), log.emit)
		if refused != nil {
			t.Fatal(refused)
		}
		if i%2 == 0 {
			paid = append(paid, v.Number)
			s.Confirm(before, v.Number, 5000, "p", log.emit)
		}
	}
	if refused := s.Close(before, slot, "typhoon", log.emit); refused != nil {
		t.Fatal(refused)
	}
	if _, _, refused := s.Book(before, request(slot, 900, 900), log.emit); refused != ErrClosed {
		t.Fatalf("booked in a closed slot: %v", refused)
	}
	from, rounds := uint32(0), 0
	for {
		rounds++
		if from = s.Sweep(before, slot, from, 30, "typhoon", log.emit); from == 0 {
			break
		}
	}
	back := int64(0)
	var e Event
	for _, data := range log.events {
		if err := e.Parse(data); err != nil {
			t.Fatal(err)
		}
		if e.Kind == Ended {
			back += e.Amount
		}
	}
	if rounds != 4 || back != 50*5000 {
		t.Errorf("%d rounds, %d fen go back", rounds, back)
	}
	if v, _ := s.Look(paid[0]); v.Status != Refunded {
		t.Errorf("status %v", v.Status)
	}
}

func TestMissedBookingsLeadToABan(t *testing.T) {
	s, log, slot := setUp(t, 10)
	for i := range int64(3) {
		start := day + i*daySeconds + 8*hour
		if i > 0 {
			slot, _ = s.Open(before, opening(fmt.Sprint("m", i), start, 10), log.emit)
		}
		r := request(slot, uint64(i+1), 1)
		r.Product = 1
		_, _, refused := s.Book((start-hour)*1000, r, log.emit)
		if i == 2 {
			if code(refused) != "booking.banned" {
				t.Fatalf("after two missed: %v", refused)
			}
			break
		}
		if refused != nil {
			t.Fatal(refused)
		}
		over := (slot.End + hour) * 1000
		if !s.Finish(over, slot, log.emit) {
			t.Fatal("not finished")
		}
		s.Sweep(over, slot, 0, 100, "", log.emit)
	}
	// A gate that had no network tells later that they had come on the first of the two days.
	first := NumberOf(3, 0, 0)
	came := (day + 9*hour) * 1000
	if v, refused := s.Enter(came, first, 1, "gate", log.emit); refused != nil || v.Status != Entered {
		t.Fatalf("a late upload: %+v, %v", v, refused)
	}
	r := request(slot, 77, 1)
	if _, _, refused := s.Book((slot.Start-hour)*1000, r, log.emit); refused != nil {
		t.Fatalf("after the pardon: %v", refused)
	}
	again, err := New(3)
	if err != nil {
		t.Fatal(err)
	}
	replay(t, again, log, 0)
	if content(s) != content(again) {
		t.Fatal(difference(content(s), content(again)))
	}
	last, _ := s.Open(before, opening("free again", day+33*daySeconds, 10), log.emit)
	r = request(last, 9, 1)
	if _, _, refused := s.Book((day+32*daySeconds)*1000, r, log.emit); refused != nil {
		t.Errorf("after the ban: %v", refused)
	}
}

// play does much at random, and returns what it did as a log.
func play(t testing.TB, seed uint64, steps int, each func(*State, *record)) (*State, *record) {
	r := rand.New(rand.NewPCG(seed, 1))
	s, err := New(3)
	if err != nil {
		t.Fatal(err)
	}
	log, now := &record{}, before
	var slots []*Slot
	var numbers []Number
	for range steps {
		now += r.Int64N(200_000)
		switch k := r.IntN(100); {
		case k < 3 || len(slots) == 0:
			start := now/1000 + hour + r.Int64N(3*daySeconds)
			o := opening(fmt.Sprint("slot", len(log.events)), start, uint32(1+r.IntN(20)))
			if slot, refused := s.Open(now, o, log.emit); refused == nil {
				slots = append(slots, slot)
			}
		case k < 50:
			req := request(slots[r.IntN(len(slots))], uint64(r.IntN(2000)), uint64(r.IntN(300)))
			req.Channel, req.Product = Channel(r.IntN(Channels)), uint8(r.IntN(2))
			if v, fresh, refused := s.Book(now, req, log.emit); refused == nil && fresh {
				numbers = append(numbers, v.Number)
			} else if refused == ErrSoldOut {
				s.Wait(now, req, log.emit)
			}
		case k < 60 && len(numbers) > 0:
			s.Confirm(now, numbers[len(numbers)-1-r.IntN(min(len(numbers), 5))], 5000, "n", log.emit)
		case k < 70 && len(numbers) > 0:
			s.Cancel(now, numbers[r.IntN(len(numbers))], "", r.IntN(2) == 0, r.Uint64(), log.emit)
		case k < 71:
			slot := slots[r.IntN(len(slots))]
			for i, w := range slot.waiting {
				s.Leave(now, slot, i, w.event.Owner, log.emit)
			}
		case k < 75 && len(numbers) > 0:
			s.Enter(now, numbers[r.IntN(len(numbers))], 1, "g", log.emit)
		case k < 85:
			for _, n := range numbers {
				s.Expire(now, n, r.Uint64(), log.emit)
			}
		case k < 92:
			s.Due(func(slot *Slot) { s.Return(now, slot, log.emit) })
		case k < 93:
			slot := slots[r.IntN(len(slots))]
			q := slot.Quotas()
			q[r.IntN(Channels)] += uint32(r.IntN(3))
			s.SetQuotas(now, slot, q, log.emit)
		case k < 94:
			slot := slots[r.IntN(len(slots))]
			s.Close(now, slot, "storm", log.emit)
			s.Sweep(now, slot, 0, 1000, "storm", log.emit)
		case k < 96:
			for _, slot := range slots {
				if s.Finish(now, slot, log.emit) {
					s.Sweep(now, slot, 0, 1000, "", log.emit)
				}
			}
		default:
			s.Retire(now, DayOf(now/1000)-1, log.emit)
		}
		if each != nil {
			each(s, log)
		}
	}
	return s, log
}

// content is everything about a state that somebody could ask, in a form that can be compared.
func content(s *State) string {
	var b bytes.Buffer
	for i, slot := range s.slots {
		if slot == nil {
			fmt.Fprintln(&b, i, "retired")
			continue
		}
		fmt.Fprintf(&b, "%d %s %v closed %v ended %v pending %v at %d:", i, slot.ID, slot.quota, slot.Closed(), slot.ended, slot.pending, slot.back)
		for c := range Channels {
			fmt.Fprint(&b, " ", slot.Left(Channel(c)))
		}
		for n := range uint32(slot.bookings.len()) {
			k := slot.bookings.at(n)
			number, found := s.byKey(k.key)
			fmt.Fprintf(&b, "\n  %+v %v %v", *k, found == nil, number)
			for j := range uint32(k.people) {
				p := slot.visitors.at(k.first + j).person
				count := 0
				s.visits(slot.Day, p, func(*Slot, *visitor) { count++ })
				fmt.Fprint(&b, " ", p, count, s.strikes[visiting{p, slot.Spot}])
			}
		}
		for _, w := range slot.waiting {
			fmt.Fprintf(&b, "\n  waits %v %v %v", w.event.Name, w.event.Owner, w.gone)
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintln(&b, s.live)
	return b.String()
}

// difference returns the first lines that are not the same.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d:\n%s\n%s", i, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

func replay(t *testing.T, s *State, log *record, from uint64) {
	t.Helper()
	var e Event
	for i, data := range log.events[from:] {
		if err := s.Replay(from+uint64(i)+1, data, &e); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
}

func TestReplayLeavesTheSameState(t *testing.T) {
	for seed := range uint64(20) {
		s, log := play(t, seed, 1500, nil)
		other, _ := New(3)
		replay(t, other, log, 0)
		if a, b := content(s), content(other); a != b {
			t.Fatalf("seed %d: states differ:\n%s", seed, difference(a, b))
		}
	}
}

// Parts of a snapshot are written at different moments, while bookings go on.
func TestSnapshotsOfManyMoments(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		var parts [][]byte
		var slots int
		begun := false
		s, log := play(t, seed, 1500, func(s *State, log *record) {
			switch {
			case !begun && len(log.events) > 300:
				begun = true
				head, n := s.AppendHead(nil, uint64(len(log.events)))
				parts, slots = append(parts, head), n
			case begun && len(parts) <= slots && r.IntN(3) == 0:
				parts = append(parts, s.AppendSlot(nil, len(parts)-1))
			}
		})
		for len(parts) <= slots {
			parts = append(parts, s.AppendSlot(nil, len(parts)-1))
		}
		other, _ := New(3)
		sequence, err := other.ReadSnapshot(reading(parts))
		if err != nil {
			t.Fatal(err)
		}
		replay(t, other, log, sequence)
		if a, b := content(s), content(other); a != b {
			t.Fatalf("seed %d: states differ:\n%s", seed, difference(a, b))
		}
	}
}

func reading(parts [][]byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(parts) == 0 {
			return nil, io.EOF
		}
		part := parts[0]
		parts = parts[1:]
		return part, nil
	}
}

// No slot is ever sold beyond its quota, and no place gets lost.
func TestPlacesAreConserved(t *testing.T) {
	for seed := range uint64(10) {
		play(t, 100+seed, 1000, func(s *State, _ *record) {
			for _, slot := range s.slots {
				if slot == nil {
					continue
				}
				var live Quotas
				for n := range uint32(slot.bookings.len()) {
					if b := slot.bookings.at(n); b.status.Live() {
						live[b.channel] += uint32(b.places)
					}
				}
				for c := range live {
					if live[c]+uint32(slot.Left(Channel(c)))+slot.pending[c] != slot.quota[c] {
						t.Fatalf("seed %d, slot %s: %d live, %d left, %d pending of %d", seed, slot.ID, live[c], slot.Left(Channel(c)), slot.pending[c], slot.quota[c])
					}
				}
			}
		})
	}
}

func TestEventsAreReadAsWritten(t *testing.T) {
	_, log := play(t, 7, 3000, nil)
	kinds := map[Kind]int{}
	for _, data := range log.events {
		var e, again Event
		if err := e.Parse(data); err != nil {
			t.Fatal(err)
		}
		kinds[e.Kind]++
		written := e.Append(nil)
		if !bytes.Equal(written, data) {
			t.Fatalf("%s: written anew as %x, was %x", e.Kind, written, data)
		}
		if err := again.Parse(written); err != nil || !reflect.DeepEqual(e, again) {
			t.Fatalf("%s: %v", e.Kind, err)
		}
	}
	for k := SlotOpened; k <= DayRetired; k++ {
		if kinds[k] == 0 {
			t.Errorf("no event %s was tried", k)
		}
	}
}

func FuzzEvent(f *testing.F) {
	_, log := play(f, 8, 200, nil)
	for _, data := range log.events {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e Event
		if e.Parse(data) != nil {
			return
		}
		var again Event
		if err := again.Parse(e.Append(nil)); err != nil {
			t.Fatalf("%s: %v", e.Kind, err)
		}
		s, _ := New(3)
		_ = s.Replay(1, data, &e)
	})
}

func FuzzSnapshot(f *testing.F) {
	s, log := play(f, 9, 300, nil)
	head, n := s.AppendHead(nil, uint64(len(log.events)))
	for i := range n {
		f.Add(head, s.AppendSlot(nil, i))
	}
	f.Fuzz(func(_ *testing.T, head, part []byte) {
		s, _ := New(3)
		_, _ = s.ReadSnapshot(reading([][]byte{head, part}))
	})
}
