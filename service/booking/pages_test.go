package booking_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/service/booking"
)

// stay does not follow redirects: where they lead is what is tested.
var stay = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// page asks for a page, or sends a form to it, as somebody; as nobody where c is nil.
func page(t testing.TB, h *qiongtest.House, c *client.Client, path string, form url.Values) (*http.Response, string) {
	t.Helper()
	method, body := "GET", io.Reader(nil)
	if form != nil {
		method, body = "POST", strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(context.Background(), method, h.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c != nil {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := stay.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func has(t testing.TB, text string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(text, s) {
			t.Errorf("the page lacks %q", s)
		}
	}
}

func hasNot(t testing.TB, text string, all ...string) {
	t.Helper()
	for _, s := range all {
		if strings.Contains(text, s) {
			t.Errorf("the page has %q", s)
		}
	}
}

var keyField = regexp.MustCompile(`name="key" value="([^"]+)"`)

// formKey is the key of a form that was shown.
func formKey(t testing.TB, text string) string {
	t.Helper()
	m := keyField.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("a form without a key:\n%s", text)
	}
	return m[1]
}

// bookAt fills in and sends the form of a slot, and returns the id of the booking.
func bookAt(t testing.TB, h *qiongtest.House, c *client.Client, slot string, n uint64, more url.Values) string {
	t.Helper()
	_, text := page(t, h, c, "/booking/slots/"+slot, nil)
	form := url.Values{"key": {formKey(t, text)}, "act": {"book"}, "product": {"entry"}, "kind-0": {"resident"}, "number-0": {label.FakeIDCard(n)}, "name-0": {"测试"}}
	for k, v := range more {
		form[k] = v
	}
	resp, text := page(t, h, c, "/booking/slots/"+slot, form)
	id, ok := strings.CutPrefix(resp.Header.Get("Location"), "/booking/bookings/")
	if resp.StatusCode != http.StatusSeeOther || !ok {
		t.Fatalf("%s to %s\n%s", resp.Status, resp.Header.Get("Location"), text)
	}
	return id
}

func TestWhoMaySeeWhichPage(t *testing.T) {
	h := start(t, "", "", bay, nil)
	slot := slots(t, h)[0].ID
	people := map[string]*client.Client{"nobody": nil, "visitor": h.As("visitor", auth.Applicant), "other": h.As("other", auth.Applicant),
		"official": h.As("official", auth.Official), "operator": h.As("operator", auth.Operator), "security": h.As("security", auth.Security)}
	id := bookAt(t, h, people["visitor"], slot, 1, nil)
	for path, want := range map[string]map[string]int{
		"/booking/":                      {"nobody": 200, "visitor": 200, "operator": 200},
		"/booking/?spot=elsewhere":       {"nobody": 404},
		"/booking/?date=tomorrow":        {"nobody": 400},
		"/booking/slots/" + slot:         {"nobody": 200, "visitor": 200, "official": 200},
		"/booking/slots/bay-20200101-00": {"visitor": 404},
		"/booking/sales/bay-20261124":    {"nobody": 303, "visitor": 404},
		"/booking/bookings":              {"nobody": 303, "visitor": 200, "official": 200},
		"/booking/bookings/" + id:        {"nobody": 303, "visitor": 200, "other": 404, "official": 200, "operator": 200, "security": 404},
		"/booking/gate":                  {"nobody": 303, "visitor": 403, "official": 200, "operator": 403},
		"/booking/office":                {"nobody": 303, "visitor": 403, "official": 200, "operator": 200, "security": 403},
		"/booking/office/slots/" + slot:  {"nobody": 303, "visitor": 403, "official": 200, "operator": 200},
		"/booking/live":                  {"nobody": 303, "visitor": 403, "official": 200, "operator": 200},
		"/booking/booking.css":           {"nobody": 200},
		"/booking/live.js":               {"nobody": 200},
		"/booking/calendar.html":         {"nobody": 404},
	} {
		for who, status := range want {
			resp, text := page(t, h, people[who], path, nil)
			if resp.StatusCode != status {
				t.Errorf("%s for %s: %s", path, who, resp.Status)
			}
			if status == http.StatusSeeOther && !strings.HasPrefix(resp.Header.Get("Location"), "/login?next=") {
				t.Errorf("%s leads to %s", path, resp.Header.Get("Location"))
			}
			if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "<script>") || strings.Contains(text, "style=") {
				t.Errorf("%s has what no page may have", path)
			}
		}
	}
	for _, path := range []string{"/booking/office/slots/" + slot + "/close", "/booking/office/slots/" + slot + "/quotas"} {
		for _, who := range []string{"visitor", "official"} {
			if resp, _ := page(t, h, people[who], path, url.Values{"reason": {"x"}, "sure": {"1"}, "online": {"0"}}); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s for %s: %s", path, who, resp.Status)
			}
		}
	}
	if s := slots(t, h)[0]; s.Closed || s.Capacity == 0 {
		t.Errorf("the slot is %+v", s)
	}
}

