package ledger

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
)

const origin = "hainan-trade"

var start = beijing.Time(1_780_000_000_000)

func open(t testing.TB, db sqldb.DB) *Ledger {
	t.Helper()
	if err := db.Migrate(t.Context(), "tlog", tlog.Tables()); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "ledger", Tables()); err != nil {
		t.Fatal(err)
	}
	l, err := Open(t.Context(), db, origin)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func key(t testing.TB) (*gm.PrivateKey, string) {
	t.Helper()
	k, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k, string(k.PublicKey().PEM())
}

// operator is a policy of one operator with return vouchers, and its gateway's key.
func operator(t testing.TB) (*Policy, crypto.Signer) {
	t.Helper()
	k, pem := key(t)
	return &Policy{Version: 1, Gateways: []Gateway{{"house", pem}}, Needs: []string{"house"},
		Types: []Type{
			{Type: "trade.order/1", Facts: map[string]rule.Kind{"order": rule.Key, "amount": rule.Int, "at": rule.Time}},
			{Type: "trade.return/1", Needs: []string{"customs", "forex", "tax"}, Facts: map[string]rule.Kind{"order": rule.Key, "amount": rule.Int, "at": rule.Time}},
		},
		Rules: []rule.Rule{{Name: "return-voucher", Version: 1, For: "trade.return/1",
			Lookups: map[string]rule.Lookup{"order": {Type: "trade.order/1", By: "order"}, "earlier": {Type: "trade.return/1", By: "order"}},
			Clauses: []rule.Clause{
				{Name: "order-exists", Holds: "order != null", Title: title("订单存在", "the order exists")},
				{Name: "amount-within-order", Holds: "facts.amount <= order.amount", Title: title("金额不超过订单", "no more than the order")},
				{Name: "not-returned-before", Holds: "earlier == null", Title: title("未曾退货", "not returned before")},
				{Name: "within-term", Holds: "facts.at - order.at <= duration('720h')", Title: title("在期限内", "within the term")},
			}}},
	}, k
}

// line is a ledger under test that is led by hand.
type line struct {
	*Ledger
	t      testing.TB
	key    crypto.Signer
	height int64
}

func begin(t testing.TB, l *Ledger, p *Policy, key crypto.Signer) *line {
	t.Helper()
	state, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Begin(t.Context(), &council.Genesis{Chain: origin, State: state}); err != nil {
		t.Fatal(err)
	}
	return &line{Ledger: l, t: t, key: key}
}

// block leads the ledger through one block and returns its hash.
func (l *line) block(txs ...[]byte) []byte {
	l.t.Helper()
	l.height++
	applied, err := l.Apply(l.t.Context(), council.Block{Height: l.height, Time: start.Time().Add(time.Duration(l.height) * time.Second), Txs: txs})
	if err == nil {
		err = l.Commit(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return applied.Hash
}

func (l *line) batch(records ...Submission) []byte {
	l.t.Helper()
	tx, err := NewBatch("house", l.key, Batch{records})
	if err != nil {
		l.t.Fatal(err)
	}
	return tx
}

func trade(id, typ, order string, amount int, day int) Submission {
	at := beijing.At(start.Time().AddDate(0, 0, day))
	return Submission{ID: id, Type: typ, Commitment: receipt.Commit([]byte(id)), Time: start,
		Facts: fmt.Appendf(nil, `{"order":%q,"amount":%d,"at":%q}`, FactKey([]byte("secret"), order), amount, at)}
}

func (l *line) verdict(id string) string {
	l.t.Helper()
	_, data, err := l.Log().Find(l.t.Context(), id)
	if err != nil {
		return "absent"
	}
	r, err := receipt.ParseRecord(data)
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Rule == nil {
		return "none"
	}
	return string(r.Rule.Outcome) + " " + r.Rule.Clause
}

func TestReturnVouchersAreJudgedByWhatWasRecordedBefore(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		p, k := operator(t)
		l := begin(t, open(t, db), p, k)
		l.block(l.batch(trade("o-1", "trade.order/1", "A", 100, 0)))
		l.block(l.batch(
			trade("r-1", "trade.return/1", "A", 200, 1), trade("r-2", "trade.return/1", "A", 100, 1),
			trade("r-3", "trade.return/1", "A", 10, 2), trade("r-4", "trade.return/1", "B", 10, 2),
			trade("o-2", "trade.order/1", "B", 100, 0), trade("r-5", "trade.return/1", "B", 10, 31)))
		for id, want := range map[string]string{"o-1": "none", "r-1": "failed amount-within-order", "r-2": "passed ",
			"r-3": "failed not-returned-before", "r-4": "failed order-exists", "r-5": "failed within-term"} {
			if got := l.verdict(id); got != want {
				t.Errorf("%s: %q, want %q", id, got, want)
			}
		}
		l.block(l.batch(trade("r-6", "trade.return/1", "B", 10, 30)))
		if got := l.verdict("r-6"); got != "passed " { // r-4 and r-5 failed, so the order was not returned
			t.Errorf("r-6: %q", got)
		}
	})
}

