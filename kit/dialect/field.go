package dialect

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Keys that mean something, in small letters. A trace id is true where nothing else can stand there.
var (
	slangKeys   = map[string]bool{"event": true, "事件": true, "琼": true}
	messageKeys = map[string]bool{"msg": true, "message": true, "消息": true, "信息": true, "备注": true, "note": true}
	traceKeys   = map[string]bool{"trace": false, "trace_id": true, "traceid": true, "trace-id": true, "trace.id": true, "traceparent": true, "追踪号": true, "链路号": true}
	levelKeys   = map[string]bool{"level": true, "lvl": true, "级别": true}
	timeKeys    = map[string]bool{"time": true, "ts": true, "timestamp": true, "时间": true}
)

// body reads fields, durations and terms in line[lo:hi].
func (p *parse) body(lo, hi int) {
	text := lo // what stands from here on belongs to no field
	for i := lo; i < hi; {
		n := strings.IndexAny(p.line[i:hi], "=＝：")
		if n < 0 {
			break
		}
		sep := i + n
		_, size := utf8.DecodeRuneInString(p.line[sep:])
		i = sep + size
		key, ok := p.key(text, sep)
		if !ok || !p.assigns(sep, i, hi) {
			continue
		}
		p.prose(text, key)
		if _, end := p.terms(key, sep, hi); end > key && end < sep && !slices.Contains(p.glossary.after, p.line[end:sep]) {
			key = end
		}
		i = p.value(key, sep, i, hi)
		text = i
	}
	p.prose(text, hi)
}

// key returns where the key before sep begins, and whether there is one.
func (p *parse) key(lo, sep int) (int, bool) {
	at := sep
	for at > lo {
		r, size := utf8.DecodeLastRuneInString(p.line[lo:at])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r) {
			if !unicode.IsSpace(r) && !strings.ContainsRune("，,;；、。([{（【|\"“：", r) {
				return 0, false // such as ?a=1 of an address
			}
			break
		}
		at -= size
	}
	r, _ := utf8.DecodeRuneInString(p.line[at:sep])
	return at, at < sep && unicode.IsLetter(r) && sep-at <= 64
}

// assigns reports whether the mark line[sep:i] parts a key from its value, and is none of == and >= and the like.
func (p *parse) assigns(sep, i, hi int) bool {
	if p.line[sep] == '=' {
		return i == hi || !strings.ContainsRune("=><~", rune(p.line[i]))
	}
	r, _ := utf8.DecodeRuneInString(p.line[i:hi])
	return i < hi && !unicode.IsSpace(r) || strings.HasPrefix(p.line[sep:], "＝")
}

