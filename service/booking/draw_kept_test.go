package booking

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/service/booking/room"
)

// A room is shown when those in sync have it; from then on nobody gets in sync without it, and who keeps the others waiting
// is in sync no longer.
func TestARoomWaitsForStandbys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		in, out := &follower{inSync: true}, &follower{}
		term := &term{p: &pair{b: &Booking{host: &qiong.Host{Now: time.Now}}}, standbys: map[string]*follower{"in": in, "out": out},
			rooms: map[string]roomCopy{}, awaited: map[string]time.Time{}}
		first := roomCopy{Sale: "bay", Opens: now.UnixMilli(), Saved: 0}
		closed := roomCopy{Sale: "bay", Opens: now.UnixMilli(), Saved: 7}
		if !term.hasAll(out) {
			t.Error("without rooms somebody lacks one")
		}
		if term.copied(first) {
			t.Error("it is shown, and nobody has it")
		}
		in.rooms = map[string]int64{"bay": 0}
		if !term.copied(first) || !term.hasAll(in) || term.hasAll(out) {
			t.Error("who is in sync has it: it is to be shown, and who is not may not be in sync")
		}
		if term.copied(closed) {
			t.Error("it is shown, and the standby has an earlier one")
		}
		time.Sleep(roomsLate)
		if term.copied(closed) || in.late {
			t.Error("the standby is late too early, or has it by waiting")
		}
		time.Sleep(time.Millisecond)
		if term.copied(closed) || !in.late || out.late {
			t.Error("a standby that is waited for is not late, or another is")
		}
		in.rooms = map[string]int64{"bay": 8}
		if !term.copied(closed) || !term.hasAll(in) {
			t.Error("a later copy does not do")
		}
		time.Sleep(roomAfter)
		if !term.copied(closed) || !term.hasAll(out) {
			t.Error("a room that is over is waited for")
		}
	})
}

// A list is read from the tables when its sale is over, and by few at a time.
func TestListsOfClosedRooms(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		ctx := context.Background()
		if err := db.Migrate(ctx, "booking", sqldb.Files(tables)); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		b := &Booking{host: &qiong.Host{Now: func() time.Time { return now }}, store: store{db: db}}
		b.lobbies.key, b.lobbies.past = []byte("a key of sixteen"), make(chan struct{}, 1)
		want := map[string]string{}
		for sale, opened := range map[string]time.Duration{"over": roomAfter + time.Second, "going-on": roomAfter - time.Second, "empty": roomAfter + time.Second} {
			r, err := room.New(room.Config{Sale: sale, Opens: now.Add(-opened), Key: b.lobbies.key, Seed: [32]byte{1}})
			if err != nil {
				t.Fatal(err)
			}
			kept := roomCopy{Sale: sale, Spot: "bay", Opens: now.Add(-opened).UnixMilli(), Record: string(r.Record().Text())}
			if sale != "empty" {
				for _, who := range []string{"x", "y", "z"} {
					if _, err := r.Join(r.Opens().Add(-time.Minute), []byte(who)); err != nil {
						t.Fatal(err)
					}
				}
				list, err := r.Close(now)
				if err != nil {
					t.Fatal(err)
				}
				var text strings.Builder
				_, _ = list.WriteTo(&text)
				want[sale], kept.Record, kept.Export = text.String(), string(list.Tree().Record().Text()), r.Export()
			}
			if err := b.store.keepRoom(ctx, kept); err != nil {
				t.Fatal(err)
			}
		}
		var got bytes.Buffer
		if err := b.pastList(ctx, "over", &got); err != nil || got.String() != want["over"] {
			t.Errorf("the list is %q, %v", got.String(), err)
		}
		if record, err := b.recordOf(ctx, "over"); err != nil || !bytes.Contains(record, []byte("\ncount 3\n")) {
			t.Errorf("the record is %q, %v", record, err)
		}
		for sale, code := range map[string]string{"going-on": "booking.no-room", "none": "booking.no-room", "empty": "booking.no-list"} {
			if err := b.pastList(ctx, sale, &got); err == nil || errs.As(err).Code != code {
				t.Errorf("the list of %s: %v", sale, err)
			}
		}
		if _, err := b.recordOf(ctx, "going-on"); !errs.Is(err, errs.NotFound) {
			t.Errorf("the record of a sale whose room is about to open: %v", err)
		}
		b.lobbies.past <- struct{}{} // another reads
		if err := b.pastList(ctx, "over", &got); !errs.Is(err, errs.TooMany) || errs.As(err).RetryAfter == 0 {
			t.Errorf("beside another: %v", err)
		}
	})
}
