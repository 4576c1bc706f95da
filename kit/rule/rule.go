// Package rule promises contract rules (合约自动核验) that every agency of a council evaluates alike: on typed records, in
// CEL, with one outcome on every machine and architecture, at a cost that is bounded before a rule is accepted.
//
// A [Schema] says which facts a type of record has: whole numbers, times, truths, codes and keys. There is no free text
// and no identifier among them, so that no personal data enters a log with them. A [Rule] is a list of clauses over the
// facts of a record and of earlier records that share a key with it. [Compile] holds every clause to the schemas: a
// misspelt fact, a comparison of unlike kinds and whatever might read a clock, a time zone, a fraction or run in a loop
// is refused there. [Compiled.Evaluate] then returns passed, failed with the first clause that does not hold, or n/a;
// an overflow or a division by zero fails the clause that it happens in.
//
// Everything here is a function of its arguments. Rules, schemas and what is compiled of them do not change once in use,
// and may be used by many at once.
package rule

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// The limits of a rule.
const (
	MaxRule       = 16 << 10 // bytes of a rule in its canonical form
	MaxClauses    = 32
	MaxLookups    = 8
	MaxExpression = 1024 // bytes of an expression
	MaxTitle      = 200  // code points of a title in one language
)

// The codes of what this package refuses, as they stand in [errs.Error].
const (
	CodeRule       = "rule.rule"       // a rule is malformed, or names what is not there
	CodeExpression = "rule.expression" // an expression is not of the language of rules, or does not fit the schemas
	CodeCost       = "rule.cost"       // a rule might cost too much
	CodeSchema     = "rule.schema"     // a schema is malformed
	CodeFacts      = "rule.facts"      // facts do not fit their schema
)

// Rule is a contract rule as its author writes it in YAML, and in canonical JSON as a council accepts it.
type Rule struct {
	Name    string            `json:"rule" yaml:"rule"`                           // 1 to 64 of a-z, 0-9, . and -
	Version uint64            `json:"version" yaml:"version"`                     // from 1; a changed rule is a new version
	For     string            `json:"for" yaml:"for"`                             // the type of record it is evaluated on: trade.return/1
	Lookups map[string]Lookup `json:"lookups,omitempty" yaml:"lookups,omitempty"` // earlier records, by the names they have in expressions
	When    string            `json:"when,omitempty" yaml:"when,omitempty"`       // where false, the rule does not apply
	Clauses []Clause          `json:"clauses" yaml:"clauses"`                     // in order; the first that does not hold fails
}

// Lookup is an earlier record that clauses may see: the first recorded of a type whose key fact equals that of the record
// in hand, among those that no rule has failed. In an expression it is null where there is none.
type Lookup struct {
	Type string `json:"type" yaml:"type"` // type of the earlier record
	By   string `json:"by" yaml:"by"`     // a fact of kind key that both types have
}

// Clause is one condition of a rule.
type Clause struct {
	Name  string    `json:"name" yaml:"name"`   // 1 to 64 of a-z, 0-9, . and -; stands in receipts
	Title lang.Text `json:"title" yaml:"title"` // what holds, for people, in both languages
	Holds string    `json:"holds" yaml:"holds"` // a CEL expression that is true or false
}

// clauseWhen is the clause that an error in [Rule.When] fails. No other clause may have its name.
const clauseWhen = "when"

// ParseRule reads what [Rule.JSON] writes, and nothing else.
func ParseRule(data []byte) (*Rule, error) {
	r := new(Rule)
	if err := canonical(data, MaxRule, CodeRule, r, r.JSON); err != nil {
		return nil, err
	}
	return r, nil
}

// canonical decodes data into v and holds it to the form that write gives it.
func canonical(data []byte, limit int, code string, v any, write func() ([]byte, error)) error {
	if len(data) > limit {
		return tooLarge(limit, code)
	}
	if err := strictjson.Unmarshal(data, v); err != nil {
		return err
	}
	again, err := write()
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return refuse(code, "", "不是唯一规定的写法", "not in the one form that it must have")
	}
	return nil
}

