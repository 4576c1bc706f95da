package payment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking/payment"
	"github.com/qiongdev/qiong/service/booking/payment/sandbox"
)

// memory is a Store that forgets when it ends, and fails at times before or after it stored.
type memory struct {
	mu    sync.Mutex
	rows  map[string]payment.Payment
	flaky func() bool
}

func (m *memory) Insert(_ context.Context, p payment.Payment) (payment.Payment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.rows[p.Number]; !ok {
		m.rows[p.Number] = p
	}
	return m.rows[p.Number], nil
}

func (m *memory) Get(_ context.Context, number string) (payment.Payment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.rows[number]
	if !ok {
		return p, errs.New(errs.NotFound, "没有", "none")
	}
	p.Refunds = slices.Clone(p.Refunds)
	return p, nil
}

func (m *memory) Update(_ context.Context, p payment.Payment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[p.Number].Version != p.Version {
		return errs.New(errs.Conflict, "版本", "version")
	}
	if m.flaky() {
		return errs.New(errs.Unavailable, "磁盘", "disk")
	}
	p.Version++
	m.rows[p.Number] = p
	if m.flaky() {
		return errs.New(errs.Unavailable, "磁盘", "disk")
	}
	return nil
}

func (m *memory) Due(_ context.Context, now time.Time, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []string
	for number, p := range m.rows {
		if !p.Next.IsZero() && !p.Next.After(now) {
			due = append(due, number)
		}
	}
	slices.Sort(due)
	return due[:min(limit, len(due))], nil
}

// holds are bookings that wait for their money until they expire.
type holds struct {
	mu    sync.Mutex
	rows  map[string]*hold
	flaky func() bool
}

type hold struct {
	until     time.Time
	paidBy    string
	cancelled bool
	kept      int64 // of a confirmed booking: what it keeps after its cancellation
}

func (h *holds) Confirm(_ context.Context, booking, number string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flaky() {
		return false, errors.New("not reached")
	}
	b := h.rows[booking]
	if b.paidBy == "" && !b.cancelled && time.Now().Before(b.until) {
		b.paidBy = number
	}
	if h.flaky() {
		return false, errors.New("not answered")
	}
	return b.paidBy == number, nil
}

// cancel cancels a booking as its visitor does, and returns whether it was confirmed before.
func (h *holds) cancel(booking string, kept int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.rows[booking]
	b.cancelled = true
	if b.paidBy != "" {
		b.kept = kept
	}
	return b.paidBy != ""
}

