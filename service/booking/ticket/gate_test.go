package ticket

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

var noon = day.Add(9 * time.Hour)

func gateConfig(t testing.TB, id uint32) GateConfig {
	return GateConfig{ID: id, Journal: [8]byte{byte(id)}, Spot: 3, Keys: NewKeys(key(t, 1).PublicKey()), Grace: 5 * time.Minute}
}

// device is a gate with its journal.
type device struct {
	*Gate
	head, records []byte
}

func newDevice(t testing.TB, id uint32) *device {
	g, head := NewGate(gateConfig(t, id))
	return &device{Gate: g, head: head}
}

func (d *device) enter(code string, people int, now time.Time) Decision {
	decision, record := d.Enter(code, people, now)
	d.records = append(d.records, record...)
	return decision
}

// reopen is a power cut: the gate as its journal tells.
func (d *device) reopen(t testing.TB) {
	t.Helper()
	g, whole, err := OpenGate(gateConfig(t, d.cfg.ID), append(bytes.Clone(d.head), d.records...))
	if err != nil || whole != len(d.head)+len(d.records) || g.Cursor() != d.Cursor() {
		t.Fatalf("OpenGate: %d of %d, %v", whole, len(d.head)+len(d.records), err)
	}
	d.Gate = g
}

func TestAPartyEnters(t *testing.T) {
	d, code := newDevice(t, 1), signed(t, nil) // a party of 4
	for i, step := range []struct {
		people int
		want   Reason
		before int
		in     int
		left   int
	}{
		{1, OK, 0, 1, 3}, {4, TooMany, 1, 0, 3}, {-1, TooMany, 1, 0, 3}, {2, OK, 1, 2, 1}, {0, OK, 3, 1, 0}, {0, Entered, 4, 0, 0}, {1, Entered, 4, 0, 0},
	} {
		got := d.enter(code, step.people, noon)
		if got.Reason != step.want || got.Before != step.before || got.People != step.in || got.Left != step.left {
			t.Errorf("step %d: %+v", i, got)
		}
		d.reopen(t)
	}
	if len(d.records) != 3*EntrySize {
		t.Errorf("the journal is %d bytes", len(d.records))
	}
}

func TestGateRefuses(t *testing.T) {
	d, code := newDevice(t, 1), signed(t, nil)
	other := signed(t, func(t *Ticket) { t.Spot = 4 })
	for name, c := range map[string]struct {
		code string
		now  time.Time
		want Reason
	}{
		"with grace before": {code, day.Add(8*time.Hour - 5*time.Minute), OK},
		"too early":         {code, day.Add(8*time.Hour - 5*time.Minute - 1), TooEarly},
		"with grace after":  {code, day.Add(10*time.Hour + 5*time.Minute - 1), OK},
		"too late":          {code, day.Add(10*time.Hour + 5*time.Minute), TooLate},
		"another spot":      {other, noon, WrongSpot},
		"not a code":        {"HELLO", noon, Malformed},
		"changed":           {code[:50] + swap(code[50:51]) + code[51:], noon, Forged},
	} {
		if got := d.Check(c.code, c.now); got.Reason != c.want {
			t.Errorf("%s: %v", name, got.Reason)
		}
	}
	if got := d.Check(code, noon); got.Reason != OK || got.People != 4 {
		t.Errorf("checking used the code: %+v", got)
	}
	d.SetKeys(NewKeys())
	if got := d.enter(code, 0, noon); got.Reason != UnknownKey || d.records != nil {
		t.Errorf("without its key: %+v", got)
	}
}

func swap(digit string) string {
	if digit == "0" {
		return "1"
	}
	return "0"
}

