package booking

import (
	"context"
	"testing"

	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// Documents go slot by slot, of slots that are over alone, and a slot that was emptied is not looked through again.
func TestDocumentsAreErasedBySlot(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		ctx := context.Background()
		if err := db.Migrate(ctx, "booking", sqldb.Files(tables)); err != nil {
			t.Fatal(err)
		}
		s := store{db: db}
		over, later, other := slotPlace{0, 1}, slotPlace{0, 2}, slotPlace{1, 1}
		var rows []sqldb.Insert
		for i, slot := range []slotPlace{over, later, other} {
			id := string(rune('a' + i))
			end := int64(1000)
			if slot == later {
				end = 3000
			}
			rows = append(rows, intoSlot.Row(id, int64(slot.shard), int64(slot.place), "bay", int64(1), end-500, end, int64(0), "{}", "open", ""))
			for _, n := range []uint32{0, 7, erasePiece - 1, erasePiece, 3*erasePiece + 5, 1<<24 - 3} {
				rows = append(rows, intoBooking.Row(int64(ledger.NumberOf(slot.shard, slot.place, n)), id, "owner", "key", int64(0), int64(0), int64(1), int64(ledger.Confirmed),
					int64(0), int64(0), int64(0), int64(0), int64(1), int64(1), []byte("documents")))
			}
		}
		if err := db.Append(ctx, rows...); err != nil {
			t.Fatal(err)
		}
		left := func(id string) int64 {
			n, err := sqldb.Value[int64](ctx, db, "SELECT count(*) FROM booking WHERE slot = $1 AND length(visitors) > 0", id)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		slots, err := s.filled(ctx, 2000)
		if err != nil || len(slots) != 2 {
			t.Fatalf("slots that are over: %v, %v", slots, err)
		}
		if err := s.erase(ctx, over); err != nil {
			t.Fatal(err)
		}
		if left("a") != 0 || left("b") != 6 || left("c") != 6 {
			t.Errorf("documents left: %d, %d, %d", left("a"), left("b"), left("c"))
		}
		if slots, err = s.filled(ctx, 2000); err != nil || len(slots) != 2 {
			t.Errorf("before it is noted: %v, %v", slots, err)
		}
		if err := s.empty(ctx, over); err != nil {
			t.Fatal(err)
		}
		if slots, err = s.filled(ctx, 2000); err != nil || len(slots) != 1 || slots[0] != other {
			t.Errorf("after it is noted: %v, %v", slots, err)
		}
	})
}