func TestARecordIsOrderedOnce(t *testing.T) {
	db := sqldbtest.SQLite(t)
	p, k := operator(t)
	l := begin(t, open(t, db), p, k)
	tx := l.batch(trade("o-1", "trade.order/1", "A", 100, 0), trade("o-1", "trade.order/1", "A", 900, 0))
	first := l.block(tx, tx)
	if size := l.Log().Last().Size; size != 1 {
		t.Fatalf("%d records, want 1", size)
	}
	if again := l.block(tx); !bytes.Equal(first, again) {
		t.Error("a block that brings nothing new has changed the hash")
	}
	if empty := l.block(); !bytes.Equal(first, empty) {
		t.Error("an empty block has changed the hash")
	}
}

func TestCheckRefusesAndApplyBears(t *testing.T) {
	db := sqldbtest.SQLite(t)
	p, k := operator(t)
	l := begin(t, open(t, db), p, k)
	stranger, _ := key(t)
	good := l.batch(trade("o-1", "trade.order/1", "A", 1, 0))
	forged, err := NewBatch("house", stranger, Batch{[]Submission{trade("o-2", "trade.order/1", "A", 1, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(good, []byte(`"o-1"`), []byte(`"o-7"`), 1)
	own := trade("o-3", "evidence.policy/1", "A", 1, 0)
	own.Facts = nil
	loose := trade("o-4", "trade.order/1", "A", 1, 0)
	loose.Facts = []byte(`{"order":"x"}`)
	bad := map[string][]byte{"forged": forged, "changed": changed, "the ledger's own type": l.batch(own), "wrong facts": l.batch(loose),
		"empty": nil, "no JSON": []byte("qiong-tx/v1 records house AAAA\nx"), "no records": l.batch(), "half": good[:len(good)-1]}
	before := l.block()
	for what, tx := range bad {
		if err := l.Check(t.Context(), tx); errs.As(err) == nil {
			t.Errorf("%s: Check says %v", what, err)
		}
		if after := l.block(tx); !bytes.Equal(before, after) {
			t.Errorf("%s: it has changed the state", what)
		}
	}
	if err := l.Check(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// A block that is applied and not committed leaves nothing, and may be applied again.
func TestWhatIsNotCommittedIsNotThere(t *testing.T) {
	db := sqldbtest.SQLite(t)
	p, k := operator(t)
	l := begin(t, open(t, db), p, k)
	l.block(l.batch(trade("o-1", "trade.order/1", "A", 100, 0)))
	b := council.Block{Height: 2, Time: start.Time(), Txs: [][]byte{l.batch(trade("r-1", "trade.return/1", "A", 100, 0))}}
	first, err := l.Apply(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, db)
	height, _, err := again.Last(t.Context())
	if err != nil || height != 1 {
		t.Fatalf("height %d, %v", height, err)
	}
	second, err := again.Apply(t.Context(), b)
	if err != nil || !bytes.Equal(first.Hash, second.Hash) {
		t.Errorf("the same block leads to another hash: %v", err)
	}
	if err := again.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, hash, _ := open(t, db).Last(t.Context()); !bytes.Equal(hash, first.Hash) {
		t.Error("what is committed has another hash than was applied")
	}
}

func TestANewPolicyNeedsItsSignatures(t *testing.T) {
	db := sqldbtest.SQLite(t)
	p, k := operator(t)
	l := begin(t, open(t, db), p, k)
	next := *p
	next.Version, next.Needs = 2, []string{"house", "witness"}
	stranger, _ := key(t)
	change := func(p *Policy, name string, key crypto.Signer) []byte {
		sig, err := SignPolicy(p, key)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := NewPolicyChange(p, map[string][]byte{name: sig})
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	skipped := next
	skipped.Version = 3
	for what, tx := range map[string][]byte{"a stranger's": change(&next, "house", stranger), "nobody's": change(&next, "tax", k), "too new": change(&skipped, "house", k)} {
		if err := l.Check(t.Context(), tx); err == nil {
			t.Errorf("%s policy is approved", what)
		}
		l.block(tx)
	}
	l.block(change(&next, "house", k))
	if got := open(t, db).Policy(); got.Version != 2 || len(got.Needs) != 2 {
		t.Fatalf("in force: %+v", got)
	}
	if l.verdict("policy-2") != "none" {
		t.Error("the change is not on record")
	}
}

func TestExportAndImport(t *testing.T) {
	p, k := operator(t)
	l := begin(t, open(t, sqldbtest.SQLite(t)), p, k)
	for i := range 30 {
		l.block(l.batch(trade(fmt.Sprintf("o-%d", i), "trade.order/1", fmt.Sprint(i), 100, 0), trade(fmt.Sprintf("r-%d", i), "trade.return/1", fmt.Sprint(i-1), 100, 0)))
	}
	stream := exported(t, l.Ledger)
	db := sqldbtest.SQLite(t)
	other := open(t, db)
	for what, bytes := range map[string][]byte{
		"cut":           stream[:len(stream)*2/3],
		"another entry": bytes.Replace(stream, []byte(`id o-3\n`), []byte(`id o-03\n`), 1),
		"another fact":  bytes.Replace(stream, []byte(`"amount":100`), []byte(`"amount":101`), 1),
		"a fact failed": bytes.Replace(stream, []byte(`"failed":true`), []byte(`"failed":false`), 1),
		"too much":      append(bytes.Clone(stream), stream...),
		"nothing":       nil,
	} {
		if string(bytes) == string(stream) {
			t.Errorf("%s: nothing was changed", what)
		}
		if err := other.Import(t.Context(), bytesReader(bytes)); errs.As(err) == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := other.Import(t.Context(), bytesReader(stream)); err != nil {
		t.Fatal(err)
	}
	h1, hash1, _ := l.Last(t.Context())
	h2, hash2, _ := open(t, db).Last(t.Context())
	if h1 != h2 || !bytes.Equal(hash1, hash2) {
		t.Fatalf("height %d and %d", h1, h2)
	}
	b := council.Block{Height: h1 + 1, Time: start.Time(), Txs: [][]byte{l.batch(trade("r-x", "trade.return/1", "29", 100, 0))}}
	x, err := l.Apply(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	y, err := other.Apply(t.Context(), b)
	if err != nil || !bytes.Equal(x.Hash, y.Hash) {
		t.Errorf("the next block leads to different states: %v", err)
	}
}

// exported is all of a ledger's parts.
func exported(t *testing.T, l *Ledger) (stream []byte) {
	t.Helper()
	head, parts, err := l.Export(t.Context())
	for i := 0; i < parts && err == nil; i++ {
		var part []byte
		part, err = l.Part(t.Context(), head, i)
		stream = append(stream, part...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func FuzzTransaction(f *testing.F) {
	p, k := operator(f)
	db := sqldbtest.SQLite(f)
	l := begin(f, open(f, db), p, k)
	f.Add(l.batch(trade("o-1", "trade.order/1", "A", 1, 0)))
	f.Add([]byte("qiong-tx/v1 policy house AAAA\n{}"))
	f.Fuzz(func(t *testing.T, tx []byte) {
		if err := l.Check(t.Context(), tx); err == nil && !bytes.Contains(tx, []byte(`"o-1"`)) {
			t.Error("a made-up transaction was believed")
		}
	})
}

func title(zh, en string) lang.Text { return lang.T(zh, en) }

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }
