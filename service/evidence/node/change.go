package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/strictjson"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// Change is a policy that is to come into force, with the signatures of the agencies that agree: a file that travels from
// agency to agency, or as copies that are put together.
type Change struct {
	Form       string            `json:"form"` // qiong-policy-change/v1
	Chain      string            `json:"chain"`
	Policy     json.RawMessage   `json:"policy"`
	Signatures map[string][]byte `json:"signatures"` // by agency; SM2, ASN.1 DER (in JSON as base64)
}

const (
	changeForm = "qiong-policy-change/v1"
	maxChange  = council.MaxTx
)

func badChange(zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithCode("evidence.policy-change")
}

// parseChange reads a change and its policy.
func parseChange(data []byte) (*Change, *ledger.Policy, error) {
	if err := strictjson.Check(data, strictjson.Limits{Size: maxChange}); err != nil {
		return nil, nil, err
	}
	c := new(Change)
	if err := strictjson.Unmarshal(data, c); err != nil {
		return nil, nil, err
	}
	if c.Form != changeForm || c.Chain == "" {
		return nil, nil, badChange("不是策略变更文件", "this is no change of policy")
	}
	p, err := ledger.ParsePolicy(c.Policy)
	if err != nil {
		return nil, nil, err
	}
	if c.Signatures == nil {
		c.Signatures = map[string][]byte{}
	}
	return c, p, nil
}

func (c *Change) marshal() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(c)
	return b.Bytes(), err
}

// merge takes over the signatures of another copy of the same change.
func (c *Change) merge(other *Change) error {
	if c.Chain != other.Chain || !sameJSON(c.Policy, other.Policy) {
		return badChange("几个文件不是同一策略变更", "the files are not copies of one change")
	}
	maps.Copy(c.Signatures, other.Signatures)
	return nil
}

func sameJSON(a, b []byte) bool {
	var left, right bytes.Buffer
	return json.Compact(&left, a) == nil && json.Compact(&right, b) == nil && bytes.Equal(left.Bytes(), right.Bytes())
}

// follows returns nil where next can come after the policy in force: the errors that a node would only give once all have
// signed.
func follows(now, next *ledger.Policy) error {
	if next.Version != now.Version+1 {
		return badChange(fmt.Sprintf("现行策略为第 %d 版，变更文件为第 %d 版", now.Version, next.Version),
			fmt.Sprintf("version %d is in force, the change is version %d", now.Version, next.Version)).
			WithHint("在现行策略之上重新提出", "propose it anew on the policy in force")
	}
	for _, r := range next.Rules {
		i := slices.IndexFunc(now.Rules, func(old rule.Rule) bool { return old.Name == r.Name })
		if i >= 0 && now.Rules[i].Version >= r.Version && !same(now.Rules[i], r) {
			return badChange("规则 "+r.Name+" 有改动，版本须更大", "the rule "+r.Name+" has changed: it needs a higher version")
		}
	}
	return nil
}

func same(a, b any) bool {
	left, errA := json.Marshal(a)
	right, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(left, right)
}

// unsigned returns the agencies that have not signed, and how many signatures are still needed.
func (c *Change) unsigned(now *ledger.Policy) (names []string, need int) {
	voting := voters(now.Members)
	have := 0
	for _, name := range voting {
		if c.Signatures[name] == nil {
			names = append(names, name)
		} else {
			have++
		}
	}
	return names, max(2*len(voting)/3+1-have, 0)
}

// differences says what a policy changes, for whoever is to sign it.
func differences(now, next *ledger.Policy) (all []lang.Text) {
	say := func(zh, en string, args ...any) {
		all = append(all, lang.T(fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...)))
	}
	for _, m := range next.Members {
		memberDifference(member(now, m.Agency), m, say)
	}
	for _, m := range now.Members {
		if member(next, m.Agency) == nil {
			say("移除部门 %s", "removes agency %s", m.Agency)
		}
	}
	listDifferences(now.Gateways, next.Gateways, func(g ledger.Gateway) string { return g.Name }, "网关", "gateway", say)
	if !slices.Equal(now.Needs, next.Needs) {
		say("默认须签署 %s，原为 %s", "needs %s by default, before %s", strings.Join(next.Needs, ","), strings.Join(now.Needs, ","))
	}
	listDifferences(now.Types, next.Types, func(t ledger.Type) string { return t.Type }, "类型", "type", say)
	listDifferences(now.Rules, next.Rules, func(r rule.Rule) string { return fmt.Sprintf("%s/%d", r.Name, r.Version) }, "规则", "rule", say)
	return all
}

func memberDifference(old *council.Member, m council.Member, say func(zh, en string, args ...any)) {
	if old == nil {
		say("加入部门 %s（表决 %t，密钥 %s）", "adds agency %s (votes: %t, key %s)", m.Agency, m.Votes, keyID(m.Cosigning))
		return
	}
	if old.Votes != m.Votes {
		say("部门 %s 表决 %t，原为 %t", "agency %s votes: %t, before %t", m.Agency, m.Votes, old.Votes)
	}
	if old.Cosigning != m.Cosigning {
		say("部门 %s 联合签名密钥 %s，原为 %s", "agency %s cosigns with key %s, before %s", m.Agency, keyID(m.Cosigning), keyID(old.Cosigning))
	}
	if old.Node != m.Node || !bytes.Equal(old.Consensus, m.Consensus) {
		say("部门 %s 更换节点密钥", "agency %s has new node keys", m.Agency)
	}
	if old.P2P != m.P2P || old.HTTP != m.HTTP {
		say("部门 %s 的地址为 %s %s", "agency %s is at %s %s", m.Agency, m.P2P, m.HTTP)
	}
}

// keyID names an SM2 public key.
func keyID(pem string) string {
	pub, err := gm.ParsePublicKeyPEM([]byte(pem))
	if err != nil {
		return "?" // unreachable: a policy's keys were parsed
	}
	return gm.KeyID(pub)
}

func listDifferences[T any](now, next []T, name func(T) string, zh, en string, say func(zh, en string, args ...any)) {
	find := func(list []T, n string) int { return slices.IndexFunc(list, func(t T) bool { return name(t) == n }) }
	for _, t := range next {
		switch i := find(now, name(t)); {
		case i < 0:
			say("加入"+zh+" %s", "adds "+en+" %s", name(t))
		case !same(now[i], t):
			say("修改"+zh+" %s", "changes "+en+" %s", name(t))
		}
	}
	for _, t := range now {
		if find(next, name(t)) < 0 {
			say("移除"+zh+" %s", "removes "+en+" %s", name(t))
		}
	}
}
