package evidence_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// submission is what another gateway puts.
func submission(id string) ledger.Submission {
	return ledger.Submission{ID: id, Type: "desk.form.filed/1", Commitment: merkle.LeafHash([]byte(id)), Time: beijing.At(time.Now())}
}

func (l *lab) reaches(state, id string) (v evidence.RecordView) {
	l.t.Helper()
	eventually(l.t, id+" "+state, func() bool {
		var err error
		v, err = l.record(id)
		return err == nil && v.State == state
	})
	return v
}

func (l *lab) put(ids ...string) {
	l.t.Helper()
	var all []map[string]any
	for _, id := range ids {
		r, _ := newRecord(id)
		all = append(all, r)
	}
	l.must("POST", "/api/evidence/records", put(all...), nil)
}

func (l *lab) metric(line string) bool {
	_, text := l.anon("GET", "/metrics", nil)
	return strings.Contains(text, line)
}

func TestACouncilOrders(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	l := c.open("")
	for i := range 10 {
		l.stamp("paper", fmt.Sprint(i))
	}
	for _, p := range l.complete("paper", 10) {
		if r := verify(t, l.trust(), p.Receipt, p.Original); r.Quorum.Have < 3 {
			t.Errorf("%+v", r.Quorum)
		}
	}
	eventually(t, "whose turn it is", func() bool {
		s := l.status()
		return s.Mode == "council" && s.Problem == "" && len(s.Signers) == 4 && s.Signers[2].Turn && *s.Signers[2].Up
	})
	duplicates(t, l)
}

func TestOnlyAQuorumIsBelieved(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	for _, n := range c.nodes[2:] {
		n.set(func(n *fakeNode) { n.away = true })
	}
	l := c.open("")
	l.put("form-1")
	eventually(t, "two signatures", func() bool { return c.nodes[0].log.Last().Size == 1 && c.nodes[1].log.Last().Size == 1 })
	eventually(t, "answers of all", func() bool { return l.status().Problem == "" })
	if s := l.status(); s.Size != 0 || s.Waiting != 1 {
		t.Errorf("two of four were believed: %+v", s)
	}
	c.nodes[2].set(func(n *fakeNode) { n.away = false })
	v := l.reaches("complete", "form-1")
	if !slices.Equal(v.Signed, agencies[:3]) {
		t.Errorf("%+v", v)
	}
}

