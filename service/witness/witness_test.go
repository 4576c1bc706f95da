package witness_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/witness"
)

// machine is a house with a witness, and its key ring.
type machine struct {
	*qiongtest.House
	name, data, database string
	ring                 *keys.Ring
	told                 chan string // acts that the witness published
}

// machines returns houses a, b and w that trust each other; a and b are replicas.
func machines(t *testing.T, onPostgres bool) map[string]*machine {
	all := map[string]*machine{}
	for _, name := range []string{"a", "b", "w"} {
		m := &machine{name: name, data: filepath.Join(t.TempDir(), name), told: make(chan string, 10)}
		if onPostgres {
			m.database = qiongtest.Database(t)
		}
		ring, err := keys.Open(filepath.Join(m.data, "keys"), keys.Options{CreateMaster: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Signer(lease.OwnKey); err != nil {
			t.Fatal(err)
		}
		m.ring, all[name] = ring, m
	}
	for _, m := range all {
		for _, other := range all {
			pub, err := other.ring.Public(lease.OwnKey)
			if err != nil {
				t.Fatal(err)
			}
			if m != other {
				if err := m.ring.Trust(lease.OwnKey+"."+other.name, pub); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, m := range all {
		m.start(t)
	}
	return all
}

func (m *machine) start(t *testing.T) {
	t.Helper()
	m.House = qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{witness.Service, m.listener()}, Data: m.data, Database: m.database,
		Set: map[string]string{"witness.name": m.name, "witness.replicas": "a,b", "witness.leases": "booking/*"}})
}

// listener is a service that hears of promotions.
func (m *machine) listener() *qiong.Service {
	return &qiong.Service{Name: "listener", Doc: lang.T("听者", "hears of promotions"), Needs: qiong.DB, Clearance: label.L2,
		New: func(_ context.Context, h *qiong.Host, _ any) (qiong.Runner, error) {
			h.On("promotions", witness.EventPromoted, false, func(_ context.Context, _ *sqldb.Tx, e outbox.Message) error {
				m.told <- e.Key
				return nil
			})
			return idle{}, nil
		}}
}

type idle struct{}

func (idle) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func voters(all map[string]*machine) (list []string) {
	for _, name := range []string{"a", "b", "w"} {
		list = append(list, name+"="+all[name].URL)
	}
	return list
}

func (m *machine) client(t *testing.T, all map[string]*machine) *lease.Client {
	t.Helper()
	c, err := lease.Connect(m.ring, m.name, voters(all), 3*time.Second, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // only connections
	return c
}

const shard = "booking/wuzhizhou"

func TestTwoServersAndAWitness(t *testing.T) {
	all := machines(t, false)
	a, b := all["a"].client(t, all), all["b"].client(t, all)
	first, err := a.Acquire(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.SetInSync(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TryAcquire(t.Context(), shard); errs.As(err).Code != lease.CodeHeld {
		t.Errorf("while a holds it: %v", err)
	}
	if _, err := a.TryAcquire(t.Context(), "other/lease"); !errs.Is(err, errs.Forbidden) {
		t.Errorf("a lease that is not allowed: %v", err)
	}
	all["w"].Stop() // any one of three may be away
	if err := first.SetInSync(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := first.SetInSync(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
	all["w"].start(t)
	all["a"].Stop()
	if err := first.Release(t.Context()); errs.As(err).Code != lease.CodeQuorum {
		t.Errorf("released, where a is gone and the witness is at another port: %v", err)
	}
	<-first.Lost()
	b = all["b"].client(t, all)
	second, err := b.Acquire(t.Context(), shard)
	if err != nil || second.Epoch() != 2 || !slices.Equal(second.InSync(), []string{"a", "b"}) {
		t.Fatalf("%v", err)
	}
	check(t, all["w"], second)
	if err := second.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// check looks at what the witness shows.
func check(t *testing.T, w *machine, h *lease.Holder) {
	t.Helper()
	operator := w.As("operator", auth.Operator)
	var list struct{ Items []witness.LeaseView }
	if err := operator.Do(t.Context(), client.Request{Method: "GET", Path: "/api/witness/leases"}, &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if l := list.Items[0]; l.Lease != shard || l.Holder != "b" || l.Epoch != h.Epoch() || l.Left == 0 || l.Released || !slices.Equal(l.InSync, h.InSync()) {
		t.Errorf("%+v", l)
	}
	if err := w.As("someone", auth.Applicant).Do(t.Context(), client.Request{Method: "GET", Path: "/api/witness/leases"}, nil); !errs.Is(err, errs.Forbidden) {
		t.Errorf("anybody sees the leases: %v", err)
	}
	var status witness.VoterView
	if err := (&client.Client{URL: w.URL}).Do(t.Context(), client.Request{Method: "GET", Path: "/api/witness/status"}, &status); err != nil || status.Name != "w" || status.Held != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	resp, err := http.Get(w.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, want := range []string{`qiong_witness_requests_total{kind="accept",outcome="ok"}`, "qiong_witness_leases_held 1", "qiong_witness_promotions_total 0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestPromotionByHandIsOnRecord(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) { promotion(t, database != "") })
}

func promotion(t *testing.T, onPostgres bool) {
	all := machines(t, onPostgres)
	a, b := all["a"].client(t, all), all["b"].client(t, all)
	first, err := a.Acquire(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.TryAcquire(t.Context(), shard); errs.As(err).Code != lease.CodeNotInSync {
		t.Fatalf("%v", err)
	}
	const reason = "a 的磁盘已毁，无法恢复"
	if _, _, err := b.Force(t.Context(), shard, reason); err != nil {
		t.Fatal(err)
	}
	second, err := b.Acquire(t.Context(), shard)
	if err != nil || second.Epoch() != 1<<32+1 {
		t.Fatalf("%v", err)
	}
	if err := second.Release(t.Context()); err != nil {
		t.Error(err)
	}
	recorded := 0
	for _, m := range all {
		before := recorded
		var list struct {
			Items []struct {
				Lease, Replica, Reason string
				Epoch                  uint64
				Before                 lease.Register
			}
		}
		if err := m.As("auditor", auth.Auditor).Do(t.Context(), client.Request{Method: "GET", Path: "/api/witness/promotions"}, &list); err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Items {
			recorded++
			if p.Lease != shard || p.Replica != "b" || p.Reason != reason || p.Epoch != 1<<32 || p.Before.Holder != "a" {
				t.Errorf("%s: %+v", m.name, p)
			}
		}
		if recorded > before {
			if key := <-m.told; key != shard {
				t.Errorf("an act was told of %s", key)
			}
		}
	}
	if recorded < 2 {
		t.Errorf("%d of three voters have it on record", recorded)
	}
}

func TestNotConfiguredMeansNobody(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{witness.Service}})
	data := t.TempDir()
	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{CreateMaster: true})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ring.Signer("anybody")
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Trust("lease.w", pub.PublicKey()); err != nil {
		t.Fatal(err)
	}
	c, err := lease.Connect(ring, "a", []string{"w=" + h.URL}, time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(t.Context(), shard); !errs.Is(err, errs.Forbidden) {
		t.Errorf("%v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*witness.Config){
		"name":     func(c *witness.Config) { c.Name = "No Name" },
		"replicas": func(c *witness.Config) { c.Replicas = []string{"a", "a"} },
		"leases":   func(c *witness.Config) { c.Leases = []string{"[x"} },
		"limit":    func(c *witness.Config) { c.Limit = 0 },
	} {
		c := witness.Defaults
		change(&c)
		if err := c.Validate(); !errs.Is(err, errs.Invalid) || errs.As(err).Field != "witness."+name {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := witness.Defaults
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
