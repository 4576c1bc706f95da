package ledger

import (
	"bytes"
	"fmt"
	"testing"
)

// A snapshot has the documents of those who may still get a place, and of nobody else.
func TestSnapshotsHaveTheDocumentsOfThoseWhoWait(t *testing.T) {
	s, log, slot := setUp(t, 1)
	v, _, _ := s.Book(before, request(slot, 1, 1), log.emit)
	for who := uint64(2); who <= 4; who++ {
		r := request(slot, who, who)
		r.Visitors[0].Sealed = fmt.Appendf(nil, "document %d", who)
		if _, refused := s.Wait(before, r, log.emit); refused != nil {
			t.Fatal(refused)
		}
	}
	holds := func(when string, s *State, want ...int) {
		t.Helper()
		part := s.AppendSlot(nil, 0)
		var got []int
		for who := 2; who <= 4; who++ {
			if bytes.Contains(part, fmt.Appendf(nil, "document %d", who)) {
				got = append(got, who)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s the snapshot has the documents of %v, not %v", when, got, want)
		}
	}
	restored := func() *State {
		head, _ := s.AppendHead(nil, uint64(len(log.events)))
		other, _ := New(3)
		if _, err := other.ReadSnapshot(reading([][]byte{head, s.AppendSlot(nil, 0)})); err != nil {
			t.Fatal(err)
		}
		return other
	}
	holds("at first", s, 2, 3, 4)
	if refused := s.Leave(before, slot, 0, "owner2", log.emit); refused != nil {
		t.Fatal(refused)
	}
	holds("when one has left", s, 3, 4)

	served := restored()
	now := v.Until * 1000
	served.Expire(now, v.Number, 0, log.emit)
	served.Return(now+60_000, served.At(0), log.emit)
	var booked Event
	if err := booked.Parse(log.events[len(log.events)-1]); err != nil || booked.Kind != Booked || string(booked.Visitors[0].Sealed) != "document 3" {
		t.Fatalf("the one who waits has %+v, %v", booked, err)
	}
	holds("when one has a place", served, 4)

	closed := restored()
	closed.Close(now, closed.At(0), "typhoon", log.emit)
	holds("when it is closed", closed)

	over := restored()
	if !over.Finish((slot.End+hour)*1000, over.At(0), log.emit) {
		t.Fatal("it is not over")
	}
	holds("when it is over", over)
}

// What makes room for a snapshot changes nothing.
func TestMark(t *testing.T) {
	s, log := play(t, 3, 500, nil)
	was, sequence := content(s), len(log.events)
	s.Mark(before, log.emit)
	if len(log.events) != sequence+1 || content(s) != was {
		t.Fatalf("%d events, and then %d:\n%s", sequence, len(log.events), difference(was, content(s)))
	}
	other, _ := New(3)
	replay(t, other, log, 0)
	if content(other) != was {
		t.Fatal(difference(was, content(other)))
	}
}
