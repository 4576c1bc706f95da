package booking_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// FuzzJournal uploads anything to a house: it takes in what a gate's own reading of it takes in and nothing else, its
// cursor never goes back, and nothing is an error of the house.
func FuzzJournal(f *testing.F) {
	g := startGated(f, "")
	today := g.slot(f, 0)
	v := g.book(f, today.ID, 3)
	n, err := ledger.ParseNumber(v.ID)
	if err != nil {
		f.Fatal(err)
	}
	gate := g.newBox(f, 1)
	gate.scan(f, "1 "+v.Code, v.Code, g.sign(f, today, n+100, 2), g.sign(f, today, ledger.NumberOf(200, 1, 1), 9))
	whole := gate.journal(f)
	f.Add(whole)
	f.Add(whole[:ticket.HeadSize])
	f.Add(whole[:ticket.HeadSize+ticket.EntrySize])
	f.Add(append(bytes.Clone(whole[:ticket.HeadSize]), whole[ticket.HeadSize+2*ticket.EntrySize:]...))
	f.Add(append([]byte("QGATE\x01\x00\x00\x00\x02journal2"), whole[ticket.HeadSize:]...))
	f.Add([]byte{})
	cursors := map[string]uint32{}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := g.upload(body)
		if err != nil {
			var e *errs.Error
			if !errors.As(err, &e) || e.Kind != errs.Invalid && e.Kind != errs.Conflict && e.Kind != errs.TooLarge {
				t.Fatalf("%v", err)
			}
			return
		}
		name := string(body[:ticket.HeadSize])
		if _, _, end, err := ticket.NewTally().Add(body[:ticket.HeadSize], body[ticket.HeadSize:]); err == nil && answer.Cursor < end.Sequence {
			t.Fatalf("taken in up to %d of %d", answer.Cursor, end.Sequence)
		}
		if answer.Cursor < cursors[name] || len(answer.Doubles) > int(answer.Cursor) {
			t.Fatalf("%+v after %d", answer, cursors[name])
		}
		cursors[name] = answer.Cursor
	})
}
