package rule

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// self is the name of the facts of the record in hand.
const self = "facts"

// language is the part of CEL's standard library that rules have: logic, whole numbers with checked arithmetic, instants
// and spans of time. What is left out are floating point, text, calendars and time zones, conversions, macros (and with
// them every loop), so that an expression costs at most what it is long.
var language = func() *env.LibrarySubset {
	subset := env.NewLibrarySubset().SetDisableMacros(true)
	for _, f := range []struct {
		name      string
		overloads []string
	}{
		{operators.Equals, nil}, {operators.NotEquals, nil},
		{operators.LogicalAnd, nil}, {operators.LogicalOr, nil}, {operators.LogicalNot, nil}, {operators.Conditional, nil},
		{operators.In, []string{overloads.InList}},
		{operators.Less, []string{overloads.LessInt64, overloads.LessTimestamp, overloads.LessDuration}},
		{operators.LessEquals, []string{overloads.LessEqualsInt64, overloads.LessEqualsTimestamp, overloads.LessEqualsDuration}},
		{operators.Greater, []string{overloads.GreaterInt64, overloads.GreaterTimestamp, overloads.GreaterDuration}},
		{operators.GreaterEquals, []string{overloads.GreaterEqualsInt64, overloads.GreaterEqualsTimestamp, overloads.GreaterEqualsDuration}},
		{operators.Add, []string{overloads.AddInt64, overloads.AddTimestampDuration, overloads.AddDurationTimestamp, overloads.AddDurationDuration}},
		{operators.Subtract, []string{overloads.SubtractInt64, overloads.SubtractTimestampTimestamp, overloads.SubtractTimestampDuration,
			overloads.SubtractDurationDuration}},
		{operators.Multiply, []string{overloads.MultiplyInt64}},
		{operators.Divide, []string{overloads.DivideInt64}},
		{operators.Modulo, []string{overloads.ModuloInt64}},
		{operators.Negate, []string{overloads.NegateInt64}},
		{overloads.TypeConvertDuration, []string{overloads.StringToDuration}},
		{overloads.TypeConvertTimestamp, []string{overloads.StringToTimestamp}},
	} {
		subset.AddIncludedFunctions(env.NewFunction(f.name, named(f.overloads)...))
	}
	return subset
}()

func named(ids []string) (all []*env.Overload) {
	for _, id := range ids {
		all = append(all, &env.Overload{ID: id})
	}
	return all
}

// environment returns CEL as the expressions of a rule have it.
func (r *Rule) environment(provider schemas) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(language)),
		cel.CustomTypeProvider(provider), cel.CustomTypeAdapter(provider),
		cel.Variable(self, cel.ObjectType(r.For)),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(MaxExpression), cel.ParserErrorRecoveryLimit(1),
		cel.CostModelVersion(costModel),
	}
	for name, lookup := range r.Lookups {
		options = append(options, cel.Variable(name, cel.ObjectType(lookup.Type)))
	}
	return cel.NewCustomEnv(options...)
}

// maxDepth is how deep an expression may be nested.
const maxDepth = 32

// maxList is how many values may be listed after in.
const maxList = 64

// walk holds a checked expression to what its types cannot say. The text of its errors has the field and the column.
type walk struct {
	ast   *ast.AST
	field string
}

func (w *walk) refuse(e ast.Expr, zh, en string) error {
	return refuse(CodeExpression, w.field, zh, en).WithOffset(int64(w.ast.SourceInfo().GetStartLocation(e.ID()).Column()))
}

func (w *walk) expr(e ast.Expr) error {
	switch e.Kind() {
	case ast.LiteralKind:
		return w.literal(e)
	case ast.SelectKind:
		if e.AsSelect().Operand().Kind() == ast.IdentKind && !e.AsSelect().IsTestOnly() {
			return nil // of a record, since nothing else has fields
		}
	case ast.CallKind:
		return w.call(e)
	case ast.IdentKind:
		return w.refuse(e, "记录只能取其事实，或与 null 比较", "of a record one takes a fact, or compares a looked-up one with null")
	case ast.ListKind:
		return w.refuse(e, "列表只能写在 in 之后", "a list stands after in alone")
	}
	return w.refuse(e, "规则语言没有这种写法", "the language of rules has no such form")
}

