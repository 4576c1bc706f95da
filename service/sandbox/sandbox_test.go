package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// town is a sandbox behind a real server, and a caller that it trusts.
type town struct {
	*Sandbox
	t      testing.TB
	clock  *clock
	url    string
	ring   *keys.Ring // of the sandbox
	caller *gm.PrivateKey
	http   *http.Client
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// build opens a town on db. Its agencies answer at once; change config for others.
func build(t testing.TB, db sqldb.DB, change ...func(*Config)) *town {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Speed = 0
	for _, f := range change {
		f(&cfg)
	}
	if err := Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.TempDir(), keys.Options{CreateMaster: true})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Trust("caller", caller.PublicKey()); err != nil {
		t.Fatal(err)
	}
	w := &town{t: t, clock: &clock{at: time.Now()}, ring: ring, caller: caller, http: agency.NewHTTP(64)}
	if w.Sandbox, err = New(cfg, Deps{DB: db, Keys: ring, Now: w.clock.Now, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.Handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	t.Cleanup(w.http.CloseIdleConnections)
	return w
}

// scenario is a change of config that uses a scenario of the test.
func scenario(t *testing.T, text string) func(*Config) {
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Scenario = path }
}

func naturally(c *Config) { c.Speed = 1 }

// client returns a client of one agency, which believes that agency alone.
func (w *town) client(name string) *agency.Client {
	pub, err := w.ring.Public(KeyName(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return &agency.Client{Base: w.url + Prefix + name, HTTP: w.http, Signer: w.caller, Now: w.clock.Now, KeyOf: only(pub)}
}

func only(pub *gm.PublicKey) func(string) (*gm.PublicKey, error) {
	return func(id string) (*gm.PublicKey, error) {
		if id != gm.KeyID(pub) {
			return nil, errUnknownKey
		}
		return pub, nil
	}
}

func request(id, callback string) agency.Request {
	return agency.Request{RequestID: id, Case: "c1", Matter: "open-enterprise", Step: "s", Callback: callback,
		Form: json.RawMessage(`{"enterprise":{"name":"琼海䶮𠮷贸易有限公司","employees":3},"other":{"x":[1]},
			"person":{"name":"样例·䶮𠮷","idType":"resident","id":"900000195001010004"},"qualification":{"profession":"港口理货员","level":"senior"}}`),
		Earlier: map[string]json.RawMessage{"registration": json.RawMessage(`{"creditCode":"x"}`)}}
}

// want fails unless the outcome came.
func (w *town) want(o agency.Outcome) func(agency.Answer, error) agency.Answer {
	w.t.Helper()
	return func(a agency.Answer, err error) agency.Answer {
		w.t.Helper()
		if err != nil || a.Outcome != o {
			w.t.Fatalf("want %s, got %+v, %v", o, a, err)
		}
		return a
	}
}

// untilPending waits until an agency has a request that is not ready yet, and returns what it says of it.
func (w *town) untilPending(name, resource, id string) agency.Answer {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		a, err := w.client(name).Query(w.t.Context(), resource, id)
		switch {
		case err == nil && a.Outcome == agency.Pending:
			return a
		case err != nil || time.Now().After(deadline):
			w.t.Fatalf("it never came: %+v, %v", a, err)
		}
	}
}

// wantLedger fails unless the ledger adds up so, with nothing twice.
func (w *town) wantLedger(done, undone int64) {
	w.t.Helper()
	sum, err := w.Check(context.Background())
	if err != nil || sum != (Summary{Done: done, Undone: undone}) {
		w.t.Errorf("the ledger says %+v, %v; want %d done, %d undone", sum, err, done, undone)
	}
}

func TestAtOnce(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		w := build(t, db)
		c, ctx := w.client("market"), t.Context()
		w.want(agency.Unseen)(c.Query(ctx, "registrations", "r1"))
		a := w.want(agency.Done)(c.Do(ctx, "registrations", request("r1", "")))
		var issued struct {
			Fake           bool
			CreditCode     string
			EnterpriseName string
		}
		if err := json.Unmarshal(a.Output, &issued); err != nil || !issued.Fake || issued.EnterpriseName != "琼海䶮𠮷贸易有限公司" {
			t.Errorf("issued %+v, %v", issued, err)
		}
		if err := label.CreditCode(issued.CreditCode); err != nil || !label.IsFake(issued.CreditCode) {
			t.Errorf("%v: the credit code must be well formed and fake", err)
		}
		for _, again := range []agency.Answer{
			w.want(agency.Done)(c.Query(ctx, "registrations", "r1")),
			w.want(agency.Done)(c.Do(ctx, "registrations", request("r1", "http://elsewhere.test/"))),
		} {
			if string(again.Output) != string(a.Output) {
				t.Errorf("asked again, it says %s, not %s", again.Output, a.Output)
			}
		}
		w.wantLedger(1, 0)
		changed := request("r1", "")
		changed.Case = "c2"
		if _, err := c.Do(ctx, "registrations", changed); !isCode(err, "agency.changed") {
			t.Errorf("the same id with other contents: %v", err)
		}
	})
}

