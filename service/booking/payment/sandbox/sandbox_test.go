package sandbox

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking/payment"
)

func key(t testing.TB) *gm.PrivateKey {
	t.Helper()
	k, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func lookup(pub *gm.PublicKey) httpsig.Lookup {
	return func(id string) (*gm.PublicKey, error) {
		if id != gm.KeyID(pub) {
			return nil, errs.New(errs.NotFound, "未知", "unknown")
		}
		return pub, nil
	}
}

// serve runs a sandbox behind a real listener and returns it with a client.
func serve(t testing.TB, faults Faults) (*Sandbox, *Client) {
	t.Helper()
	ours, theirs := key(t), key(t)
	var s *Sandbox
	server := httptest.NewServer(http.StripPrefix("/cash", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Handler().ServeHTTP(w, r) })))
	t.Cleanup(server.Close)
	var err error
	s, err = New(Config{
		Base: server.URL + "/cash", Signer: theirs, KeyOf: lookup(ours.PublicKey()), Log: slog.New(slog.DiscardHandler), Faults: faults,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &Client{Base: server.URL + "/cash/", HTTP: server.Client(), Signer: ours, KeyOf: lookup(theirs.PublicKey())}
}

func ordered(number string) payment.Order {
	return payment.Order{Number: number, Fen: 500, Subject: lang.T("门票<成人>", "ticket <adult>"), Expires: time.Now().Add(time.Hour), Callback: "http://127.0.0.1:1/none"}
}

func TestOverARealConnection(t *testing.T) {
	s, c := serve(t, Faults{Lose: 1})
	ctx := t.Context()
	if a := c.Query(ctx, "order-1"); a.Outcome != payment.Refused || a.Code != payment.NotFound {
		t.Errorf("before there is an order: %+v", a)
	}
	o := ordered("order-1")
	a := c.Create(ctx, o)
	if a.Outcome != payment.Done || a.State != payment.Created || a.Fen != 500 {
		t.Fatalf("Create: %+v", a)
	}
	if again := c.Create(ctx, o); again != a {
		t.Errorf("the same order again: %+v", again)
	}
	o.Fen = 400
	if b := c.Create(ctx, o); b.Outcome != payment.Refused {
		t.Errorf("the same number for another amount: %+v", b)
	}
	page := get(t, c, http.MethodGet, a.Cashier, http.StatusOK)
	if !strings.Contains(page, "¥ 5.00") || !strings.Contains(page, "ticket &lt;adult&gt;") || !strings.Contains(page, "<button>") {
		t.Errorf("the cashier shows %s", page)
	}
	if page := get(t, c, http.MethodPost, a.Cashier, http.StatusOK); strings.Contains(page, "<button>") {
		t.Errorf("after the payment the cashier shows %s", page)
	}
	get(t, c, http.MethodPost, a.Cashier, http.StatusConflict)
	get(t, c, http.MethodGet, a.Cashier+"x", http.StatusNotFound)
	if a := c.Query(ctx, "order-1"); a.State != payment.Paid || a.Paid != 500 || a.Reference == "" {
		t.Errorf("after the payment: %+v", a)
	}
	if got := s.Account(); got != (Account{Orders: 1, Collected: 500}) {
		t.Errorf("the account is %+v", got)
	}
}

func get(t *testing.T, c *Client, method, url string, want int) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: %s, %v", method, r.URL.Path, resp.Status, err)
	}
	return string(body)
}

func TestRefunds(t *testing.T) {
	s, c := serve(t, Faults{Refuse: 1, Lose: 1})
	ctx := t.Context()
	refund := func(number string, fen int64) payment.Answer {
		return c.Refund(ctx, payment.Refund{Order: "order-1", Number: number, Fen: fen})
	}
	c.Create(ctx, ordered("order-1"))
	if a := refund("r1", 1); a.Outcome != payment.Refused || a.Code != "not-paid" {
		t.Errorf("before it is paid: %+v", a)
	}
	if err := s.Pay("order-1", 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		number string
		fen    int64
		code   string
	}{
		{"r1", 300, "balance"}, {"r1", 300, ""}, {"r1", 300, ""}, {"r1", 200, "other-refund"},
		{"r2", 201, "too-much"}, {"r2", 200, "balance"}, {"r2", 200, ""}, {"r3", 1, "too-much"},
	} {
		a := refund(c.number, c.fen)
		if done := a.Outcome == payment.Done && a.State == payment.Refunded; done != (c.code == "") || a.Code != c.code {
			t.Errorf("%s of %d: %+v", c.number, c.fen, a)
		}
	}
	if got := s.Account(); got.Returned != 500 {
		t.Errorf("the account is %+v", got)
	}
	if a := c.Query(ctx, "order-1"); a.State != payment.Refunded || a.Returned != 500 {
		t.Errorf("after all: %+v", a)
	}
}

