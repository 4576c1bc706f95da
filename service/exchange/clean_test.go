package exchange

import (
	"fmt"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// What was refused goes; what was accepted stays until every target has had it for as long as the retention.
func TestClean(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		ctx, now := t.Context(), time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		if err := db.Migrate(ctx, "exchange", sqldb.Files(tables)); err != nil {
			t.Fatal(err)
		}
		x := &Exchange{host: &qiong.Host{DB: db, Now: func() time.Time { return now }}, cfg: Config{Retention: 24 * time.Hour}, store: store{db}}
		old, recent := now.Add(-48*time.Hour).UnixMilli(), now.Add(-time.Hour).UnixMilli()
		for id, tc := range map[string]struct {
			status   string
			ended    int64
			delivery string // status and end
			at       int64
		}{
			"refused": {refused, recent, "", 0}, "receiving": {receiving, 0, "", 0}, "abandoned": {receiving, 0, "", 0}, "recent": {accepted, recent, "done", recent},
			"old": {accepted, old, "done", old}, "waiting": {accepted, old, "pending", 0}, "late": {accepted, old, "done", recent}, "none": {accepted, old, "", 0},
		} {
			tr := &transfer{ID: id, Feed: "f", Version: 1, Kind: kindFile, Name: id, Status: tc.status, Chunks: 120, Created: recent, Ended: tc.ended}
			if id == "abandoned" {
				tr.Created = old
			}
			rows := []sqldb.Insert{tr.row()}
			for n := range int64(120) {
				rows = append(rows, intoChunk.Row(id, n, int64(1), []byte("x")))
			}
			if tc.delivery != "" {
				rows = append(rows, intoDelivery.Row("f", "t", id, int64(120), int64(120), tc.delivery, int64(0), int64(0), "", int64(0), int64(0), tc.at))
			}
			if err := db.Append(ctx, rows...); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.clean(ctx); err != nil {
			t.Fatal(err)
		}
		left, err := sqldb.All(ctx, db, func(r sqldb.Scanner) (s string, err error) {
			var n int64
			err = r.Scan(&s, &n)
			return fmt.Sprint(s, " ", n), err
		}, "SELECT transfer, count(*) FROM chunk GROUP BY transfer ORDER BY transfer")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(left), "[late 120 receiving 120 recent 120 waiting 120]"; got != want {
			t.Errorf("left %s, want %s", got, want)
		}
	})
}
