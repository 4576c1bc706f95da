package sandbox

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// inbox is a real server that takes callbacks and answers each with the next status.
type inbox struct {
	url string
	got chan agency.Callback
}

func openInbox(t *testing.T, w *town, name string, statuses ...int) *inbox {
	in := &inbox{got: make(chan agency.Callback, 64)}
	pub, err := w.ring.Public(KeyName(name))
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan int, len(statuses))
	for _, s := range statuses {
		next <- s
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c, err := agency.VerifyCallback(r, body, only(pub), w.clock.Now())
		if err != nil {
			t.Errorf("the callback does not verify: %v", err)
		}
		select {
		case s := <-next:
			rw.WriteHeader(s)
		default:
		}
		in.got <- c
	}))
	t.Cleanup(server.Close)
	in.url = server.URL + "/api/callbacks"
	return in
}

func (in *inbox) next(t *testing.T) agency.Callback {
	t.Helper()
	select {
	case c := <-in.got:
		return c
	case <-time.After(20 * time.Second):
		t.Fatal("no callback came")
		panic("unreachable")
	}
}

// run runs the sandbox until the returned function is called.
func (w *town) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

func TestCallback(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		w := build(t, db, naturally)
		in := openInbox(t, w, "fund")
		defer w.run()()
		c, ctx := w.client("fund"), t.Context()
		a := w.want(agency.Pending)(c.Do(ctx, "deposit-accounts", request("r1", in.url)))
		w.clock.add(a.PollAfter.Duration())
		w.notify()
		called := in.next(t)
		asked := w.want(agency.Done)(c.Query(ctx, "deposit-accounts", "r1"))
		if called.RequestID != "r1" || called.Outcome != agency.Done || string(called.Output) != string(asked.Output) {
			t.Errorf("the callback says %+v, the answer %+v", called.Answer, asked)
		}
		w.wantLedger(1, 0)
	})
}

// A callback comes again until it is taken.
func TestCallbackIsRepeated(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	in := openInbox(t, w, "fund", 503, 401)
	defer w.run()()
	w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request("r1", in.url)))
	for attempt := range 2 {
		in.next(t)
		w.until(func(owed []entry) bool { return len(owed) == 1 && owed[0].attempts == int64(attempt)+1 })
		w.clock.add(maxBackoff)
		w.notify()
	}
	in.next(t)
	w.until(nothing)
}

// until waits until what is owed is as it should be.
func (w *town) until(ok func(owed []entry) bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		owed, err := w.store.owed(context.Background(), 100)
		if err != nil {
			w.t.Fatal(err)
		}
		if ok(owed) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("owed is %+v", owed)
		}
	}
}

func nothing(owed []entry) bool { return len(owed) == 0 }

func TestCallbackIsGivenUp(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t), func(c *Config) { c.CallbackAttempts = 2 })
	in := openInbox(t, w, "fund", 500, 500, 500)
	defer w.run()()
	w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request("r1", in.url)))
	in.next(t)
	w.until(func(owed []entry) bool { return len(owed) == 1 && owed[0].attempts == 1 })
	w.clock.add(maxBackoff)
	w.notify()
	in.next(t)
	w.until(nothing)
	w.want(agency.Done)(w.client("fund").Query(t.Context(), "deposit-accounts", "r1")) // the caller can still ask
}

func TestDuplicateCallback(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	in := openInbox(t, w, "fund")
	defer w.run()()
	if err := w.SetFault("fund", Fault{Kind: Duplicate, Next: 1}); err != nil {
		t.Fatal(err)
	}
	w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request("r1", in.url)))
	one, two := in.next(t), in.next(t)
	if string(one.Output) != string(two.Output) || one.Signed.Nonce == two.Signed.Nonce {
		t.Errorf("the copies are %+v and %+v", one, two)
	}
	w.wantLedger(1, 0)
}

// What is owed when the process ends is delivered by the next; what was undone is not.
func TestCallbackAfterRestart(t *testing.T) {
	db := sqldbtest.SQLite(t)
	w := build(t, db)
	in := openInbox(t, w, "fund")
	for _, id := range []string{"r1", "r2"} {
		w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request(id, in.url)))
	}
	w.want(agency.Done)(w.client("fund").Undo(t.Context(), "deposit-accounts", "r1"))
	w.until(func(owed []entry) bool { return len(owed) == 1 })

	again := *w
	var err error
	if again.Sandbox, err = New(w.cfg, w.deps); err != nil {
		t.Fatal(err)
	}
	defer again.run()()
	if c := in.next(t); c.RequestID != "r2" {
		t.Errorf("called back for %s", c.RequestID)
	}
	w.until(nothing)
	w.wantLedger(1, 1)
}

// While an agency is down it calls nobody, and that counts as no attempt.
func TestNoCallbackWhileDown(t *testing.T) {
	w := build(t, sqldbtest.SQLite(t))
	in := openInbox(t, w, "fund")
	w.want(agency.Pending)(w.client("fund").Do(t.Context(), "deposit-accounts", request("r1", in.url)))
	if err := w.SetFault("fund", Fault{Kind: Down}); err != nil {
		t.Fatal(err)
	}
	k := key{"fund", "deposit-accounts", "r1"}
	w.deliver(t.Context(), k)
	e, _, err := find(t.Context(), w.store.db, k)
	if err != nil || e.attempts != 0 || e.nextAt <= w.clock.Now().UnixMilli() || len(in.got) != 0 {
		t.Fatalf("%+v, %v, %d callbacks", e, err, len(in.got))
	}
	if err := w.Clear("fund"); err != nil {
		t.Fatal(err)
	}
	w.clock.add(pausedRetry)
	w.deliver(t.Context(), k)
	in.next(t)
	w.until(nothing)
}