// JSON returns the canonical form of a rule: one line, without blanks, lookups sorted by name.
func (r *Rule) JSON() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	data, err := marshal(r)
	if err == nil && len(data) > MaxRule {
		err = tooLarge(MaxRule, CodeRule)
	}
	return data, err
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法写成 JSON", "cannot be written as JSON")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Validate returns an error of kind Invalid where the rule is malformed whatever the schemas are.
func (r *Rule) Validate() error {
	switch {
	case !made(r.Name, 64):
		return refuse(CodeRule, "rule", "应为 1 至 64 个小写字母、数字、. 或 -", "1 to 64 lower-case letters, digits, . or -")
	case r.Version == 0 || r.Version >= 1<<31:
		return refuse(CodeRule, "version", "应为 1 至 2147483647 的整数", "a whole number from 1 to 2147483647")
	case !recordType(r.For):
		return refuse(CodeRule, "for", "应为“事件类型/版本”", "an event type, / and the version of its data")
	case len(r.Lookups) > MaxLookups:
		return errs.Newf(errs.Invalid, "最多 %d 项", "at most %d", MaxLookups).WithField("lookups").WithCode(CodeRule)
	case len(r.Clauses) == 0 || len(r.Clauses) > MaxClauses:
		return errs.Newf(errs.Invalid, "应有 1 至 %d 条", "1 to %d of them", MaxClauses).WithField("clauses").WithCode(CodeRule)
	}
	names := slices.Sorted(maps.Keys(r.Lookups))
	for _, name := range names {
		if err := r.Lookups[name].validate(name); err != nil {
			return err
		}
	}
	if alike(names) {
		return refuse(CodeRule, "lookups", "名称不能只有大小写之别", "two names differ only in letter case")
	}
	if r.When != "" {
		if err := expression(r.When, "when"); err != nil {
			return err
		}
	}
	seen := map[string]bool{clauseWhen: true}
	for i := range r.Clauses {
		if err := r.Clauses[i].validate(i, seen); err != nil {
			return err
		}
	}
	return nil
}

func (l Lookup) validate(name string) error {
	if !identifier(name) || name == self {
		return refuse(CodeRule, "lookups", "名称应为 1 至 32 个字母和数字，首位为小写字母，且不是保留字",
			"a name is 1 to 32 letters and digits, the first a small letter, and no reserved word")
	}
	field := "lookups." + name
	switch {
	case !recordType(l.Type):
		return refuse(CodeRule, field+".type", "应为“事件类型/版本”", "an event type, / and the version of its data")
	case !identifier(l.By):
		return refuse(CodeRule, field+".by", "应为一项事实的名称", "the name of a fact")
	}
	return nil
}

func (c *Clause) validate(i int, seen map[string]bool) error {
	field := "clauses[" + strconv.Itoa(i) + "]"
	switch {
	case !made(c.Name, 64):
		return refuse(CodeRule, field+".name", "应为 1 至 64 个小写字母、数字、. 或 -", "1 to 64 lower-case letters, digits, . or -")
	case seen[c.Name]:
		return refuse(CodeRule, field+".name", "条款名称重复，或为保留的 when", "another clause has this name, or it is when, which is reserved")
	case !title(c.Title.ZH):
		return refuse(CodeRule, field+".title.zh", "应有 1 至 200 字的中文标题，只占一行", "a title of 1 to 200 characters in one line")
	case !title(c.Title.EN):
		return refuse(CodeRule, field+".title.en", "应有 1 至 200 字的英文标题，只占一行", "a title of 1 to 200 characters in one line")
	}
	seen[c.Name] = true
	return expression(c.Holds, field+".holds")
}

// expression checks the characters of an expression: with ASCII in one line, columns are bytes and nothing is hidden.
func expression(text, field string) error {
	if len(text) == 0 || len(text) > MaxExpression {
		return errs.Newf(errs.Invalid, "应为 1 至 %d 字节", "1 to %d bytes", MaxExpression).WithField(field).WithCode(CodeExpression)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return refuse(CodeExpression, field, "只能用可见 ASCII 字符和空格，写在一行内", "visible ASCII characters and blanks only, in one line").
				WithOffset(int64(i))
		}
	}
	if i := strings.Index(text, "//"); i >= 0 {
		return refuse(CodeExpression, field, "不能有注释：说明写在标题里", "no comments: what is to be said stands in the title").WithOffset(int64(i))
	}
	return nil
}

func title(text string) bool {
	return text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= MaxTitle &&
		strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// made reports whether text is 1 to most of a-z, 0-9, . and -, the first and the last a letter or digit.
func made(text string, most int) bool {
	for i := range len(text) {
		c := text[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || i == len(text)-1 || c != '.' && c != '-') {
			return false
		}
	}
	return len(text) > 0 && len(text) <= most
}

// recordType reports whether text is the type of a record, as kit/receipt has it.
func recordType(text string) bool {
	name, version, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(version, 10, 31)
	return made(name, 80) && err == nil && n > 0 && strconv.FormatUint(n, 10) == version
}

// alike reports whether two of the names differ only in letter case: strict JSON, which these names stand in, refuses that.
func alike(names []string) bool {
	seen := map[string]bool{}
	for _, name := range names {
		small := strings.ToLower(name)
		if seen[small] {
			return true
		}
		seen[small] = true
	}
	return false
}

func tooLarge(limit int, code string) error {
	return errs.Newf(errs.TooLarge, "超过 %d 字节", "longer than %d bytes", limit).WithCode(code)
}

func refuse(code, field, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithField(field).WithCode(code)
}