func TestEveryAgencyKeepsToItsDocument(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	for _, a := range w.Agencies() {
		if len(a.Resources) == 0 || a.Title.ZH == "" || a.Title.EN == "" || a.KeyID == "" {
			t.Errorf("%+v is incomplete", a)
		}
		resp, err := http.Get(w.url + Prefix + a.Name + "/openapi.yaml")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.Status, err)
		}
		doc, err := openapi3.NewLoader().LoadFromData(text)
		if err != nil {
			t.Fatal(err)
		}
		schema := doc.Components.Schemas["Answer"].Value
		for _, r := range a.Resources {
			c := w.client(a.Name)
			if _, err := c.Do(t.Context(), r.Name, request("r1", "")); err != nil {
				t.Fatal(err)
			}
			answer := w.want(agency.Done)(c.Query(t.Context(), r.Name, "r1"))
			text, _ := json.Marshal(answer)
			var v any
			_ = json.Unmarshal(text, &v)
			if err := schema.VisitJSON(v); err != nil {
				t.Errorf("%s answers outside of its document: %v", a.Name, err)
			}
			if fields := len(v.(map[string]any)["output"].(map[string]any)); fields < 2 {
				t.Errorf("%s issues nothing", a.Name)
			}
			for name := range v.(map[string]any)["output"].(map[string]any) {
				if doc.Components.Schemas["Output"].Value.Properties[name] == nil && name != "fake" {
					t.Errorf("%s issues %s, which its document lacks", a.Name, name)
				}
			}
		}
	}
	w.wantLedger(7, 0)
}

func TestRefusal(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	c := w.client("market")
	r := request("r1", "")
	r.Form = json.RawMessage(`{"enterprise":{"name":"已占用公司"}}`)
	a := w.want(agency.Refused)(c.Do(t.Context(), "registrations", r))
	if a.Code != "name-taken" || a.Reason.ZH == "" || a.Reason.EN == "" {
		t.Errorf("refused with %+v", a)
	}
	w.want(agency.Refused)(c.Query(t.Context(), "registrations", "r1"))
	w.want(agency.Done)(c.Undo(t.Context(), "registrations", "r1")) // nothing of it is left
	w.wantLedger(0, 0)
}

func TestPoll(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), naturally)
	c, ctx := w.client("tax"), t.Context()
	first := w.want(agency.Pending)(c.Do(ctx, "invoice-accounts", request("r1", "")))
	if first.PollAfter <= 0 {
		t.Errorf("it does not say when to ask again: %+v", first)
	}
	w.clock.add(first.PollAfter.Duration() - time.Millisecond)
	w.want(agency.Pending)(c.Query(ctx, "invoice-accounts", "r1"))
	w.clock.add(time.Millisecond)
	w.want(agency.Done)(c.Query(ctx, "invoice-accounts", "r1"))
	w.want(agency.Done)(c.Do(ctx, "invoice-accounts", request("r1", "")))
	w.wantLedger(1, 0)
}

