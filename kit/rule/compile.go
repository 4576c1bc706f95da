package rule

import (
	"maps"
	"slices"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"

	"github.com/qiongdev/qiong/kit/errs"
)

// MaxCost is what an evaluation of a rule, with all of its clauses, may cost at worst, in the units of CEL: about one a
// name, a fact, an operation or a value listed.
const MaxCost = 1000

// costModel is the revision of CEL's cost model that rules are accepted under: a later one must not refuse what a
// council has accepted.
const costModel = 1

// Compiled is a rule that fits its schemas, ready to be evaluated by many at once.
type Compiled struct {
	rule    *Rule
	self    *Schema
	lookups []lookup // sorted by name
	when    cel.Program
	clauses []cel.Program // in the order of the rule's
	cost    uint64
}

type lookup struct {
	name   string
	schema *Schema
	Lookup
}

// Compile holds a rule to the schemas, by type, of the records it speaks of. Its errors are of kind Invalid and name the
// field, and in an expression the byte.
func Compile(r *Rule, known map[string]*Schema) (*Compiled, error) {
	if _, err := r.JSON(); err != nil {
		return nil, err
	}
	own := *r // what the caller does with the rule hereafter does not matter
	own.Lookups, own.Clauses = maps.Clone(r.Lookups), slices.Clone(r.Clauses)
	c := &Compiled{rule: &own}
	var err error
	if c.self, err = find(known, r.For, "for"); err != nil {
		return nil, err
	}
	if err := c.resolve(known); err != nil {
		return nil, err
	}
	provider := schemas{r.For: c.self}
	for _, l := range c.lookups {
		provider[l.Type] = l.schema
	}
	env, err := r.environment(provider)
	if err != nil { // nothing that a rule says can bring this about
		return nil, errs.Wrap(err, errs.Internal, "规则语言无法建立", "the language of rules could not be set up")
	}
	if r.When != "" {
		if c.when, err = c.compile(env, r.When, "when"); err != nil {
			return nil, err
		}
	}
	for i := range r.Clauses {
		program, err := c.compile(env, r.Clauses[i].Holds, "clauses["+strconv.Itoa(i)+"].holds")
		if err != nil {
			return nil, err
		}
		c.clauses = append(c.clauses, program)
	}
	return c, nil
}

func find(known map[string]*Schema, name, field string) (*Schema, error) {
	schema := known[name]
	if schema == nil || schema.Type != name {
		return nil, refuse(CodeRule, field, "没有这种记录的事实表", "there is no schema of this type of record")
	}
	if err := schema.Validate(); err != nil {
		return nil, err
	}
	return schema, nil
}

// resolve finds the schemas of the lookups and the keys that they are found by.
func (c *Compiled) resolve(known map[string]*Schema) error {
	for _, name := range slices.Sorted(maps.Keys(c.rule.Lookups)) {
		l := lookup{name: name, Lookup: c.rule.Lookups[name]}
		var err error
		if l.schema, err = find(known, l.Type, "lookups."+name+".type"); err != nil {
			return err
		}
		if c.self.Facts[l.By] != Key || l.schema.Facts[l.By] != Key {
			return refuse(CodeRule, "lookups."+name+".by", "应为两种记录都有的 key 类事实", "a fact of kind key that both types of record have")
		}
		c.lookups = append(c.lookups, l)
	}
	return nil
}

func (c *Compiled) compile(env *cel.Env, text, field string) (cel.Program, error) {
	checked, found := env.Compile(text)
	if found.Err() != nil {
		return nil, issue(field, found)
	}
	if checked.OutputType() != types.BoolType {
		return nil, refuse(CodeExpression, field, "结果应为真或假", "it must come to true or false")
	}
	w := &walk{ast: checked.NativeRep(), field: field}
	if err := w.expr(w.ast.Expr()); err != nil {
		return nil, err
	}
	worst, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法估计表达式的开销", "the cost of the expression cannot be estimated")
	}
	if c.cost += worst.Max; c.cost > MaxCost || worst.Max > MaxCost {
		return nil, errs.Newf(errs.Invalid, "至此条为止，最坏开销超过 %d", "up to here it might cost more than %d", MaxCost).
			WithField(field).WithCode(CodeCost)
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost))
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "表达式无法执行", "the expression cannot be run").WithField(field).WithCode(CodeExpression)
	}
	return program, nil
}

// sizes tells CEL how long values can be: codes are the longest.
type sizes struct{}

func (sizes) EstimateSize(cost.AstNode) *cost.SizeEstimate {
	return &cost.SizeEstimate{Min: 0, Max: maxList}
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// Rule returns the rule that was compiled. It must not be changed.
func (c *Compiled) Rule() *Rule { return c.rule }

// Cost returns what an evaluation may cost at worst.
func (c *Compiled) Cost() uint64 { return c.cost }
