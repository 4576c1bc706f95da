package booking_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/service/booking"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// gated is a house with two spots, bay (7) and cove (8), a clock that can be put forward, and its key of tickets.
type gated struct {
	*qiongtest.House
	key     *keys.Key
	ahead   atomic.Int64
	visitor *client.Client
	gate    *client.Client
	made    atomic.Uint64
	options qiongtest.Options
}

func startGated(t testing.TB, database string) *gated {
	t.Helper()
	spots, data := t.TempDir(), filepath.Join(t.TempDir(), "data")
	cove := strings.NewReplacer("spot: bay", "spot: cove", "code: 7", "code: 8").Replace(bay)
	for name, text := range map[string]string{"bay.yaml": bay, "cove.yaml": cove} {
		if err := os.WriteFile(filepath.Join(spots, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &gated{}
	clock := func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }
	g.options = qiongtest.Options{Services: services, Database: database, Data: data, Clock: clock,
		Set: map[string]string{"booking.spots": spots, "booking.attempts": "100000"}}
	g.run(t)
	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if g.key, err = ring.Signer("booking.tickets"); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gated) run(t testing.TB) {
	t.Helper()
	g.House = qiongtest.Start(t, g.options)
	eventually(t, "slots", func() bool { return len(slots(t, g.House)) > 60 })
	g.visitor, g.gate = g.As("visitor", auth.Applicant), g.As("gate", auth.Agency)
}

// restart stops the house, does something to its tables, and runs it again.
func (g *gated) restart(t testing.TB, statements ...string) {
	t.Helper()
	g.Stop()
	db, err := sqlite.Open(filepath.Join(g.options.Data, "db", "booking.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(context.Background(), sqldb.Durable, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g.run(t)
}

// slot returns a slot of bay so many days from today.
func (g *gated) slot(t testing.TB, days int) booking.SlotView {
	t.Helper()
	var list struct{ Items []booking.SlotView }
	get(t, g.visitor, "/api/booking/slots?spot=bay", &list)
	return list.Items[days]
}

// book books for a party, and returns the booking with its code.
func (g *gated) book(t testing.TB, slot string, party int) booking.BookingView {
	t.Helper()
	n := g.made.Add(1)
	visitors := make([]any, party)
	for i := range visitors {
		visitors[i] = someone(n*100 + uint64(i))
	}
	made, err := reserve(g.visitor, fmt.Sprintf("gate-%08d", n), map[string]any{"slot": slot, "visitors": visitors})
	if err != nil {
		t.Fatal(err)
	}
	return g.show(t, made.ID)
}

func (g *gated) show(t testing.TB, id string) (v booking.BookingView) {
	t.Helper()
	get(t, g.visitor, "/api/booking/bookings/"+id, &v)
	return v
}

func (g *gated) cancel(t testing.TB, id string) {
	t.Helper()
	err := g.As("window", auth.Official).Do(context.Background(), client.Request{Method: "POST", Path: "/api/booking/bookings/" + id + "/cancel", Body: map[string]string{"reason": "test"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// sign signs a code with the house's own key.
func (g *gated) sign(t testing.TB, slot booking.SlotView, n ledger.Number, party int) string {
	t.Helper()
	start := time.UnixMilli(int64(slot.Start))
	code, err := ticket.Sign(g.key, ticket.Ticket{Booking: uint64(n), Slot: n.Slot(), Spot: 7, Party: uint16(party), From: start.Add(-24 * time.Hour), Until: start.Add(25 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func enter(c *client.Client, key string, body map[string]any) (p booking.Passage, err error) {
	err = c.Do(context.Background(), client.Request{Method: "POST", Path: "/api/booking/gate/enter", Body: body, Header: map[string]string{"Idempotency-Key": key}}, &p)
	return p, err
}

func TestEnterOnline(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		g := startGated(t, database)
		v := g.book(t, g.slot(t, 0).ID, 4)
		for i, step := range []struct {
			key    string
			count  int
			want   string
			people int
			left   int
		}{
			{"k1", 1, "ok", 1, 3},
			{"k1", 1, "ok", 1, 3}, // again
			{"k2", 4, "too-many", 0, 3},
			{"k2", 4, "too-many", 0, 3},
			{"k3", 9, "too-many", 0, 3},
			{"k4", 2, "ok", 2, 1},
			{"k1", 1, "ok", 1, 3}, // as it was
			{"k5", 0, "ok", 1, 0},
			{"k5", 0, "ok", 1, 0},
			{"k6", 0, "all-in", 0, 0},
			{"k7", 1, "all-in", 0, 0},
		} {
			p, err := enter(g.gate, step.key, map[string]any{"code": v.Code, "count": step.count, "gate": "东门 1", "spot": "bay"})
			if err != nil || p.Reason != step.want || p.Admitted != (step.want == "ok") || p.People != step.people || p.Left != step.left ||
				p.Party != 4 || p.Booking != v.ID || p.Text == "" || len(p.Look) != 1 || p.Look[0] != "real-name" {
				t.Fatalf("step %d: %+v, %v", i, p, err)
			}
		}
		if _, err := enter(g.gate, "k4", map[string]any{"code": v.Code, "count": 1, "gate": "东门 1"}); code(err) != "booking.key" {
			t.Errorf("a key used for something else: %v", err)
		}
		eventually(t, "all in", func() bool { return g.show(t, v.ID).Entered == 4 })
		if v = g.show(t, v.ID); v.Status != "used" {
			t.Errorf("%+v", v)
		}
	})
}

func TestEnterRefuses(t *testing.T) {
	g := startGated(t, "")
	today := g.slot(t, 0)
	good := g.book(t, today.ID, 2)
	cancelled, early := g.book(t, today.ID, 1), g.book(t, g.slot(t, 3).ID, 1)
	g.cancel(t, cancelled.ID)
	held, err := reserve(g.visitor, "gate-unpaid-1", map[string]any{"slot": today.ID, "product": "boat", "visitors": []any{someone(1)}})
	if err != nil {
		t.Fatal(err)
	}
	unpaid, err := ledger.ParseNumber(held.ID)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	start := time.UnixMilli(int64(today.Start))
	foreign, err := ticket.Sign(stranger, ticket.Ticket{Booking: 1, Spot: 7, Party: 1, From: start, Until: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	larger, err := ticket.Parse(good.Code) // a party that was made larger, under the same signature
	if err != nil {
		t.Fatal(err)
	}
	larger.Ticket.Party = 5
	resigned, err := ticket.Sign(g.key, larger.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	tampered := resigned[:58] + good.Code[58:] // the first 57 characters after "Q" are what is signed
	refused := func(name, want string, body map[string]any) {
		t.Helper()
		body["gate"] = "1"
		p, err := enter(g.gate, "refuse-"+strings.ReplaceAll(name, " ", "-"), body)
		if err != nil || p.Admitted || p.Reason != want || p.Text == "" || p.People != 0 {
			t.Errorf("%s: %+v, %v; want %s", name, p, err, want)
		}
	}
	refused("tampered", "forged", map[string]any{"code": tampered})
	refused("cut", "malformed", map[string]any{"code": good.Code[:100]})
	refused("text", "malformed", map[string]any{"code": "https://example.com/你好"})
	refused("empty", "malformed", map[string]any{"code": ""})
	refused("stranger", "unknown-key", map[string]any{"code": foreign})
	refused("elsewhere", "wrong-spot", map[string]any{"code": good.Code, "spot": "cove"})
	refused("elsewhere by code", "wrong-spot", map[string]any{"code": good.Code, "spot": "8"})
	refused("early", "too-early", map[string]any{"code": early.Code})
	refused("cancelled", "revoked", map[string]any{"code": cancelled.Code})
	refused("unpaid", "unpaid", map[string]any{"code": g.sign(t, today, unpaid, 1)})
	refused("unknown", "unknown", map[string]any{"code": g.sign(t, today, unpaid+1000, 1)})
	refused("unknown shard", "unknown", map[string]any{"code": g.sign(t, today, ledger.NumberOf(9, 0, 0), 1)})
	refused("too many", "too-many", map[string]any{"code": good.Code, "count": 3})

	for name, body := range map[string]any{"negative": map[string]any{"code": good.Code, "gate": "1", "count": -1}, "no gate": map[string]any{"code": good.Code},
		"long": map[string]any{"code": strings.Repeat("A", 2000), "gate": "1"}, "unknown field": map[string]any{"code": good.Code, "gate": "1", "people": 1},
		"not JSON": strings.NewReader(`{"code":`), "twice": strings.NewReader(`{"code":"a","code":"b","gate":"1"}`),
		"marks": map[string]any{"code": good.Code, "gate": "a#b"}} {
		err := g.gate.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/gate/enter", Body: body, Header: map[string]string{"Idempotency-Key": "bad"}}, nil)
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.gate.Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/gate/enter", Body: map[string]any{"code": good.Code, "gate": "1"}}, nil); code(err) != "http.idempotency-key" {
		t.Errorf("without a key: %v", err)
	}
	if _, err := enter(g.gate, "no-spot", map[string]any{"code": good.Code, "gate": "1", "spot": "moon"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("a spot that is none: %v", err)
	}
	if _, err := enter(g.visitor, "not-mine", map[string]any{"code": good.Code, "gate": "1"}); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a visitor as a gate: %v", err)
	}
	if p, err := enter(g.gate, "after-all", map[string]any{"code": good.Code, "gate": "1", "count": 1}); err != nil || !p.Admitted {
		t.Errorf("%+v, %v", p, err)
	}
	g.ahead.Store(int64(time.Until(start.Add(50 * time.Hour)))) // which is over by a day, and not yet forgotten
	refused("late", "too-late", map[string]any{"code": good.Code})
	if p, err := enter(g.gate, "after-all", map[string]any{"code": good.Code, "gate": "1", "count": 1}); err != nil || !p.Admitted || p.Left != 1 {
		t.Errorf("asked again too late: %+v, %v", p, err)
	}
}

// Many gates that ask about one party at once let in just the party, and each that asks again hears the same.
func TestManyGatesOneParty(t *testing.T) {
	g := startGated(t, "")
	v := g.book(t, g.slot(t, 0).ID, 5)
	if p, err := enter(g.gate, "before", map[string]any{"code": v.Code, "count": 1, "gate": "0"}); err != nil || !p.Admitted {
		t.Fatalf("%+v, %v", p, err)
	}
	g.restart(t) // what is remembered of entries is looked up anew
	var in atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			body := map[string]any{"code": v.Code, "count": 1, "gate": fmt.Sprint(i)}
			for {
				p, err := enter(g.gate, fmt.Sprintf("many-%d", i), body)
				if errs.Is(err, errs.Unavailable) {
					continue
				}
				again, err2 := enter(g.gate, fmt.Sprintf("many-%d", i), body)
				if err != nil || err2 != nil && !errs.Is(err2, errs.Unavailable) || err2 == nil && again.Admitted != p.Admitted {
					t.Errorf("%+v, %v; again %+v, %v", p, err, again, err2)
				}
				in.Add(int64(p.People))
				return
			}
		})
	}
	wg.Wait()
	if in.Load() != 4 {
		t.Errorf("%d of the 4 that were left are in", in.Load())
	}
	g.settle(t)
	for _, step := range g.show(t, v.ID).History {
		if step.What == "came" && strings.Contains(step.Note, "#") {
			t.Errorf("people are told %q", step.Note)
		}
	}
}

func (g *gated) pem(t testing.TB) []byte {
	t.Helper()
	resp, err := http.Get(g.URL + "/api/booking/gate/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	pem, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return pem
}

// keys returns the keys as a gate fetches them.
func (g *gated) keys(t testing.TB) *ticket.Keys {
	t.Helper()
	pub, err := gm.ParsePublicKeyPEM(g.pem(t))
	if err != nil {
		t.Fatal(err)
	}
	return ticket.NewKeys(pub)
}

// revocations fetches a list.
func (g *gated) revocations(t testing.TB, query string) ([]byte, error) {
	t.Helper()
	resp, err := g.gate.Send(context.Background(), client.Request{Method: "GET", Path: "/api/booking/gate/revocations?" + query})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// settle waits until the tables have what the ledger has.
func (g *gated) settle(t testing.TB) { ledgerOf(t, g.House) }

func TestRevocationsReachAnOfflineGate(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		g := startGated(t, database)
		slot := g.slot(t, 0).ID
		gate, _ := ticket.NewGate(ticket.GateConfig{ID: 1, Spot: 7, Keys: g.keys(t)})
		first, second, stays := g.book(t, slot, 2), g.book(t, slot, 2), g.book(t, slot, 2)
		take := func(want uint64) {
			t.Helper()
			g.settle(t)
			list, err := g.revocations(t, fmt.Sprintf("spot=bay&since=%d", gate.RevokedUpTo()))
			if err != nil {
				t.Fatal(err)
			}
			if err := gate.Revoke(list); err != nil || gate.RevokedUpTo() != want {
				t.Fatalf("%d revocations, want %d: %v", gate.RevokedUpTo(), want, err)
			}
		}
		take(0)
		g.cancel(t, first.ID)
		take(1)
		g.cancel(t, second.ID)
		take(2)
		take(2)
		now := time.Now()
		for _, c := range []struct {
			code string
			want ticket.Reason
		}{{first.Code, ticket.Revoked}, {second.Code, ticket.Revoked}, {stays.Code, ticket.OK}} {
			if d, _ := gate.Enter(c.code, 0, now); d.Reason != c.want {
				t.Errorf("%v, want %v", d.Reason, c.want)
			}
		}
		fresh, _ := ticket.NewGate(ticket.GateConfig{ID: 2, Spot: 7, Keys: g.keys(t)})
		list, err := g.revocations(t, "spot=7")
		if err != nil || fresh.Revoke(list) != nil || fresh.RevokedUpTo() != 2 {
			t.Errorf("a new gate has %d: %v", fresh.RevokedUpTo(), err)
		}
		if d := fresh.Check(first.Code, now); d.Reason != ticket.Revoked {
			t.Errorf("at a new gate: %v", d.Reason)
		}
		other, err := g.revocations(t, "spot=cove")
		if err != nil || fresh.Revoke(other) == nil {
			t.Errorf("a list of another spot was believed: %v", err)
		}
		for query, kind := range map[string]errs.Kind{"spot=bay&since=3": errs.Conflict, "spot=bay&since=-1": errs.Invalid, "spot=bay&since=x": errs.Invalid, "": errs.NotFound, "spot=moon": errs.NotFound} {
			if _, err := g.revocations(t, query); !errs.Is(err, kind) {
				t.Errorf("%q: %v", query, err)
			}
		}
	})
}

// A slot that is closed for the weather revokes all of its bookings.
func TestAClosedSlotIsRevoked(t *testing.T) {
	g := startGated(t, "")
	slot := g.slot(t, 1).ID
	var codes []string
	for range 5 {
		codes = append(codes, g.book(t, slot, 1).Code)
	}
	if err := g.As("operator", auth.Operator).Do(t.Context(), client.Request{Method: "POST", Path: "/api/booking/slots/" + slot + "/close", Body: map[string]string{"reason": "台风"}}, nil); err != nil {
		t.Fatal(err)
	}
	gate, _ := ticket.NewGate(ticket.GateConfig{ID: 1, Spot: 7, Keys: g.keys(t)})
	eventually(t, "revoked", func() bool {
		list, err := g.revocations(t, fmt.Sprintf("spot=bay&since=%d", gate.RevokedUpTo()))
		return err == nil && gate.Revoke(list) == nil && gate.RevokedUpTo() == 5
	})
	for _, c := range codes {
		if d := gate.Check(c, time.Now()); d.Reason != ticket.Revoked {
			t.Errorf("%v", d.Reason)
		}
	}
}
