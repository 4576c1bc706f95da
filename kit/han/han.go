// Package han promises to say exactly what is wrong with text that people type, and never to change it.
//
// Public services must take every Han character of GB 18030 at implementation level 3, so 䶮, 𠮷 and 𬭎 are names like
// any other. What is refused is what no one can see or no one else can read: control characters, marks that reverse or
// hide text, private-use code points, broken UTF-8. What is odd but legible is a warning. Length is in code points.
//
// [Check] says what it finds under a [Policy]; there are policies for names, organizations, titles and addresses. The
// functions that return another text ([NFC], [FoldWidth], [NameKey], [StripControls]) are for comparing and searching,
// or for a caller who has decided; keep what was submitted. Package gb18030 below this one reads and writes the encodings.
package han

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Level is how grave a finding is.
type Level uint8

// The levels.
const (
	Warn   Level = iota // legible, but worth a second look: accept it unchanged and show the finding
	Refuse              // do not accept the text
)

// Finding is one thing noticed in a text.
type Finding struct {
	Offset int  // in bytes, where the code point begins; the text's length for what concerns its end
	Rune   rune // the code point; utf8.RuneError for a byte that is not UTF-8; -1 where none is meant
	Level  Level
	Code   string // stable slug for programs, such as "text.control"
	Text   lang.Text
}

// Policy says what a field takes beyond visible characters. The zero Policy is a single line of any length.
type Policy struct {
	Max        int  // the greatest length in code points; 0 for no limit
	Lines      bool // take tab, line feed and carriage return
	PrivateUse bool // warn about private-use code points rather than refuse them, for texts from old systems
	Person     bool // a person's name: letters of Scripts, Han and Latin where 0, with separators between them

	Scripts Script // where not 0, take nothing but these scripts and what Also lists
	Also    string // punctuation and symbols
	Lenient bool   // for data that exists: warn of what a form would refuse though it is legible, also in names
}

// CheckName checks a person's name: Check with the policy [Name].
func CheckName(s string) []Finding { return Check(s, Name) }

// Check returns what it finds in s under p, in the order of the text; nil where there is nothing to say. Each kind of
// finding is reported where it first occurs, so that hostile text cannot make the answer long.
func Check(s string, p Policy) []Finding {
	c := checker{policy: p}
	length, previous := 0, rune(-1)
	for offset := 0; offset < len(s); length++ {
		r, size := utf8.DecodeRuneInString(s[offset:])
		if r == utf8.RuneError && size == 1 {
			c.add(offset, r, brokenUTF8)
		} else if rule := p.rule(r, previous); rule != nil {
			c.add(offset, r, rule)
		} else if p.Person && isSeparator(r) && (previous == -1 || previous == r) {
			c.add(offset, r, strayMark)
		}
		previous = r
		offset += size
	}
	if p.Person && (length == 0 || isSeparator(previous) && previous != '.') {
		c.add(len(s), -1, unfinished)
	}
	if p.Max > 0 && length > p.Max {
		c.add(len(s), -1, tooLong)
	}
	return c.findings
}

// CheckRune returns what p has against the code point r after previous, which is -1 at the beginning; for texts too long
// for one string. The finding has no offset, and what concerns a text as a whole is left out.
func (p Policy) CheckRune(r, previous rune) (Finding, bool) {
	rule := p.rule(r, previous)
	if rule == nil {
		return Finding{}, false
	}
	return rule.at(0, r), true
}

type checker struct {
	policy   Policy
	seen     map[string]bool
	findings []Finding
}