// wire carries requests to handlers without a network, and loses some of them or their answers.
type wire struct {
	hosts map[string]http.Handler
	flaky func() bool
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.flaky() {
		return nil, errors.New("the connection was refused")
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.Body = r.URL.RequestURI(), io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	w.hosts[r.URL.Host].ServeHTTP(rec, in)
	if w.flaky() {
		return nil, errors.New("the connection was cut")
	}
	return rec.Result(), nil
}

// world is a house with its provider.
type world struct {
	sandbox *sandbox.Sandbox
	client  *sandbox.Client
	store   *memory
	holds   *holds
	books   [2]*payment.Book // two servers on one store
	random  *rand.Rand
	mu      sync.Mutex
}

func lookup(pub *gm.PublicKey) httpsig.Lookup {
	return func(id string) (*gm.PublicKey, error) {
		if id != gm.KeyID(pub) {
			return nil, errs.New(errs.NotFound, "未知", "unknown")
		}
		return pub, nil
	}
}

func key(t testing.TB) *gm.PrivateKey {
	t.Helper()
	k, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newWorld returns a world in which a share of everything fails.
func newWorld(t testing.TB, seed uint64, faults sandbox.Faults, share float64) *world {
	w := &world{random: rand.New(rand.NewPCG(seed, 1))}
	flaky := func() bool { return w.chance() < share }
	quiet := slog.New(slog.DiscardHandler)
	ours, theirs := key(t), key(t)
	net := &wire{hosts: map[string]http.Handler{}, flaky: flaky}
	var err error
	w.sandbox, err = sandbox.New(sandbox.Config{
		Base: "http://cash.test", Signer: theirs, KeyOf: lookup(ours.PublicKey()), HTTP: &http.Client{Transport: net}, Log: quiet, Faults: faults,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.store = &memory{rows: map[string]payment.Payment{}, flaky: flaky}
	w.holds = &holds{rows: map[string]*hold{}, flaky: flaky}
	w.client = &sandbox.Client{Base: "http://cash.test", HTTP: &http.Client{Transport: net}, Signer: ours, KeyOf: lookup(theirs.PublicKey())}
	for i := range w.books {
		w.books[i] = &payment.Book{
			Provider: w.client, Store: w.store, Bookings: w.holds, Callback: "http://house.test/paid", Log: quiet,
		}
	}
	net.hosts["cash.test"] = w.sandbox.Handler()
	net.hosts["house.test"] = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := w.book().Notify(r.Context(), r, body); err != nil {
			out.WriteHeader(errs.KindOf(err).HTTP())
			return
		}
		out.WriteHeader(http.StatusNoContent)
	})
	return w
}

func (w *world) chance() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Float64()
}

func (w *world) book() *payment.Book {
	if w.chance() < 0.5 {
		return w.books[0]
	}
	return w.books[1]
}

// visit is one visitor: books, pays or not, early or late, another amount at times, and cancels or not.
func (w *world) visit(ctx context.Context, i int) {
	const fen, fee, validity = 12000, 2000, 15 * time.Minute
	number, booking := fmt.Sprintf("order-%05d", i), fmt.Sprintf("booking-%05d", i)
	time.Sleep(time.Duration(w.chance() * float64(time.Hour)))
	until := time.Now().Add(validity)
	w.holds.mu.Lock()
	w.holds.rows[booking] = &hold{until: until}
	w.holds.mu.Unlock()
	order := payment.Order{Number: number, Fen: fen, Subject: lang.T("门票", "ticket"), Expires: until}
	for range 3 { // an impatient finger
		_, _ = w.book().Open(ctx, order, booking)
	}
	if w.chance() < 0.8 {
		time.Sleep(time.Duration(w.chance() * 1.1 * float64(validity)))
		amount := int64(0)
		if w.chance() < 0.05 {
			amount = fen - 1
		}
		_ = w.sandbox.Pay(number, amount) // it may be too late, or the order not there
	}
	if w.chance() < 0.4 {
		time.Sleep(time.Duration(w.chance() * float64(validity)))
		confirmed := w.holds.cancel(booking, fee)
		for {
			back := int64(0)
			if confirmed {
				back = fen - fee
			}
			_, err := w.book().Cancel(ctx, number, "visitor", back)
			if err == nil || errs.Is(err, errs.NotFound) {
				return
			}
			time.Sleep(time.Minute)
		}
	}
}

// run lets visitors come, and time pass until all is settled.
func (w *world) run(t *testing.T, visitors int) {
	ctx, cancel := context.WithCancel(t.Context())
	var all, visits sync.WaitGroup
	all.Go(func() { _ = w.sandbox.Run(ctx) })
	for _, b := range w.books {
		all.Go(func() {
			for tick := time.Second; ctx.Err() == nil; tick = min(tick+time.Second/10, time.Minute) {
				_, _ = b.Work(ctx)
				select {
				case <-time.After(tick):
				case <-ctx.Done():
				}
			}
		})
	}
	for i := range visitors {
		visits.Go(func() { w.visit(ctx, i) })
	}
	visits.Wait()
	time.Sleep(3 * 24 * time.Hour)
	cancel()
	all.Wait()
}

// check holds the provider's account to what the bookings are worth.
func (w *world) check(t *testing.T) map[payment.Phase]int {
	t.Helper()
	worth, returned := int64(0), int64(0)
	phases := map[payment.Phase]int{}
	for number, p := range w.store.rows {
		phases[p.Phase]++
		b := w.holds.rows[p.Booking]
		if !p.Next.IsZero() {
			t.Errorf("%s is not settled: %s, next %v", number, p.Phase, p.Next)
		}
		if (p.Phase == payment.Confirmed) != (b.paidBy != "") {
			t.Errorf("%s is %s, its booking paid by %q", number, p.Phase, b.paidBy)
		}
		switch {
		case b.paidBy == "":
		case b.cancelled:
			worth += b.kept
		default:
			worth += p.Fen
		}
		returned += p.Returned()
	}
	a := w.sandbox.Account()
	if a.Collected-a.Returned != worth || a.Returned != returned {
		t.Errorf("the provider collected %d and gave %d back; the bookings are worth %d and the books say %d went back",
			a.Collected, a.Returned, worth, returned)
	}
	return phases
}

func TestMoneyInIsBookingsAndRefunds(t *testing.T) {
	for name, c := range map[string]struct {
		faults sandbox.Faults
		share  float64 // of messages and writes that fail
	}{
		"no faults":      {},
		"late callbacks": {sandbox.Faults{Delay: 30 * time.Minute}, 0},
		"lost callbacks": {sandbox.Faults{Lose: 1}, 0},
		"sent twice":     {sandbox.Faults{Twice: 1}, 0},
		"refund refused": {sandbox.Faults{Refuse: 3}, 0},
		"500 after work": {sandbox.Faults{Error: 0.5}, 0},
		"paid late":      {sandbox.Faults{Late: 10 * time.Minute}, 0},
		"all at once":    {sandbox.Faults{Seed: 7, Delay: 30 * time.Minute, Lose: 0.3, Twice: 0.3, Refuse: 2, Error: 0.3, Late: 10 * time.Minute}, 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 11, c.faults, c.share)
				const visitors = 80
				w.run(t, visitors)
				phases := w.check(t)
				if sum := len(w.store.rows); sum != visitors {
					t.Errorf("%d payments of %d visitors", sum, visitors)
				}
				for _, phase := range []payment.Phase{payment.Confirmed, payment.Ended} {
					if phases[phase] == 0 {
						t.Errorf("nobody's payment is %s: %v", phase, phases)
					}
				}
				if (c.faults.Late > 0 || c.faults.Delay > 0) && phases[payment.Void] == 0 {
					t.Errorf("no payment came too late: %v", phases)
				}
			})
		})
	}
}
