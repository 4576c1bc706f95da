package schema

import (
	"bytes"
	"math/big"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/qiongdev/qiong/kit/strictjson"
)

// plan is a schema of plain keywords, made to be walked beside a document. It never refuses: what it does not accept
// is for the library to judge. So whatever is rare in good documents (an escape in a string, a number with an exponent)
// is simply not accepted.
type plan struct {
	types  []string // empty for any
	also   []*plan  // $ref and allOf
	choice *choice  // if, then, else

	properties map[string]*plan // a nil plan takes anything
	required   int
	needs      map[string]bool
	closed     bool // additionalProperties: false

	items              *plan // nil takes anything
	minItems, maxItems int

	strings              []string // enum or const; nil for any
	minLength, maxLength int
	pattern              jsonschema.Regexp
	format               func(any) error

	bounds []func(float64) bool
}

// choice is if, then and else, where the condition compares one member with one string.
type choice struct {
	member, want string
	then, other  *plan // nil takes anything
}

const unlimited = int(^uint(0) >> 1)

// planned are the keywords that a plan understands, and those that say nothing about a document.
var planned = []string{
	"Bool", "Ref", "Types", "Enum", "Const", "AllOf", "If", "Then", "Else", "Format", "Required", "Properties", "AdditionalProperties",
	"MinItems", "MaxItems", "Items2020", "MinLength", "MaxLength", "Pattern", "Maximum", "Minimum", "ExclusiveMaximum",
	"ExclusiveMinimum", "DraftVersion", "Location", "ID", "Anchor", "Title", "Description", "Default", "Comment", "ReadOnly",
	"WriteOnly", "Examples", "Deprecated",
}

// says reports whether s has a keyword other than these.
func says(s *jsonschema.Schema, but []string) bool {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !v.Field(i).IsZero() && !slices.Contains(but, f.Name) {
			return true
		}
	}
	return false
}

// newPlan returns nil where s, or a schema that it needs, says more than a plan can.
func newPlan(s *jsonschema.Schema) *plan {
	p := planner{made: map[*jsonschema.Schema]*plan{}}
	made := p.plan(s)
	if p.beyond {
		return nil
	}
	return made
}

// planner makes plans, one a schema, so that a schema may refer to itself.
type planner struct {
	made   map[*jsonschema.Schema]*plan
	beyond bool // something was met that no plan can say
}

func (r *planner) plan(s *jsonschema.Schema) *plan {
	if s == nil {
		return nil
	}
	if p := r.made[s]; p != nil {
		return p
	}
	p := &plan{}
	r.made[s] = p
	if says(s, planned) || s.Bool != nil && !*s.Bool {
		r.beyond = true
		return p
	}
	if s.Types != nil {
		p.types = s.Types.ToStrings()
	}
	if s.Ref != nil {
		p.also = append(p.also, r.plan(s.Ref))
	}
	for _, each := range s.AllOf {
		p.also = append(p.also, r.plan(each))
	}
	if s.If != nil {
		p.choice = r.choice(s)
	}
	r.object(p, s)
	p.items = r.plan(s.Items2020)
	p.minItems, p.maxItems = limits(s.MinItems, s.MaxItems)
	r.text(p, s)
	r.number(p, s)
	return p
}

func limits(least, most *int) (int, int) {
	low, high := 0, unlimited
	if least != nil {
		low = *least
	}
	if most != nil {
		high = *most
	}
	return low, high
}

func (r *planner) choice(s *jsonschema.Schema) *choice {
	c := &choice{then: r.plan(s.Then), other: r.plan(s.Else)}
	for name, member := range s.If.Properties {
		value, ok := "", member.Const != nil
		if ok {
			value, ok = (*member.Const).(string)
		}
		if !ok || says(member, []string{"Const", "DraftVersion", "Location"}) {
			r.beyond = true
		}
		c.member, c.want = name, value
	}
	if len(s.If.Properties) != 1 || says(s.If, []string{"Properties", "DraftVersion", "Location"}) {
		r.beyond = true
	}
	return c
}

func (r *planner) object(p *plan, s *jsonschema.Schema) {
	if s.Properties != nil {
		p.properties = map[string]*plan{}
	}
	for name, each := range s.Properties {
		p.properties[name] = r.plan(each)
	}
	p.needs = map[string]bool{}
	for _, name := range s.Required {
		p.needs[name] = true
	}
	p.required = len(p.needs)
	switch more := s.AdditionalProperties.(type) {
	case nil:
	case bool:
		p.closed = !more
	default:
		r.beyond = true
	}
}

func (r *planner) text(p *plan, s *jsonschema.Schema) {
	var values []any
	if s.Enum != nil {
		values = s.Enum.Values
		r.beyond = r.beyond || len(values) == 0
	}
	if s.Const != nil {
		values = append(values, *s.Const)
		r.beyond = r.beyond || s.Enum != nil
	}
	for _, v := range values {
		text, ok := v.(string)
		r.beyond = r.beyond || !ok
		p.strings = append(p.strings, text)
	}
	p.minLength, p.maxLength = limits(s.MinLength, s.MaxLength)
	p.pattern = s.Pattern
	if s.Format != nil {
		p.format = s.Format.Validate
	}
}