func TestTheFormSaysWhatIsWrongAndBooksOnce(t *testing.T) {
	h := start(t, "", "", bay, nil)
	visitor, slot := h.As("visitor", auth.Applicant), slots(t, h)[0].ID
	path := "/booking/slots/" + slot
	_, text := page(t, h, visitor, path+"?lang=en", nil)
	has(t, text, "Entry", "free", "Boat", "¥120", "resident identity card", "passport", `value="elderly"`)
	hasNot(t, text, `value="window"`, `value="agency"`)
	key := formKey(t, text)

	// Another visitor is asked for without a script, and what was filled in stays.
	form := url.Values{"key": {key}, "product": {"boat"}, "kind-0": {"passport"}, "number-0": {"e12 345"}, "name-0": {`"<b>`}}
	form.Set("act", "add")
	_, text = page(t, h, visitor, path, form)
	has(t, text, `name="number-1"`, `value="E12 345"`, "&#34;&lt;b&gt;", `value="drop-1"`)
	if formKey(t, text) != key {
		t.Error("the form has another key")
	}
	form.Set("kind-1", "resident")
	form.Set("number-1", "110101199001011234")
	form.Set("act", "book")
	resp, text := page(t, h, visitor, path+"?lang=en", form)
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
	has(t, text, `id="no-number-0"`, `aria-describedby="no-number-0"`, "A passport&#39;s number has 5 to 9 capital letters and digits.", `value="110101199001011234"`)
	form.Set("act", "drop-0")
	_, text = page(t, h, visitor, path, form)
	has(t, text, `name="number-0"`, `value="110101199001011234"`)
	hasNot(t, text, `name="number-1"`, "E12 345")

	// A child needs no document, but an adult.
	child := url.Values{"key": {key}, "act": {"book"}, "kind-0": {"resident"}, "child-0": {"1"}}
	resp, text = page(t, h, visitor, path+"?lang=en", child)
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
	has(t, text, "An adult may bring 2 children.")

	// Taps that come together book once.
	good := url.Values{"key": {key}, "act": {"book"}, "product": {"boat"}, "kind-0": {"resident"}, "number-0": {label.FakeIDCard(7)}, "kind-1": {"resident"}, "child-1": {"1"}, "kind-2": {"resident"}}
	var at sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, _ := page(t, h, visitor, path, good)
			at.Store(resp.Header.Get("Location"), resp.StatusCode)
		})
	}
	wg.Wait()
	var booked []string
	at.Range(func(k, v any) bool { booked = append(booked, fmt.Sprint(k, " ", v)); return true })
	lines := ledgerOf(t, h)
	if len(booked) != 1 || len(lines) != 1 || booked[0] != "/booking/bookings/"+lines[0].ID+" 303" || lines[0].Quantity != 2 {
		t.Fatalf("booked at %v, the ledger has %+v", booked, lines)
	}
	// The same form with something else in it has a new key, and says so.
	good.Set("number-0", label.FakeIDCard(8))
	resp, text = page(t, h, visitor, path+"?lang=en", good)
	if resp.StatusCode != http.StatusConflict || formKey(t, text) == key {
		t.Errorf("%s, key %s", resp.Status, formKey(t, text))
	}
	has(t, text, "has booked once already")
	// Whoever is signed in elsewhere alone does not book from another site.
	req, _ := http.NewRequestWithContext(t.Context(), "POST", h.URL+path, strings.NewReader(good.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.AddCookie(&http.Cookie{Name: auth.CookieName, Value: visitor.Token})
	if resp, err := stay.Do(req); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestABookingFromItsPage(t *testing.T) {
	h := start(t, "", "", bay, nil)
	visitor, operator, official := h.As("visitor", auth.Applicant), h.As("operator", auth.Operator), h.As("official", auth.Official)
	slot, number := slots(t, h)[0].ID, label.FakeIDCard(3)
	id := bookAt(t, h, visitor, slot, 3, url.Values{"product": {"boat"}})
	path := "/booking/bookings/" + id
	_, text := page(t, h, visitor, path+"?lang=en", nil)
	has(t, text, "awaiting payment", number, "测试", `action="`+path+`/pay"`, "data-until=")
	hasNot(t, text, "<svg")
	resp, _ := page(t, h, visitor, path+"/pay", url.Values{})
	cashier := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(cashier, "/api/booking/cash/") {
		t.Fatalf("%s to %s", resp.Status, cashier)
	}
	pay(t, h, cashier)
	eventually(t, "confirmed", func() bool {
		_, text = page(t, h, visitor, path+"?lang=en", nil)
		return strings.Contains(text, "confirmed</span>")
	})
	has(t, text, "<svg", "entry code", "¥120", "Paid", number)
	// An administrator needs to know of a booking, not who comes, and must not come in with it.
	_, text = page(t, h, operator, path, nil)
	has(t, text, id)
	hasNot(t, text, number, number[6:14], "测试", "<svg")
	_, text = page(t, h, official, path, nil)
	has(t, text, number, "<svg")
	_, text = page(t, h, operator, "/booking/office/slots/"+slot, nil)
	has(t, text, id, "¥120")
	hasNot(t, text, number, "测试")
	resp, _ = page(t, h, operator, "/booking/office?booking="+id, nil)
	if resp.Header.Get("Location") != path {
		t.Errorf("%s to %s", resp.Status, resp.Header.Get("Location"))
	}
	_, text = page(t, h, operator, "/booking/office?lang=en&booking=0000000000009", nil)
	has(t, text, "There is no such booking.")

	// Receipts are files that people keep.
	files := map[string]string{}
	eventually(t, "receipts", func() bool {
		for _, name := range []string{"receipt", "original"} {
			resp, text := page(t, h, visitor, "/api/booking/bookings/"+id+"/"+name+"/2", nil)
			if resp.StatusCode != 200 {
				return false
			}
			has(t, resp.Header.Get("Content-Disposition"), "attachment", id+"-2."+name)
			files[name] = text
		}
		return true
	})
	var all struct{ Items []booking.ActReceipt }
	get(t, visitor, "/api/booking/bookings/"+id+"/receipt", &all)
	if len(all.Items) != 2 || all.Items[1].Receipt != files["receipt"] || all.Items[1].Original != files["original"] {
		t.Error("the files are not the receipts")
	}
	for _, bad := range []string{"/receipt/3", "/receipt/0", "/receipt/x"} {
		if resp, _ := page(t, h, visitor, "/api/booking/bookings/"+id+bad, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", bad, resp.Status)
		}
	}
	if resp, _ := page(t, h, h.As("other", auth.Applicant), "/api/booking/bookings/"+id+"/receipt/1", nil); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
}

func TestCancelWaitAndClose(t *testing.T) {
	small := strings.Replace(bay, "online: 200", "online: 1", 1)
	h := start(t, "", "", small, nil)
	visitor, other, operator := h.As("visitor", auth.Applicant), h.As("other", auth.Applicant), h.As("operator", auth.Operator)
	all := slots(t, h)
	later, slot := all[1], all[2]
	id := bookAt(t, h, visitor, slot.ID, 5, nil)
	_, text := page(t, h, other, "/booking/slots/"+slot.ID+"?lang=en", nil)
	has(t, text, "sold out", "Join the waitlist")
	form := url.Values{"key": {formKey(t, text)}, "act": {"wait"}, "kind-0": {"resident"}, "number-0": {label.FakeIDCard(6)}}
	if resp, text := page(t, h, other, "/booking/slots/"+slot.ID, form); resp.Header.Get("Location") != "/booking/bookings" {
		t.Fatalf("%s\n%s", resp.Status, text)
	}
	_, text = page(t, h, other, "/booking/bookings?lang=en", nil)
	has(t, text, "waiting</span>", "Leave the waitlist")
	if resp, _ := page(t, h, other, "/booking/bookings/"+id+"/cancel", url.Values{}); resp.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else cancels: %s", resp.Status)
	}
	if resp, _ := page(t, h, visitor, "/booking/bookings/"+id+"/cancel", url.Values{}); resp.StatusCode != http.StatusSeeOther {
		t.Error(resp.Status)
	}
	_, text = page(t, h, visitor, "/booking/bookings/"+id+"?lang=en", nil)
	has(t, text, "cancelled</span>")

	// The office changes quotas, and closes: with a reason, and twice sure.
	office := "/booking/office/slots/" + later.ID
	for _, bad := range []url.Values{{"online": {"-1"}}, {"online": {"many"}}, {"online": {"99999999999"}}, {"window": {"4194305"}}} {
		if resp, _ := page(t, h, operator, office+"/quotas", bad); resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("quotas %v: %s", bad, resp.Status)
		}
	}
	if resp, _ := page(t, h, operator, office+"/quotas", url.Values{"online": {"33"}}); resp.StatusCode != http.StatusSeeOther {
		t.Error(resp.Status)
	}
	for _, bad := range []url.Values{{}, {"reason": {"台风"}}, {"sure": {"1"}}, {"sure": {"1"}, "reason": {strings.Repeat("风", 100)}}} {
		if resp, _ := page(t, h, operator, office+"/close", bad); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("close %v: %s", bad, resp.Status)
		}
	}
	for _, s := range slots(t, h) {
		if s.ID == later.ID && (s.Closed || s.Channels["online"] != 33) {
			t.Errorf("the slot is %+v", s)
		}
	}
	resp, _ := page(t, h, operator, office+"/close", url.Values{"sure": {"1"}, "reason": {"台风 <蓝色预警>"}})
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.Status)
	}
	_, text = page(t, h, nil, "/booking/slots/"+later.ID, nil)
	has(t, text, "已关闭", "台风 &lt;蓝色预警&gt;")
	_, text = page(t, h, operator, resp.Header.Get("Location"), nil)
	has(t, text, "已关闭", "台风 &lt;蓝色预警&gt;")
}