// value reads the value at i of the key line[key:sep], and returns where it ends.
func (p *parse) value(key, sep, i, hi int) int {
	from, to, end := p.extent(i, hi)
	value := p.line[from:to]
	if from > i && p.line[i] == '"' && strings.Contains(value, `\`) {
		if plain, err := strconv.Unquote(p.line[i:end]); err == nil {
			value = plain
		}
	}
	f := Field{Key: p.line[key:sep], Value: value, Offset: from}
	name := strings.ToLower(f.Key)
	duration, timed := wholeDuration(value)
	switch {
	case slangKeys[name]:
		p.slang(from, to)
	case timed: // a number is no prose
	case messageKeys[name] || strings.HasPrefix(p.line[sep:], "："):
		p.prose(from, to)
	}
	if p.known(name, f) {
		return end
	}
	if p.twice(f.Key) {
		p.find(RepeatedField, key, sep)
		return end
	}
	if timed {
		p.Durations = append(p.Durations, Duration{Key: f.Key, Value: duration, Offset: from})
	}
	p.Fields = append(p.Fields, f)
	return end
}

// twice reports whether the key has stood before.
func (p *parse) twice(key string) bool {
	const many = 16
	if len(p.Fields) < many {
		_, ok := p.Fields.Get(key)
		return ok
	}
	if p.keys == nil {
		p.keys = map[string]bool{}
		for _, f := range p.Fields {
			p.keys[f.Key] = true
		}
	}
	ok := p.keys[key]
	p.keys[key] = true
	return ok
}

// slang reads a value that is to be slang. English there is a name of the programmer's, and none of this package's.
func (p *parse) slang(from, to int) {
	if !strings.ContainsFunc(p.line[from:to], isHan) || p.exact(from, to) {
		return
	}
	if n, _ := p.terms(from, to, to); n == 0 {
		p.find(UnknownTerm, from, to)
	}
}

// known takes a field that is the line's time, level or trace id, where that is still wanted.
func (p *parse) known(name string, f Field) bool {
	switch {
	case levelKeys[name] && p.Level == "":
		p.Level = levelOf(f.Value)
		return p.Level != ""
	case timeKeys[name] && p.Time == 0:
		if p.readTime(f.Offset, f.Offset+len(f.Value), f.Value) {
			return p.Time != 0
		}
		if looksLikeTime(f.Value) {
			p.find(BadTime, f.Offset, f.Offset+len(f.Value))
		}
	}
	if must, is := traceKeys[name]; is && p.Trace == "" {
		if p.Trace = traceID(name, f.Value); p.Trace == "" && must {
			p.find(BadTrace, f.Offset, f.Offset+len(f.Value))
		}
		return p.Trace != ""
	}
	return false
}

// traceID returns the trace id that s is or, in a traceparent, holds (W3C Trace Context); empty for none.
func traceID(name, s string) string {
	if name == "traceparent" {
		parts := strings.Split(s, "-")
		if len(parts) != 4 || len(parts[0]) != 2 || len(parts[2]) != 16 || len(parts[3]) != 2 {
			return ""
		}
		s = parts[1]
	} else if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = strings.ReplaceAll(s, "-", "") // a UUID
	}
	if len(s) != 32 || strings.Trim(s, "0") == "" || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return ""
	}
	return strings.ToLower(s)
}

var quotes = map[rune]string{'"': `"`, '\'': "'", '“': "”", '「': "」"}

// extent finds the value at i: line[from:to], after which the line goes on at end.
func (p *parse) extent(i, hi int) (from, to, end int) {
	r, size := utf8.DecodeRuneInString(p.line[i:hi])
	closing, quoted := quotes[r]
	if !quoted {
		to = p.bare(i, hi)
		return i, to, to
	}
	from = i + size
	for to = from; to < hi; to++ {
		switch {
		case r == '"' && p.line[to] == '\\':
			to++
		case strings.HasPrefix(p.line[to:hi], closing):
			return from, to, to + len(closing)
		}
	}
	p.find(UnclosedQuote, i, hi)
	return from, hi, hi
}

// bare finds the end of a value that is not quoted. Brackets that it opens are part of it, and a comma is where no blank
// and no further field follows.
func (p *parse) bare(i, hi int) int {
	depth := 0
	for at := i; at < hi; {
		r, size := utf8.DecodeRuneInString(p.line[at:hi])
		switch {
		case unicode.IsSpace(r):
			return at
		case strings.ContainsRune("([{", r):
			depth++
		case strings.ContainsRune(")]}", r) && depth > 0:
			depth--
		case strings.ContainsRune(")]}）】，；。;", r) && depth == 0:
			return at
		case r == ',' && depth == 0 && p.ends(at+1, hi):
			return at
		}
		at += size
	}
	return hi
}

// ends reports whether a value ended before line[i:hi], as a blank or a field follows.
func (p *parse) ends(i, hi int) bool {
	rest := p.line[i:hi]
	n := strings.IndexFunc(rest, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r)
	})
	if n <= 0 {
		return rest == "" || n == 0 && unicode.IsSpace(first(rest))
	}
	return strings.ContainsRune("=＝：", first(rest[n:]))
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }
