// Package lang carries what Qiong says to people in the two languages it speaks, Chinese first and English.
package lang

import "strings"

// Lang is a language Qiong answers in.
type Lang string

// The two languages. The zero Lang reads as ZH.
const (
	ZH Lang = "zh"
	EN Lang = "en"
)

// Text is one message in both languages.
type Text struct {
	ZH string `json:"zh" yaml:"zh"`
	EN string `json:"en" yaml:"en"`
}

// T returns the Text with the given Chinese and English words.
func T(zh, en string) Text { return Text{ZH: zh, EN: en} }

// In returns the words in l, or in the other language where l has none.
func (t Text) In(l Lang) string {
	first, second := t.ZH, t.EN
	if l == EN {
		first, second = second, first
	}
	if first == "" {
		return second
	}
	return first
}

// IsZero reports whether t has no words at all.
func (t Text) IsZero() bool { return t == Text{} }

// Parse reads a language tag such as "zh", "zh-CN", "zh_CN.UTF-8" or "en-US".
// The second result is false where the tag names neither language.
func Parse(tag string) (Lang, bool) {
	tag = strings.ToLower(strings.TrimSpace(tag))
	switch {
	case tag == "zh" || strings.HasPrefix(tag, "zh-") || strings.HasPrefix(tag, "zh_") || strings.HasPrefix(tag, "zh."):
		return ZH, true
	case tag == "en" || strings.HasPrefix(tag, "en-") || strings.HasPrefix(tag, "en_") || strings.HasPrefix(tag, "en."):
		return EN, true
	}
	return ZH, false
}

// FromAccept chooses the language by an Accept-Language header (RFC 9110, section 12.5.4): the highest quality wins,
// the first named where two are equal. Chinese is the answer where the header names neither language.
func FromAccept(header string) Lang {
	best, bestQ := ZH, -1
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(part, ";")
		l, ok := Parse(tag)
		if !ok {
			continue
		}
		if q := quality(params); q > bestQ && q > 0 {
			best, bestQ = l, q
		}
	}
	return best
}

// quality reads "q=0.8" as thousandths; 1000 where it is absent, 0 where it is malformed.
func quality(params string) int {
	_, value, found := strings.Cut(strings.ReplaceAll(params, " ", ""), "q=")
	if !found {
		return 1000
	}
	whole, frac, _ := strings.Cut(value, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return 0
	}
	q := int(whole[0]-'0') * 1000
	for i, unit := 0, 100; i < len(frac); i, unit = i+1, unit/10 {
		if frac[i] < '0' || frac[i] > '9' {
			return 0
		}
		q += int(frac[i]-'0') * unit
	}
	return min(q, 1000)
}

// FromEnv chooses the language by LC_ALL, LC_MESSAGES and LANG, in that order, as POSIX does. A system set to neither
// language (C, POSIX, or another) is answered in English where a variable is set, in Chinese where none is.
func FromEnv(getenv func(string) string) Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := getenv(name); value != "" {
			if l, ok := Parse(value); ok {
				return l
			}
			return EN
		}
	}
	return ZH
}
