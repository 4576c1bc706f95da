package rule

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Evaluate returns what the rule finds of a record, given its facts and the earlier records by the names of the rule's
// lookups; one that is not in the map, or nil, was not found.
//
// An error of arithmetic, or a fact taken of a record that was not found, fails the clause that it happens in, and the
// clause "when" where it happens in the condition of the rule. The error returned is of kind Internal: the facts are not
// of the types that the rule was compiled for.
func (c *Compiled) Evaluate(facts *Facts, earlier map[string]*Facts) (receipt.Rule, error) {
	found := receipt.Rule{Name: c.rule.Name, Version: c.rule.Version}
	in, err := c.activation(facts, earlier)
	if err != nil {
		return found, err
	}
	if c.when != nil {
		switch applies, ok := truth(c.when, in); {
		case !ok:
			found.Outcome, found.Clause = receipt.Failed, clauseWhen
			return found, nil
		case !applies:
			found.Outcome = receipt.NotApplicable
			return found, nil
		}
	}
	for i, clause := range c.clauses {
		if holds, ok := truth(clause, in); !ok || !holds {
			found.Outcome, found.Clause = receipt.Failed, c.rule.Clauses[i].Name
			return found, nil
		}
	}
	found.Outcome = receipt.Passed
	return found, nil
}

// truth evaluates an expression; ok is false where it came to an error.
func truth(program cel.Program, in *activation) (value, ok bool) {
	v, _, err := program.Eval(in)
	b, is := v.(types.Bool)
	return bool(b), err == nil && is
}

// activation gives expressions their records.
type activation struct {
	rule  *Compiled
	facts *object
	found [MaxLookups]any
}

// activation holds facts to the schemas of the rule.
func (c *Compiled) activation(facts *Facts, earlier map[string]*Facts) (*activation, error) {
	if facts == nil || !c.self.same(facts.schema) {
		return nil, mismatch()
	}
	in := &activation{rule: c, facts: (*object)(facts)}
	for i := range c.lookups {
		in.found[i] = types.NullValue
		if f := earlier[c.lookups[i].name]; f != nil {
			if !c.lookups[i].schema.same(f.schema) {
				return nil, mismatch()
			}
			in.found[i] = (*object)(f)
		}
	}
	return in, nil
}

func (a *activation) ResolveName(name string) (any, bool) {
	if name == self {
		return a.facts, true
	}
	for i := range a.rule.lookups {
		if a.rule.lookups[i].name == name {
			return a.found[i], true
		}
	}
	return nil, false
}

func (a *activation) Parent() cel.Activation { return nil }

func mismatch() error {
	return errs.New(errs.Internal, "事实与规则所依据的事实表不符", "the facts are not of the schemas that the rule was compiled for").WithCode(CodeFacts)
}

// Search is what to look for before a rule is evaluated: the first record of a type whose fact By is Key, among those
// that no rule has failed.
type Search struct {
	Name string // of the lookup; the key in the map given to Evaluate
	Type string
	By   string
	Key  [32]byte
}

// Searches returns what a record asks to be looked up, sorted by name; nil where the facts are not of the rule's type.
func (c *Compiled) Searches(facts *Facts) []Search {
	if facts == nil || !c.self.same(facts.schema) {
		return nil
	}
	var all []Search
	for _, l := range c.lookups {
		k, _ := facts.Key(l.By)
		all = append(all, Search{Name: l.name, Type: l.Type, By: l.By, Key: k})
	}
	return all
}