// literal allows truths, whole numbers and codes.
func (w *walk) literal(e ast.Expr) error {
	switch v := e.AsLiteral().(type) {
	case types.Bool, types.Int:
		return nil
	case types.String:
		if err := CheckCode(string(v)); err != nil {
			return w.refuse(e, "字符串应为代码：1 至 32 个大写字母、数字或 -，且不是个人或单位的号码",
				"a string is a code: 1 to 32 capital letters, digits or -, and nobody's number")
		}
		return nil
	case types.Null:
		return w.refuse(e, "null 只能与查得的记录比较", "null is compared with a looked-up record alone")
	}
	return w.refuse(e, "只能用整数、真值和代码", "whole numbers, truths and codes only")
}

func (w *walk) call(e ast.Expr) error {
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case overloads.TypeConvertDuration, overloads.TypeConvertTimestamp:
		return w.constant(e)
	case operators.Equals, operators.NotEquals:
		if w.presence(args[0], args[1]) || w.presence(args[1], args[0]) {
			return nil
		}
	case operators.In:
		if err := w.list(args[1]); err != nil {
			return err
		}
		args = args[:1]
	}
	if call.IsMemberFunction() {
		return w.refuse(e, "规则语言没有这种写法", "the language of rules has no such form")
	}
	for _, arg := range args {
		if err := w.expr(arg); err != nil {
			return err
		}
	}
	return nil
}

// presence reports whether a looked-up record is compared with null.
func (w *walk) presence(record, null ast.Expr) bool {
	return record.Kind() == ast.IdentKind && record.AsIdent() != self && null.Kind() == ast.LiteralKind && null.AsLiteral() == types.NullValue
}

func (w *walk) list(e ast.Expr) error {
	if e.Kind() != ast.ListKind || e.AsList().Size() == 0 || e.AsList().Size() > maxList {
		return w.refuse(e, "in 之后应为 1 至 64 个值的列表", "after in there is a list of 1 to 64 values")
	}
	items := e.AsList().Elements()
	for _, item := range items {
		if item.Kind() != ast.LiteralKind || item.AsLiteral().Type() != items[0].AsLiteral().Type() {
			return w.refuse(item, "列表中只能写同一种类的明确的值", "a list is of plain values of one kind")
		}
		if err := w.literal(item); err != nil {
			return err
		}
	}
	return nil
}

// Spans are in whole units, so that nobody computes with fractions; instants are as everywhere in the house.
var span = regexp.MustCompile(`^(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?(?:[0-9]{1,9}ms)?$`)

// constant allows a span or an instant that is written out.
func (w *walk) constant(e ast.Expr) error {
	call := e.AsCall()
	if len(call.Args()) == 1 && call.Args()[0].Kind() == ast.LiteralKind {
		text, _ := call.Args()[0].AsLiteral().(types.String)
		if call.FunctionName() == overloads.TypeConvertDuration {
			if _, err := time.ParseDuration(string(text)); err == nil && span.MatchString(string(text)) {
				return nil
			}
		} else if at, err := beijing.Parse(string(text)); err == nil && beijing.At(at) >= 0 && beijing.At(at) <= lastTime {
			return nil
		}
	}
	return w.refuse(e, "应写明时长（如 '720h'）或时刻（如 '2026-11-22T00:00:00.000+08:00'）",
		"a span such as '720h' or an instant such as '2026-11-22T00:00:00.000+08:00', written out")
}

// issue is what CEL found first in an expression, in our words: CEL's own repeat parts of it, and stay in the cause.
func issue(field string, found *cel.Issues) error {
	first := found.Errors()[0]
	e := errs.Wrap(errors.New(first.Message), errs.Invalid, "表达式有语法错误", "the expression is malformed")
	for _, known := range []struct{ begin, zh, en string }{
		{"undeclared reference", "没有这个名称、函数或运算", "there is no such name, function or operator"},
		{"undefined field", "这种记录没有这项事实", "records of this type have no such fact"},
		{"found no matching overload", "两边的种类不符，或此种类没有这种运算", "unlike kinds are joined, or this kind has no such operation"},
		{"max recursion depth", "嵌套过深", "it is nested too deep"},
		{"expression recursion limit", "嵌套过深", "it is nested too deep"},
	} {
		if strings.HasPrefix(first.Message, known.begin) {
			e.Msg = lang.T(known.zh, known.en)
		}
	}
	return e.WithField(field).WithCode(CodeExpression).WithOffset(int64(max(first.Location.Column(), 0)))
}
