package sandbox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// Each fault strikes one request; the caller learns what it may, and one retry later there is one effect.
func TestFaults(t *testing.T) {
	for kind, test := range map[FaultKind]struct {
		code  string // of the error; empty for an answer
		after agency.Outcome
	}{
		Error500:       {"agency.down", agency.Unseen},
		Lost:           {"agency.unreachable", agency.Done},
		Duplicate:      {"", agency.Done},
		Drip:           {"", agency.Done},
		WrongSignature: {"agency.signature", agency.Done},
		Down:           {"agency.unreachable", agency.Unseen},
		Timeout:        {"agency.unreachable", agency.Unseen},
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := build(t, sqldbtest.SQLite(t))
			c := w.client("hr")
			if err := w.SetFault("hr", Fault{Kind: kind, Next: 1}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if kind == Timeout {
				go leaveWhenStruck(ctx, w, cancel)
			}
			a, err := c.Do(ctx, "insurance-accounts", request("r1", ""))
			if test.code == "" && (err != nil || a.Outcome != agency.Done) || test.code != "" && !isCode(err, test.code) {
				t.Fatalf("got %+v, %v; want error %q", a, err, test.code)
			}
			q := w.want(test.after)(c.Query(t.Context(), "insurance-accounts", "r1"))
			again := w.want(agency.Done)(c.Do(t.Context(), "insurance-accounts", request("r1", "")))
			if q.Outcome == agency.Done && string(q.Output) != string(again.Output) {
				t.Errorf("the retry got %s, not %s", again.Output, q.Output)
			}
			w.wantLedger(1, 0)
			if faults, err := w.Faults("hr"); err != nil || len(faults) != 0 {
				t.Errorf("the order was for one request; left are %v, %v", faults, err)
			}
		})
	}
}

// leaveWhenStruck has a caller leave once the order for the agency has been taken by its request: earlier, the order
// would strike the next one.
func leaveWhenStruck(ctx context.Context, w *town, leave func()) {
	for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
		if faults, err := w.Faults("hr"); err != nil || len(faults) == 0 {
			leave()
		}
	}
}

// A scenario's fault strikes each request once, also after a restart, and never a query.
func TestScenarioFaultStrikesOnce(t *testing.T) {
	db := sqldbtest.SQLite(t)
	always := scenario(t, `
agencies:
  hr:
    insurance-accounts: {mode: now, latency: {median: 1s, sigma: 0}, revocable: true, output: {n: 1}, faults: {lost: 1}}
`)
	w := build(t, db, always)
	c, ctx := w.client("hr"), t.Context()
	if _, err := c.Do(ctx, "insurance-accounts", request("r1", "")); !isCode(err, "agency.unreachable") {
		t.Fatalf("the fault did not strike: %v", err)
	}
	w.want(agency.Done)(c.Query(ctx, "insurance-accounts", "r1"))
	w = build(t, db, always)
	c = w.client("hr")
	w.want(agency.Done)(c.Do(ctx, "insurance-accounts", request("r1", "")))
	if _, err := c.Undo(ctx, "insurance-accounts", "r1"); !isCode(err, "agency.unreachable") {
		t.Errorf("the undo was not struck: %v", err)
	}
	w.want(agency.Done)(c.Undo(ctx, "insurance-accounts", "r1"))
	w.wantLedger(0, 1)
}

