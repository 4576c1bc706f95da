package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// Policy is what the agencies have agreed on: who they are, who may send records, who must sign which type of record,
// and by which rules records are judged. A new one has the next version and replaces the old as a whole.
type Policy struct {
	Version  uint64           `json:"version"`           // 1 at the beginning
	Members  []council.Member `json:"members,omitempty"` // the agencies of a council, sorted; none where one operator orders
	Gateways []Gateway        `json:"gateways"`          // who may send records, sorted by name
	Needs    []string         `json:"needs"`             // whose cosignatures complete a record of a type that is not listed
	Types    []Type           `json:"types,omitempty"`   // sorted by type
	Rules    []rule.Rule      `json:"rules,omitempty"`   // sorted by name
}

// Gateway may send records.
type Gateway struct {
	Name string `json:"name"`
	Key  string `json:"key"` // SM2 public key, PEM
}

// Marshal returns the one form of a policy.
func (p *Policy) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// ParsePolicy reads what Marshal writes.
func ParsePolicy(data []byte) (*Policy, error) {
	p := &Policy{}
	if err := strictjson.Unmarshal(data, p); err != nil {
		return nil, err
	}
	return p, p.check()
}

func badPolicy(field, zh, en string) error {
	return errs.New(errs.Invalid, zh, en).WithCode("evidence.policy").WithField(field)
}

// check holds a policy to its own rules.
func (p *Policy) check() error {
	if p.Version == 0 {
		return badPolicy("version", "策略版本从 1 起", "the first version is 1")
	}
	if len(p.Members) > 0 {
		if err := council.CheckMembers(p.Members); err != nil {
			return err
		}
	}
	if len(p.Gateways) == 0 || !sort.SliceIsSorted(p.Gateways, func(i, j int) bool { return p.Gateways[i].Name < p.Gateways[j].Name }) {
		return badPolicy("gateways", "至少一个网关，按名称排序", "at least one gateway, sorted by name")
	}
	for i, g := range p.Gateways {
		_, err := gm.ParsePublicKeyPEM([]byte(g.Key))
		if err != nil || receipt.CheckName(g.Name) != nil || i > 0 && p.Gateways[i-1].Name == g.Name {
			return badPolicy(fmt.Sprintf("gateways[%d]", i), "网关的名称或公钥有误", "the gateway's name or key is wrong")
		}
	}
	if err := p.checkNeeds("needs", p.Needs); err != nil {
		return err
	}
	if err := p.checkTypes(); err != nil {
		return err
	}
	_, err := p.compile()
	return err
}

func (p *Policy) checkNeeds(field string, names []string) error {
	if len(names) == 0 || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		return badPolicy(field, "须列出至少一个名称，排序且不重复", "at least one name, sorted, none twice")
	}
	for _, n := range names {
		if receipt.CheckName(n) != nil || len(p.Members) > 0 && !p.votes(n) {
			return badPolicy(field, "所列名称不是理事会成员", "a name is not one of the council's")
		}
	}
	return nil
}

// votes reports whether the agency orders records.
func (p *Policy) votes(agency string) bool {
	return slices.ContainsFunc(p.Members, func(m council.Member) bool { return m.Votes && m.Agency == agency })
}

// needs returns whose cosignatures complete a record of a type.
func (p *Policy) needs(typ string) []string {
	if t := p.typeOf(typ); t != nil && len(t.Needs) > 0 {
		return t.Needs
	}
	return p.Needs
}

// gateway returns the key of a gateway, nil where there is none of the name.
func (p *Policy) gateway(name string) *gm.PublicKey {
	for _, g := range p.Gateways {
		if g.Name == name {
			key, _ := gm.ParsePublicKeyPEM([]byte(g.Key)) // check has parsed it
			return key
		}
	}
	return nil
}

// quorum is how many agencies must sign a change of policy: more than two thirds of those that vote.
func (p *Policy) quorum() int {
	n := 0
	for _, m := range p.Members {
		if m.Votes {
			n++
		}
	}
	return 2*n/3 + 1
}

// approve returns nil where next may follow p by these signatures.
func (p *Policy) approve(next *Policy, body []byte, signatures []signature) error {
	if next.Version != p.Version+1 {
		return badPolicy("version", "新策略的版本须比现行的大一", "a new policy has the next version")
	}
	if (len(next.Members) == 0) != (len(p.Members) == 0) {
		return badPolicy("members", "理事会不能由交易建立或解散", "a transaction does not found or dissolve a council")
	}
	have := 0
	for _, s := range signatures {
		key, err := p.approver(s.name)
		if err != nil {
			return err
		}
		if err := gm.Verify(key, []byte(gm.DefaultID), signed(kindPolicy, body), s.sig); err != nil {
			return badPolicy("signatures", "策略的签名不符", "a signature of the policy is wrong")
		}
		have++
	}
	if need := max(1, p.quorum()); len(p.Members) > 0 && have < need || have == 0 {
		return badPolicy("signatures", "签署新策略的部门不足三分之二以上", "fewer than a quorum of the agencies have signed the policy")
	}
	return nil
}

// approver returns the key with which a name approves policies: an agency's, or, in a log of one operator, a gateway's.
func (p *Policy) approver(name string) (*gm.PublicKey, error) {
	if len(p.Members) == 0 {
		if key := p.gateway(name); key != nil {
			return key, nil
		}
	}
	for _, m := range p.Members {
		if m.Votes && m.Agency == name {
			return gm.ParsePublicKeyPEM([]byte(m.Cosigning))
		}
	}
	return nil, badPolicy("signatures", "签署者无权批准策略", "a signer may not approve policies")
}
