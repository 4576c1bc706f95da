package node

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// membersOf returns agencies that vote, but for those whose names begin with "_".
func membersOf(t testing.TB, names ...string) []council.Member {
	t.Helper()
	var all []council.Member
	for _, name := range names {
		voice, votes := strings.CutPrefix(name, "_")
		all = append(all, council.Member{Public: newHome(t, voice).Public(), Votes: !votes})
	}
	sortMembers(all)
	return all
}

const wholePolicy = `gateways:
  - {name: house, key: house.pem}
  - {name: annex, key: house.pem}
needs: [tax, customs]
types:
  - type: trade.order/1
    facts: {order: key, amount: int, at: time}
  - type: trade.return/1
    needs: [tax, forex, customs]
    facts: {order: key, amount: int, at: time}
rules:
  - rule: return-voucher
    version: 1
    for: trade.return/1
    lookups:
      order: {type: trade.order/1, by: order}
    clauses:
      - {name: order-exists, title: {zh: 订单存在, en: the order exists}, holds: order != null}
      - {name: amount-within-order, title: {zh: 金额不超过订单, en: no more than the order}, holds: facts.amount <= order.amount}
`

// keyFile returns a reader of one key file.
func keyFile(t testing.TB) func(string) ([]byte, error) {
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) ([]byte, error) {
		switch name {
		case "house.pem":
			return key.PublicKey().PEM(), nil
		case "wrong.pem":
			return []byte("no key"), nil
		}
		return nil, os.ErrNotExist
	}
}

func TestPolicyFile(t *testing.T) {
	members := membersOf(t, "customs", "forex", "tax", "_ports")
	p, err := parsePolicy([]byte(wholePolicy), members, keyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != 1 || len(p.Members) != 4 || p.Gateways[0].Name != "annex" || strings.Join(p.Needs, ",") != "customs,tax" ||
		strings.Join(p.Types[1].Needs, ",") != "customs,forex,tax" || p.Rules[0].Name != "return-voucher" {
		t.Errorf("read as %+v", p)
	}
	if p, err = parsePolicy([]byte("gateways: [{name: house, key: house.pem}]"), members, keyFile(t)); err != nil || strings.Join(p.Needs, ",") != "customs,forex,tax" {
		t.Errorf("by default %v sign, %v", p, err)
	}
	if p, err = parsePolicy([]byte("needs: [tax]"), members, keyFile(t), ledger.Gateway{Name: "own", Key: p.Gateways[0].Key}); err != nil || p.Gateways[0].Name != "own" {
		t.Errorf("with a gateway beside the file: %v, %v", p, err)
	}
}

// Every finding has its line.
func TestWrongPolicyFiles(t *testing.T) {
	members := membersOf(t, "customs", "forex", "tax", "_ports")
	for _, c := range []struct{ old, new, want string }{
		{"name: annex", "name: house", "f:3: gateways[1].name: another gateway has this name"},
		{"name: annex", "name: An", "f:3: gateways[1].name: must be lower-case letters"},
		{"name: annex, key: house.pem", "name: annex, key: absent.pem", "f:3: gateways[1].key: the key file can't be read"},
		{"name: annex, key: house.pem", "name: annex, key: wrong.pem", "f:3: gateways[1].key: the key file must hold an SM2 public key"},
		{"needs: [tax, customs]", "needs: [tax, ports]", "f:4: needs[1]: is no agency that votes"},
		{"needs: [tax, customs]", "needs: [tax, tax]", "f:4: needs[1]: stands there twice"},
		{"needs: [tax, forex, customs]", "needs: [nobody]", "f:9: types[1].needs[0]: is no agency that votes"},
		{"trade.return/1\n    needs", "trade.order/1\n    needs", "f:8: types[1].type: another type has this name"},
		{"amount: int, at: time}\n  - type: trade.return", "amount: float, at: time}\n  - type: trade.return", "f:6: types[0]"},
		{"holds: order != null", "holds: order !=", "f:12: rules[0]"},
		{"for: trade.return/1", "for: trade.other/1", "f:12: rules[0]"},
		{"gateways:\n", "gates: 1\ngateways:\n", "f:1: the YAML can't be read: field gates not found"},
		{"version: 1", "version: one", "f:13: the YAML can't be read"},
	} {
		text := strings.Replace(wholePolicy, c.old, c.new, 1)
		if text == wholePolicy {
			t.Fatalf("%q is not in the file", c.old)
		}
		_, err := parsePolicy([]byte(text), members, keyFile(t))
		var got strings.Builder
		if err != nil {
			yamlfile.Tell(&got, "f", err, lang.EN)
		}
		if !strings.HasPrefix(got.String(), c.want) {
			t.Errorf("%s: %swant %s", c.new, &got, c.want)
		}
	}
	twice := wholePolicy + wholePolicy[strings.Index(wholePolicy, "  - rule:"):]
	_, err := parsePolicy([]byte(twice), members, keyFile(t))
	if err == nil || !strings.Contains(err.Error(), "line 20: rules[1].rule: another rule has this name") {
		t.Errorf("a rule twice: %v", err)
	}
	if _, err := parsePolicy([]byte("needs: [tax]"), members, keyFile(t)); err == nil || !strings.Contains(err.Error(), "there must be a gateway") {
		t.Errorf("no gateway: %v", err)
	}
}

func FuzzPolicyFile(f *testing.F) {
	members := membersOf(f, "customs", "forex", "tax")
	key := keyFile(f)
	f.Add([]byte(wholePolicy))
	f.Add([]byte("gateways: [{name: house, key: house.pem}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePolicy(data, members, key)
		if err != nil {
			return
		}
		text, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.ParsePolicy(text); err != nil {
			t.Errorf("a policy that was accepted is not read again: %v", errors.Unwrap(err))
		}
	})
}
