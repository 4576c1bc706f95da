package recordio

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// xml reads <row><name>text</name>…</row>. Attributes and further elements within a value are not of the format.
func (p *Parser) xml(record []byte) error {
	x := xmlRecord{p: p, b: record}
	name, empty, err := x.open()
	if err != nil {
		return err
	}
	if string(name) != p.row {
		return x.bad("应为记录元素", "the element of a record is wanted")
	}
	for !empty {
		x.blanks()
		switch {
		case x.comment():
		case bytes.HasPrefix(x.rest(), []byte("</")):
			if err := x.close(name); err != nil {
				return err
			}
			empty = true
		default:
			if err := x.member(); err != nil {
				return err
			}
		}
	}
	if x.pos != len(x.b) {
		return x.bad("记录之后还有内容", "something follows the record")
	}
	return nil
}

// xmlRecord reads one record.
type xmlRecord struct {
	p   *Parser
	b   []byte
	pos int
}

func (x *xmlRecord) rest() []byte { return x.b[x.pos:] }

func (x *xmlRecord) bad(zh, en string) error { return bad(CodeSyntax, x.pos, zh, en) }

func (x *xmlRecord) blanks() {
	for x.pos < len(x.b) && bytes.IndexByte([]byte(" \t\r\n"), x.b[x.pos]) >= 0 {
		x.pos++
	}
}

// comment passes over a comment and reports whether there was one.
func (x *xmlRecord) comment() bool {
	if !bytes.HasPrefix(x.rest(), commentOpen) {
		return false
	}
	end := bytes.Index(x.rest()[4:], []byte("--"))
	if end < 0 || !bytes.HasPrefix(x.rest()[4+end:], []byte("-->")) {
		return false
	}
	x.pos += 4 + end + 3
	return true
}

// open reads an opening tag.
func (x *xmlRecord) open() (name []byte, empty bool, err error) {
	if x.pos >= len(x.b) || x.b[x.pos] != '<' {
		return nil, false, x.bad("应为标签", "a tag is wanted")
	}
	end := bytes.IndexByte(x.rest(), '>')
	if end < 0 {
		return nil, false, x.bad("标签未结束", "a tag is never closed")
	}
	name = x.rest()[1:end]
	if n := len(name); n > 0 && name[n-1] == '/' {
		name, empty = name[:n-1], true
	}
	name = bytes.TrimRight(name, " \t\r\n")
	if !xmlName(name) {
		return nil, false, x.bad("标签应只有名称，不带属性", "a tag must have a name and no attributes")
	}
	x.pos += end + 1
	return name, empty, nil
}

// xmlName reports whether a tag holds a name alone. Which names there are, the columns say.
func xmlName(b []byte) bool {
	return len(b) > 0 && bytes.IndexAny(b, " \t\r\n/<>&'\"=?!;") < 0 && bytes.IndexByte([]byte("-.0123456789"), b[0]) < 0
}

func (x *xmlRecord) close(name []byte) error {
	b, ok := bytes.CutPrefix(x.rest(), []byte("</"))
	if ok {
		b, ok = bytes.CutPrefix(b, name)
	}
	b = bytes.TrimLeft(b, " \t\r\n")
	if !ok || len(b) == 0 || b[0] != '>' {
		return x.bad("结束标签不匹配", "the closing tag is another's")
	}
	x.pos = len(x.b) - len(b) + 1
	return nil
}

func (x *xmlRecord) member() error {
	at := x.pos
	name, empty, err := x.open()
	if err != nil {
		return err
	}
	if empty {
		if _, ok := x.p.columns.at[string(name)]; !ok {
			return bad(CodeUnknown, at, "有未知的字段", "there is an unknown field")
		}
		return nil
	}
	text, err := x.text()
	if err != nil {
		return err
	}
	if err := x.close(name); err != nil {
		return err
	}
	if len(text) == 0 {
		if _, ok := x.p.columns.at[string(name)]; ok {
			return nil
		}
	}
	return x.p.set(name, text, at)
}

// text reads character data, references, comments and CDATA sections up to the next tag.
func (x *xmlRecord) text() ([]byte, error) {
	from := len(x.p.text)
	add := func(b ...byte) { x.p.text = append(x.p.text, b...) }
	for x.pos < len(x.b) {
		switch rest := x.rest(); {
		case bytes.HasPrefix(rest, cdataOpen):
			end := bytes.Index(rest, []byte("]]>"))
			if end < 0 {
				return nil, x.bad("CDATA 未结束", "a CDATA section is never closed")
			}
			x.pos += end + 3
			if err := x.lines(rest[len(cdataOpen):end]); err != nil {
				return nil, err
			}
		case rest[0] == '<' && x.comment():
		case bytes.HasPrefix(rest, []byte("</")):
			return x.p.text[from:], nil
		case rest[0] == '<':
			return nil, bad(CodeNested, x.pos, "字段的值应为单个值", "a value must be a single one")
		case rest[0] == '&':
			r, n, ok := reference(rest)
			if !ok {
				return nil, x.bad("不认识的字符引用", "an unknown reference")
			}
			add(utf8.AppendRune(nil, r)...)
			x.pos += n
		default:
			end := bytes.IndexAny(rest, "<&")
			if end < 0 {
				end = len(rest)
			}
			if bytes.Contains(rest[:end], []byte("]]>")) {
				return nil, x.bad("“]]>”须写作 “]]&gt;”", "]]> must be written ]]&gt;")
			}
			x.pos += end
			if err := x.lines(rest[:end]); err != nil {
				return nil, err
			}
		}
	}
	return nil, x.bad("标签未结束", "a tag is never closed")
}

// lines appends text with its line ends as XML reads them, and refuses what XML has no place for.
func (x *xmlRecord) lines(b []byte) error {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == '\r':
			x.p.text = append(x.p.text, '\n')
			if i+1 < len(b) && b[i+1] == '\n' {
				n = 2
			}
		case !xmlChar(r):
			return x.bad("含有 XML 不允许的字符", "has a character that XML does not allow")
		default:
			x.p.text = append(x.p.text, b[i:i+n]...)
		}
		i += n
	}
	return nil
}

func xmlChar(r rune) bool {
	return r >= 0x20 && r != 0xfffe && r != 0xffff || r == '\t' || r == '\n' || r == '\r'
}

// reference reads &lt; &#20028; &#x4e00; and their like.
func reference(b []byte) (r rune, n int, ok bool) {
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 0 {
		return 0, 0, false
	}
	name := string(b[1:end])
	switch name {
	case "lt":
		return '<', end + 1, true
	case "gt":
		return '>', end + 1, true
	case "amp":
		return '&', end + 1, true
	case "quot":
		return '"', end + 1, true
	case "apos":
		return '\'', end + 1, true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	v, err := strconv.ParseUint(digits, base, 32)
	if err != nil || !utf8.ValidRune(rune(v)) || v > utf8.MaxRune || !xmlChar(rune(v)) {
		return 0, 0, false
	}
	return rune(v), end + 1, true
}
