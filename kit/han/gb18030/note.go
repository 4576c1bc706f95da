package gb18030

import (
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Kind is what can be said of a place in a text.
type Kind uint8

// The kinds. The first three are legible and reported to who asks; the rest are errors.
const (
	PrivateUse Kind = iota + 1 // a private-use code point: what it looks like is a matter of the font
	Changed                    // a character whose code is another in the editions of 2005 and 2022
	Alias                      // read or written leniently: converted back it will be another code
	Malformed                  // bytes that are no code, or no UTF-8
	Truncated                  // a code that the text ends in the middle of
	Unmapped                   // a well-formed code or character that the profile does not have
)

var kinds = [...]struct {
	code string
	text lang.Text
}{
	PrivateUse: {"encoding.private-use", lang.T("自造字（私用区码位），他处可能无法辨认", "a private-use code point that others may not be able to read")},
	Changed:    {"encoding.changed", lang.T("GB 18030 2005 版与 2022 版编码不同的字符", "a character whose code differs between the 2005 and 2022 editions of GB 18030")},
	Alias:      {"encoding.alias", lang.T("旧编码，转换后再转回将是新编码", "an old code that will come back as the new one")},
	Malformed:  {"encoding.malformed", lang.T("不是有效的编码", "not a valid code")},
	Truncated:  {"encoding.truncated", lang.T("文本在一个字符中间结束", "the text ends in the middle of a character")},
	Unmapped:   {"encoding.unmapped", lang.T("目标字符集没有这个字符", "the character set has no such character")},
}

// Code returns the kind's stable slug, such as "encoding.malformed".
func (k Kind) Code() string { return kinds[k].code }

// Text returns what the kind says to people.
func (k Kind) Text() lang.Text { return kinds[k].text }

// Note is what is said of one place.
type Note struct {
	Offset int64 // in bytes of the input, from its beginning
	Size   int   // how many bytes of the input it is about
	Rune   rune  // the code point in question; utf8.RuneError where the bytes are none
	Kind   Kind
}

// Error is what could not be converted. errs.As makes it an error of kind Invalid; it repeats nothing of the text.
type Error struct{ Note }

// Error returns the English words, for logs.
func (e *Error) Error() string { return e.Unwrap().Error() }

// Unwrap returns the words in both languages, with the offset.
func (e *Error) Unwrap() error {
	t := e.Kind.Text()
	return errs.New(errs.Invalid, t.ZH, t.EN).WithCode(e.Kind.Code()).WithOffset(e.Offset)
}

// Replacement makes encoding.ReplaceUnsupported and encoding.HTMLEscapeUnsupported work on an encoder of this package.
func (e *Error) Replacement() byte { return 0x1A }

// Mode is what becomes of what cannot be converted. The zero Mode is Strict.
type Mode uint8

// The modes.
const (
	Strict  Mode = iota // end with an Error at the place
	Replace             // write U+FFFD, or ? where the profile lacks it, and go on
)
