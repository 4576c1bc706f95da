package recordio

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/strictjson"
)

// Parser reads the values of records of one file. It is for one goroutine; what it returns is valid until its next call.
type Parser struct {
	format  Format
	columns *Columns
	row     string
	order   []int // of CSV: the column of each field of a row
	values  []Value
	text    []byte // unescaped texts
}

// NewParser returns a Parser of records in UTF-8. header is the State's Header, of CSV, in UTF-8: it must name known
// columns only, each once.
func NewParser(format Format, columns *Columns, row string, header []byte) (*Parser, error) {
	p := &Parser{format: format, columns: columns, row: row, values: make([]Value, columns.Len())}
	if format != CSV {
		return p, nil
	}
	seen := map[int]bool{}
	err := p.fields(header, func(_, at int, name []byte) error {
		i, ok := columns.at[string(name)]
		if !ok {
			return bad(CodeUnknown, at, "列名行中有未知的列", "the header has an unknown column")
		}
		if seen[i] {
			return bad(CodeTwice, at, "列名行中有重复的列", "the header has a column twice")
		}
		seen[i] = true
		p.order = append(p.order, i)
		return nil
	})
	return p, err
}

// Parse returns the values of a record in the order of the columns. Errors are of kind Invalid with a code of this
// package and the offset within the record; they concern this record alone.
func (p *Parser) Parse(record []byte) ([]Value, error) {
	clear(p.values)
	if !utf8.Valid(record) {
		return nil, bad(CodeSyntax, validPrefix(record), "不是有效的 UTF-8", "not valid UTF-8")
	}
	if cap(p.text) < len(record) {
		p.text = make([]byte, 0, 2*len(record))
	}
	p.text = p.text[:0]
	var err error
	switch p.format {
	case CSV:
		err = p.csv(record)
	case XML:
		err = p.xml(record)
	default:
		err = p.json(record)
	}
	if err != nil {
		return nil, err
	}
	return p.values, nil
}

func validPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// set gives column name its value, read at an offset of the record.
func (p *Parser) set(name, text []byte, at int) error {
	i, ok := p.columns.at[string(name)]
	if !ok {
		return bad(CodeUnknown, at, "有未知的字段", "there is an unknown field")
	}
	if p.values[i].Set {
		return bad(CodeTwice, at, "字段重复", "a field stands twice")
	}
	p.values[i] = Value{Text: text, Set: true}
	return nil
}

func (p *Parser) json(record []byte) error {
	if err := strictjson.Check(record, strictjson.Limits{}); err != nil {
		return err
	}
	c := strictjson.NewCursor(record)
	if c.Peek() != '{' {
		return bad(CodeSyntax, 0, "记录应为对象", "a record must be an object")
	}
	var err error
	c.Members(func(at int, quoted []byte) bool {
		first := c.Peek()
		raw := c.Raw()
		switch {
		case first == '{' || first == '[':
			err = bad(CodeNested, at, "字段的值应为单个值", "a value must be a single one")
		case first == 'n':
			if _, ok := p.columns.at[string(p.unquote(quoted))]; !ok {
				err = bad(CodeUnknown, at, "有未知的字段", "there is an unknown field")
			}
		case first == '"':
			err = p.set(p.unquote(quoted), p.unquote(raw), at)
		default:
			err = p.set(p.unquote(quoted), raw, at)
		}
		return err == nil
	})
	return err
}

// unquote returns what a proven string says: its own bytes where it has no escape.
func (p *Parser) unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return inner
	}
	from := len(p.text)
	p.text = append(p.text, text...)
	return p.text[from:]
}

func (p *Parser) csv(record []byte) error {
	n := 0
	err := p.fields(record, func(i, at int, text []byte) error {
		n++
		if i >= len(p.order) {
			return bad(CodeSyntax, at, "字段多于列名", "there are more fields than columns")
		}
		if len(text) > 0 {
			p.values[p.order[i]] = Value{Text: text, Set: true}
		}
		return nil
	})
	if err == nil && n < len(p.order) {
		err = bad(CodeSyntax, len(record), "字段少于列名", "there are fewer fields than columns")
	}
	return err
}

// fields calls visit for each field of a row. An empty field says nothing, quoted or not.
func (p *Parser) fields(row []byte, visit func(i, at int, text []byte) error) error {
	for i, at := 0, 0; ; i++ {
		text, next, err := p.field(row, at)
		if err == nil {
			err = visit(i, at, text)
		}
		if err != nil {
			return err
		}
		if next == len(row) {
			return nil
		}
		at = next + 1 // past the comma
	}
}

// field reads one field at an offset and returns the place of the comma behind it, or of the end.
func (p *Parser) field(row []byte, at int) (text []byte, next int, err error) {
	if at >= len(row) || row[at] != '"' {
		end := bytes.IndexByte(row[at:], ',')
		if end < 0 {
			end = len(row) - at
		}
		text = row[at : at+end]
		if i := bytes.IndexByte(text, '"'); i >= 0 {
			return nil, 0, bad(CodeSyntax, at+i, "未加引号的字段中有引号", "a quote within an unquoted field")
		}
		return text, at + end, nil
	}
	from := len(p.text)
	for i := at + 1; i < len(row); i++ {
		end := bytes.IndexByte(row[i:], '"')
		if end < 0 {
			break
		}
		p.text = append(p.text, row[i:i+end]...)
		i += end
		switch {
		case i+1 == len(row) || row[i+1] == ',':
			return p.text[from:], i + 1, nil
		case row[i+1] != '"':
			return nil, 0, bad(CodeSyntax, i+1, "引号之后应为逗号", "a comma must follow the closing quote")
		}
		p.text = append(p.text, '"')
		i++
	}
	return nil, 0, bad(CodeSyntax, at, "引号未闭合", "a quote is never closed")
}
