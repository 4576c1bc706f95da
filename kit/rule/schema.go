package rule

import (
	"maps"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// Kind is what a fact is.
type Kind string

// The kinds.
const (
	Int  Kind = "int"  // a whole number of 64 bits with its sign; money in 分
	Time Kind = "time" // an instant in milliseconds, of the years 1970 to 9999, written as package beijing does
	Bool Kind = "bool" // true or false
	Code Kind = "code" // 1 to 32 of A-Z, 0-9 and -, that is nobody's number
	Key  Kind = "key"  // 32 bytes in standard base64: an HMAC that the producer made of an identifier, never that itself
)

// The limits of a schema and of facts.
const (
	MaxFacts = 32      // facts of a record
	MaxSize  = 4 << 10 // bytes of facts in JSON, and of a schema
)

// Schema says which facts the records of a type have. Each record has all of them. Once in use it must not be changed.
type Schema struct {
	Type  string          `json:"type" yaml:"type"`   // trade.return/1
	Facts map[string]Kind `json:"facts" yaml:"facts"` // by name: 1 to 32 letters and digits, the first a small letter
}

// ParseSchema reads what [Schema.JSON] writes, and nothing else.
func ParseSchema(data []byte) (*Schema, error) {
	s := new(Schema)
	if err := canonical(data, MaxSize, CodeSchema, s, s.JSON); err != nil {
		return nil, err
	}
	return s, nil
}

// JSON returns the canonical form of a schema: one line, without blanks, facts sorted by name.
func (s *Schema) JSON() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return marshal(s)
}

// Validate returns an error of kind Invalid where the schema is malformed.
func (s *Schema) Validate() error {
	if !recordType(s.Type) {
		return refuse(CodeSchema, "type", "应为“事件类型/版本”", "an event type, / and the version of its data")
	}
	if len(s.Facts) == 0 || len(s.Facts) > MaxFacts {
		return errs.Newf(errs.Invalid, "应有 1 至 %d 项", "1 to %d of them", MaxFacts).WithField("facts").WithCode(CodeSchema)
	}
	for _, name := range s.names() {
		if !identifier(name) {
			return refuse(CodeSchema, "facts", "名称应为 1 至 32 个字母和数字，首位为小写字母，且不是保留字",
				"a name is 1 to 32 letters and digits, the first a small letter, and no reserved word")
		}
		if _, ok := celTypes[s.Facts[name]]; !ok {
			return refuse(CodeSchema, "facts."+name, "应为 int、time、bool、code 或 key", "int, time, bool, code or key")
		}
	}
	if alike(s.names()) {
		return refuse(CodeSchema, "facts", "名称不能只有大小写之别", "two names differ only in letter case")
	}
	return nil
}

// names returns the names of the facts in the order in which [Facts] holds them.
func (s *Schema) names() []string { return slices.Sorted(maps.Keys(s.Facts)) }

// same reports whether facts of the one are facts of the other.
func (s *Schema) same(other *Schema) bool {
	return s == other || other != nil && s.Type == other.Type && maps.Equal(s.Facts, other.Facts)
}

// identifier reports whether text can name a fact or a lookup.
func identifier(text string) bool {
	for i := range len(text) {
		c := text[i]
		small := c >= 'a' && c <= 'z'
		if !small && (i == 0 || (c < 'A' || c > 'Z') && (c < '0' || c > '9')) {
			return false
		}
	}
	_, taken := slices.BinarySearch(reserved, text)
	return len(text) > 0 && len(text) <= 32 && !taken
}

// reserved are the words that the CEL specification keeps for itself, and those that mean something in rules.
var reserved = []string{"as", "break", "const", "continue", "duration", "else", "false", "for", "function", "if", "import", "in", "let",
	"loop", "namespace", "null", "package", "return", "timestamp", "true", "var", "void", "while"}