func TestRevocations(t *testing.T) {
	d := newDevice(t, 1)
	cancelled := []uint64{9, 1 << 60, 11, 12}
	list := func(since, until uint64, change func([]byte)) []byte {
		b, err := SignRevocations(key(t, 1), 3, since, cancelled[since:until])
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(b)
		}
		return b
	}
	foreign, err := SignRevocations(key(t, 2), 3, 0, cancelled)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := SignRevocations(key(t, 1), 4, 0, cancelled)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		list []byte
		code string
	}{
		"a gap":            {list(1, 2, nil), "ticket.gap"},
		"another spot":     {elsewhere, "ticket.revocations"},
		"another key":      {foreign, "ticket.revocations"},
		"another count":    {list(0, 2, func(b []byte) { b[revokeHead-1]++ }), "ticket.revocations"},
		"another number":   {list(0, 2, func(b []byte) { b[revokeHead+7]++ }), "ticket.revocations"},
		"cut":              {list(0, 2, nil)[:40], "ticket.revocations"},
		"nothing":          {nil, "ticket.revocations"},
		"a code, no list":  {[]byte(signed(t, nil)), "ticket.revocations"},
		"a huge beginning": {list(0, 1, func(b []byte) { b[12] = 0xff }), "ticket.revocations"},
	} {
		if err := d.Revoke(c.list); err == nil || errs.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.RevokedUpTo() != 0 || d.Check(signed(t, nil), noon).Reason != OK {
		t.Fatal("a list that was refused had an effect")
	}
	for i, step := range []struct{ since, until, upTo uint64 }{{0, 1, 1}, {0, 1, 1}, {1, 3, 3}, {0, 4, 4}, {2, 3, 4}, {4, 4, 4}} {
		if err := d.Revoke(list(step.since, step.until, nil)); err != nil || d.RevokedUpTo() != step.upTo {
			t.Errorf("step %d: up to %d, %v", i, d.RevokedUpTo(), err)
		}
	}
	if got := d.enter(signed(t, nil), 0, noon); got.Reason != Revoked {
		t.Errorf("a cancelled booking: %v", got.Reason)
	}
}

// Two gates without a network let the same code in; what they upload, in any order and any number of times, shows it.
func TestDoublesAreFound(t *testing.T) {
	a, b, tally := newDevice(t, 1), newDevice(t, 2), NewTally()
	shared := signed(t, nil)
	alone := signed(t, func(t *Ticket) { t.Booking, t.Party = 5, 2 })
	a.enter(shared, 3, noon)
	b.enter(shared, 2, noon.Add(time.Minute))
	a.enter(alone, 1, noon)
	upload := func(d *device, from int) ([]Entry, []Double) {
		t.Helper()
		entries, doubles, end, err := tally.Add(d.head, d.records[from*EntrySize:])
		if err != nil || end != d.Cursor() {
			t.Fatalf("upload: %v", err)
		}
		return entries, doubles
	}
	if entries, doubles := upload(a, 0); len(entries) != 2 || len(doubles) != 0 {
		t.Errorf("the first gate: %d entries, %d doubles", len(entries), len(doubles))
	}
	entries, doubles := upload(b, 0)
	if len(entries) != 1 || len(doubles) != 1 || doubles[0].Over != 1 || doubles[0].Total != 5 || doubles[0].Entry.Gate != 2 || !doubles[0].Entry.At.Equal(noon.Add(time.Minute)) {
		t.Errorf("the second gate: %+v, %+v", entries, doubles)
	}
	b.enter(alone, 1, noon)
	for from := range 2 {
		if entries, doubles := upload(b, from); len(entries) != 1-from || len(doubles) != 0 {
			t.Errorf("again from %d: %d entries, %+v", from, len(entries), doubles)
		}
	}
	if entries, doubles := upload(a, 0); len(entries)+len(doubles) != 0 || tally.People(1<<60) != 5 || tally.People(5) != 2 {
		t.Errorf("sent again it counts again: %d and %d people", tally.People(1<<60), tally.People(5))
	}
	b.Elsewhere(1<<60, 3, day.Add(10*time.Hour))
	if got := b.Check(shared, noon); got.Reason != Entered || got.Before != 5 {
		t.Errorf("told of the other gate: %+v", got)
	}
	again := NewTally()
	again.Known([]Cursor{a.Cursor(), b.Cursor()}, map[uint64]int{1 << 60: 5, 5: 2})
	if entries, _, _, err := again.Add(a.head, a.records); err != nil || len(entries) != 0 || again.People(5) != 2 {
		t.Errorf("after a restart: %d new entries, %v", len(entries), err)
	}
}

