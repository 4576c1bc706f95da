package booking_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/booking"
)

// museum asks for no names.
var museum = strings.NewReplacer("spot: bay", "spot: museum", "realName: true", "realName: false", "code: 7", "code: 8", "identities: [resident, hk-macao, taiwan, residence, passport]", "",
	"limits: { slot: 1, day: 1 }", "limits: { slot: 4, day: 4 }").Replace(bay)

// post sends a body as it is, and returns the status and the answer.
func post(t *testing.T, c *client.Client, key, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("POST", c.URL+"/api/booking/reserve", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.Token)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// Nothing of what is wrong with a request is written anywhere, and no answer repeats what was sent.
func TestBadInput(t *testing.T) {
	h := start(t, "", "", bay, nil)
	slot := slots(t, h)[0].ID
	c := h.As("visitor", auth.Applicant)
	id := label.FakeIDCard(77)
	visitor := `{"kind":"resident","number":"` + id + `"}`
	wrong := id[:17] + map[bool]string{true: "1", false: "0"}[id[17] == '0']
	for _, bad := range []struct {
		name, key, body string
		status          int
		code            string
	}{
		{"no key", "", `{"slot":"` + slot + `","visitors":[` + visitor + `]}`, 400, "http.idempotency-key"},
		{"short key", "abc", `{"slot":"` + slot + `","visitors":[` + visitor + `]}`, 400, "http.idempotency-key"},
		{"key with a space", "abcdefgh ijkl", `{}`, 400, "http.idempotency-key"},
		{"empty", "bad-key-01", ``, 400, "json.empty"},
		{"no JSON", "bad-key-02", `{"slot":`, 400, "json.truncated"},
		{"the same name twice", "bad-key-03", `{"slot":"a","slot":"` + slot + `"}`, 400, "json.duplicate-key"},
		{"unknown name", "bad-key-04", `{"slot":"` + slot + `","price":0,"visitors":[` + visitor + `]}`, 400, "json.unknown-field"},
		{"unknown name of a visitor", "bad-key-05", `{"slot":"` + slot + `","visitors":[{"kind":"resident","number":"` + id + `","age":9}]}`, 400, "json.unknown-field"},
		{"wrong type", "bad-key-06", `{"slot":7}`, 400, "json.wrong-type"},
		{"no slot", "bad-key-07", `{"slot":"nowhere-20261001-0800","visitors":[` + visitor + `]}`, 404, "booking.slot"},
		{"a path for a slot", "bad-key-08", `{"slot":"../../etc/passwd-20261001-0800","visitors":[` + visitor + `]}`, 404, "booking.slot"},
		{"nobody", "bad-key-09", `{"slot":"` + slot + `"}`, 400, "booking.quantity"},
		{"too many", "bad-key-10", `{"slot":"` + slot + `","visitors":[` + strings.Repeat(visitor+",", 5) + visitor + `]}`, 400, "booking.quantity"},
		{"negative", "bad-key-11", `{"slot":"` + slot + `","quantity":-1,"visitors":[` + visitor + `]}`, 400, "booking.quantity"},
		{"huge", "bad-key-12", `{"slot":"` + slot + `","quantity":99999999999999999999,"visitors":[` + visitor + `]}`, 400, "json.wrong-type"},
		{"a wrong check digit", "bad-key-13", `{"slot":"` + slot + `","visitors":[{"kind":"resident","number":"` + wrong + `"}]}`, 400, "booking.number"},
		{"a kind that is not accepted", "bad-key-14", `{"slot":"` + slot + `","visitors":[{"kind":"foreign-residence","number":"911124198108030024"}]}`, 400, "booking.kind"},
		{"the same person twice", "bad-key-15", `{"slot":"` + slot + `","visitors":[` + visitor + `,` + visitor + `]}`, 400, "booking.twice"},
		{"only a child", "bad-key-16", `{"slot":"` + slot + `","visitors":[{"kind":"","child":true}]}`, 400, "booking.children"},
		{"a grown-up child", "bad-key-17", `{"slot":"` + slot + `","visitors":[{"kind":"resident","number":"` + id + `","child":true}]}`, 400, "booking.child"},
		{"another product", "bad-key-18", `{"slot":"` + slot + `","product":"yacht","visitors":[` + visitor + `]}`, 400, "booking.product"},
		{"no channel", "bad-key-19", `{"slot":"` + slot + `","channel":"queue-jumper","visitors":[` + visitor + `]}`, 400, "booking.channel"},
		{"somebody else's channel", "bad-key-20", `{"slot":"` + slot + `","channel":"agency","visitors":[` + visitor + `]}`, 403, "booking.channel"},
		{"too large", "bad-key-21", `{"slot":"` + strings.Repeat("a", 70_000) + `"}`, 413, "http.body-too-large"},
	} {
		status, answer := post(t, c, bad.key, bad.body)
		if status != bad.status || !strings.Contains(answer, `"`+bad.code+`"`) {
			t.Errorf("%s: %d %s; want %d %s", bad.name, status, answer, bad.status, bad.code)
		}
		if strings.Contains(answer, id) || strings.Contains(answer, wrong) || strings.Contains(answer, "yacht") {
			t.Errorf("%s: the answer repeats what was sent: %s", bad.name, answer)
		}
	}
	stranger := *c
	stranger.Token = "qiong_nobody"
	if status, _ := post(t, &stranger, "bad-key-30", `{}`); status != 401 {
		t.Errorf("a stranger: %d", status)
	}
	if lines := ledgerOf(t, h); len(lines) != 0 {
		t.Errorf("%+v were booked", lines)
	}
	// The one good request among them still books, with a child that has no document, and the same key for something
	// else does not.
	good := `{"slot":"` + slot + `","visitors":[` + visitor + `,{"kind":"","child":true}]}`
	if status, answer := post(t, c, "good-key-1", good); status != 201 {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := post(t, c, "good-key-1", good); status != 200 {
		t.Errorf("the key again: %d %s", status, answer)
	}
	if status, answer := post(t, c, "good-key-1", strings.Replace(good, `"visitors"`, `"product":"entry","visitors"`, 1)); status != 409 || !strings.Contains(answer, "booking.key") {
		t.Errorf("the key for something else: %d %s", status, answer)
	}
	if status, answer := post(t, h.As("other", auth.Applicant), "good-key-2", good); status != 409 || !strings.Contains(answer, "booking.limit") {
		t.Errorf("the same identity by another account: %d %s", status, answer)
	}
}

func TestWithoutNames(t *testing.T) {
	h := start(t, "", "", museum, nil)
	slot := slots(t, h)[0].ID
	c := h.As("visitor", auth.Applicant)
	for _, bad := range []map[string]any{
		{"slot": slot}, {"slot": slot, "quantity": -3}, {"slot": slot, "quantity": 6}, {"slot": slot, "quantity": 1, "visitors": []any{someone(1)}},
	} {
		if _, err := reserve(c, "museum-bad-1", bad); err == nil {
			t.Errorf("%v is booked", bad)
		}
	}
	made, err := reserve(c, "museum-key-1", map[string]any{"slot": slot, "quantity": 3})
	if err != nil || made.Quantity != 3 {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, err := reserve(c, "museum-key-2", map[string]any{"slot": slot, "quantity": 2}); code(err) != "booking.limit" {
		t.Errorf("five of four: %v", err)
	}
}

// A hold that nobody pays runs out, its places return, and a payment that comes after it goes back, however badly the
// provider works.
func TestAHoldRunsOut(t *testing.T) {
	h := start(t, "", "", strings.Replace(bay, "hold: 15m", "hold: 6s", 1), map[string]string{"booking.faults": "0.1"})
	slot := slots(t, h)[0].ID
	c := h.As("visitor", auth.Applicant)
	made, err := reserve(c, "hold-key-1", map[string]any{"slot": slot, "product": "boat", "visitors": []any{someone(5)}})
	if err != nil || made.Status != "held" {
		t.Fatalf("%+v, %v", made, err)
	}
	var paying struct{ Cashier string }
	eventually(t, "a cashier", func() bool {
		return c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/pay"}, &paying) == nil && paying.Cashier != ""
	})
	eventually(t, "expired", func() bool {
		var v struct{ State string }
		get(t, c, "/api/booking/bookings/"+made.ID, &v)
		return v.State == "expired"
	})
	pay(t, h, paying.Cashier)
	eventually(t, "paid back", func() bool {
		var v booking.BookingView
		get(t, c, "/api/booking/bookings/"+made.ID, &v)
		return v.Payment != nil && v.Payment.Paid > 0 && v.Payment.Back == v.Payment.Paid && v.Status == "expired"
	})
	if err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/pay"}, nil); code(err) != "booking.lapsed" {
		t.Errorf("paying what has expired: %v", err)
	}
	again, err := reserve(c, "hold-key-2", map[string]any{"slot": slot, "product": "entry", "visitors": []any{someone(5)}})
	if err != nil || again.ID == made.ID {
		t.Errorf("after it has expired: %+v, %v", again, err)
	}
}

// Many at once are for those who book for others: nobody goes round the waiting room, or the limits of one identity.
func TestABatchIsForAgencies(t *testing.T) {
	h := start(t, "", "", bay, nil)
	slot := slots(t, h)[0].ID
	body := map[string]any{"items": []any{
		map[string]any{"key": "batch-key-1", "slot": slot, "channel": "agency", "visitors": []any{someone(1)}},
		map[string]any{"key": "batch-key-2", "slot": slot, "channel": "elderly", "visitors": []any{map[string]any{"kind": "passport", "number": "AB12345"}}},
	}}
	var out struct {
		Results []struct{ ID, Code, Field string }
	}
	request := client.Request{Method: "POST", Path: "/api/booking/reserve/batch", Body: body}
	if err := h.As("visitor", auth.Applicant).Do(t.Context(), request, &out); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a visitor: %v", err)
	}
	if err := h.As("agency", auth.Agency).Do(t.Context(), request, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Results) != 2 || out.Results[0].ID == "" {
		t.Errorf("%+v", out.Results)
	}
	if out.Results[1].Code != "booking.elderly" { // a passport says nothing of its holder's age that could be checked
		t.Errorf("the channel for the elderly with any passport: %+v", out.Results[1])
	}
}

// Whatever operators change, a slot keeps places for those who cannot book online; and reasons fit into the log.
func TestWhatOperatorsMayNot(t *testing.T) {
	h := start(t, "", "", bay, nil)
	eventually(t, "all slots", func() bool { return len(slots(t, h)) > 20 })
	slot, op := slots(t, h)[20].ID, h.As("operator", auth.Operator)
	begin := beijing.At(time.Now().AddDate(0, 0, 40).Truncate(time.Hour).Add(13 * time.Minute))
	end := begin + beijing.Time(time.Hour.Milliseconds())
	for name, c := range map[string]struct {
		method, path string
		body         map[string]any
		want         string
	}{
		"a slot without a window":   {"POST", "/slots", map[string]any{"spot": "bay", "start": begin, "end": end, "quotas": map[string]int{"online": 500}}, "booking.staffed"},
		"a slot of odd seconds":     {"POST", "/slots", map[string]any{"spot": "bay", "start": begin + 1000, "end": end, "quotas": map[string]int{"window": 1, "walk-in": 1}}, "start"},
		"the window's places taken": {"PUT", "/slots/" + slot + "/quotas", map[string]any{"quotas": map[string]int{"window": 0}}, "booking.staffed"},
		"a reason of 81 characters": {"POST", "/slots/" + slot + "/close", map[string]any{"reason": strings.Repeat("风", 81)}, "reason"},
		"one of 80 rare characters": {"POST", "/slots/" + slot + "/close", map[string]any{"reason": strings.Repeat("𱁬", 80)}, "reason"},
	} {
		err := op.Do(t.Context(), client.Request{Method: c.method, Path: "/api/booking" + c.path, Body: c.body}, nil)
		if e := errs.As(err); err == nil || e.Code != c.want && !strings.Contains(e.Field+" "+err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	visitor := h.As("visitor", auth.Applicant)
	made, err := reserve(visitor, "reason-key-1", map[string]any{"slot": slot, "visitors": []any{someone(9)}})
	if err != nil {
		t.Fatal(err)
	}
	cancel := func(reason string) error {
		return visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/cancel", Body: map[string]any{"reason": reason}}, nil)
	}
	if err := cancel(strings.Repeat("𱁬", 80)); err == nil {
		t.Error("a reason for which the log has no room was taken")
	}
	if err := cancel(strings.Repeat("病", 80)); err != nil {
		t.Error(err)
	}
	if _, err := reserve(visitor, "reason-key-2", map[string]any{"slot": slot, "visitors": []any{someone(9)}}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
