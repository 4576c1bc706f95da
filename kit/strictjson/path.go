package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
)

func (s *scanner) fail(at int, code, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithCode(code).WithOffset(int64(at)).WithField(s.path())
}

func (s *scanner) failf(at int, code, zh, en string, limit int) *errs.Error {
	return s.fail(at, code, fmt.Sprintf(zh, limit), fmt.Sprintf(en, limit))
}

func (s *scanner) truncated() *errs.Error {
	return s.fail(len(s.data), CodeTruncated, "JSON 文档不完整", "the JSON document ends too early")
}

func (s *scanner) unexpected() *errs.Error {
	if s.pos >= len(s.data) {
		return s.truncated()
	}
	return s.fail(s.pos, CodeSyntax, "此处不符合 JSON 语法", "JSON does not allow this here")
}

func (s *scanner) lone(at int) *errs.Error {
	return s.fail(at, CodeSurrogate, "代理项转义不成对", "a surrogate escape has no other half")
}

// path names the place the scanner stands at, such as "members[2].name". A name that could be somebody's data is "*".
func (s *scanner) path() string {
	var b strings.Builder
	for _, f := range s.frames {
		if f.object {
			if f.member.end > 0 {
				appendName(&b, Decode(s.data[f.member.start:f.member.end]))
			}
		} else if f.item >= 0 {
			b.WriteString("[" + strconv.Itoa(f.item) + "]")
		}
		if b.Len() > maxPath {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}

func appendName(b *strings.Builder, member string) {
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	if shown, ok := Name(member); ok {
		b.WriteString(shown)
	} else {
		b.WriteByte('*')
	}
}

// Decode returns what a proven, quoted string says.
func Decode(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' {
			var text string
			if json.Unmarshal(quoted, &text) == nil {
				return text
			}
			break
		}
	}
	return string(inner)
}

func sameName(a, b []byte) bool { return Decode(a) == Decode(b) }

// fold appends the case-folded form of a proven, quoted name: equal for two names exactly if strings.EqualFold says so.
func fold(dst, quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	for i, c := range inner {
		if c == '\\' || c >= utf8.RuneSelf {
			return foldText(dst[:len(dst)-i], Decode(quoted))
		}
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func foldText(dst []byte, text string) []byte {
	for _, r := range text {
		// The smallest rune of the orbit stands for all of it; K stands for k and the Kelvin sign.
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		dst = utf8.AppendRune(dst, least)
	}
	return dst
}
