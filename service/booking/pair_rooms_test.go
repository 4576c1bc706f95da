package booking_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/room"
)

// kept returns when a leader kept the room that a server has in its tables; the zero time where it has none.
func (c *couple) kept(name, sale string) time.Time {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.data[name], "db", "booking.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	var at int64
	if err := db.QueryRow("SELECT saved_at FROM room WHERE sale = ?", sale).Scan(&at); err != nil {
		return time.Time{}
	}
	return time.UnixMilli(at)
}

// A standby that takes over before the draw has the list, the places on it, and the seed that was committed to.
func TestPairKeepsWaitingRooms(t *testing.T) {
	c := newCouple(t, true)
	if err := os.WriteFile(filepath.Join(c.spots, "bay.yaml"), []byte(strings.Replace(bay, `room: "off"`, `room: "on"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	standby := other(leader)
	begin := time.Now().AddDate(0, 0, 40).Truncate(time.Hour)
	var slot booking.SlotView
	if err := c.office[leader].Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/slots", Body: map[string]any{"spot": "bay", "start": beijing.At(begin.Add(13 * time.Minute)),
		"end": beijing.At(begin.Add(2 * time.Hour)), "opens": beijing.At(time.Now().Add(time.Hour)), "quotas": map[string]int{"online": 50, "window": 1, "walk-in": 1}}}, &slot); err != nil {
		t.Fatal(err)
	}
	sale := "/api/booking/sales/" + slot.Sale
	const people = 20
	places := map[string]booking.PlaceView{}
	for i := range people {
		who := fmt.Sprint("visitor", i)
		var place booking.PlaceView
		eventually(t, "a place", func() bool {
			return c.houses[leader].As(who, auth.Applicant).Do(t.Context(), client.Request{Method: "POST", Path: sale + "/place", Body: map[string]string{}}, &place) == nil
		})
		places[who] = place
	}
	record := func(name string) []byte {
		r, err := room.ParseRecord(fetch(t, c.url(name)+sale+"/draw"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Commitment[:]
	}
	committed := record(leader)
	joined := time.Now()
	eventually(t, "the standby has the places", func() bool { return c.kept(standby, slot.Sale).After(joined) })
	c.houses[leader].Stop()
	eventually(t, "the standby leads", func() bool { return c.view(standby).Role == "leader" && ready(c.url(standby)) })
	eventually(t, "the room is open again", func() bool {
		var view booking.PlaceView
		return c.houses[standby].As("visitor0", auth.Applicant).Do(t.Context(), client.Request{Method: "GET", Path: sale + "/place"}, &view) == nil
	})
	for who, was := range places {
		var now booking.PlaceView
		get(t, c.houses[standby].As(who, auth.Applicant), sale+"/place", &now)
		if now.Number != was.Number || now.State != "in-draw" {
			t.Errorf("%s had number %d and has %d, %s", who, was.Number, now.Number, now.State)
		}
	}
	if got := record(standby); string(got) != string(committed) {
		t.Errorf("the seed is another: %x, and was committed to as %x", got, committed)
	}
}

// What anybody has seen of a draw stands after a take-over, however soon: the standby had it before.
func TestPairKeepsWhatWasSeenOfADraw(t *testing.T) {
	c := newCouple(t, true)
	if err := os.WriteFile(filepath.Join(c.spots, "bay.yaml"), []byte(peak), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w", "a", "b"} {
		c.start(name)
	}
	leader := c.leads("a", "b")
	standby := other(leader)
	_, sale := openSale(t, c.office[leader], time.Now().Add(4*time.Second).Truncate(time.Second))
	joinAll(t, c.houses[leader], sale, 8)
	var record []byte
	eventually(t, "the draw", func() bool {
		record = fetch(t, c.url(leader)+sale+"/draw")
		return strings.Contains(string(record), "seed ")
	})
	c.houses[leader].Stop()
	eventually(t, "the standby leads, and its room is open", func() bool {
		return c.view(standby).Role == "leader" && status(t, c.url(standby)+sale+"/draw/list") == http.StatusOK
	})
	if got := fetch(t, c.url(standby)+sale+"/draw"); string(got) != string(record) {
		t.Fatalf("the record was\n%sand is\n%s", record, got)
	}
	r, err := room.ParseRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	if order, err := room.VerifyDraw(r, fetch(t, c.url(standby)+sale+"/draw/list")); err != nil || len(order) != 8 {
		t.Errorf("%d in the draw, %v", len(order), err)
	}
}
