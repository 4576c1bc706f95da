package han

import "unicode"

// Script is a set of scripts that a field takes.
type Script uint16

// The scripts. Minority are the five in which names and texts of public services are written beside Han.
const (
	Han       Script = 1 << iota // unified ideographs of every extension, simplified and traditional, and 〇
	Latin                        // letters with their precomposed accents
	Digits                       // 0 to 9; full-width ones are a warning
	Tibetan                      // with vowel signs, subjoined letters and the tsheg that ends a syllable
	Uyghur                       // the Arabic letters of Uyghur, Kazakh and Kirghiz as written in China
	Mongolian                    // with Todo, Sibe and Manchu letters, and what shapes them
	Yi                           // syllables; radicals in texts
	Zhuang                       // Latin letters, the tone letters of the old orthography, combining accents

	Minority = Tibetan | Uyghur | Mongolian | Yi | Zhuang
)

const listed = " ·-—–()（）《》〈〉“”‘’\"'、，。：；！？,.:;!?&+/／－…%％°№#〔〕【】[]～~"

// Policies of common fields.
var (
	Name         = Policy{Max: 100, Person: true}                                                // a person's name in Han or Latin
	MinorityName = Policy{Max: 100, Person: true, Scripts: Han | Latin | Minority}               // also in a minority script
	Organization = Policy{Max: 200, Scripts: Han | Latin | Digits, Also: " ·-—()（）&＆.'’、“”《》+/"} // an organization's name
	Title        = Policy{Max: 500, Scripts: Han | Latin | Digits | Minority, Also: listed}      // a title or heading
	Address      = Policy{Max: 300, Scripts: Han | Latin | Digits, Also: " ·-—－()（）.,，、。/／#＃&～~:：'’№"}
)

// letter reports whether r is a letter of one of the scripts.
func (s Script) letter(r rune) bool {
	switch {
	case s&Han != 0 && IsHan(r),
		s&(Latin|Zhuang) != 0 && unicode.Is(unicode.Latin, r) && unicode.IsLetter(r),
		s&Tibetan != 0 && unicode.Is(unicode.Tibetan, r) && (unicode.IsLetter(r) || r == '་' || r == '༌'),
		s&Uyghur != 0 && unicode.Is(uyghur, r),
		s&Mongolian != 0 && unicode.Is(unicode.Mongolian, r) && unicode.IsLetter(r),
		s&Yi != 0 && unicode.Is(unicode.Yi, r) && unicode.IsLetter(r),
		s&Zhuang != 0 && (r == 'З' || r == 'з' || r == 'Ч' || r == 'ч'): // Cyrillic letters as tones 3 and 4
		return true
	}
	return false
}

// mark returns which of the scripts r is a combining mark of, or 0. Those of Mongolian are in shapesMongolian.
func (s Script) mark(r rune) Script {
	switch {
	case s&Tibetan != 0 && unicode.Is(unicode.Tibetan, r) && unicode.IsMark(r):
		return Tibetan
	case s&Zhuang != 0 && r >= 0x300 && r <= 0x30F:
		return Zhuang
	}
	return 0
}

// sign reports whether r is a digit, punctuation or other sign of one of the scripts, which texts have and names do not.
func (s Script) sign(r rune) bool {
	switch {
	case s&Digits != 0 && r >= '0' && r <= '9',
		s&Tibetan != 0 && unicode.Is(unicode.Tibetan, r) && !unicode.IsMark(r),
		s&Uyghur != 0 && (r == '،' || r == '؛' || r == '؟'),
		s&Mongolian != 0 && r >= 0x1800 && r <= 0x1819 && r != 0x180E && (r < 0x180B || r > 0x180F),
		s&Yi != 0 && unicode.Is(unicode.Yi, r):
		return true
	}
	return false
}

// shapesMongolian reports whether r is one of the invisible characters that Mongolian is spelt with, in a place where it
// shapes something: a variation selector or the vowel separator after a letter, the narrow space before a suffix. They
// are the only invisible characters that any field takes. Joiners are not among them: the letters of Uyghur join by
// themselves, and Mongolian has its nirugu.
func shapesMongolian(r, previous rune) bool {
	switch {
	case r >= 0x180B && r <= 0x180D || r == 0x180F || r == 0x180E:
		return Mongolian.letter(previous)
	case r == 0x202F:
		return Mongolian.letter(previous) || previous >= 0x180B && previous <= 0x180F
	}
	return false
}

// uyghur holds the Arabic letters of Uyghur, Kazakh and Kirghiz. It is by letter and not by unicode.Arabic, whose
// presentation forms and marks make texts look the same that differ.
var uyghur = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x0621, Hi: 0x0621, Stride: 1},
	{Lo: 0x0626, Hi: 0x0628, Stride: 1},
	{Lo: 0x062A, Hi: 0x062A, Stride: 1},
	{Lo: 0x062C, Hi: 0x062F, Stride: 1},
	{Lo: 0x0631, Hi: 0x0634, Stride: 1},
	{Lo: 0x0639, Hi: 0x063A, Stride: 1},
	{Lo: 0x0641, Hi: 0x0646, Stride: 1},
	{Lo: 0x0648, Hi: 0x064A, Stride: 1},
	{Lo: 0x0674, Hi: 0x0678, Stride: 1},
	{Lo: 0x067E, Hi: 0x067E, Stride: 1},
	{Lo: 0x0686, Hi: 0x0686, Stride: 1},
	{Lo: 0x0698, Hi: 0x0698, Stride: 1},
	{Lo: 0x06AD, Hi: 0x06AD, Stride: 1},
	{Lo: 0x06AF, Hi: 0x06AF, Stride: 1},
	{Lo: 0x06BE, Hi: 0x06BE, Stride: 1},
	{Lo: 0x06C5, Hi: 0x06CB, Stride: 1},
	{Lo: 0x06D0, Hi: 0x06D0, Stride: 1},
	{Lo: 0x06D5, Hi: 0x06D5, Stride: 1},
}}