func TestUndo(t *testing.T) {
	type step struct {
		op   string // do, query, undo, later
		want agency.Outcome
	}
	for name, test := range map[string]struct {
		agency, resource string
		steps            []step
		done, undone     int64
	}{
		"before the do": {"hr", "insurance-accounts", []step{{op: "undo", want: agency.Done}, {op: "do", want: agency.Refused}, {op: "query", want: agency.Refused}}, 0, 0},
		"after the do": {"hr", "insurance-accounts", []step{{op: "do", want: agency.Done}, {op: "undo", want: agency.Done}, {op: "undo", want: agency.Done},
			{op: "do", want: agency.Refused}, {op: "query", want: agency.Refused}}, 0, 1},
		"irrevocable":         {"market", "registrations", []step{{op: "do", want: agency.Done}, {op: "undo", want: agency.Refused}, {op: "undo", want: agency.Refused}, {op: "query", want: agency.Done}}, 1, 0},
		"while it is pending": {"fund", "deposit-accounts", []step{{op: "do", want: agency.Pending}, {op: "undo", want: agency.Done}, {op: "later"}, {op: "query", want: agency.Refused}}, 0, 1},
		"once it is ready":    {"fund", "deposit-accounts", []step{{op: "do", want: agency.Pending}, {op: "later"}, {op: "undo", want: agency.Done}}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
				w := build(t, db)
				for i, s := range test.steps {
					c, ctx := w.client(test.agency), t.Context()
					var a agency.Answer
					var err error
					switch s.op {
					case "do":
						a, err = c.Do(ctx, test.resource, request("r1", ""))
					case "query":
						a, err = c.Query(ctx, test.resource, "r1")
					case "undo":
						a, err = c.Undo(ctx, test.resource, "r1")
					case "later":
						w.clock.add(time.Minute)
						continue
					}
					if err != nil || a.Outcome != s.want {
						t.Fatalf("step %d, %s: %+v, %v; want %s", i+1, s.op, a, err, s.want)
					}
					if a.Outcome == agency.Refused && s.op != "undo" && a.Code != "undone" {
						t.Errorf("step %d is refused as %s", i+1, a.Code)
					}
				}
				w.wantLedger(test.done, test.undone)
			})
		})
	}
}

// A pending request of an irrevocable resource can be withdrawn; a done one cannot.
func TestIrrevocableOnlyOnceReady(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), naturally, scenario(t, `
agencies:
  market:
    registrations: {mode: poll, latency: {median: 1ms, sigma: 0}, revocable: false, output: {}}
`))
	c, ctx := w.client("market"), t.Context()
	w.want(agency.Pending)(c.Do(ctx, "registrations", request("r1", "")))
	w.want(agency.Pending)(c.Do(ctx, "registrations", request("r2", "")))
	key := key{"market", "registrations", "r1"}
	if err := w.store.undo(ctx, key, false, w.clock.Now().UnixMilli()); err != nil {
		t.Errorf("withdrawn while pending: %v", err)
	}
	w.clock.add(time.Second)
	if a := w.want(agency.Refused)(c.Undo(ctx, "registrations", "r2")); a.Code != "irrevocable" {
		t.Errorf("refused as %s", a.Code)
	}
	w.wantLedger(1, 1)
}

func TestParallelDuplicates(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		w := build(t, db)
		if err := w.SetFault("hr", Fault{Kind: Duplicate}); err != nil {
			t.Fatal(err)
		}
		outputs := make([]string, 64)
		var wg sync.WaitGroup
		for i := range outputs {
			wg.Go(func() {
				a, err := w.client("hr").Do(context.Background(), "insurance-accounts", request("r1", ""))
				if err != nil {
					t.Error(err)
				}
				outputs[i] = string(a.Output)
			})
		}
		wg.Wait()
		for _, o := range outputs {
			if o == "" || o != outputs[0] {
				t.Fatalf("different answers: %q and %q", o, outputs[0])
			}
		}
		w.wantLedger(1, 0)
		for range 8 { // undone by many at once, too
			wg.Go(func() {
				if a, err := w.client("hr").Undo(context.Background(), "insurance-accounts", "r1"); err != nil || a.Outcome != agency.Done {
					t.Errorf("%+v, %v", a, err)
				}
			})
		}
		wg.Wait()
		w.wantLedger(0, 1)
	})
}

