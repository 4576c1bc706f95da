package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/bus/bustest"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

type told struct {
	N int `json:"n"`
}

// road is a producer and a consumer, each with its own database.
type road struct {
	t        *testing.T
	from, to sqldb.DB
	bus      bus.Bus
	ahead    atomic.Int64 // milliseconds by which the clock has been moved
	fail     atomic.Pointer[error]
	attempts int
	rows     outbox.Rows // of "peek", where it is set
	box      *outbox.Box

	mu   sync.Mutex
	got  map[string][]int // key → numbers, in the order they were handled
	news chan struct{}
}

func newRoad(t *testing.T, from, to sqldb.DB, b bus.Bus) *road {
	for _, db := range []sqldb.DB{from, to} {
		if err := db.Migrate(t.Context(), "outbox", outbox.Tables()); err != nil {
			t.Fatal(err)
		}
	}
	return &road{t: t, from: from, to: to, bus: b, got: map[string][]int{}, news: make(chan struct{}, 1), attempts: 1000}
}

func (r *road) now() time.Time {
	return time.Now().Add(time.Duration(r.ahead.Load()) * time.Millisecond)
}

// start runs both ends until stop is called.
func (r *road) start() (stop func()) {
	r.t.Helper()
	box, err := outbox.Open(r.t.Context(), outbox.Options{Producer: "shop", DB: r.from, Bus: r.bus, Now: r.now,
		Log: slog.New(slog.DiscardHandler), Initial: 5 * time.Millisecond, Max: 20 * time.Millisecond, Attempts: r.attempts})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := box.Subscribe(r.t.Context(), "sold", "stock", true); err != nil {
		r.t.Fatal(err)
	}
	if err := box.Subscribe(r.t.Context(), "peek", "stock", false); err != nil {
		r.t.Fatal(err)
	}
	r.box = box
	in := &outbox.Inbox{Consumer: "stock", DB: r.to, Bus: r.bus, Now: r.now, Log: slog.New(slog.DiscardHandler),
		Handle: map[string]outbox.Handler{"sold": r.handle, "peek": r.handle}, Clearance: label.L2}
	if r.rows != nil {
		in.Rows = map[string]outbox.Rows{"peek": r.rows}
		delete(in.Handle, "peek")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{box.Run, in.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				r.t.Error(err)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (r *road) handle(_ context.Context, tx *sqldb.Tx, m outbox.Message) error {
	var d told
	if err := m.Data(&d); err != nil {
		return err
	}
	if e := r.fail.Load(); e != nil {
		return *e
	}
	tx.OnCommit(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[m.Key] = append(r.got[m.Key], d.N)
		select {
		case r.news <- struct{}{}:
		default:
		}
	})
	return nil
}

func (r *road) tell(event, key string, n int) {
	r.t.Helper()
	r.tellGraded(event, key, "L2", n)
}

func (r *road) tellGraded(event, key, grade string, n int) {
	r.t.Helper()
	err := r.from.Write(context.Background(), sqldb.Durable, func(tx *sqldb.Tx) error {
		return r.box.Publish(context.Background(), tx, outbox.Event{Type: event, Key: key, Grade: grade, Data: told{n}})
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *road) handled() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range r.got {
		n += len(list)
	}
	return n
}

func (r *road) until(n int) {
	r.t.Helper()
	deadline := time.After(60 * time.Second)
	for r.handled() < n {
		select {
		case <-r.news:
		case <-deadline:
			r.t.Fatalf("%d of %d messages were handled", r.handled(), n)
		}
	}
}

// open counts the deliveries that are not acknowledged.
func (r *road) open() int64 {
	n, err := sqldb.Value[int64](context.Background(), r.from, "SELECT count(*) FROM local_delivery WHERE status < 2")
	if err != nil {
		r.t.Error(err)
	}
	return n
}

func (r *road) settled() {
	r.t.Helper()
	eventually(r.t, func() bool { return r.open() == 0 })
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never came to that")
		}
	}
}

// Whatever the bus does and however often both ends are stopped, each message is handled once, in the order of its key.
func TestExactlyOnceInOrderOverAFaultyBus(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, to sqldb.DB) {
		from := sqldbtest.SQLite(t)
		if to.Dialect() == sqldb.Postgres {
			from = sqldbtest.Postgres(t)
		}
		r := newRoad(t, from, to, bustest.NewFaulty(bus.NewLocal(), 3, 0.2, 0.2, 0.2))
		stop := r.start()
		const keys, each = 12, 20
		for round := range each {
			var wg sync.WaitGroup
			for k := range keys {
				wg.Go(func() { r.tell("sold", fmt.Sprint("key", k), round) })
			}
			wg.Wait()
			if round%7 == 6 {
				stop()
				stop = r.start()
			}
		}
		r.until(keys * each)
		r.settled()
		stop()
		for key, list := range r.got {
			for i, n := range list {
				if n != i {
					t.Fatalf("%s: %v", key, list)
				}
			}
		}
		if n := r.handled(); n != keys*each {
			t.Errorf("%d messages were handled, want %d", n, keys*each)
		}
	})
}

