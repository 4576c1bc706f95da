package rule

import (
	"encoding/base64"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Facts are the facts of one record. They do not change.
type Facts struct {
	schema *Schema
	names  []string  // sorted
	values []ref.Val // in the order of names
}

// Parse reads facts from a JSON object, in any order and with any blanks. Its errors are of kind Invalid, or TooLarge,
// and name the fact: one that is unknown, missing, there twice, or of another kind than the schema says.
func (s *Schema) Parse(data []byte) (*Facts, error) {
	if err := strictjson.Check(data, strictjson.Limits{Size: MaxSize, Depth: 4, Names: MaxFacts}); err != nil {
		return nil, err
	}
	f := &Facts{schema: s, names: s.names()}
	f.values = make([]ref.Val, len(f.names))
	in := strictjson.NewCursor(data)
	if in.Peek() != '{' {
		return nil, refuse(CodeFacts, "", "应为 JSON 对象", "a JSON object is wanted")
	}
	var err error
	in.Members(func(at int, quoted []byte) bool {
		name := strictjson.Decode(quoted)
		i, known := slices.BinarySearch(f.names, name)
		if !known {
			shown, _ := strictjson.Name(name)
			err = refuse(CodeFacts, shown, "没有这项事实", "there is no such fact").WithOffset(int64(at))
			return false
		}
		f.values[i], err = parse(s.Facts[name], in.Raw(), name)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if i := slices.Index(f.values, nil); i >= 0 {
		return nil, refuse(CodeFacts, f.names[i], "缺少这项事实", "this fact is missing")
	}
	return f, nil
}

// parse reads one value as it is written in JSON.
func parse(kind Kind, raw []byte, name string) (ref.Val, error) {
	switch kind {
	case Int:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || string(raw) == "-0" {
			return nil, refuse(CodeFacts, name, "应为 64 位整数", "a whole number of 64 bits")
		}
		return types.Int(n), nil
	case Bool:
		if text := string(raw); text == "true" || text == "false" {
			return types.Bool(text == "true"), nil
		}
		return nil, refuse(CodeFacts, name, "应为 true 或 false", "true or false")
	}
	if raw[0] != '"' {
		return nil, refuse(CodeFacts, name, "应为字符串", "a string is wanted")
	}
	text := strictjson.Decode(raw)
	switch kind {
	case Time:
		return parseTime(text, name)
	case Code:
		if err := CheckCode(text); err != nil {
			return nil, errs.As(err).WithField(name)
		}
		return types.String(text), nil
	case Key:
		return parseKey(text, name)
	}
	return nil, refuse(CodeSchema, name, "未知的事实种类", "the schema knows no such kind")
}

// lastTime is the end of the years that a time may fall in: 9999-12-31T23:59:59.999+08:00.
const lastTime beijing.Time = 253402271999999

func parseTime(text, name string) (ref.Val, error) {
	var at beijing.Time
	if err := at.UnmarshalText([]byte(text)); err != nil {
		return nil, errs.As(err).WithField(name).WithCode(CodeFacts)
	}
	if at < 0 || at > lastTime {
		return nil, refuse(CodeFacts, name, "超出 1970 至 9999 年", "not within the years 1970 to 9999")
	}
	return types.Timestamp{Time: at.Time()}, nil
}

func parseKey(text, name string) (ref.Val, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 32 || len(text) != base64.StdEncoding.EncodedLen(32) { // the decoder passes over line ends
		return nil, refuse(CodeFacts, name, "应为 32 字节的标准 base64", "32 bytes in standard base64")
	}
	return key(b), nil
}

// CheckCode returns nil where text can be a fact of kind code: 1 to 32 of A-Z, 0-9 and -, in which kit/label finds no
// number that names a person or an organization, and which has not the shape of a passport or travel permit either.
// That no person stands behind a code in another way, nobody but its producer can know.
func CheckCode(text string) error {
	for i := range len(text) {
		if c := text[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return refuse(CodeFacts, "", "代码应为 1 至 32 个大写字母、数字或 -", "a code is 1 to 32 capital letters, digits or -")
		}
	}
	if len(text) == 0 || len(text) > 32 {
		return refuse(CodeFacts, "", "代码应为 1 至 32 个大写字母、数字或 -", "a code is 1 to 32 capital letters, digits or -")
	}
	_, found := label.Find(text, 0)
	for _, names := range []func(string) error{label.ForeignerPermit, label.Passport, label.HomePermit} {
		found = found || names(text) == nil
	}
	if _, err := label.UpgradeIDCard(text); found || err == nil {
		return refuse(CodeFacts, "", "像是个人或单位的号码：标识符应以密钥（key）代替",
			"it looks like the number of a person or an organization: put a key in place of an identifier")
	}
	return nil
}

// Type returns the type of the record.
func (f *Facts) Type() string { return f.schema.Type }

// JSON returns the canonical form of the facts: one line, without blanks, sorted by name. Facts that are equal have
// equal forms.
func (f *Facts) JSON() []byte {
	b := []byte{'{'}
	for i, name := range f.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		switch v := f.values[i].(type) {
		case types.Int:
			b = strconv.AppendInt(b, int64(v), 10)
		case types.Bool:
			b = strconv.AppendBool(b, bool(v))
		case types.Timestamp:
			b = append(v.AppendFormat(append(b, '"'), beijing.Layout), '"')
		case types.String:
			b = append(append(append(b, '"'), v...), '"')
		case key:
			b = append(base64.StdEncoding.AppendEncode(append(b, '"'), []byte(v)), '"')
		}
	}
	return append(b, '}')
}

// Value returns a fact as int64, [beijing.Time], bool, string (a code) or [32]byte (a key); false where there is none of
// that name.
func (f *Facts) Value(name string) (any, bool) {
	i, ok := slices.BinarySearch(f.names, name)
	if !ok {
		return nil, false
	}
	switch v := f.values[i].(type) {
	case types.Timestamp:
		return beijing.At(v.Time), true
	case key:
		return [32]byte([]byte(v)), true
	default:
		return v.Value(), true
	}
}

// Key returns a fact of kind key, by which earlier records are looked up; false where there is none of that name.
func (f *Facts) Key(name string) ([32]byte, bool) {
	v, _ := f.Value(name)
	k, ok := v.([32]byte)
	return k, ok
}
