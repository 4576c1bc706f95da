package node

import (
	"context"
	"crypto"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// desk is a cosigner of tax over a ledger that is led by hand.
type desk struct {
	*cosigner
	t      *testing.T
	home   *Home
	house  *gm.PrivateKey
	policy *ledger.Policy
	height int64
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	db := sqldbtest.SQLite(t)
	for set, files := range map[string]fs.FS{"tlog": tlog.Tables(), "ledger": ledger.Tables()} {
		if err := db.Migrate(t.Context(), set, files); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ledger.Open(t.Context(), db, "hainan-trade")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, home: newHome(t, "tax")}
	if d.house, err = gm.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	d.policy = &ledger.Policy{Version: 1, Members: []council.Member{{Public: d.home.Public(), Votes: true}}, Needs: []string{"tax"},
		Gateways: []ledger.Gateway{{Name: "house", Key: string(d.house.PublicKey().PEM())}}}
	state, err := d.policy.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Begin(t.Context(), &council.Genesis{Chain: "hainan-trade", State: state}); err != nil {
		t.Fatal(err)
	}
	d.cosigner = &cosigner{agency: "tax", db: db, ledger: l, key: d.home.Signer, behind: func() bool { return false }, say: func(error) {}, log: slog.New(slog.DiscardHandler)}
	return d
}

// block leads the ledger through a block of that age, of one record where there is no other transaction. As in a council
// no two have the same time.
func (d *desk) block(age time.Duration, txs ...[]byte) {
	d.t.Helper()
	d.height++
	if len(txs) == 0 {
		txs = [][]byte{batch(d.t, "house", d.house, "r-"+strconv.FormatInt(d.height, 10))}
	}
	_, err := d.ledger.Apply(d.t.Context(), council.Block{Height: d.height, Time: time.Now().Add(time.Duration(d.height)*time.Millisecond - age), Txs: txs})
	if err == nil {
		err = d.ledger.Commit(d.t.Context())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// cosign does what run does until there is nothing to do, and returns the sizes that are cosigned.
func (d *desk) cosign(behind bool) []int64 {
	d.t.Helper()
	done, err := d.begin(d.t.Context())
	if err == nil {
		_, err = d.catchUp(d.t.Context(), done, behind)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.signed()
}

func (d *desk) signed() []int64 {
	d.t.Helper()
	sizes, err := sqldb.All(d.t.Context(), d.db, func(s sqldb.Scanner) (n int64, err error) { return n, s.Scan(&n) }, "SELECT size FROM log_cosignature ORDER BY size")
	if err != nil {
		d.t.Fatal(err)
	}
	return sizes
}

func TestTheLastHourIsCosignedAndTheNewest(t *testing.T) {
	d := newDesk(t)
	if got := d.cosign(false); len(got) > 0 {
		t.Errorf("cosigned %v of nothing", got)
	}
	d.block(5 * time.Hour)
	d.block(4 * time.Hour)
	if got := d.cosign(true); len(got) > 0 {
		t.Errorf("cosigned %v, while newer ones are known to be", got)
	}
	if got := d.cosign(false); !slices.Equal(got, []int64{2}) {
		t.Errorf("cosigned %v, want the newest", got)
	}
	d.block(3 * time.Hour)
	d.block(30 * time.Minute)
	d.block(0)
	if got := d.cosign(true); !slices.Equal(got, []int64{2, 4, 5}) {
		t.Errorf("cosigned %v, want the last hour's", got)
	}
	for range 2*cosignBatch + 3 {
		d.block(0)
	}
	if got := d.cosign(false); len(got) != 3+2*cosignBatch+3 {
		t.Errorf("cosigned %d", len(got))
	}
}

// The log of a snapshot is written in steps, at which the council never stood.
func TestStepsOfAnImportAreNotCosigned(t *testing.T) {
	d := newDesk(t)
	at := time.Now()
	for _, id := range []string{"a", "b", "c"} {
		if _, err := d.ledger.Log().Append(t.Context(), at, []tlog.Entry{{ID: id, Data: []byte(id)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.cosign(false); !slices.Equal(got, []int64{3}) {
		t.Errorf("cosigned %v, want the last step", got)
	}
}

// The key is the one that the policy in force names; who has no vote signs nothing, and who lacks the key owes it.
func TestThePolicyNamesTheKey(t *testing.T) {
	d := newDesk(t)
	d.block(0)
	old := d.home.Public()
	d.cosign(false)
	fresh, err := d.home.Rotate("")
	if err != nil {
		t.Fatal(err)
	}
	d.replace(func(p *ledger.Policy) { p.Members[0].Public = fresh })
	d.cosign(false)
	for size, want := range map[uint64]string{1: old.Cosigning, 2: fresh.Cosigning} {
		pub, err := gm.ParsePublicKeyPEM([]byte(want))
		if err != nil {
			t.Fatal(err)
		}
		n, err := d.ledger.Log().Note(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		if err := receipt.VerifySignature(pub, n.Checkpoint, n.Signatures[0]); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}

	missing := errs.New(errs.NotFound, "无", "none")
	d.signer, d.key = nil, func(*gm.PublicKey) (crypto.Signer, error) { return nil, missing }
	d.block(0)
	if _, err := d.catchUp(t.Context(), 2, false); !errs.Is(err, errs.NotFound) || len(d.signed()) != 2 {
		t.Errorf("without the key: %v, signed %v", err, d.signed())
	}
	d.key = d.home.Signer
	if got := d.cosign(false); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("with the key again cosigned %v", got)
	}

	ports := newHome(t, "ports").Public()
	d.replace(func(p *ledger.Policy) {
		p.Members = []council.Member{{Public: ports, Votes: true}, {Public: fresh}}
		p.Needs = []string{"ports"}
	})
	if got := d.cosign(false); len(got) != 3 {
		t.Errorf("without a vote cosigned %v", got)
	}
}

// replace brings another policy into force.
func (d *desk) replace(change func(p *ledger.Policy)) {
	d.t.Helper()
	n := next(d.policy)
	change(n)
	pub, err := gm.ParsePublicKeyPEM([]byte(d.policy.Members[0].Cosigning))
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := d.home.Signer(pub)
	if err != nil {
		d.t.Fatal(err)
	}
	sig, err := ledger.SignPolicy(n, key)
	if err != nil {
		d.t.Fatal(err)
	}
	tx, err := ledger.NewPolicyChange(n, map[string][]byte{"tax": sig})
	if err != nil {
		d.t.Fatal(err)
	}
	d.block(0, tx)
	if d.ledger.Policy().Version != n.Version {
		d.t.Fatal("the policy is not in force")
	}
	d.policy = n
}

// A cosigner signs what comes while it runs.
func TestTheCosignerRuns(t *testing.T) {
	d := newDesk(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.run(ctx) }()
	for size := range uint64(3) {
		signed := d.ledger.Log().Signed()
		d.block(0)
		<-signed
		if n, err := d.ledger.Log().Newest(ctx); err != nil || n.Checkpoint.Size != size+1 {
			t.Errorf("the newest note: %v, %v", n, err)
		}
	}
	stop()
	<-ended
}