// On PostgreSQL a transaction that began first, with the smaller message id, may commit last.
func TestALateCommitIsNotSkipped(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		if db.Dialect() == sqldb.SQLite {
			return // one writer: ids are committed in their order
		}
		r := newRoad(t, db, sqldbtest.Postgres(t), bus.NewLocal())
		defer r.start()()
		written, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			err := db.Write(context.Background(), sqldb.Durable, func(tx *sqldb.Tx) error {
				err := r.box.Publish(context.Background(), tx, outbox.Event{Type: "sold", Key: "early", Grade: "L1", Data: told{1}})
				close(written)
				<-release
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}()
		<-written
		r.tell("sold", "later", 2)
		r.until(1)
		r.settled()
		close(release)
		<-done
		r.until(2)
	})
}

func TestDeadLettersBlockTheirKeyUntilRequeued(t *testing.T) {
	r := newRoad(t, sqldbtest.SQLite(t), sqldbtest.SQLite(t), bus.NewLocal())
	r.attempts = 3
	trouble := errors.New("trouble that may pass")
	r.fail.Store(&trouble)
	defer r.start()()
	r.tell("sold", "a", 1)
	r.tell("sold", "a", 2)
	r.tell("peek", "b", 1) // its dead letters do not block
	r.tell("peek", "b", 2)
	dead := func() []outbox.Dead {
		list, err := r.box.ListDead(context.Background(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	eventually(t, func() bool { return len(dead()) == 3 })
	for _, d := range dead() {
		if d.Reason != "internal" || d.Attempts != 3 || d.Consumer != "stock" {
			t.Errorf("dead letter %+v", d)
		}
	}
	if n := r.open(); n != 1 { // a/2 waits behind a/1
		t.Errorf("%d deliveries are open", n)
	}
	r.fail.Store(nil)
	if n, err := r.box.Requeue(t.Context(), "stock", dead()[0].Message); n != 1 || err != nil {
		t.Errorf("requeue of one: %d, %v", n, err)
	}
	if n, err := r.box.Requeue(t.Context(), "", 0); n != 2 || err != nil {
		t.Errorf("requeue of all: %d, %v", n, err)
	}
	r.until(4)
	if got := r.got["a"]; len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("a: %v", got)
	}
}

func TestWhatStaysWrongIsDeadAtOnce(t *testing.T) {
	r := newRoad(t, sqldbtest.SQLite(t), sqldbtest.SQLite(t), bus.NewLocal())
	var wrong error = errs.New(errs.Invalid, "坏", "bad")
	r.fail.Store(&wrong)
	defer r.start()()
	r.tell("sold", "a", 1)
	eventually(t, func() bool {
		list, err := r.box.ListDead(context.Background(), 0, 10)
		return err == nil && len(list) == 1 && list[0].Reason == "invalid" && list[0].Attempts < 100
	})
}

func TestWhatIsOldAndAcknowledgedIsDeleted(t *testing.T) {
	r := newRoad(t, sqldbtest.SQLite(t), sqldbtest.SQLite(t), bus.NewLocal())
	defer r.start()()
	r.tell("sold", "a", 1)
	r.until(1)
	r.settled()
	wrong := error(errs.New(errs.Invalid, "坏", "bad"))
	r.fail.Store(&wrong)
	r.tell("sold", "b", 1)
	eventually(t, func() bool { return r.box.Stats().Dead == 1 })
	r.ahead.Add((8 * 24 * time.Hour).Milliseconds())
	if err := r.box.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := sqldb.Value[string](t.Context(), r.from, "SELECT msg_key FROM local_message")
	if err != nil || left != "b" {
		t.Errorf("left: %q, %v: what is dead must stay, what was acknowledged must go", left, err)
	}
}

func TestAMessageWithoutConsumerIsKeptAndHarmless(t *testing.T) {
	r := newRoad(t, sqldbtest.SQLite(t), sqldbtest.SQLite(t), bus.NewLocal())
	defer r.start()()
	r.tell("nobody cares", "a", 1)
	rows, _, err := r.box.First(outbox.Event{Type: "sold", Key: "new", Grade: "L1", Data: told{7}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.from.Append(t.Context(), rows...); err != nil { // the hook is not called: polling finds it
		t.Fatal(err)
	}
	r.until(1)
	if n, _ := sqldb.Value[int64](t.Context(), r.from, "SELECT count(*) FROM local_message"); n != 2 {
		t.Errorf("%d messages", n)
	}
	if _, _, err := r.box.First(outbox.Event{Type: "sold", Key: "x", Grade: "L1", Data: func() {}}); err == nil {
		t.Error("data that is not JSON was taken")
	}
}

var intoSale = sqldb.NewInto("sale", "msg_key", "n")

// Messages that only come to rows are handled many at a time, and still each once, in order, whatever the bus does.
func TestRowsAreInsertedOnceInOrder(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		r := newRoad(t, sqldbtest.SQLite(t), db, bustest.NewFaulty(bus.NewLocal(), 1, 0.2, 0.2, 0.2))
		ctx := t.Context()
		serial := "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
		if db.Dialect() == sqldb.SQLite {
			serial = "INTEGER PRIMARY KEY"
		}
		if err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "CREATE TABLE sale (id "+serial+", msg_key TEXT NOT NULL, n BIGINT NOT NULL)")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var committed atomic.Int64
		r.rows = func(_ context.Context, m outbox.Message) ([]sqldb.Insert, func(), error) {
			var d told
			if err := m.Data(&d); err != nil {
				return nil, nil, err
			}
			if d.N == 13 {
				return nil, nil, errs.New(errs.Invalid, "不要", "not wanted")
			}
			return []sqldb.Insert{intoSale.Row(m.Key, d.N)}, func() { committed.Add(1) }, nil
		}
		stop := r.start()
		defer stop()
		const keys, each = 5, 60
		for n := range each {
			for k := range keys {
				r.tell("peek", fmt.Sprint("k", k), n)
			}
		}
		want := int64(keys * (each - 1)) // 13 is refused for good, and does not hold up the others
		for deadline := time.Now().Add(30 * time.Second); committed.Load() < want; {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d rows came", committed.Load(), want)
			}
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		for k := range keys {
			got, err := sqldb.All(ctx, db, func(s sqldb.Scanner) (n int64, err error) { return n, s.Scan(&n) },
				"SELECT n FROM sale WHERE msg_key = $1 ORDER BY id", fmt.Sprint("k", k))
			if err != nil || len(got) != each-1 {
				t.Fatalf("k%d: %d rows, %v", k, len(got), err)
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Fatalf("k%d: %d after %d", k, got[i], got[i-1])
				}
			}
		}
	})
}