// Do and undo race: whichever wins, nothing stays that was undone.
func TestUndoRacesDo(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		w := build(t, db)
		var wg sync.WaitGroup
		for i := range 32 {
			id := fmt.Sprintf("r%d", i)
			for _, ask := range []func(c *agency.Client) (agency.Answer, error){
				func(c *agency.Client) (agency.Answer, error) {
					return c.Do(context.Background(), "insurance-accounts", request(id, ""))
				},
				func(c *agency.Client) (agency.Answer, error) {
					return c.Undo(context.Background(), "insurance-accounts", id)
				},
			} {
				wg.Go(func() {
					if _, err := ask(w.client("hr")); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		sum, err := w.Check(t.Context())
		if err != nil || sum.Done != 0 || sum.Doubles != 0 {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sandbox.db")
	open := func() sqldb.DB {
		db, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	before := build(t, db)
	first := before.want(agency.Done)(before.client("market").Do(t.Context(), "registrations", request("r1", "")))
	before.want(agency.Done)(before.client("hr").Undo(t.Context(), "insurance-accounts", "r2"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	defer db.Close()
	after := build(t, db)
	again := after.want(agency.Done)(after.client("market").Query(t.Context(), "registrations", "r1"))
	if string(again.Output) != string(first.Output) {
		t.Errorf("after the restart it says %s, not %s", again.Output, first.Output)
	}
	after.want(agency.Refused)(after.client("hr").Do(t.Context(), "insurance-accounts", request("r2", "")))
	after.want(agency.Done)(after.client("hr").Do(t.Context(), "insurance-accounts", request("r3", "")))
	after.wantLedger(2, 0)
	effects, err := after.Ledger(t.Context(), 0, 10)
	if err != nil || len(effects) != 2 || effects[0].RequestID != "r1" || effects[1].RequestID != "r3" || effects[0].ID >= effects[1].ID {
		t.Errorf("the ledger holds %+v, %v", effects, err)
	}
}

func TestReset(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		w := build(t, db)
		c, ctx := w.client("hr"), t.Context()
		first := w.want(agency.Done)(c.Do(ctx, "insurance-accounts", request("r1", "")))
		w.want(agency.Done)(c.Undo(ctx, "insurance-accounts", "r1"))
		if err := w.SetFault("hr", Fault{Kind: Down}); err != nil {
			t.Fatal(err)
		}
		if err := w.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		w.wantLedger(0, 0)
		w.want(agency.Unseen)(c.Query(ctx, "insurance-accounts", "r1"))
		again := w.want(agency.Done)(c.Do(ctx, "insurance-accounts", request("r1", "")))
		if string(again.Output) != string(first.Output) {
			t.Error("the same request gets another number after a reset")
		}
	})
}

// The same seed gives the same, whatever the order; another seed gives something else.
func TestDeterminism(t *testing.T) {
	const n = 20
	run := func(seed uint64, backwards bool) map[string]string {
		w := build(t, sqldbtest.SQLite(t), naturally, func(c *Config) { c.Seed = seed })
		got := map[string]string{}
		for i := range n {
			if backwards {
				i = n - 1 - i
			}
			id := fmt.Sprintf("r%d", i)
			a := w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request(id, "")))
			w.clock.add(time.Minute)
			d := w.want(agency.Done)(w.client("fund").Query(t.Context(), "deposit-accounts", id))
			got[id] = fmt.Sprint(a.PollAfter, string(d.Output))
		}
		return got
	}
	one, two, other := run(7, false), run(7, true), run(8, false)
	same := 0
	for id := range one {
		if one[id] != two[id] {
			t.Errorf("%s: %s, then %s", id, one[id], two[id])
		}
		if one[id] == other[id] {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d requests do not depend on the seed", same)
	}
}