func (c *checker) add(offset int, r rune, rule *rule) {
	if c.seen[rule.code] {
		return
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	c.seen[rule.code] = true
	c.findings = append(c.findings, rule.at(offset, r))
}

// Refused reports whether any finding is a refusal.
func Refused(findings []Finding) bool {
	for _, f := range findings {
		if f.Level == Refuse {
			return true
		}
	}
	return false
}

// Error returns the refusals among findings as an error of kind Invalid about field, or nil where there is none. It
// says at which byte of the field each stands and repeats nothing of the text.
func Error(findings []Finding, field string) error {
	var first *errs.Error
	for _, f := range findings {
		if f.Level != Refuse {
			continue
		}
		e := errs.Newf(errs.Invalid, f.Text.ZH+"（字段内第 %d 字节）", f.Text.EN+" (byte %d of the field)", f.Offset).
			WithField(field).WithCode(f.Code)
		if first == nil {
			first = e
		} else {
			first.Also = append(first.Also, e)
		}
	}
	if first == nil {
		return nil // not a nil *errs.Error in an error
	}
	return first
}

// rule returns what p has against r after previous, or nil.
func (p Policy) rule(r, previous rune) *rule {
	if isPlain(r) {
		return p.nameRule(r, previous)
	}
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		if p.Lines {
			return nil
		}
		return control
	case unicode.Is(unicode.Cc, r) || r == '\u2028' || r == '\u2029':
		return control
	case unicode.Is(bidi, r):
		return bidiMark
	case unicode.Is(selectors, r):
		return p.selectorRule(r, previous)
	case p.Scripts&Mongolian != 0 && shapesMongolian(r, previous):
		return nil
	case r == '\u200d' && !p.Person && p.Scripts == 0 && joinsEmoji(previous):
		return nil
	case unicode.Is(hidden, r):
		return hiddenMark
	case isNoncharacter(r):
		return noncharacter
	case unicode.Is(unicode.Co, r):
		if p.Lenient || p.PrivateUse && !p.Person {
			return privateUseOld
		}
		return privateUse
	case r == utf8.RuneError:
		return replacement
	case unicode.Is(compatibility, r):
		return compatibilityForm
	}
	return p.nameRule(r, previous)
}

// isPlain reports whether r is one of those that most text is made of, and that nothing but a name's alphabet can be
// against.
func isPlain(r rune) bool { return r >= ' ' && r < 0x7F || r >= 0x4E00 && r < 0xA000 }

// nameRule returns what the alphabet of a name has against r.
func (p Policy) nameRule(r, previous rune) *rule {
	switch {
	case p.Person:
		return p.personRule(r, previous)
	case p.Scripts != 0 && !strings.ContainsRune(p.Also, r):
		return p.scriptRule(r, previous)
	}
	return nil
}

// selectorRule is about variation selectors: after a Han character they choose one of its shapes, elsewhere emoji and
// symbols have some.
func (p Policy) selectorRule(r, previous rune) *rule {
	switch {
	case IsHan(previous) || unicode.Is(compatibility, previous):
		return variation
	case r >= 0xE0100 || p.Person || p.Scripts != 0:
		return hiddenMark
	}
	return nil
}

// joinsEmoji reports whether a zero-width joiner after previous makes one picture of two, as in families.
func joinsEmoji(previous rune) bool {
	return unicode.Is(unicode.So, previous) || previous == 0xFE0F || previous >= 0x1F3FB && previous <= 0x1F3FF
}

func (p Policy) personRule(r, previous rune) *rule {
	scripts := p.Scripts &^ Digits
	if scripts == 0 {
		scripts = Han | Latin
	}
	switch {
	case isSeparator(r) || scripts.letter(r):
		return nil
	case scripts.mark(r) != 0:
		return markRule(scripts.mark(r), previous)
	case unicode.Is(dots, r) && p.Lenient:
		return wrongDotOld
	case unicode.Is(dots, r):
		return wrongDot
	case p.Scripts != 0:
		return notInField
	}
	return notInNames
}

func (p Policy) scriptRule(r, previous rune) *rule {
	switch {
	case p.Scripts.letter(r) || p.Scripts.sign(r):
		return nil
	case p.Scripts.mark(r) != 0:
		return markRule(p.Scripts.mark(r), previous)
	case p.Scripts&Digits != 0 && r >= '０' && r <= '９':
		return compatibilityForm
	}
	return notInField
}

// markRule refuses a combining mark that has no letter of its script to combine with.
func markRule(s Script, previous rune) *rule {
	if s.letter(previous) || s.mark(previous) != 0 {
		return nil
	}
	return strayCombining
}

// isSeparator reports whether r may stand between the parts of a name: the middle dot U+00B7 of transliterated names,
// and what Latin names use.
func isSeparator(r rune) bool {
	return r == '·' || r == ' ' || r == '-' || r == '\'' || r == '’' || r == '.'
}

func isNoncharacter(r rune) bool { return r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF }
