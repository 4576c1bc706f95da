package han

import (
	"unicode"

	"github.com/qiongdev/qiong/kit/lang"
)

// IsHan reports whether r is a Han character as names use them: a unified ideograph of any extension up to J, or 〇.
// It is by block and not by unicode.Han, which holds radicals too and lacks extensions newer than Go's tables.
func IsHan(r rune) bool { return unicode.Is(unified, r) }

var unified = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x3007, Hi: 0x3007, Stride: 1}, // 〇
		{Lo: 0x3400, Hi: 0x4DBF, Stride: 1}, // Extension A
		{Lo: 0x4E00, Hi: 0x9FFF, Stride: 1},
		{Lo: 0xFA0E, Hi: 0xFA0F, Stride: 1}, // twelve unified ideographs among the compatibility ones
		{Lo: 0xFA11, Hi: 0xFA11, Stride: 1},
		{Lo: 0xFA13, Hi: 0xFA14, Stride: 1},
		{Lo: 0xFA1F, Hi: 0xFA1F, Stride: 1},
		{Lo: 0xFA21, Hi: 0xFA21, Stride: 1},
		{Lo: 0xFA23, Hi: 0xFA24, Stride: 1},
		{Lo: 0xFA27, Hi: 0xFA29, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x20000, Hi: 0x2A6DF, Stride: 1}, // B
		{Lo: 0x2A700, Hi: 0x2B73F, Stride: 1}, // C
		{Lo: 0x2B740, Hi: 0x2B81D, Stride: 1}, // D
		{Lo: 0x2B820, Hi: 0x2CEAD, Stride: 1}, // E
		{Lo: 0x2CEB0, Hi: 0x2EBE0, Stride: 1}, // F
		{Lo: 0x2EBF0, Hi: 0x2EE5D, Stride: 1}, // I
		{Lo: 0x30000, Hi: 0x3134A, Stride: 1}, // G
		{Lo: 0x31350, Hi: 0x323AF, Stride: 1}, // H
		{Lo: 0x323B0, Hi: 0x33479, Stride: 1}, // J
	},
}

// compatibility holds ideographs that normalization (NFC) replaces by another character, and full-width Latin letters.
var compatibility = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0xF900, Hi: 0xFA0D, Stride: 1},
		{Lo: 0xFA10, Hi: 0xFA12, Stride: 2},
		{Lo: 0xFA15, Hi: 0xFA1E, Stride: 1},
		{Lo: 0xFA20, Hi: 0xFA22, Stride: 2},
		{Lo: 0xFA25, Hi: 0xFA26, Stride: 1},
		{Lo: 0xFA2A, Hi: 0xFA6D, Stride: 1},
		{Lo: 0xFA70, Hi: 0xFAD9, Stride: 1},
		{Lo: 0xFF21, Hi: 0xFF3A, Stride: 1},
		{Lo: 0xFF41, Hi: 0xFF5A, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0x2F800, Hi: 0x2FA1D, Stride: 1}},
}

// bidi holds the marks that change the direction of text: with them, a name reads other than it is stored.
var bidi = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x061C, Hi: 0x061C, Stride: 1},
	{Lo: 0x200E, Hi: 0x200F, Stride: 1},
	{Lo: 0x202A, Hi: 0x202E, Stride: 1},
	{Lo: 0x2066, Hi: 0x2069, Stride: 1},
}}

// hidden holds what has no width: two texts that differ only in it look the same.
var hidden = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00AD, Hi: 0x00AD, Stride: 1}, // soft hyphen
		{Lo: 0x034F, Hi: 0x034F, Stride: 1}, // combining grapheme joiner
		{Lo: 0x115F, Hi: 0x1160, Stride: 1}, // Hangul fillers, also 3164 and FFA0
		{Lo: 0x17B4, Hi: 0x17B5, Stride: 1},
		{Lo: 0x180B, Hi: 0x180F, Stride: 1}, // of Mongolian: see shapesMongolian
		{Lo: 0x200B, Hi: 0x200D, Stride: 1}, // zero-width space, non-joiner, joiner
		{Lo: 0x2060, Hi: 0x2065, Stride: 1},
		{Lo: 0x206A, Hi: 0x206F, Stride: 1},
		{Lo: 0x3164, Hi: 0x3164, Stride: 1},
		{Lo: 0xFEFF, Hi: 0xFEFF, Stride: 1}, // byte order mark
		{Lo: 0xFFA0, Hi: 0xFFA0, Stride: 1},
		{Lo: 0xFFF0, Hi: 0xFFFB, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0xE0000, Hi: 0xE00FF, Stride: 1}}, // tags
}

// selectors holds the variation selectors: they have no width, and choose among the shapes of what precedes them.
var selectors = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0xFE00, Hi: 0xFE0F, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0xE0100, Hi: 0xE01EF, Stride: 1}},
}

// dots holds what people type for the separator · U+00B7.
var dots = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x0387, Hi: 0x0387, Stride: 1},
	{Lo: 0x16EB, Hi: 0x16EB, Stride: 1},
	{Lo: 0x2022, Hi: 0x2022, Stride: 1},
	{Lo: 0x2024, Hi: 0x2024, Stride: 1},
	{Lo: 0x2027, Hi: 0x2027, Stride: 1},
	{Lo: 0x2219, Hi: 0x2219, Stride: 1},
	{Lo: 0x22C5, Hi: 0x22C5, Stride: 1},
	{Lo: 0x25CF, Hi: 0x25CF, Stride: 1},
	{Lo: 0x25E6, Hi: 0x25E6, Stride: 1},
	{Lo: 0x2E31, Hi: 0x2E31, Stride: 1},
	{Lo: 0x2E33, Hi: 0x2E33, Stride: 1},
	{Lo: 0x30FB, Hi: 0x30FB, Stride: 1},
	{Lo: 0x318D, Hi: 0x318D, Stride: 1},
	{Lo: 0xA78F, Hi: 0xA78F, Stride: 1},
	{Lo: 0xFE52, Hi: 0xFE52, Stride: 1},
	{Lo: 0xFF0E, Hi: 0xFF0E, Stride: 1},
	{Lo: 0xFF65, Hi: 0xFF65, Stride: 1},
}}

// rule is what can be found: a level, a slug, and the words.
type rule struct {
	level Level
	code  string
	text  lang.Text
}

func (r *rule) at(offset int, c rune) Finding {
	return Finding{Offset: offset, Rune: c, Level: r.level, Code: r.code, Text: r.text}
}

var (
	brokenUTF8 = &rule{Refuse, "text.utf8", lang.T("不是有效的 UTF-8", "not valid UTF-8")}

	control = &rule{Refuse, "text.control", lang.T("含有控制字符", "contains a control character")}

	bidiMark = &rule{Refuse, "text.bidi", lang.T("含有改变文字方向的不可见字符", "contains an invisible mark that changes the direction of text")}

	hiddenMark = &rule{Refuse, "text.hidden", lang.T("含有零宽或不可见字符", "contains a zero-width or invisible character")}

	noncharacter = &rule{Refuse, "text.noncharacter", lang.T("含有 Unicode 非字符", "contains a Unicode noncharacter")}

	privateUse = &rule{Refuse, "text.private-use",
		lang.T("含有自造字（私用区码位），他处无法辨认；请改用正式编码的汉字", "contains a private-use code point that others cannot read; use the encoded character")}

	privateUseOld = &rule{Warn, "text.private-use",
		lang.T("含有自造字（私用区码位），他处可能无法辨认", "contains a private-use code point that others may not be able to read")}

	replacement = &rule{Refuse, "text.replacement",
		lang.T("含有替换字符 U+FFFD，原文已在先前的转换中丢失", "contains the replacement character U+FFFD: an earlier conversion lost the text")}

	compatibilityForm = &rule{Warn, "text.compatibility",
		lang.T("含有兼容字符，规范化时会变成另一个字；请核对", "contains a compatibility character that normalization turns into another; please check it")}

	notInNames = &rule{Refuse, "name.character",
		lang.T("姓名只能含汉字、拉丁字母，以及其间的 ·、空格、-、'、.", "a name has Han characters and Latin letters, with · space - ' . between them")}

	wrongDot = &rule{Refuse, "name.dot", lang.T("姓名中的间隔号须为 ·（U+00B7）", "the separator in a name is · (U+00B7)")}

	wrongDotOld = &rule{Warn, "name.dot", lang.T("姓名中的间隔号应为 ·（U+00B7）", "the separator in a name should be · (U+00B7)")}

	variation = &rule{Warn, "text.variation",
		lang.T("含有异体字选择符，他处可能显示为另一字形；请核对", "contains a variation selector: others may see another shape of the character; please check it")}

	notInField = &rule{Refuse, "text.character", lang.T("含有此栏不接受的字符", "contains a character that this field does not take")}

	strayCombining = &rule{Refuse, "text.mark", lang.T("附加符号之前没有所附的字母", "a combining mark has no letter before it")}

	strayMark = &rule{Refuse, "name.separator",
		lang.T("姓名不能以间隔符号开头，也不能连用同一符号", "a name does not begin with a separator nor repeat one")}

	unfinished = &rule{Refuse, "name.end", lang.T("姓名不能为空，也不能以间隔符号结尾", "a name is not empty and does not end with a separator")}

	tooLong = &rule{Refuse, "text.length", lang.T("超出字数上限", "is longer than allowed")}
)
