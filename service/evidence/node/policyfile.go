package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/yamlfile"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// policyYAML is what operators write of a policy: all but its version and its members.
type policyYAML struct {
	Gateways []struct {
		Name string `yaml:"name"`
		Key  string `yaml:"key"` // file with the SM2 public key, PEM; relative to this file
	} `yaml:"gateways"`
	Needs []string `yaml:"needs"` // all agencies that vote, where empty
	Types []struct {
		Type  string               `yaml:"type"`
		Needs []string             `yaml:"needs"`
		Facts map[string]rule.Kind `yaml:"facts"`
	} `yaml:"types"`
	Rules []rule.Rule `yaml:"rules"`
}

// readPolicy reads a policy file for these members, with every finding at its line. Keys are read beside the file.
func readPolicy(path string, members []council.Member, own ...ledger.Gateway) (*ledger.Policy, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	p, err := parsePolicy(data, members, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return os.ReadFile(name)
	}, own...)
	if err != nil {
		return nil, yamlfile.In(path, err)
	}
	return p, nil
}

// ReadPolicy reads a policy file for a council that these members found, all of whom vote, with a gateway of its own
// beside those of the file.
func ReadPolicy(path string, members []council.Member, own ledger.Gateway) (*ledger.Policy, error) {
	sortMembers(members)
	return readPolicy(path, members, own)
}

// parsePolicy reads a policy of version 1, which begins with the caller's own gateways; key returns what a gateway's key
// file holds.
func parsePolicy(data []byte, members []council.Member, key func(file string) ([]byte, error), own ...ledger.Gateway) (*ledger.Policy, error) {
	var y policyYAML
	root, err := yamlfile.Decode(data, &y)
	if err != nil {
		return nil, err
	}
	r := &policyReader{yaml: &y, root: root, policy: &ledger.Policy{Version: 1, Members: members, Gateways: own}, schemas: map[string]*rule.Schema{}}
	r.gateways(key)
	r.policy.Needs = r.needs(y.Needs, "needs")
	if len(y.Needs) == 0 {
		r.policy.Needs = voters(members)
	}
	if r.types() {
		r.rules()
	}
	if err := r.found.Err(); err != nil {
		return nil, err
	}
	_, err = r.policy.Marshal()
	return r.policy, err
}

// voters returns the names of the members that vote.
func voters(members []council.Member) (names []string) {
	for _, m := range members {
		if m.Votes {
			names = append(names, m.Agency)
		}
	}
	return names
}

// policyReader turns a policy file into a policy, and collects what is wrong.
type policyReader struct {
	yaml    *policyYAML
	root    *yaml.Node
	policy  *ledger.Policy
	schemas map[string]*rule.Schema
	found   yamlfile.Findings
}

func (r *policyReader) wrong(zh, en string, at ...any) {
	line, field := yamlfile.Find(r.root, at...)
	r.found.Add(line, field, zh, en)
}

// refused adds another package's error at a place.
func (r *policyReader) refused(err error, at ...any) {
	line, field := yamlfile.Find(r.root, at...)
	e := errs.As(err)
	if e.Field != "" {
		field += "." + e.Field
	}
	r.found.Add(line, field, e.Msg.ZH, e.Msg.EN)
}

func (r *policyReader) gateways(key func(file string) ([]byte, error)) {
	if len(r.yaml.Gateways)+len(r.policy.Gateways) == 0 {
		r.wrong("至少要有一个网关", "there must be a gateway", "gateways")
	}
	for i, g := range r.yaml.Gateways {
		if err := receipt.CheckName(g.Name); err != nil {
			r.wrong("应为小写字母、数字与连字符", "must be lower-case letters, digits and hyphens", "gateways", i, "name")
		}
		if slices.ContainsFunc(r.policy.Gateways, func(other ledger.Gateway) bool { return other.Name == g.Name }) {
			r.wrong("与另一网关同名", "another gateway has this name", "gateways", i, "name")
		}
		text, err := key(g.Key)
		if err != nil {
			r.wrong("无法读取密钥文件", "the key file can't be read", "gateways", i, "key")
			continue
		}
		pub, err := gm.ParsePublicKeyPEM(text)
		if err != nil {
			r.wrong("密钥文件中应为 SM2 公钥（PEM）", "the key file must hold an SM2 public key (PEM)", "gateways", i, "key")
			continue
		}
		r.policy.Gateways = append(r.policy.Gateways, ledger.Gateway{Name: g.Name, Key: string(pub.PEM())})
	}
	slices.SortFunc(r.policy.Gateways, func(a, b ledger.Gateway) int { return strings.Compare(a.Name, b.Name) })
}

// needs returns the names sorted.
func (r *policyReader) needs(names []string, at ...any) []string {
	voting := voters(r.policy.Members)
	for i, name := range names {
		if !slices.Contains(voting, name) {
			r.wrong("不是有表决权的部门", "is no agency that votes", append(at, i)...)
		}
		if slices.Index(names, name) < i {
			r.wrong("重复", "stands there twice", append(at, i)...)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// types reports whether their facts are right, so that rules can be held to them.
func (r *policyReader) types() (right bool) {
	right = true
	for i, t := range r.yaml.Types {
		if slices.ContainsFunc(r.policy.Types, func(other ledger.Type) bool { return other.Type == t.Type }) {
			r.wrong("与另一类型相同", "another type has this name", "types", i, "type")
		}
		s := &rule.Schema{Type: t.Type, Facts: t.Facts}
		if len(t.Facts) > 0 {
			if err := s.Validate(); err != nil {
				r.refused(err, "types", i)
				right = false
				continue
			}
			r.schemas[t.Type] = s
		}
		r.policy.Types = append(r.policy.Types, ledger.Type{Type: t.Type, Needs: r.needs(t.Needs, "types", i, "needs"), Facts: t.Facts})
	}
	slices.SortFunc(r.policy.Types, func(a, b ledger.Type) int { return strings.Compare(a.Type, b.Type) })
	return right
}

func (r *policyReader) rules() {
	judged := map[string]bool{}
	for i := range r.yaml.Rules {
		one := &r.yaml.Rules[i]
		if _, err := rule.Compile(one, r.schemas); err != nil {
			r.refused(err, "rules", i)
		}
		if slices.ContainsFunc(r.policy.Rules, func(other rule.Rule) bool { return other.Name == one.Name }) {
			r.wrong("与另一规则同名", "another rule has this name", "rules", i, "rule")
		}
		if judged[one.For] {
			r.wrong("一种记录只能有一条规则", "a type of record has one rule", "rules", i, "for")
		}
		judged[one.For] = true
		r.policy.Rules = append(r.policy.Rules, *one)
	}
	slices.SortFunc(r.policy.Rules, func(a, b rule.Rule) int { return strings.Compare(a.Name, b.Name) })
}