// A witness orders nothing: its signature counts for no quorum, however much its key is trusted.
func TestAWitnessIsNoAgency(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	watch, err := receipt.NewSigner("watch", key(t, "watch"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.trust)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := receipt.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	c.believe(append(trust.Keys(), receipt.Key{Name: "watch", Origin: fakeOrigin, Role: receipt.Witness, Public: key(t, "watch").PublicKey()}))
	c.nodes[2].set(func(n *fakeNode) { n.away = true })
	c.nodes[3].set(func(n *fakeNode) { n.signer = watch })
	l := c.open("")
	l.put("form-1")
	eventually(t, "three signatures", func() bool {
		for _, i := range []int{0, 1, 3} {
			if c.nodes[i].log.Last().Size != 1 {
				return false
			}
		}
		return true
	})
	eventually(t, "answers of all", func() bool { return l.status().Problem == "" })
	if s := l.status(); s.Size != 0 || len(s.Signers) != 5 || s.Signers[4].Role != receipt.Witness {
		t.Errorf("two agencies and a witness were believed: %+v", s)
	}
	c.nodes[2].set(func(n *fakeNode) { n.away = false })
	l.reaches("complete", "form-1")
}

func TestALateAgencyCompletesOlderReceipts(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.nodes[1].set(func(n *fakeNode) { n.down = true })
	l := c.open("")
	l.put("form-1")
	v := l.reaches("provisional", "form-1")
	if !slices.Equal(v.Owed, []string{"customs"}) {
		t.Errorf("%+v", v)
	}
	l.put("form-2")
	l.reaches("provisional", "form-2")
	eventually(t, "the silent agency is shown", func() bool { s := l.status().Signers[1]; return !*s.Up && s.Name == "customs" })
	c.nodes[1].set(func(n *fakeNode) { n.down = false }) // it signs the newest alone
	l.reaches("complete", "form-1")
	l.reaches("complete", "form-2")
	eventually(t, "the owed metric", func() bool { return l.metric(`qiong_evidence_owed_records{name="customs"} 0`) })
}

func TestWhoSignsAWrongRootIsNamed(t *testing.T) {
	t.Parallel()
	qiongtest.Databases(t, func(t *testing.T, database string) {
		c := newCouncil(t)
		c.nodes[3].set(func(n *fakeNode) { n.lies = true })
		l := c.open("", "house.database", database)
		l.put("form-1")
		l.reaches("complete", "form-1")
		eventually(t, "the contradiction", func() bool { return len(l.status().Contradictions) == 1 })
		x := l.status().Contradictions[0]
		note, err := receipt.ParseNote([]byte(x.Note))
		if err != nil || x.Name != "tax" || x.Size != 1 || note.Checkpoint.Root != merkle.LeafHash([]byte("lie")) {
			t.Errorf("%+v, %v", x, err)
		}
		if _, err := l.trust().VerifySignature(note.Checkpoint, note.Signatures[0]); err != nil {
			t.Errorf("what is kept proves nothing: %v", err)
		}
		eventually(t, "the metric", func() bool { return l.metric(`qiong_evidence_wrong_roots_total{name="tax"} 1`) })
		l.put("form-2")
		l.reaches("complete", "form-2")
		eventually(t, "the second", func() bool { return len(l.status().Contradictions) == 2 })
	})
}

// Three that lie together, each of its own, are no quorum.
func TestLiesAreNeverBelieved(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.nodes[3].set(func(n *fakeNode) { n.lies = true })
	c.nodes[0].set(func(n *fakeNode) { n.down = true })
	l := c.open("")
	l.put("form-1")
	eventually(t, "it was ordered", func() bool { return c.nodes[3].log.Last().Size == 1 })
	c.nodes[2].set(func(*fakeNode) {})
	eventually(t, "all that are up were heard", func() bool { s := l.status(); return *s.Signers[1].Up && *s.Signers[2].Up && *s.Signers[3].Up })
	if s := l.status(); s.Size != 0 {
		t.Errorf("%+v", s)
	}
	c.nodes[0].set(func(n *fakeNode) { n.down = false })
	l.reaches("complete", "form-1")
	eventually(t, "the contradiction", func() bool { return len(l.status().Contradictions) == 1 })
}

func TestWrongEntriesArePassedOver(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	for _, n := range c.nodes[:3] {
		n.set(func(n *fakeNode) { n.forges = true })
	}
	l := c.open("")
	l.put("form-1")
	v := l.reaches("complete", "form-1")
	if v.Type != "desk.form.filed/1" {
		t.Errorf("%+v", v)
	}
	for _, n := range c.nodes[3:] {
		n.set(func(n *fakeNode) { n.forges = true })
	}
	l.put("form-2")
	eventually(t, "it was ordered", func() bool { return c.nodes[3].log.Last().Size == 2 })
	c.nodes[2].set(func(n *fakeNode) { n.forges = false })
	l.reaches("complete", "form-2")
}

func TestActsWaitWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	for _, n := range c.nodes {
		n.set(func(n *fakeNode) { n.down = true })
	}
	l := c.open("")
	l.stamp("paper", "note")
	l.put("form-1")
	eventually(t, "they wait", func() bool { s := l.status(); return s.Waiting == 2 && s.Problem != "" })
	l.Stop()
	l = c.open(l.data)
	for _, n := range c.nodes {
		n.set(func(n *fakeNode) { n.down = false })
	}
	l.complete("paper", 1)
	l.reaches("complete", "form-1")
	if s := l.status(); s.Size != 2 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestABadRecordDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.bad = "form-7"
	c.nodes[3].set(func(n *fakeNode) { n.down = true })
	l := c.open("")
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("form-%d", i))
	}
	l.put(ids...)
	for _, id := range ids {
		if id != c.bad {
			l.reaches("complete", id)
		}
	}
	v := l.reaches("refused", c.bad)
	contains(t, v.Reason, "not as agreed")
	if code, text := l.anon("GET", "/api/evidence/form-7/receipt", nil); code != 409 {
		t.Errorf("%d %s", code, text)
	}
	var page struct{ Items []evidence.RecordView }
	l.must("GET", "/api/evidence/records?limit=50", nil, &page)
	if !slices.ContainsFunc(page.Items, func(r evidence.RecordView) bool { return r.ID == c.bad && r.State == "refused" && r.Reason != "" }) {
		t.Error("the list does not show it")
	}
}

// What one node says alone puts no record aside.
func TestOneNodeAloneRefusesNothing(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	for _, n := range c.nodes[1:] {
		n.set(func(n *fakeNode) { n.down = true })
	}
	c.nodes[0].set(func(n *fakeNode) { n.refuse = true })
	l := c.open("")
	l.put("form-1")
	eventually(t, "the first node answers", func() bool { return *l.status().Signers[3].Up == false })
	for _, n := range c.nodes[1:] {
		n.set(func(n *fakeNode) { n.down = false })
	}
	l.reaches("complete", "form-1")
}

// A node that takes and forgets is asked no second time before the others were.
func TestWhatIsForgottenIsSentAgain(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.nodes[0].set(func(n *fakeNode) { n.drops = true })
	l := c.open("")
	l.put("form-1")
	l.reaches("complete", "form-1")
}

