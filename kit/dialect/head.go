package dialect

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
)

var levels = map[string]Level{
	"trace": LevelTrace, "跟踪": LevelTrace,
	"debug": LevelDebug, "调试": LevelDebug,
	"info": LevelInfo, "notice": LevelInfo, "信息": LevelInfo, "提示": LevelInfo,
	"warn": LevelWarn, "warning": LevelWarn, "警告": LevelWarn, "告警": LevelWarn,
	"error": LevelError, "err": LevelError, "错误": LevelError,
	"fatal": LevelFatal, "panic": LevelFatal, "critical": LevelFatal, "严重": LevelFatal, "致命": LevelFatal,
}

// levelOf finds a level by its name in any case; empty for none.
func levelOf(name string) Level {
	const longest = len("critical")
	if len(name) > longest {
		return ""
	}
	var low [longest]byte
	n := copy(low[:], name)
	for i := range n {
		if c := low[i]; c >= 'A' && c <= 'Z' {
			low[i] += 'a' - 'A'
		}
	}
	return levels[string(low[:n])]
}

// level reads a level at i, bare or in brackets, and returns where it ends; i where there is none.
func (p *parse) level(i int) int {
	from, end := trim(p.line, i, len(p.line))
	if rest := p.line[from:end]; strings.HasPrefix(rest, "| ") || strings.HasPrefix(rest, "- ") {
		from += 2
	}
	open, size := utf8.DecodeRuneInString(p.line[from:end])
	closing, bracketed := brackets[open]
	if bracketed {
		from += size
	}
	to := from
	for to < end {
		r, size := utf8.DecodeRuneInString(p.line[to:end])
		if !unicode.IsLetter(r) {
			break
		}
		to += size
	}
	level := levelOf(p.line[from:to])
	if level == "" {
		return i
	}
	for bracketed && to < end && p.line[to] == ' ' {
		to++ // [INFO ]
	}
	r, size := utf8.DecodeRuneInString(p.line[to:])
	switch {
	case bracketed && r == closing:
		to += size
	case bracketed || to < len(p.line) && !unicode.IsSpace(r) && !strings.ContainsRune(":：|,，", r):
		return i // a longer word
	case to < len(p.line) && !unicode.IsSpace(r):
		to += size
	}
	p.Level = level
	return to
}

var brackets = map[rune]rune{'[': ']', '【': '】', '(': ')', '<': '>', '［': '］'}

// time reads a time at i, bare or in brackets, and returns where it ends; i where there is none.
func (p *parse) time(i int) int {
	from, end := trim(p.line, i, len(p.line))
	open, size := utf8.DecodeRuneInString(p.line[from:end])
	if closing, ok := brackets[open]; ok {
		from += size
		at := strings.IndexRune(p.line[from:], closing)
		if at < 0 || !p.readTime(from, from+at, p.line[from:from+at]) {
			return i
		}
		return from + at + utf8.RuneLen(closing)
	}
	if from == end || p.line[from] < '0' || p.line[from] > '9' {
		return i
	}
	line := p.line[:end]
	one := wordEnd(line, from)
	second := skipSpace(line, one)
	two := wordEnd(line, second)
	third := skipSpace(line, two)
	three := wordEnd(line, third)
	if zone := line[third:three]; isOffset(zone) && p.readTime(from, three, line[from:two]+zone) {
		return three
	}
	ends := [...]int{two, one}
	if second == end || line[second] < '0' || line[second] > '9' {
		ends[0] = one // the second word is no time of day
	}
	for _, to := range ends {
		cut := from + len(strings.TrimRight(line[from:to], ",:：，;|"))
		if cut > from && p.readTime(from, cut, line[from:cut]) {
			return to
		}
	}
	if looksLikeTime(line[from:one]) {
		p.find(BadTime, from, ends[0])
		return ends[0]
	}
	return i
}

// wordEnd returns where the word at i ends.
func wordEnd(s string, i int) int {
	if n := strings.IndexFunc(s[i:], unicode.IsSpace); n >= 0 {
		return i + n
	}
	return len(s)
}

func skipSpace(s string, i int) int {
	return len(s) - len(strings.TrimLeftFunc(s[i:], unicode.IsSpace))
}

// isOffset reports whether s is +0800 or +08:00, which some write apart from the time.
func isOffset(s string) bool {
	return len(s) >= 5 && len(s) <= 6 && (s[0] == '+' || s[0] == '-') && s[1] >= '0' && s[1] <= '9'
}

// readTime reads text, which stands at line[from:to], and reports whether it is a time.
func (p *parse) readTime(from, to int, text string) bool {
	if len(text) < 14 || !hasYear(text) && strings.Trim(text[:8], "0123456789") != "" {
		return false
	}
	t, err := beijing.ReadTime(text, p.naive)
	switch {
	case err == nil:
		p.Time = beijing.At(t)
		return true
	case errs.As(err).Code == "time.naive":
		p.find(NaiveTime, from, to)
		return true
	}
	return false
}

// hasYear reports whether s begins with a year and the mark behind it.
func hasYear(s string) bool {
	return len(s) > 4 && strings.Trim(s[:4], "0123456789") == "" && (strings.ContainsRune("-/.", rune(s[4])) || strings.HasPrefix(s[4:], "年"))
}

var dated = regexp.MustCompile(`^\d{4}(-\d\d?-|/\d\d?/|\.\d\d?\.|年\d\d?月)\d`)

// looksLikeTime reports whether s begins as a date does, and is no date by itself.
func looksLikeTime(s string) bool {
	if !hasYear(s) || !dated.MatchString(s) {
		return false
	}
	_, err := beijing.ReadDate(s)
	return err != nil
}
