package booking_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ticket"
	"github.com/qiongdev/qiong/service/evidence"
)

// bay is a spot of one slot a day, with a paid product, that is on sale at once and never needs a waiting room.
const bay = `
spot: bay
code: 7
title: { zh: 海湾, en: Bay }
realName: true
identities: [resident, hk-macao, taiwan, residence, passport]
products:
  - { name: entry, title: { zh: 入园, en: Entry }, price: 0 }
  - { name: boat, title: { zh: 游船, en: Boat }, price: 12000 }
party: 5
limits: { slot: 1, day: 1 }
hold: 15m
cancel: 1h
waitlist: 20
children: { under: 14, perAdult: 2 }
elderly: { from: 60 }
entry: { early: 24h, late: 1h }
sale: { ahead: 30, at: "00:00", room: "off" }
hours:
  - { from: "00:00", to: "24:00", quotas: { online: 200, window: 10, walk-in: 10, agency: 50, elderly: 10 } }
`

var services = []*qiong.Service{booking.Service, evidence.New()}

// start runs a house with one spot.
func start(t testing.TB, database, data, spot string, set map[string]string) *qiongtest.House {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bay.yaml"), []byte(spot), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"booking.spots": dir}
	for k, v := range set {
		all[k] = v
	}
	h := qiongtest.Start(t, qiongtest.Options{Services: services, Database: database, Data: data, Set: all})
	eventually(t, "slots", func() bool { return len(slots(t, h)) > 0 })
	return h
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 1000 {
		if holds() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

func slots(t testing.TB, h *qiongtest.House) []booking.SlotView {
	t.Helper()
	var list struct{ Items []booking.SlotView }
	if err := h.As("reader", auth.Applicant).Do(context.Background(), client.Request{Method: "GET", Path: "/api/booking/slots"}, &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// someone is a visitor with a fake identity number.
func someone(n uint64) map[string]any {
	return map[string]any{"kind": "resident", "number": label.FakeIDCard(n)}
}

func reserve(c *client.Client, key string, body map[string]any) (made booking.Answer, err error) {
	err = c.Do(context.Background(), client.Request{Method: "POST", Path: "/api/booking/reserve", Body: body, Header: map[string]string{"Idempotency-Key": key}}, &made)
	return made, err
}

func get(t testing.TB, c *client.Client, path string, out any) {
	t.Helper()
	if err := c.Do(context.Background(), client.Request{Method: "GET", Path: path}, out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func code(err error) string {
	if e := errs.As(err); e != nil {
		return e.Code
	}
	return ""
}

func TestBookPayComeAndProve(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := start(t, database, "", bay, nil)
		visitor := h.As("visitor", auth.Applicant)
		slot, party := slots(t, h)[0].ID, []any{someone(1), map[string]any{"kind": "", "child": true}}
		made, err := reserve(visitor, "key-00000001", map[string]any{"slot": slot, "product": "boat", "visitors": party})
		if err != nil {
			t.Fatal(err)
		}
		if made.Status != "held" || made.Amount != 24000 || made.Until == nil {
			t.Fatalf("made %+v", made)
		}
		again, err := reserve(visitor, "key-00000001", map[string]any{"slot": slot, "product": "boat", "visitors": party})
		if err != nil || again.ID != made.ID {
			t.Fatalf("again %+v, %v", again, err)
		}
		var paying booking.PaymentView
		if err := visitor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + made.ID + "/pay"}, &paying); err != nil {
			t.Fatal(err)
		}
		pay(t, h, paying.Cashier)
		var v booking.BookingView
		eventually(t, "confirmed", func() bool {
			v = booking.BookingView{}
			get(t, visitor, "/api/booking/bookings/"+made.ID, &v)
			return v.Status == "confirmed"
		})
		if len(v.Visitors) != 2 || v.Code == "" || len(v.History) != 2 {
			t.Fatalf("%+v", v)
		}
		if code, err := ticket.Parse(v.Code); err != nil || code.Ticket.Flags != ticket.RealName|ticket.Child || code.Ticket.Party != 2 {
			t.Errorf("the code says %+v, %v", code.Ticket, err)
		}
		proves(t, h, visitor, made.ID)
	})
}

// pay does at the cashier of the sandbox what a visitor does.
func pay(t testing.TB, h *qiongtest.House, cashier string) {
	t.Helper()
	if !strings.HasPrefix(cashier, "http") {
		cashier = h.URL + cashier
	}
	resp, err := http.Post(cashier, "application/x-www-form-urlencoded", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		t.Fatalf("cashier %s: %s", cashier, resp.Status)
	}
}

// proves verifies all receipts of a booking, offline.
func proves(t testing.TB, h *qiongtest.House, c *client.Client, id string) {
	t.Helper()
	var got struct{ Items []booking.ActReceipt }
	eventually(t, "receipts", func() bool {
		got.Items = nil
		get(t, c, "/api/booking/bookings/"+id+"/receipt", &got)
		for _, r := range got.Items {
			if r.Receipt == "" {
				return false
			}
		}
		return len(got.Items) > 0
	})
	pem, err := http.Get(h.URL + "/evidence/trust.pem")
	if err != nil {
		t.Fatal(err)
	}
	defer pem.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(pem.Body); err != nil {
		t.Fatal(err)
	}
	trust, err := receipt.ParseTrust(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Items {
		file, err := receipt.Parse([]byte(r.Receipt))
		if err != nil {
			t.Fatal(err)
		}
		result, err := receipt.Verify(file, trust, []byte(r.Original))
		if err != nil || file.Act == nil {
			t.Fatalf("%s: %+v, %v", r.Act, result, err)
		}
		if _, err := receipt.Verify(file, trust, []byte(strings.Replace(r.Original, id, "0000000000000", 1))); err == nil {
			t.Fatal("another original passes")
		}
	}
}

func TestARushOverHTTP(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := start(t, "", data, bay, map[string]string{"booking.attempts": "100000"})
	slot := slots(t, h)[0].ID
	c := h.As("visitor", auth.Applicant)
	var acknowledged sync.Map
	var sold, out atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 40 {
				n := uint64(w*40 + i)
				made, err := reserve(c, fmt.Sprintf("rush-%08d", n), map[string]any{"slot": slot, "visitors": []any{someone(1000 + n)}})
				switch {
				case err == nil:
					sold.Add(1)
					acknowledged.Store(made.ID, fmt.Sprintf("rush-%08d", n))
				case code(err) == "booking.sold-out":
					out.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if sold.Load() != 200 || out.Load() != 440 {
		t.Fatalf("%d sold, %d told that all is sold out", sold.Load(), out.Load())
	}
	lines := ledgerOf(t, h)
	if len(lines) != 200 {
		t.Fatalf("%d bookings in the ledger", len(lines))
	}
	for _, l := range lines {
		if key, ok := acknowledged.Load(l.ID); !ok || key != l.Key {
			t.Errorf("ledger has %+v, acknowledged as %v", l, key)
		}
	}
}

func ledgerOf(t testing.TB, h *qiongtest.House) (lines []booking.LedgerLine) {
	t.Helper()
	resp, err := h.As("operator", auth.Operator).Send(context.Background(), client.Request{Method: "GET", Path: "/api/booking/ledger"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for in := json.NewDecoder(resp.Body); in.More(); {
		var l booking.LedgerLine
		if err := in.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}