func TestDownForAnHour(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	c, ctx := w.client("tax"), t.Context()
	if err := w.SetFault("tax", Fault{Kind: Down, Until: w.clock.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Query(ctx, "invoice-accounts", "r1"); errs.KindOf(err) != errs.Unavailable {
			t.Fatalf("while it is down: %v", err)
		}
	}
	w.want(agency.Unseen)(w.client("hr").Query(ctx, "insurance-accounts", "r1")) // the others work
	w.clock.add(time.Hour)
	w.want(agency.Unseen)(c.Query(ctx, "invoice-accounts", "r1"))
}

func TestOrders(t *testing.T) {
	now := time.Now()
	var f faults
	f.set("hr", Fault{Kind: Lost, Next: 2})
	f.set("hr", Fault{Kind: Drip, Resource: "a"})
	f.set("hr", Fault{Kind: Down, Until: now.Add(time.Minute)})
	var got []FaultKind
	for _, resource := range []string{"a", "b", "a", "b"} {
		got = append(got, f.take("hr", resource, now, isNotDown))
	}
	if want := []FaultKind{Lost, Lost, Drip, ""}; !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
	if !f.holds(Down, "hr", "b", now) || f.holds(Down, "hr", "b", now.Add(time.Minute)) {
		t.Error("an order for a minute holds for a minute")
	}
	f.set("hr", Fault{Kind: Drip, Resource: "a", Next: 1})
	if orders := f.list("hr", now); len(orders) != 1 || orders[0].Next != 1 {
		t.Errorf("an order replaces the one of its kind and resource: %v", orders)
	}
	f.clear("hr")
	if kind := f.take("hr", "a", now, isNotDown); kind != "" {
		t.Errorf("after clearing there is %s", kind)
	}
}

func TestOrdersNobodyCanMean(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	for name, err := range map[string]error{
		"agency":   w.SetFault("moon", Fault{Kind: Lost}),
		"kind":     w.SetFault("hr", Fault{Kind: "fire"}),
		"resource": w.SetFault("hr", Fault{Kind: Lost, Resource: "x"}),
		"next":     w.SetFault("hr", Fault{Kind: Lost, Next: -1}),
	} {
		var e *errs.Error
		if !errors.As(err, &e) || e.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Faults("moon"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if err := w.Clear("moon"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// An agency that is busy to its limit says so, and does nothing.
func TestBusy(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), func(c *Config) { c.MaxConcurrent = 1 })
	w.room <- struct{}{}
	_, err := w.client("hr").Do(t.Context(), "insurance-accounts", request("r1", ""))
	if !errs.Is(err, errs.TooMany) {
		t.Errorf("busy: %v", err)
	}
	<-w.room
	w.want(agency.Unseen)(w.client("hr").Query(t.Context(), "insurance-accounts", "r1"))
}

// Latency is what the scenario says, and a caller that leaves changes nothing.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Sandbox{ended: make(chan struct{})}
		begin := time.Now()
		if !s.wait(t.Context(), 900*time.Millisecond) || time.Since(begin) != 900*time.Millisecond {
			t.Errorf("waited %v", time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if s.wait(ctx, time.Hour) {
				t.Error("the wait ended as if the time had passed")
			}
		})
		cancel()
		wg.Wait()
		wg.Go(func() {
			if err := s.work(t.Context(), time.Hour); !errs.Is(err, errs.Unavailable) {
				t.Errorf("when the sandbox ends: %v", err)
			}
		})
		synctest.Wait()
		close(s.ended)
		wg.Wait()
	})
}

func TestLeavingCallerStillGetsItsEffect(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), scenario(t, `
agencies:
  hr:
    insurance-accounts: {mode: now, latency: {median: 300ms, sigma: 0}, revocable: true, output: {}}
`), naturally)
	ctx, leave := context.WithCancel(t.Context())
	var left error
	var wg sync.WaitGroup
	wg.Go(func() { _, left = w.client("hr").Do(ctx, "insurance-accounts", request("r1", "")) })
	a := w.untilPending("hr", "insurance-accounts", "r1")
	leave()
	wg.Wait()
	if !errs.Is(left, errs.Canceled) {
		t.Fatal(left)
	}
	if a.PollAfter.Duration() != 300*time.Millisecond {
		t.Fatalf("%+v", a)
	}
	w.clock.add(a.PollAfter.Duration())
	if a, err := w.client("hr").Query(t.Context(), "insurance-accounts", "r1"); err != nil || a.Outcome != agency.Done {
		t.Fatalf("%+v, %v", a, err)
	}
	w.wantLedger(1, 0)
}

// A request that is undone while its agency is at it is answered so.
func TestUndoneWhileItIsProcessed(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), scenario(t, `
agencies:
  hr:
    insurance-accounts: {mode: now, latency: {median: 1s, sigma: 0}, revocable: true, output: {}}
`), naturally)
	var answer agency.Answer
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { answer, err = w.client("hr").Do(t.Context(), "insurance-accounts", request("r1", "")) })
	w.untilPending("hr", "insurance-accounts", "r1")
	if a, err := w.client("hr").Undo(t.Context(), "insurance-accounts", "r1"); err != nil || a.Outcome != agency.Done {
		t.Fatalf("%+v, %v", a, err)
	}
	wg.Wait()
	if err != nil || answer.Outcome != agency.Refused || answer.Code != "undone" {
		t.Errorf("%+v, %v", answer, err)
	}
	w.wantLedger(0, 1)
}

func TestNowhere(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	for _, path := range []string{"/api/sandbox/agencies/moon/x/r1", "/api/sandbox/agencies/moon/openapi.yaml", "/api/sandbox/agencies/hr", "/"} {
		resp, err := http.Get(w.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("X-Data-Grade") != "L1" {
			t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
	}
}