func TestExpiredOrders(t *testing.T) {
	now := time.Now()
	s, c := serve(t, Faults{})
	s.cfg.Now = func() time.Time { return now }
	c.Now = s.cfg.Now
	c.Create(t.Context(), ordered("order-1"))
	now = now.Add(2 * time.Hour)
	if a := c.Query(t.Context(), "order-1"); a.State != payment.Closed {
		t.Errorf("after its expiry: %+v", a)
	}
	if err := s.Pay("order-1", 0); err == nil {
		t.Error("it was paid after its expiry")
	}
	late := ordered("order-2")
	late.Expires = now.Add(-time.Second)
	if a := c.Create(t.Context(), late); a.Outcome != payment.Refused || a.Code != "expired" {
		t.Errorf("made after its expiry: %+v", a)
	}
}

// What did not come from the sandbox is no answer, and what did not come from us is no order.
func TestUnknown(t *testing.T) {
	s, c := serve(t, Faults{})
	ctx := t.Context()
	stranger := *c
	stranger.Signer = key(t)
	if a := stranger.Create(ctx, ordered("order-1")); a.Outcome != payment.Unknown || s.Account().Orders != 0 {
		t.Errorf("a stranger's order: %+v", a)
	}
	deceived := *c
	deceived.KeyOf = lookup(key(t).PublicKey())
	if a := deceived.Create(ctx, ordered("order-1")); a.Outcome != payment.Unknown || a.Err == nil {
		t.Errorf("an answer of another signer: %+v", a)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if a := c.Query(gone, "order-1"); a.Outcome != payment.Unknown {
		t.Errorf("cancelled: %+v", a)
	}
	s.cfg.Faults.Error = 1
	if a := c.Create(ctx, ordered("order-2")); a.Outcome != payment.Unknown || s.Account().Orders != 2 {
		t.Errorf("500 after the work: %+v, %d orders", a, s.Account().Orders)
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{Signer: key(t), KeyOf: lookup(key(t).PublicKey())}
	for name, change := range map[string]func(*Config){
		"no key":         func(c *Config) { c.Signer = nil },
		"no lookup":      func(c *Config) { c.KeyOf = nil },
		"a share over 1": func(c *Config) { c.Faults.Lose = 1.1 },
		"a negative one": func(c *Config) { c.Faults.Error = -0.1 },
		"negative delay": func(c *Config) { c.Faults.Delay = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Faults strike the share of requests they are set to, and the same ones with the same seed.
func TestChance(t *testing.T) {
	a, b := &Sandbox{cfg: Config{Faults: Faults{Seed: 1}}}, &Sandbox{cfg: Config{Faults: Faults{Seed: 2}}}
	hits, same := 0, 0
	for i := range uint64(10_000) {
		x := a.chance("lose", "order-1", i)
		if x < 0 || x >= 1 || x != a.chance("lose", "order-1", i) {
			t.Fatalf("chance %v", x)
		}
		if x < 0.3 {
			hits++
		}
		if x == b.chance("lose", "order-1", i) || x == a.chance("twice", "order-1", i) {
			same++
		}
	}
	if hits < 2800 || hits > 3200 || same > 0 {
		t.Errorf("%d of 10000 at 0.3, %d the same", hits, same)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"order":"order-1","outcome":"done","state":"paid","fen":500,"paid":500,"reference":"x"}`))
	f.Add([]byte(`{"order":"order-1","refund":"r1","outcome":"done","state":"refunded","fen":5,"paid":500,"returned":5}`))
	f.Add([]byte(`{"order":"order-1","outcome":"refused","code":"not-found"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAnswer(data)
		if err != nil {
			return
		}
		got := a.answer()
		paid := got.State == payment.Paid || got.State == payment.Refunding || got.State == payment.Refunded
		if got.Outcome == payment.Unknown || got.Paid < 0 || got.Returned > got.Paid || got.Outcome == payment.Done && paid != (got.Paid > 0) {
			t.Fatalf("%s is read as %+v", data, got)
		}
	})
}
