package booking_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/room"
)

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", url, resp.Status, text.Bytes(), err)
	}
	return text.Bytes()
}

// A sale with a waiting room, from before its opening to the bookings: the draw is one that anybody can check, and
// nobody books who was not let in.
func TestAWaitingRoom(t *testing.T) {
	h := start(t, "", "", strings.Replace(bay, `room: "off"`, `room: "on"`, 1), nil)
	start := time.Now().AddDate(0, 0, 40).Truncate(time.Hour)
	opens := time.Now().Add(3 * time.Second).Truncate(time.Second)
	var slot booking.SlotView
	if err := h.As("operator", auth.Operator).Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/slots", Body: map[string]any{"spot": "bay", "start": beijing.At(start.Add(13 * time.Minute)),
		"end": beijing.At(start.Add(2 * time.Hour)), "opens": beijing.At(opens), "quotas": map[string]int{"online": 50, "window": 1, "walk-in": 1}}}, &slot); err != nil {
		t.Fatal(err)
	}
	sale := "/api/booking/sales/" + slot.Sale
	people := make([]*client.Client, 8)
	for i := range people {
		people[i] = h.As(fmt.Sprint("visitor", i), auth.Applicant)
		eventually(t, "a place", func() bool {
			return people[i].Do(t.Context(), client.Request{Method: "POST", Path: sale + "/place", Body: map[string]string{}}, nil) == nil
		})
	}
	reservation := map[string]any{"slot": slot.ID, "visitors": []any{someone(1)}}
	if _, err := reserve(people[0], "room-key-1", reservation); code(err) != "booking.room" && code(err) != "booking.not-yet" {
		t.Fatalf("without an admission: %v", err)
	}
	eventually(t, "admitted", func() bool {
		var place booking.PlaceView
		get(t, people[0], sale+"/place", &place)
		return place.State == "admitted"
	})
	record, err := room.ParseRecord(fetch(t, h.URL+sale+"/draw"))
	if err != nil {
		t.Fatal(err)
	}
	order, err := room.VerifyDraw(record, fetch(t, h.URL+sale+"/draw/list"))
	if err != nil || len(order) != len(people) {
		t.Fatalf("%d in the draw, %v", len(order), err)
	}
	if len(record.Beacon) != 32 {
		t.Errorf("the beacon has %d bytes, though evidence is kept", len(record.Beacon))
	}
	var first, other booking.PlaceView
	get(t, people[0], sale+"/place", &first)
	eventually(t, "another admitted", func() bool {
		get(t, people[1], sale+"/place", &other)
		return other.Admission != ""
	})
	reservation["admission"] = other.Admission
	if _, err := reserve(people[0], "room-key-2", reservation); code(err) != "room.admission" {
		t.Fatalf("with somebody else's admission: %v", err)
	}
	reservation["admission"] = first.Admission
	made, err := reserve(people[0], "room-key-3", reservation)
	if err != nil || made.Status != "confirmed" {
		t.Fatalf("with one's own: %+v, %v", made, err)
	}
	if again, err := reserve(people[0], "room-key-3", reservation); err != nil || again.ID != made.ID {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	more := map[string]any{"slot": slot.ID, "admission": first.Admission, "visitors": []any{someone(2)}}
	if _, err := reserve(people[0], "room-key-3", more); code(err) != "booking.key" {
		t.Errorf("the same key for something else: %v", err)
	}
	if _, err := reserve(people[0], "room-key-4", more); code(err) != "booking.spent" {
		t.Errorf("another booking with an admission that has made one: %v", err)
	}
	// What came to nothing does not spend it.
	more = map[string]any{"slot": slot.ID, "admission": other.Admission, "visitors": []any{someone(1)}}
	if _, err := reserve(people[1], "room-key-5", more); code(err) != "booking.limit" {
		t.Fatalf("somebody who has a place: %v", err)
	}
	more["visitors"] = []any{someone(3)}
	if _, err := reserve(people[1], "room-key-6", more); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}
