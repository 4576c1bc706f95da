package ledger

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/rule"
)

// Type is what the council has agreed on for a type of record.
type Type struct {
	Type  string               `json:"type"`            // event type and version of its data: trade.return/1
	Needs []string             `json:"needs,omitempty"` // whose cosignatures complete it, sorted; the policy's where empty
	Facts map[string]rule.Kind `json:"facts,omitempty"` // what its records say openly
}

// compiled is a policy's schemas and rules, ready for use.
type compiled struct {
	schemas map[string]*rule.Schema   // by type
	rules   map[string]*rule.Compiled // by the type they judge
}

func (p *Policy) typeOf(typ string) *Type {
	for i := range p.Types {
		if p.Types[i].Type == typ {
			return &p.Types[i]
		}
	}
	return nil
}

func (p *Policy) checkTypes() error {
	for i, t := range p.Types {
		field := fmt.Sprintf("types[%d]", i)
		if i > 0 && p.Types[i-1].Type >= t.Type {
			return badPolicy(field, "类型须排序且不重复", "types are sorted, none twice")
		}
		if len(t.Needs) > 0 {
			if err := p.checkNeeds(field+".needs", t.Needs); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile makes a policy's schemas and rules ready, or says what is wrong with them.
func (p *Policy) compile() (*compiled, error) {
	c := &compiled{schemas: map[string]*rule.Schema{}, rules: map[string]*rule.Compiled{}}
	for _, t := range p.Types {
		if len(t.Facts) == 0 {
			continue
		}
		s := &rule.Schema{Type: t.Type, Facts: t.Facts}
		if err := s.Validate(); err != nil {
			return nil, err
		}
		c.schemas[t.Type] = s
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if i > 0 && p.Rules[i-1].Name >= r.Name {
			return nil, badPolicy(fmt.Sprintf("rules[%d]", i), "规则须按名称排序且不重复", "rules are sorted by name, none twice")
		}
		if c.rules[r.For] != nil {
			return nil, badPolicy(fmt.Sprintf("rules[%d]", i), "一种记录只能有一条规则", "a type of record has one rule")
		}
		ready, err := rule.Compile(r, c.schemas)
		if err != nil {
			return nil, err
		}
		c.rules[r.For] = ready
	}
	return c, nil
}

// facts reads the facts of a submission by its type's schema; nil where the type has none.
func (c *compiled) facts(s *Submission) (*rule.Facts, error) {
	schema := c.schemas[s.Type]
	switch {
	case schema == nil && len(s.Facts) > 0:
		return nil, errs.New(errs.Invalid, "此类记录没有约定事实", "records of this type have no facts").WithCode(rule.CodeFacts).WithField("facts")
	case schema == nil:
		return nil, nil
	}
	return schema.Parse(s.Facts)
}
