package booking_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/booking"
)

// Who waits for a slot that is sold out has the next place, before anybody who comes later; who leaves the list has not.
func TestAWaitlist(t *testing.T) {
	h := start(t, "", "", strings.Replace(bay, "online: 200", "online: 1", 1), nil)
	eventually(t, "all slots", func() bool { return len(slots(t, h)) > 20 })
	slot := slots(t, h)[20].ID
	first, gone, next := h.As("first", auth.Applicant), h.As("gone", auth.Applicant), h.As("next", auth.Applicant)
	made, err := reserve(first, "list-key-1", map[string]any{"slot": slot, "visitors": []any{someone(1)}})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(c *client.Client, key string, who uint64) (v booking.WaitView, err error) {
		err = c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/waitlist", Header: map[string]string{"Idempotency-Key": key},
			Body: map[string]any{"slot": slot, "visitors": []any{someone(who)}}}, &v)
		return v, err
	}
	entry, err := wait(gone, "list-key-2", 2)
	if err != nil || entry.Status != "waiting" {
		t.Fatalf("%+v, %v", entry, err)
	}
	if _, err := wait(next, "list-key-3", 3); err != nil {
		t.Fatal(err)
	}
	if err := next.Do(t.Context(), client.Request{Method: "DELETE", Path: "/api/booking/waitlist/" + slot + "/0"}, nil); code(err) != "booking.unknown" {
		t.Errorf("somebody else's entry: %v", err)
	}
	if err := gone.Do(t.Context(), client.Request{Method: "DELETE", Path: "/api/booking/waitlist/" + slot + "/0"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := first.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/cancel", Body: map[string]any{}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(h.As("late", auth.Applicant), "list-key-4", map[string]any{"slot": slot, "visitors": []any{someone(4)}}); code(err) != "booking.sold-out" {
		t.Errorf("who came later: %v", err)
	}
	for who, want := range map[*client.Client]string{gone: "left", next: "served"} {
		var list struct{ Items []booking.WaitView }
		eventually(t, want, func() bool {
			list.Items = nil
			get(t, who, "/api/booking/waitlist", &list)
			return len(list.Items) == 1 && list.Items[0].Status == want
		})
		if got := list.Items[0]; (got.Booking != "") != (want == "served") {
			t.Errorf("%s: %+v", want, got)
		}
	}
}

// A page that watches its place is told when it may go in, without asking again.
func TestAPlaceIsWatched(t *testing.T) {
	h := start(t, "", "", strings.Replace(bay, `room: "off"`, `room: "on"`, 1), nil)
	begin := time.Now().AddDate(0, 0, 40).Truncate(time.Hour)
	var slot booking.SlotView
	if err := h.As("operator", auth.Operator).Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/slots", Body: map[string]any{"spot": "bay", "start": beijing.At(begin.Add(13 * time.Minute)),
		"end": beijing.At(begin.Add(2 * time.Hour)), "opens": beijing.At(time.Now().Add(2 * time.Second)), "quotas": map[string]int{"online": 5, "window": 1, "walk-in": 1}}}, &slot); err != nil {
		t.Fatal(err)
	}
	c := h.As("visitor", auth.Applicant)
	place := "/api/booking/sales/" + slot.Sale + "/place"
	if resp, err := c.Send(t.Context(), client.Request{Method: "GET", Path: place + "/events"}); err == nil {
		resp.Body.Close()
		t.Error("who has no place was told of one")
	}
	eventually(t, "a place", func() bool {
		return c.Do(t.Context(), client.Request{Method: "POST", Path: place, Body: map[string]string{}}, nil) == nil
	})
	resp, err := c.Send(t.Context(), client.Request{Method: "GET", Path: place + "/events", Header: map[string]string{"Accept": "text/event-stream"}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	var states []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var v booking.PlaceView
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if states = append(states, v.State); v.State == "admitted" {
			if v.Admission == "" || states[0] != "in-draw" {
				t.Errorf("%v, then %+v", states, v)
			}
			return
		}
	}
	t.Errorf("the stream ended after %v", states)
}
