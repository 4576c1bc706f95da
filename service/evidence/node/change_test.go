package node

import (
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// founding returns a policy of four agencies with a type and a rule.
func founding(t testing.TB) *ledger.Policy {
	t.Helper()
	p, err := parsePolicy([]byte(wholePolicy), membersOf(t, four...), keyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// next returns a copy of the policy with the next version.
func next(p *ledger.Policy) *ledger.Policy {
	n := *p
	n.Version++
	n.Members, n.Gateways, n.Types, n.Rules = slices.Clone(p.Members), slices.Clone(p.Gateways), slices.Clone(p.Types), slices.Clone(p.Rules)
	return &n
}

func TestDifferencesAreSaid(t *testing.T) {
	p := founding(t)
	fresh := membersOf(t, "ports", "tax")
	for _, c := range []struct {
		name   string
		change func(n *ledger.Policy)
		want   string // one a line
	}{
		{"nothing", func(*ledger.Policy) {}, ""},
		{"an agency more", func(n *ledger.Policy) { n.Members = append(n.Members, fresh[0]); sortMembers(n.Members) },
			"adds agency ports (votes: true, key " + keyID(fresh[0].Cosigning) + ")"},
		{"an agency less", func(n *ledger.Policy) { n.Members = slices.Delete(n.Members, 1, 2) }, "removes agency customs"},
		{"no vote", func(n *ledger.Policy) { n.Members[2].Votes = false }, "agency forex votes: false, before true"},
		{"all keys", func(n *ledger.Policy) { n.Members[3].Public = fresh[1].Public },
			"agency tax cosigns with key " + keyID(fresh[1].Cosigning) + ", before " + keyID(p.Members[3].Cosigning) +
				"\nagency tax has new node keys\nagency tax is at " + fresh[1].P2P + " " + fresh[1].HTTP},
		{"gateways", func(n *ledger.Policy) { n.Gateways[0].Name = "pier" }, "adds gateway pier\nremoves gateway annex"},
		{"needs", func(n *ledger.Policy) { n.Needs = []string{"tax"} }, "needs tax by default, before customs,tax"},
		{"a type", func(n *ledger.Policy) { n.Types[0].Needs = []string{"tax"} }, "changes type trade.order/1"},
		{"a rule", func(n *ledger.Policy) { n.Rules[0].Version = 2 }, "adds rule return-voucher/2\nremoves rule return-voucher/1"},
	} {
		n := next(p)
		c.change(n)
		var got []string
		for _, text := range differences(p, n) {
			got = append(got, text.EN)
			if text.ZH == "" {
				t.Errorf("%s: nothing in Chinese", c.name)
			}
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWhatMayFollow(t *testing.T) {
	p := founding(t)
	if err := follows(p, p); err == nil || !strings.Contains(err.Error(), "version 1 is in force, the change is version 1") {
		t.Errorf("the same version: %v", err)
	}
	n := next(p)
	n.Rules[0].When = "facts.amount > 0"
	if err := follows(p, n); err == nil || !strings.Contains(err.Error(), "needs a higher version") {
		t.Errorf("a changed rule under its version: %v", err)
	}
	n.Rules[0].Version = 2
	if err := follows(p, n); err != nil {
		t.Errorf("a new version of a rule: %v", err)
	}
	n.Rules = []rule.Rule{}
	if err := follows(p, n); err != nil {
		t.Errorf("without the rule: %v", err)
	}
}

func changeOf(t testing.TB, p *ledger.Policy) *Change {
	t.Helper()
	body, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &Change{Form: changeForm, Chain: "hainan-trade", Policy: body, Signatures: map[string][]byte{}}
}

func TestCopiesOfAChangeAreMerged(t *testing.T) {
	p := founding(t)
	one, two := changeOf(t, next(p)), changeOf(t, next(p))
	one.Signatures["customs"], two.Signatures["tax"] = []byte{1}, []byte{2}
	text, err := two.marshal() // as it travels, indented
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := parseChange(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.merge(read); err != nil {
		t.Fatal(err)
	}
	names, need := one.unsigned(p)
	if need != 1 || !slices.Equal(names, []string{"clearing", "forex"}) {
		t.Errorf("%d more of %v", need, names)
	}
	other := next(p)
	other.Needs = []string{"tax"}
	if err := one.merge(changeOf(t, other)); !errs.Is(err, errs.Invalid) {
		t.Errorf("another change: %v", err)
	}
}

func FuzzChange(f *testing.F) {
	text, err := changeOf(f, founding(f)).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"form":"qiong-policy-change/v1","chain":"c","policy":{},"signatures":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, p, err := parseChange(data)
		if err != nil {
			return
		}
		text, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, again, err := parseChange(text)
		if err != nil || !same(p, again) {
			t.Errorf("not read as it was written: %v", err)
		}
	})
}
