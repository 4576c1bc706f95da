package booking

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/room"
)

// An admission makes one booking, in whatever order requests of its key come to an end.
func TestAnAdmissionMakesOneBooking(t *testing.T) {
	now := time.Now()
	mine, other := ledger.Key{1}, ledger.Key{2}
	for name, c := range map[string]struct {
		booked []bool // by requests of one key that are under way together, in the order of their ends
		free   bool   // for another key
	}{
		"it booked":                            {[]bool{true}, false},
		"it was refused":                       {[]bool{false}, true},
		"one was refused while another books":  {[]bool{false, true}, false},
		"one was refused after another booked": {[]bool{true, false}, false},
		"both were refused":                    {[]bool{false, false}, true},
		"refused thrice and booked in between": {[]bool{false, true, false, false}, false},
	} {
		r, err := room.New(room.Config{Sale: "sale", Opens: now.Add(time.Hour), Key: make([]byte, 32), Seed: [32]byte{1}, Limit: 10, Inlet: room.Inlet{Target: 1}})
		if err != nil {
			t.Fatal(err)
		}
		place, err := r.Join(now, []byte("somebody"))
		if err != nil {
			t.Fatal(err)
		}
		l := &lobby{room: r}
		var claims []claim
		for range c.booked {
			claim, err := l.admitted(place.Number, mine, now)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			claims = append(claims, claim)
		}
		for i, booked := range c.booked {
			if _, err := l.admitted(place.Number, other, now); err != errSpent {
				t.Errorf("%s: another while %d are under way: %v", name, len(c.booked)-i, err)
			}
			claims[i].end(booked)
		}
		if again, err := l.admitted(place.Number, mine, now); err != nil {
			t.Errorf("%s: the same key again: %v", name, err)
		} else {
			again.end(false) // as where it asks for something else
		}
		if _, err := l.admitted(place.Number, other, now.Add(admissionLasts)); (err == nil) != c.free {
			t.Errorf("%s: another key: %v", name, err)
		}
	}
	claim{}.end(true) // of a booking that needed none
}

func TestUsesAreForgottenInHalves(t *testing.T) {
	var s uses
	now := time.Now()
	for i := range uint32(10) {
		s.put(i, &use{key: ledger.Key{byte(i)}}, now.Add(time.Duration(i)*4*time.Minute))
	}
	if s.get(9) == nil || s.get(7) == nil { // of the last ten minutes
		t.Error("what an admission that still holds was used for is forgotten")
	}
	if s.get(0) != nil || len(s.young)+len(s.old) == 10 {
		t.Errorf("%d and %d are kept", len(s.young), len(s.old))
	}
}
