package exchange

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/recordio"
)

// types are the types a field may have. Each appends the one way in which a value is written here, or says why it can't
// be: the text of every record accepted is such that equal values are equal bytes.
var types = map[string]func(dst, text []byte, f *Feed, field *Field) ([]byte, error){
	"text":         plainText,
	"person":       writing(han.MinorityName),
	"organization": writing(han.Organization),
	"title":        writing(han.Title),
	"address":      writing(han.Address),
	"integer":      integer,
	"decimal":      decimal,
	"boolean":      boolean,
	"date":         date,
	"time":         timestamp,
	"code":         code,
	"id-card":      checked(label.IDCard),
	"credit-code":  checked(label.CreditCode),
	"phone":        checked(label.Phone),
}

func invalid(code, zh, en string) error {
	return errs.New(errs.Invalid, zh, en).WithCode("value." + code)
}

// plainText takes every character but controls: rare, private and composed ones go through as they are.
func plainText(dst, text []byte, _ *Feed, field *Field) ([]byte, error) {
	for i, c := range text {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return nil, errs.New(errs.Invalid, "含有控制字符", "has a control character").WithCode("value.control").WithOffset(int64(i))
		}
	}
	if len(text) > field.Max && utf8.RuneCount(text) > field.Max {
		return nil, errs.Newf(errs.Invalid, "超过 %d 个字", "is longer than %d characters", field.Max).WithCode("value.long")
	}
	return append(dst, text...), nil
}

// writing takes what the policy of a field allows, leniently: data that exists in another system has its private-use
// characters and old separators, which are carried as they are.
func writing(p han.Policy) func(dst, text []byte, f *Feed, field *Field) ([]byte, error) {
	p.Lenient = true
	return func(dst, text []byte, _ *Feed, field *Field) ([]byte, error) {
		p := p
		p.Max = field.Max
		if err := han.Error(han.Check(string(text), p), ""); err != nil {
			return nil, err
		}
		return append(dst, text...), nil
	}
}

func checked(check func(string) error) func(dst, text []byte, f *Feed, field *Field) ([]byte, error) {
	return func(dst, text []byte, _ *Feed, _ *Field) ([]byte, error) {
		if err := check(string(text)); err != nil {
			return nil, err
		}
		return append(dst, text...), nil
	}
}

// integer refuses leading zeros: such a text is a code, and as a number it would lose them.
func integer(dst, text []byte, _ *Feed, _ *Field) ([]byte, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(text) {
		return nil, invalid("integer", "应为整数", "must be a whole number")
	}
	return append(dst, text...), nil
}

// decimal writes 1.50 as it came, since its zeros may say how exact it is.
func decimal(dst, text []byte, _ *Feed, _ *Field) ([]byte, error) {
	whole, fraction, point := bytes.Cut(bytes.TrimPrefix(text, []byte{'-'}), []byte{'.'})
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' || point && len(fraction) == 0 || len(text) > 40 ||
		len(bytes.Trim(whole, "0123456789")) > 0 || len(bytes.Trim(fraction, "0123456789")) > 0 {
		return nil, invalid("decimal", "应为十进制数", "must be a decimal number")
	}
	return append(dst, text...), nil
}

func boolean(dst, text []byte, _ *Feed, _ *Field) ([]byte, error) {
	switch string(text) {
	case "true", "false":
		return append(dst, text...), nil
	case "1":
		return append(dst, "true"...), nil
	case "0":
		return append(dst, "false"...), nil
	}
	return nil, invalid("boolean", "应为 true 或 false", "must be true or false")
}

func date(dst, text []byte, _ *Feed, _ *Field) ([]byte, error) {
	t, err := beijing.ReadDate(string(text))
	if err != nil {
		return nil, err
	}
	return t.AppendFormat(dst, time.DateOnly), nil
}

func timestamp(dst, text []byte, f *Feed, _ *Field) ([]byte, error) {
	naive := beijing.Refuse
	if f.From.Naive == "beijing" {
		naive = beijing.Assume
	}
	t, err := beijing.ReadTime(string(text), naive)
	if err != nil {
		return nil, err
	}
	return t.In(beijing.Zone).AppendFormat(dst, beijing.Layout), nil
}

func code(dst, text []byte, _ *Feed, field *Field) ([]byte, error) {
	c, ok := field.Codes[string(text)]
	if !ok {
		return nil, invalid("code", "不在代码表内", "is not in the table of codes")
	}
	return append(dst, c...), nil
}

// bare reports whether JSON writes values of the type without quotes.
func bare(kind string) bool { return kind == "integer" || kind == "decimal" || kind == "boolean" }

// normal appends the values of a record, read from the source, as they are written here. The error names the field.
func (f *Feed) normal(dst []byte, in []recordio.Value, out []recordio.Value) ([]byte, error) {
	for i := range f.Fields {
		field := &f.Fields[i]
		out[i] = recordio.Value{}
		if !in[i].Set || len(in[i].Text) == 0 {
			if field.Required {
				return dst, errs.New(errs.Invalid, "必须填写", "is required").WithField(field.Name).WithCode("value.required")
			}
			continue
		}
		from := len(dst)
		next, err := types[field.Type](dst, in[i].Text, f, field)
		if err != nil {
			e := *errs.As(err)
			e.Field, e.HasOffset = field.Name, false // an offset within the value says nothing of the file
			if e.Code == "" {
				e.Code = "value." + field.Type
			}
			return dst, &e
		}
		dst = next
		out[i] = recordio.Value{Text: dst[from:len(dst):len(dst)], Set: true}
	}
	return dst, nil
}

// view writes the values of a record as a target wants them: its codes, its layout of times, and for a table its
// encoding. A file is encoded whole, after its marks have been escaped; here it is only made sure that it can be. The
// error names the field that the target can't have.
func (t *Target) view(dst []byte, f *Feed, in, out []recordio.Value) ([]byte, error) {
	for i := range f.Fields {
		field := &f.Fields[i]
		out[i] = recordio.Value{}
		if !in[i].Set {
			continue
		}
		text, err := t.value(field, in[i].Text)
		from := len(dst)
		if err == nil {
			dst, err = t.Encoding.encode(dst, text)
		}
		if err == nil && t.Table == nil {
			dst = append(dst[:from], text...)
		}
		if err != nil {
			e := *errs.As(err)
			e.Field = field.Name
			return dst, &e
		}
		out[i] = recordio.Value{Text: dst[from:len(dst):len(dst)], Set: true}
	}
	return dst, nil
}

// value maps one value before it is encoded.
func (t *Target) value(field *Field, text []byte) ([]byte, error) {
	if codes := t.Codes[field.Name]; codes != nil {
		theirs, ok := codes[string(text)]
		if !ok {
			return nil, invalid("code", "目标的代码表没有这个代码", "the target's table of codes does not have it")
		}
		return []byte(theirs), nil
	}
	if field.Type == "time" {
		at, err := beijing.Parse(string(text))
		if err != nil {
			return nil, err
		}
		return at.AppendFormat(nil, t.Time), nil
	}
	if t.xml() {
		if at := recordio.XMLAllows(text); at >= 0 {
			return nil, errs.New(errs.Invalid, "含有 XML 不允许的字符", "has a character that XML does not allow").WithCode("value.xml").WithOffset(int64(at))
		}
	}
	return text, nil
}

func (t *Target) xml() bool {
	return t.File != nil && t.File.Format == recordio.XML || t.Push != nil && t.Push.Format == recordio.XML
}
