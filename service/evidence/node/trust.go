package node

import (
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// overlap is by how much an old key's time and a new one's overlap in a file of keys: agencies' clocks differ from the
// council's by less than a minute, or their nodes stop.
const overlap = time.Minute

// trustOver returns the keys by which the receipts of a council are verified, over all its policies so far, oldest first.
func trustOver(chain string, history []PolicyAt) (*receipt.Trust, error) {
	t := &trusting{chain: chain, open: map[string]*receipt.Key{}}
	for i, h := range history {
		p, err := ledger.ParsePolicy(h.Policy)
		if err != nil {
			return nil, err
		}
		t.end(p, beijing.At(h.At.Time().Add(overlap)))
		from := beijing.Time(0)
		if i > 0 {
			from = beijing.At(h.At.Time().Add(-overlap))
		}
		for _, m := range p.Members {
			if err := t.begin(m, from); err != nil {
				return nil, err
			}
		}
	}
	keys := make([]receipt.Key, len(t.all))
	for i, k := range t.all {
		keys[i] = *k
	}
	return receipt.NewTrust(keys)
}

// trusting collects keys, of which those in open have no end yet.
type trusting struct {
	chain string
	all   []*receipt.Key
	open  map[string]*receipt.Key // by agency
}

// end gives an end to the keys that a policy does not have.
func (t *trusting) end(p *ledger.Policy, at beijing.Time) {
	for name, k := range t.open {
		if m := member(p, name); m == nil || !m.Votes || m.Cosigning != string(k.Public.PEM()) {
			k.Until = at
			delete(t.open, name)
		}
	}
}

// begin takes in a member's key. One that was there before, and is again, has no end: a key has one time in such a file.
func (t *trusting) begin(m council.Member, from beijing.Time) error {
	if !m.Votes || t.open[m.Agency] != nil {
		return nil
	}
	pub, err := gm.ParsePublicKeyPEM([]byte(m.Cosigning))
	if err != nil {
		return err
	}
	for _, k := range t.all {
		if k.Name == m.Agency && k.Public.Equal(pub) {
			k.Until, t.open[m.Agency] = 0, k
			return nil
		}
	}
	k := &receipt.Key{Name: m.Agency, Origin: t.chain, Role: receipt.Agency, From: from, Public: pub}
	t.all, t.open[m.Agency] = append(t.all, k), k
	return nil
}
