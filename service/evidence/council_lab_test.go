package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// The fake council orders whatever it is given at once. Each of its nodes keeps a log of its own and signs it, unless a
// test has it do otherwise.

const fakeOrigin = "council.example"

var agencies = []string{"clearing", "customs", "forex", "tax"}

type fakeCouncil struct {
	t     testing.TB
	nodes []*fakeNode
	trust string // file

	mu      sync.Mutex
	ordered []tlog.Entry
	known   map[string]bool
	bad     string // id that no node will have
	txs     int
}

type fakeNode struct {
	c      *fakeCouncil
	name   string
	signer *receipt.Signer
	server *httptest.Server
	log    *tlog.Log
	db     sqldb.DB

	mu     sync.Mutex
	down   bool
	away   bool // does not follow what is ordered
	lies   bool // signs a wrong root
	forges bool // serves wrong entries
	refuse bool // says that everything is invalid
	drops  bool // takes and forgets
}

func key(t testing.TB, name string) *gm.PrivateKey {
	t.Helper()
	scalar := gm.SM3([]byte("qiong test key, not secret: " + name))
	k, err := gm.NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCouncil(t testing.TB) *fakeCouncil {
	t.Helper()
	c := &fakeCouncil{t: t, known: map[string]bool{}, trust: filepath.Join(t.TempDir(), "trust.pem")}
	var keys []receipt.Key
	for _, name := range agencies {
		n := &fakeNode{c: c, name: name}
		n.reset()
		var err error
		if n.signer, err = receipt.NewSigner(name, key(t, name)); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, receipt.Key{Name: name, Origin: fakeOrigin, Role: receipt.Agency, Public: key(t, name).PublicKey()})
		n.server = httptest.NewServer(http.HandlerFunc(n.serve))
		t.Cleanup(n.server.Close)
		t.Cleanup(n.server.CloseClientConnections) // first: some wait for notes
		c.nodes = append(c.nodes, n)
	}
	c.believe(keys)
	return c
}

func (c *fakeCouncil) believe(keys []receipt.Key) {
	trust, err := receipt.NewTrust(keys)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.trust, trust.Marshal(), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func someTrust(t testing.TB) string {
	c := newCouncil(t)
	keys, err := receipt.NewTrust([]receipt.Key{{Name: "tax", Origin: "qiong-local", Role: receipt.Agency, Public: key(t, "tax").PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	c.believe(keys.Keys())
	return c.trust
}

// open opens a house that is a gateway of the council.
func (c *fakeCouncil) open(data string, set ...string) *lab {
	c.t.Helper()
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.server.URL)
	}
	all := map[string]string{"evidence.nodes": strings.Join(urls, ","), "evidence.trust": c.trust, "evidence.origin": fakeOrigin, "evidence.gather": "1ms"}
	for i := 0; i+1 < len(set); i += 2 {
		all[set[i]] = set[i+1]
	}
	return open(c.t, data, all)
}

// reset gives the node an empty log.
func (n *fakeNode) reset() {
	db, err := sqlite.Open(filepath.Join(n.c.t.TempDir(), "node.db"))
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.c.t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(context.Background(), "tlog", tlog.Tables()); err != nil {
		n.c.t.Fatal(err)
	}
	log, err := tlog.Open(context.Background(), db, fakeOrigin)
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.log, n.db = log, db
}

// set changes how the node behaves, and has it catch up where it may.
func (n *fakeNode) set(f func(n *fakeNode)) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.mu.Lock()
	f(n)
	n.mu.Unlock()
	n.follow()
}

// follow appends what was ordered and signs where that led. The caller holds the council.
func (n *fakeNode) follow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := int(n.log.Last().Size)
	if n.down || n.away || at >= len(n.c.ordered) {
		return
	}
	if _, err := n.log.Append(context.Background(), time.Now(), n.c.ordered[at:], nil); err != nil {
		n.c.t.Error(err)
		return
	}
	n.sign()
}

// sign cosigns the newest checkpoint; one that lies signs another root, and shows it.
func (n *fakeNode) sign() {
	c := n.log.Last()
	if n.lies {
		c.Root = merkle.LeafHash([]byte("lie"))
		if _, err := n.db.Exec(context.Background(), sqldb.Durable, "UPDATE log_checkpoint SET root = $1 WHERE size = $2", c.Root[:], int64(c.Size)); err != nil {
			n.c.t.Error(err)
		}
	}
	s, err := n.signer.Cosign(c, time.Now())
	if err == nil {
		err = n.db.Write(context.Background(), sqldb.Durable, func(tx *sqldb.Tx) error { return n.log.Cosigned(context.Background(), tx, c.Size, s) })
	}
	if err != nil {
		n.c.t.Error(err)
	}
}

func (n *fakeNode) serve(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	down, forges, log := n.down, n.forges, n.log
	n.mu.Unlock()
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case r.URL.Path == "/submit":
		n.submit(w, r)
	case r.URL.Path == "/status":
		fmt.Fprintf(w, `{"turn":%q}`, "forex")
	case forges && strings.HasPrefix(r.URL.Path, "/tile/entries/"):
		rec := httptest.NewRecorder()
		log.Handler(nil).ServeHTTP(rec, r)
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte("desk."), []byte("disk.")))
	default:
		if r.URL.Path == "/notes" { // so that a test need not wait for long polls
			q := r.URL.Query()
			q.Set("wait", "1")
			r.URL.RawQuery = q.Encode()
		}
		log.Handler(nil).ServeHTTP(w, r)
	}
}

func (n *fakeNode) submit(w http.ResponseWriter, r *http.Request) {
	tx, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	n.mu.Lock()
	refuse, drops := n.refuse, n.drops
	n.mu.Unlock()
	_, body, _ := bytes.Cut(tx, []byte("\n"))
	var b ledger.Batch
	if err := json.Unmarshal(body, &b); err != nil || refuse {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"detail":"no"}`)
		return
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.c.bad != "" && slices.ContainsFunc(b.Records, func(s ledger.Submission) bool { return s.ID == n.c.bad }) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":"records[0]: not as agreed"}`)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	if n.c.txs++; !drops {
		n.c.order(b.Records...)
	}
}

// order puts records into the log of every node that follows. The caller holds the council.
func (c *fakeCouncil) order(records ...ledger.Submission) {
	for _, s := range records {
		if c.known[s.ID] {
			continue
		}
		c.known[s.ID] = true
		r := receipt.Record{ID: s.ID, Type: s.Type, Commitment: s.Commitment, Time: s.Time, Needs: agencies[:3], Batch: s.Batch}
		data, err := r.Marshal()
		if err != nil {
			c.t.Error(err)
			return
		}
		c.ordered = append(c.ordered, tlog.Entry{ID: s.ID, Data: data})
	}
	for _, n := range c.nodes {
		n.follow()
	}
}

// by has another gateway put records into the log.
func (c *fakeCouncil) by(records ...ledger.Submission) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order(records...)
}

// rewrite changes the database of a house that is not running.
func rewrite(t *testing.T, data string, f func(tx *sqldb.Tx) error) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(data, "db", "evidence.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), sqldb.Durable, f); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