func (r *planner) number(p *plan, s *jsonschema.Schema) {
	bound := func(b *big.Rat, keeps func(v, bound float64) bool) {
		if b == nil {
			return
		}
		limit, exact := b.Float64()
		if !exact || !b.IsInt() || limit > maxNumber || limit < -maxNumber {
			r.beyond = true // so that a comparison of floats is one of numbers
		}
		p.bounds = append(p.bounds, func(v float64) bool { return keeps(v, limit) })
	}
	bound(s.Minimum, func(v, b float64) bool { return v >= b })
	bound(s.Maximum, func(v, b float64) bool { return v <= b })
	bound(s.ExclusiveMinimum, func(v, b float64) bool { return v > b })
	bound(s.ExclusiveMaximum, func(v, b float64) bool { return v < b })
}

// accept reports whether the document is surely as the schema says.
func (p *plan) accept(data []byte) bool {
	c := strictjson.NewCursor(data)
	return p.value(&c, 0)
}

// maxDepth bounds the descent, also through schemas that refer to themselves.
const maxDepth = 64

// value passes over the value at the cursor where it accepts it. A nil plan takes anything.
func (p *plan) value(c *strictjson.Cursor, depth int) bool {
	if p == nil {
		c.Skip()
		return true
	}
	if depth > maxDepth {
		return false
	}
	for _, also := range p.also {
		again := *c
		if !also.value(&again, depth+1) {
			return false
		}
	}
	if p.choice != nil && !p.choice.accepts(*c, depth) {
		return false
	}
	switch c.Peek() {
	case '{':
		return p.is("object") && p.strings == nil && p.object(c, depth)
	case '[':
		return p.is("array") && p.strings == nil && p.array(c, depth)
	case '"':
		return p.is("string") && p.text(c.Raw())
	case 't', 'f':
		c.Skip()
		return p.is("boolean") && p.strings == nil
	case 'n':
		c.Skip()
		return p.is("null") && p.strings == nil
	}
	return p.strings == nil && p.number(c.Raw())
}

func (p *plan) is(name string) bool { return len(p.types) == 0 || slices.Contains(p.types, name) }

func (p *plan) object(c *strictjson.Cursor, depth int) bool {
	needed := 0
	done := c.Members(func(_ int, quoted []byte) bool {
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			return false
		}
		if p.needs[string(name)] {
			needed++ // once each, since names are not repeated
		}
		member, known := p.properties[string(name)]
		return (known || !p.closed) && member.value(c, depth+1)
	})
	return done && needed == p.required
}

func (p *plan) array(c *strictjson.Cursor, depth int) bool {
	n := 0
	done := c.Items(func(int) bool {
		n++
		return n <= p.maxItems && p.items.value(c, depth+1)
	})
	return done && n >= p.minItems
}

func (p *plan) text(quoted []byte) bool {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		return false
	}
	if p.minLength > 0 || p.maxLength < unlimited {
		if n := utf8.RuneCount(inner); n < p.minLength || n > p.maxLength {
			return false
		}
	}
	if p.strings != nil && !slices.ContainsFunc(p.strings, func(s string) bool { return s == string(inner) }) {
		return false
	}
	if p.pattern == nil && p.format == nil {
		return true
	}
	s := string(inner)
	return (p.pattern == nil || p.pattern.MatchString(s)) && (p.format == nil || p.format(s) == nil)
}

// maxNumber is a bound below which a decimal of 15 digits, as a float, compares with an integer as it should: the two
// differ by more than a rounding, or not at all.
const maxNumber = 1e15

func (p *plan) number(literal []byte) bool {
	v, integer, ok := decimal(literal)
	if !ok || !p.is("number") && !(integer && p.is("integer")) {
		return false
	}
	for _, keeps := range p.bounds {
		if !keeps(v) {
			return false
		}
	}
	return true
}

// decimal reads a number of at most 15 digits without exponent.
func decimal(literal []byte) (v float64, integer, ok bool) {
	digits, scale := 0, 1.0
	sign := 1.0
	integer = true
	for i, c := range literal {
		switch {
		case c == '-' && i == 0:
			sign = -1
		case c == '.':
			integer = false
		case c >= '0' && c <= '9':
			digits++
			v = v*10 + float64(c-'0')
			if !integer {
				scale *= 10
			}
		default:
			return 0, false, false
		}
	}
	return sign * v / scale, integer, digits > 0 && digits <= 15
}

// accepts reports whether the object at the cursor is as then or else says, whichever is for it.
func (ch *choice) accepts(c strictjson.Cursor, depth int) bool {
	if c.Peek() != '{' {
		return false
	}
	again, branch := c, ch.then // also where the member is absent
	sure := again.Members(func(_ int, quoted []byte) bool {
		name, isString := quoted[1:len(quoted)-1], again.Peek() == '"'
		value := again.Raw()
		if string(name) != ch.member {
			return bytes.IndexByte(name, '\\') < 0
		}
		if string(value) != `"`+ch.want+`"` {
			branch = ch.other
		}
		return isString && bytes.IndexByte(value, '\\') < 0
	})
	return sure && branch.value(&c, depth+1)
}