func TestAnIdOfAnotherGatewayIsTold(t *testing.T) {
	t.Parallel()
	qiongtest.Databases(t, func(t *testing.T, database string) {
		c := newCouncil(t)
		for _, n := range c.nodes {
			n.set(func(n *fakeNode) { n.down = true })
		}
		l := c.open("", "house.database", database)
		l.put("form-1", "form-2")
		c.by(submission("form-1")) // another commitment under the same id
		for _, n := range c.nodes {
			n.set(func(n *fakeNode) { n.down = false })
		}
		l.reaches("complete", "form-2")
		eventually(t, "the conflict is shown", func() bool {
			var page struct{ Items []evidence.RecordView }
			l.must("GET", "/api/evidence/records", nil, &page)
			return slices.ContainsFunc(page.Items, func(r evidence.RecordView) bool { return r.ID == "form-1" && r.State == "refused" })
		})
		r, _ := newRecord("form-1")
		wantErr(t, l.do(l.operator, "POST", "/api/evidence/records", put(r), nil), errs.Conflict, evidence.CodeTaken, "records[0].id")
	})
}

// A house that was away reads what it has missed, in steps, also where a node has signed only the newest checkpoint.
func TestAHouseThatWasAwayCatchesUp(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	c.nodes[2].set(func(n *fakeNode) { n.away = true })
	c.nodes[3].set(func(n *fakeNode) { n.away = true })
	l := c.open("")
	l.put("form-1")
	for i := range 30 {
		var more []ledger.Submission
		for k := range 200 {
			more = append(more, submission(fmt.Sprintf("other-%d-%d", i, k)))
		}
		c.by(more...)
	}
	if s := l.status(); s.Size != 0 {
		t.Fatalf("%+v", s)
	}
	c.nodes[2].set(func(n *fakeNode) { n.away = false }) // it signs the newest checkpoint alone
	l.reaches("complete", "form-1")
	eventually(t, "all entries", func() bool { return int(l.status().Size) == len(c.ordered) })
	l.Stop()
	c.by(submission("other-last"))
	l = c.open(l.data)
	eventually(t, "what was missed", func() bool { return int(l.status().Size) == len(c.ordered) })
	c.nodes[3].set(func(n *fakeNode) { n.away = false })
	eventually(t, "the last agency", func() bool { return int(l.status().Signers[3].Size) == len(c.ordered) })
	if len(l.status().Contradictions) > 0 {
		t.Error("an honest agency was accused")
	}
}

// A node that has lost its log, and shows less than it had signed, is named, and heard again when it has caught up.
func TestANodeThatShrankIsNamed(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	l := c.open("")
	l.put("form-1")
	l.reaches("complete", "form-1")
	l.put("form-2")
	l.reaches("complete", "form-2")
	eventually(t, "all have signed", func() bool { return l.status().Signers[3].Size == 2 })
	c.mu.Lock()
	all := c.ordered
	c.ordered = all[:1]
	c.mu.Unlock()
	c.nodes[3].set(func(n *fakeNode) { n.reset() })
	eventually(t, "the problem is shown", func() bool { s := l.status().Signers[3]; return !*s.Up && s.Problem != "" })
	c.mu.Lock()
	c.ordered = all
	c.mu.Unlock()
	c.nodes[3].set(func(*fakeNode) {})
	eventually(t, "it is heard again", func() bool { return *l.status().Signers[3].Up })
}

// Where the house's own database was rewritten, that is what is named, and nothing more is put behind it.
func TestARewrittenHouseIsNamed(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	l := c.open("")
	l.put("form-1")
	l.reaches("complete", "form-1")
	l.Stop()
	false1 := merkle.LeafHash([]byte("rewritten"))
	rewrite(t, l.data, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(t.Context(), "UPDATE log_tile SET hashes = $1", false1[:]); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), "UPDATE log_checkpoint SET root = $1", false1[:])
		return err
	})
	c.by(submission("other-1"))
	l = c.open(l.data)
	eventually(t, "the finding", func() bool { return strings.Contains(l.status().Problem, "rewritten") })
	if s := l.status(); s.Size != 1 || len(s.Contradictions) != 0 {
		t.Errorf("%+v", s)
	}
}

// An agency replaces its key: the file of keys is read again while the house runs.
func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	l := c.open("")
	l.put("form-1")
	l.reaches("complete", "form-1")
	next, err := receipt.NewSigner("customs", key(t, "customs 2"))
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[1].set(func(n *fakeNode) { n.signer = next })
	l.put("form-2")
	l.reaches("provisional", "form-2")
	now := beijing.At(time.Now())
	var keys []receipt.Key
	for _, k := range l.trust().Keys() {
		keys = append(keys, k)
	}
	keys = append(keys, receipt.Key{Name: "customs", Origin: fakeOrigin, Role: receipt.Agency, From: now - 60_000, Public: key(t, "customs 2").PublicKey()})
	c.believe(keys)
	l.reaches("complete", "form-2")
	if !bytes.Contains(l.trust().Marshal(), []byte("From: ")) {
		t.Error("the house serves the former keys")
	}
}