func TestJournalsThatAreNotWhole(t *testing.T) {
	d := newDevice(t, 1)
	for i := range uint64(3) {
		d.enter(signed(t, func(t *Ticket) { t.Booking = i }), 0, noon)
	}
	whole := append(bytes.Clone(d.head), d.records...)
	for cut := len(d.head); cut <= len(whole); cut++ {
		g, keep, err := OpenGate(gateConfig(t, 1), whole[:cut])
		if want := (cut - HeadSize) / EntrySize; err != nil || int(g.Cursor().Sequence) != want || keep != HeadSize+want*EntrySize {
			t.Fatalf("cut to %d: %d kept, %v", cut, keep, err)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		if _, _, err := OpenGate(gateConfig(t, 1), bad); err == nil {
			t.Fatalf("opened with byte %d changed", i)
		}
	}
	for cut := range HeadSize {
		if _, _, err := OpenGate(gateConfig(t, 1), whole[:cut]); !errs.Is(err, errs.Invalid) {
			t.Errorf("a head of %d bytes: %v", cut, err)
		}
	}
	if _, _, err := OpenGate(gateConfig(t, 2), whole); !errs.Is(err, errs.Invalid) {
		t.Errorf("the journal of another gate: %v", err)
	}
	tally := NewTally()
	if _, _, _, err := tally.Add(d.head, d.records[EntrySize:]); !errs.Is(err, errs.Conflict) || errs.As(err).Code != "ticket.gap" {
		t.Errorf("with the first entry missing: %v", err)
	}
	missing := append(bytes.Clone(d.records[:EntrySize]), d.records[2*EntrySize:]...)
	if _, _, _, err := tally.Add(d.head, missing); !errs.Is(err, errs.Invalid) {
		t.Errorf("with the second one missing: %v", err)
	}
	if c, err := tally.Cursor(d.head); err != nil || c.Sequence != 0 || tally.People(0) != 0 {
		t.Errorf("what was refused was taken in: %+v, %v", c, err)
	}
}

func TestPruneKeepsWhatIsValid(t *testing.T) {
	d, code := newDevice(t, 1), signed(t, nil)
	d.enter(code, 0, noon)
	d.enter(signed(t, func(t *Ticket) { t.Booking, t.Until = 1, t.Until.Add(48*time.Hour) }), 0, noon)
	d.Prune(day.Add(10*time.Hour + 5*time.Minute))
	if len(d.people) != 2 {
		t.Errorf("within the grace %d are known", len(d.people))
	}
	d.Prune(day.Add(11 * time.Hour))
	if len(d.people) != 1 {
		t.Errorf("an hour after %d are known", len(d.people))
	}
}

// Gates at random, now and then in touch and now and then cut off, let in as many as the tally says, and no party is
// exceeded at one gate.
func TestRandomGates(t *testing.T) {
	codes := make([]string, 30)
	for i := range codes {
		codes[i] = signed(t, func(t *Ticket) { t.Booking, t.Party = uint64(i), uint16(i%5+1) })
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		devices, tally := []*device{newDevice(t, 1), newDevice(t, 2), newDevice(t, 3)}, NewTally()
		inside, over := map[uint64]int{}, 0
		for range 300 {
			d := devices[random.IntN(3)]
			switch random.IntN(10) {
			case 0:
				d.reopen(t)
			case 1:
				_, doubles, _, err := tally.Add(d.head, d.records)
				if err != nil {
					t.Fatal(err)
				}
				for _, double := range doubles {
					over += double.Over
				}
			default:
				got := d.enter(codes[random.IntN(len(codes))], random.IntN(3), noon)
				inside[got.Ticket.Booking] += got.People
				if int(d.people[got.Ticket.Booking].here) > int(got.Ticket.Party) {
					t.Fatalf("seed %d: one gate let %d in of %d", seed, d.people[got.Ticket.Booking].here, got.Ticket.Party)
				}
			}
		}
		for _, d := range devices {
			_, doubles, _, err := tally.Add(d.head, d.records)
			if err != nil {
				t.Fatal(err)
			}
			for _, double := range doubles {
				over += double.Over
			}
		}
		want := 0
		for booking, people := range inside {
			want += max(people-int(booking%5+1), 0)
			if tally.People(booking) != people {
				t.Errorf("seed %d: the tally has %d people of booking %d, %d are inside", seed, tally.People(booking), booking, people)
			}
		}
		if over != want {
			t.Errorf("seed %d: %d too many were found, want %d", seed, over, want)
		}
	}
}

func FuzzOpenGate(f *testing.F) {
	d := newDevice(f, 1)
	d.enter(signed(f, nil), 1, noon)
	d.enter(signed(f, nil), 2, noon)
	f.Add(append(bytes.Clone(d.head), d.records...))
	f.Add(d.head)
	f.Fuzz(func(t *testing.T, journal []byte) {
		g, whole, err := OpenGate(gateConfig(t, 1), journal)
		if err != nil {
			return
		}
		entries, doubles, end, err := NewTally().Add(journal[:HeadSize], journal[HeadSize:whole])
		if err != nil || end != g.Cursor() || len(entries) != (whole-HeadSize)/EntrySize || len(doubles) > len(entries) {
			t.Fatalf("the gate and the tally read another journal: %v", err)
		}
	})
}

func FuzzRevoke(f *testing.F) {
	for _, numbers := range [][]uint64{nil, {1, 2, 3}} {
		list, err := SignRevocations(key(f, 1), 3, 0, numbers)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		g, _ := NewGate(gateConfig(t, 1))
		if g.Revoke(list) == nil && g.RevokedUpTo() != 0 && g.RevokedUpTo() != 3 {
			t.Fatalf("a list of %d was believed", g.RevokedUpTo())
		}
	})
}