func TestTheWaitingRoomLeadsToTheForm(t *testing.T) {
	peak := strings.NewReplacer(`room: "off"`, `room: "on"`, "ahead: 30", "ahead: 0").Replace(bay)
	h := start(t, "", "", peak, nil)
	visitor, slot := h.As("visitor", auth.Applicant), slots(t, h)[0]
	sale := "/booking/sales/" + slot.Sale
	eventually(t, "the room", func() bool {
		resp, _ := page(t, h, visitor, sale, nil)
		return resp.StatusCode == 200
	})
	form := url.Values{"key": {"key-of-a-form"}, "act": {"book"}, "kind-0": {"resident"}, "number-0": {label.FakeIDCard(9)}}
	if resp, _ := page(t, h, visitor, "/booking/slots/"+slot.ID, form); resp.Header.Get("Location") != sale {
		t.Fatalf("%s to %s", resp.Status, resp.Header.Get("Location"))
	}
	_, text := page(t, h, visitor, sale+"?lang=en", nil)
	has(t, text, "Join the waiting room", "SM3 of the seed", "/api/booking/sales/"+slot.Sale+"/draw")
	if resp, _ := page(t, h, visitor, sale, url.Values{"act": {"join"}}); resp.StatusCode != http.StatusSeeOther {
		t.Error(resp.Status)
	}
	eventually(t, "a turn", func() bool {
		_, text = page(t, h, visitor, sale+"?lang=en", nil)
		return strings.Contains(text, `data-state="admitted"`)
	})
	has(t, text, "It is your turn", "/booking/slots/"+slot.ID)
	_, text = page(t, h, visitor, "/booking/slots/"+slot.ID, nil)
	has(t, text, `name="admission" value="`)
	admission := regexp.MustCompile(`name="admission" value="([^"]+)"`).FindStringSubmatch(text)
	bookAt(t, h, visitor, slot.ID, 9, url.Values{"admission": {admission[1]}})
	_, text = page(t, h, visitor, sale+"?lang=en", nil)
	has(t, text, "has been used", "Queue again")
}
