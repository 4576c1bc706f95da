package ledger_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/ledger"
)

// service is a booking service with the faults its test gives it. Its pages are of seven, however many are asked for.
type service struct {
	bookings []ledger.Booking
	capacity map[string]int64
}

func (s *service) client(t *testing.T) *client.Client {
	t.Helper()
	const page = 7
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/booking/ledger", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer auditor" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		from, _ := strconv.Atoi(r.FormValue("after")) // empty is the beginning
		to := min(from+page, len(s.bookings))
		w.Header().Set("Content-Type", "application/x-ndjson")
		if to < len(s.bookings) {
			w.Header().Set("Next-After", strconv.Itoa(to))
		}
		for _, b := range s.bookings[from:to] {
			_ = json.NewEncoder(w).Encode(b) // the client may have gone
		}
	})
	mux.HandleFunc("GET /api/booking/slots", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.FormValue("after"))
		var answer struct {
			Items []map[string]any `json:"items"`
			Next  string           `json:"next"`
		}
		n := 0
		for i := range len(s.capacity) {
			id := fmt.Sprintf("slot-%d", i)
			if n++; n > from && n <= from+2 {
				answer.Items = append(answer.Items, map[string]any{"id": id, "quotas": map[string]int64{"online": s.capacity[id], "window": 1}, "left": 0})
			}
		}
		if n > from+2 {
			answer.Next = strconv.Itoa(from + 2)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &client.Client{URL: server.URL, Token: "auditor"}
}

// sound returns a service of five slots of ten, with fifty bookings of one place, of which the last three of each slot are
// over; and what it acknowledged.
func sound() (*service, map[string]string) {
	s := &service{capacity: map[string]int64{}}
	acked := map[string]string{}
	for i := range 50 {
		slot := fmt.Sprintf("slot-%d", i%5)
		s.capacity[slot] = 10
		b := ledger.Booking{ID: fmt.Sprintf("id-%d", i), Key: fmt.Sprintf("key-%d", i), Slot: slot, Channel: "online", Quantity: 1, State: []string{"held", "confirmed", "used"}[i%3]}
		if i >= 35 {
			b.State = []string{"cancelled", "expired", "refunded"}[i%3]
		}
		s.bookings = append(s.bookings, b)
		if i%2 == 0 {
			acked[b.Key] = b.ID
		}
	}
	return s, acked
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *service, acked map[string]string)
		want   ledger.Report // of its first five
	}{
		{"sound", func(*service, map[string]string) {}, ledger.Report{}},
		{"empty", func(s *service, acked map[string]string) { s.bookings = nil; clear(acked) }, ledger.Report{}},
		{"full to the last place", func(s *service, _ map[string]string) { s.capacity["slot-0"] = 7 }, ledger.Report{}},
		{"oversold by two", func(s *service, _ map[string]string) { s.capacity["slot-0"] = 5 }, ledger.Report{Oversold: 2}},
		{"oversold twice", func(s *service, _ map[string]string) { s.capacity["slot-0"], s.capacity["slot-1"] = 6, 4 }, ledger.Report{Oversold: 4}},
		{"oversold by a party", func(s *service, _ map[string]string) { s.bookings[3].Quantity = 5 }, ledger.Report{Oversold: 1}},
		{"a place given twice because a cancelled one came back", func(s *service, _ map[string]string) {
			for i := 35; i < 50; i++ {
				s.bookings[i].State = "held"
			}
			s.capacity["slot-2"] = 9
		}, ledger.Report{Oversold: 1}},
		{"lost", func(_ *service, acked map[string]string) { acked["key-x"], acked["key-y"] = "id-x", "id-y" }, ledger.Report{Lost: 2}},
		{"lost with the tail", func(s *service, _ map[string]string) { s.bookings = s.bookings[:46] }, ledger.Report{Lost: 2}},
		{"acknowledged under another key", func(_ *service, acked map[string]string) { delete(acked, "key-2"); acked["key-z"] = "id-2" }, ledger.Report{Lost: 1}},
		{"one booking for two keys", func(_ *service, acked map[string]string) { acked["key-z"] = "id-2" }, ledger.Report{Lost: 1}},
		{"double", func(s *service, _ map[string]string) { s.bookings[41].Key = "key-1" }, ledger.Report{Double: 1}},
		{"three of one key", func(s *service, _ map[string]string) { s.bookings[41].Key, s.bookings[43].Key = "key-1", "key-1" }, ledger.Report{Double: 2}},
		{"without a key", func(s *service, _ map[string]string) { s.bookings[41].Key, s.bookings[43].Key = "", "" }, ledger.Report{}},
		{"listed twice", func(s *service, _ map[string]string) { s.bookings = append(s.bookings, s.bookings[49]) }, ledger.Report{Repeated: 1}},
		{"oversold online while the window has places", func(s *service, _ map[string]string) { s.capacity["slot-0"] = 6 }, ledger.Report{Oversold: 1}},
		{"oversold at the window while there are places online", func(s *service, _ map[string]string) {
			s.bookings[0].Channel, s.bookings[5].Channel = "window", "window"
		}, ledger.Report{Oversold: 1}},
		{"in a channel without places", func(s *service, _ map[string]string) { s.bookings[0].Channel = "agency" }, ledger.Report{Oversold: 1}},
		{"of a day long gone", func(s *service, _ map[string]string) { s.bookings[1].Slot = "bay-20200101-0800" }, ledger.Report{}},
		{"of a day to come that is not listed", func(s *service, _ map[string]string) { s.bookings[1].Slot = "bay-29990101-0800" }, ledger.Report{Unknown: 1}},
		{"of no slot", func(s *service, _ map[string]string) { s.bookings[1].Slot = "slot-9" }, ledger.Report{Unknown: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, acked := sound()
			c.change(s, acked)
			r, err := ledger.Check(t.Context(), s.client(t), maps.All(acked))
			if err != nil {
				t.Fatal(err)
			}
			got := ledger.Report{Oversold: r.Oversold, Lost: r.Lost, Double: r.Double, Repeated: r.Repeated, Unknown: r.Unknown}
			if got != c.want || r.Clean() != (c.want == ledger.Report{}) || r.Acknowledged != int64(len(acked)) || r.Bookings != int64(len(s.bookings)) || r.Slots != 5 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestWhatIsNoLedger(t *testing.T) {
	none := iter.Seq2[string, string](func(func(string, string) bool) {})
	for name, answer := range map[string]func(w http.ResponseWriter){
		"HTML":              func(w http.ResponseWriter) { w.Write([]byte("<html>")) },
		"no id":             func(w http.ResponseWriter) { w.Write([]byte(`{"slot":"s","quantity":1,"state":"held"}`)) },
		"negative quantity": func(w http.ResponseWriter) { w.Write([]byte(`{"id":"i","slot":"s","quantity":-1,"state":"held"}`)) },
		"unknown state":     func(w http.ResponseWriter) { w.Write([]byte(`{"id":"i","slot":"s","quantity":1,"state":"dreamt"}`)) },
		"an endless line":   func(w http.ResponseWriter) { w.Write(make([]byte, 1<<20)) },
		"no end":            func(w http.ResponseWriter) { w.Header().Set("Next-After", "1") },
		"an error":          func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
		if r, err := ledger.Check(t.Context(), &client.Client{URL: server.URL}, none); err == nil {
			t.Errorf("%s: %+v", name, r)
		} else if name == "an error" && !errs.Is(err, errs.Forbidden) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}
