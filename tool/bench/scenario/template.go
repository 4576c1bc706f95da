package scenario

import (
	"fmt"
	"regexp"
	"strings"
)

// part is a piece of a template: text as it stands, or the value of a name.
type part struct {
	text string
	slot int // which value of the drawn ones; -1 for text
}

// escape says how a value is written where it stands.
type escape func(dst, value []byte) []byte

var placeholder = regexp.MustCompile(`\$\{([^{}]*)\}`)

// expand writes the variables into a text, and those they name; a template of data may come of it.
func (d *Definition) expand(text string) string {
	for range 8 { // a variable that names itself is left as it is, and told of as unknown
		before := text
		text = placeholder.ReplaceAllStringFunc(text, func(m string) string {
			if v, ok := d.Variables[m[2:len(m)-1]]; ok {
				return v
			}
			return m
		})
		if text == before {
			break
		}
	}
	return text
}

// compile cuts a template into parts. slot returns which value a name has.
func compile(text string, slot func(name string) int) []part {
	var parts []part
	literal := func(s string) {
		if s != "" {
			parts = append(parts, part{strings.ReplaceAll(s, "$${", "${"), -1})
		}
	}
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		if m[0] > 0 && text[m[0]-1] == '$' {
			continue
		}
		literal(text[at:m[0]])
		parts = append(parts, part{slot: slot(text[m[2]:m[3]])})
		at = m[1]
	}
	literal(text[at:])
	return parts
}

// asJSON writes a value as the content of a JSON string.
func asJSON(dst, value []byte) []byte {
	for _, c := range value {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// asURL writes a value as a part of a path or a query.
func asURL(dst, value []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range value {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// asField writes a value as a part of a header field: control characters, which could begin another field, become
// blanks.
func asField(dst, value []byte) []byte {
	for _, c := range value {
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}

func asIs(dst, value []byte) []byte { return append(dst, value...) }
