package evidence_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence"
)

// memoryChain stands in for a main chain: it keeps what is written, and names it by its place.
type memoryChain struct {
	mu    sync.Mutex
	notes []string
	away  bool
}

func (c *memoryChain) Anchor(_ context.Context, n *receipt.Note) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return "", errs.New(errs.Unavailable, "主链不可用", "the chain is away")
	}
	text, err := n.Marshal()
	if err != nil {
		return "", err
	}
	at := slices.Index(c.notes, string(text))
	if at < 0 {
		at, c.notes = len(c.notes), append(c.notes, string(text))
	}
	return fmt.Sprintf("block-%d", at), nil
}

func withChain(c evidence.Chain) func(*qiongtest.Options) {
	return func(o *qiongtest.Options) {
		o.Services = []*qiong.Service{deskService(), evidence.NewWithChains(map[string]evidence.Chain{"main": c})}
	}
}

func (l *lab) anchorings() (v struct{ Items []evidence.AnchoringView }) {
	l.t.Helper()
	l.must("GET", "/api/evidence/anchorings", nil, &v)
	return v
}

func TestCheckpointsAreAnchoredOutward(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var posted []string
	overHTTP := &memoryChain{}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/notes" {
			posted = append(posted, string(body))
			fmt.Fprintf(w, "kept\nas %d", len(posted))
			return
		}
		var v struct {
			Origin, Root, Note string
			Size               uint64
		}
		if err := json.Unmarshal(body, &v); err != nil || v.Origin != "qiong-local" || v.Size == 0 || v.Root == "" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		n, err := receipt.ParseNote([]byte(v.Note))
		if err != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		found, _ := overHTTP.Anchor(r.Context(), n)
		fmt.Fprintf(w, `{"found":%q}`, found)
	}))
	t.Cleanup(outside.Close)
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "anchors")
	targets := []string{"file:" + folder, "file:" + file, outside.URL + "/notes", "chain+" + outside.URL + "/chain", "chain:main"}
	chain := &memoryChain{}
	l := open(t, "", map[string]string{"evidence.publish": strings.Join(targets, ","), "evidence.publish-every": "1s"}, withChain(chain))
	l.put("form-1")
	eventually(t, "an anchoring at each target", func() bool {
		all := l.anchorings().Items
		return len(all) == 5 && !slices.ContainsFunc(all, func(v evidence.AnchoringView) bool { return !v.Done || v.Size != 1 })
	})
	l.put("form-2")
	var now struct{ Items []evidence.AnchoringView }
	l.must("POST", "/api/evidence/publish", nil, &now)
	for i, v := range now.Items {
		if v.Target != targets[i] || !v.Done || v.Size != 2 || v.Root != l.status().Root {
			t.Errorf("%+v", v)
		}
	}
	if a := now.Items; a[2].Answer != "kept as 2" || a[3].Answer != "block-1" || a[4].Answer != "block-1" {
		t.Errorf("%+v", a)
	}
	note, err := os.ReadFile(filepath.Join(folder, "00000000000000000002.checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := receipt.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.trust().Verify(n); err != nil {
		t.Error(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for size := uint64(1); lines.Scan(); size++ {
		var v struct {
			Size uint64
			Note string
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil || v.Size != size {
			t.Errorf("%+v, %v", v, err)
		}
	}
	if _, public := l.anon("GET", "/api/evidence/status", nil); strings.Contains(public, folder) {
		t.Error("anyone sees where this house anchors")
	}
	var before struct{ Items []evidence.AnchoringView }
	l.must("GET", "/api/evidence/anchorings?target=chain:main", nil, &before)
	if len(before.Items) != 2 || before.Items[1].Size != 1 {
		t.Errorf("%+v", before.Items)
	}
}

// A target that is away holds up nothing, is shown, and has the newest checkpoint when it is back.
func TestATargetThatIsAway(t *testing.T) {
	t.Parallel()
	qiongtest.Databases(t, func(t *testing.T, database string) {
		chain := &memoryChain{away: true}
		l := open(t, "", map[string]string{"house.database": database, "evidence.publish": "chain:main", "evidence.publish-every": "1s"}, withChain(chain))
		l.put("form-1")
		l.reaches("complete", "form-1")
		eventually(t, "tries", func() bool { a := l.anchorings().Items; return len(a) == 1 && a[0].Tried >= 2 && !a[0].Done })
		contains(t, l.anchorings().Items[0].Answer, "the chain is away")
		l.put("form-2")
		chain.mu.Lock()
		chain.away = false
		chain.mu.Unlock()
		eventually(t, "the anchoring", func() bool { a := l.anchorings().Items; return a[0].Done && a[0].Size == 2 })
		if len(chain.notes) != 1 {
			t.Errorf("%d notes", len(chain.notes))
		}
	})
}

func TestTargetsAreHeldToTheirForm(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"file:", "ftp://host", "chain:other", "moon+http://host", "http://", "nonsense", "http://user:secret@host/"} {
		err := openErr(t, t.TempDir()+"/data", map[string]string{"evidence.publish": bad})
		wantErr(t, err, errs.Invalid, "", "evidence.publish")
	}
	l := open(t, "", nil)
	wantErr(t, l.do(l.operator, "POST", "/api/evidence/publish", nil, nil), errs.Conflict, "", "evidence.publish")
	if err := l.do(l.As("agency", auth.Agency), "POST", "/api/evidence/publish", nil, nil); errs.KindOf(err) != errs.Forbidden {
		t.Error(err)
	}
}

// One house witnesses the log of another, whose receipts then bear its signature too. Where the log is set back, the
// witness refuses, and the house names it.
func TestAnotherHouseWitnesses(t *testing.T) {
	t.Parallel()
	first := open(t, "", map[string]string{"evidence.origin": "first.example", "evidence.name": "first"})
	keys := filepath.Join(t.TempDir(), "first.pem")
	if err := os.WriteFile(keys, first.trust().Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{"evidence.origin": "second.example", "evidence.name": "second", "evidence.witness": keys}
	second := open(t, "", set)
	code, text := second.anon("GET", "/evidence/witness/keys.pem", nil)
	if code != 200 {
		t.Fatal(code, text)
	}
	witnesses := filepath.Join(t.TempDir(), "witnesses.pem")
	if err := os.WriteFile(witnesses, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, text, "Role: witness", "Origin: first.example", "Name: second")
	first.Stop()
	first = open(t, first.data, map[string]string{"evidence.origin": "first.example", "evidence.name": "first",
		"evidence.trust": witnesses, "evidence.publish": "house+" + second.URL, "evidence.publish-every": "1h"})
	first.put("form-1")
	var now struct{ Items []evidence.AnchoringView }
	first.must("POST", "/api/evidence/publish", nil, &now)
	if len(now.Items) != 1 || !now.Items[0].Done || !strings.HasPrefix(now.Items[0].Answer, "second ") {
		t.Fatalf("%+v", now.Items)
	}
	v, err := first.record("form-1")
	if err != nil {
		t.Fatal(err)
	}
	result := verify(t, first.trust(), []byte(v.Receipt), nil)
	if len(result.Cosignatures) != 2 || result.Cosignatures[1].Role != receipt.Witness {
		t.Errorf("%+v", result.Cosignatures)
	}

	second.Stop() // and goes on with what it remembers
	second = open(t, second.data, set)
	first.Stop()
	rewrite(t, first.data, func(tx *sqldb.Tx) error {
		var all []error
		for _, table := range []string{"log_entry", "log_tile", "log_checkpoint", "log_cosignature", "ledger_state", "ledger_policy", "act", "anchoring"} {
			_, err := tx.Exec(t.Context(), "DELETE FROM "+table)
			all = append(all, err)
		}
		return errors.Join(all...)
	})
	first = open(t, first.data, map[string]string{"evidence.origin": "first.example", "evidence.name": "first",
		"evidence.trust": witnesses, "evidence.publish": "house+" + second.URL, "evidence.publish-every": "1h"})
	first.put("form-2")
	first.must("POST", "/api/evidence/publish", nil, &now)
	if len(now.Items) != 1 || now.Items[0].Done || !strings.Contains(now.Items[0].Answer, "another root") && !strings.Contains(now.Items[0].Answer, "continue") {
		t.Errorf("%+v", now.Items)
	}
}

// A witness that has lost its memory is none.
func TestAWitnessMayNotForget(t *testing.T) {
	t.Parallel()
	keys := someTrust(t)
	set := map[string]string{"evidence.witness": keys}
	l := open(t, "", set)
	l.Stop()
	if err := os.RemoveAll(filepath.Join(l.data, "evidence", "witness")); err != nil {
		t.Fatal(err)
	}
	if err := openErr(t, l.data, set); errs.As(err).Code != "log.forgot" {
		t.Errorf("got %v", err)
	}
}
