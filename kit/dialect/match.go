package dialect

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// terms adds the terms in line[lo:hi] to the record, where a negation may stand as far as limit. It returns how many
// terms there are, unclear ones among them, and where the last of them ends.
func (p *parse) terms(lo, hi, limit int) (n, end int) {
	for i := lo; i < hi; {
		e, ok := p.glossary.longest(p.line, i, hi)
		if !ok {
			_, size := utf8.DecodeRuneInString(p.line[i:hi])
			i += size
			continue
		}
		if e.senses != nil {
			p.term(e, i, lo, limit)
			n, end = n+1, i+len(e.text)
		}
		i += len(e.text)
		lo = i // the 别 of 分别 negates nothing
	}
	return n, end
}

// longest finds the longest term or word that line[i:hi] begins with.
func (g *Glossary) longest(line string, i, hi int) (entry, bool) {
	r, _ := utf8.DecodeRuneInString(line[i:hi])
	for _, e := range g.index[lower(r)] {
		if end := i + len(e.text); end <= hi && same(line[i:end], e.text) && bounded(line, i, end) {
			return e, true
		}
	}
	return entry{}, false
}

// lower is unicode.ToLower, which is slow to find that Han has no case.
func lower(r rune) rune {
	if r >= 0x3400 && r <= 0x9FFF {
		return r
	}
	return unicode.ToLower(r)
}

// same compares without regard to the case of Latin letters.
func same(a, b string) bool { return a == b || strings.EqualFold(a, b) }

// bounded reports whether line[i:end] stands alone where its ends are not Han: no letter or digit of its kind goes on.
func bounded(line string, i, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(line[:i])
	first, _ := utf8.DecodeRuneInString(line[i:end])
	last, _ := utf8.DecodeLastRuneInString(line[i:end])
	after, _ := utf8.DecodeRuneInString(line[end:])
	return (i == 0 || !joins(before, first)) && (end == len(line) || !joins(last, after))
}

// joins reports whether a and b would be of one word.
func joins(a, b rune) bool { return alphabetic(a) && alphabetic(b) }

func alphabetic(r rune) bool {
	return r == '_' || r == '-' || (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.Is(unicode.Han, r)
}

// term records the term at line[i:], whose negations stand in line[lo:hi].
func (p *parse) term(e entry, i, lo, hi int) {
	end := i + len(e.text)
	t := p.sense(e)
	if t == nil {
		p.find(AmbiguousTerm, i, end)
		return
	}
	p.Events = append(p.Events, Event{
		Code: t.Code, Kind: t.Kind, Term: t.Term, Offset: i, Size: len(e.text),
		Negated: p.negatedBefore(lo, i) != p.negatedAfter(end, hi),
	})
}

// sense is the one sense of e that fits the line; nil where none does, or several do.
func (p *parse) sense(e entry) (only *Term) {
	for _, t := range e.senses {
		if !p.inContext(t) {
			continue
		}
		if only != nil {
			return nil
		}
		only = t
	}
	return only
}

// inContext reports whether a context word of t stands in the line.
func (p *parse) inContext(t *Term) bool {
	return len(t.Context) == 0 || slices.ContainsFunc(t.Context, p.has)
}

// has reports whether w stands in the line by itself. A line is searched once for each word.
func (p *parse) has(w string) bool {
	found, known := p.words[w]
	if known {
		return found
	}
	for i := range p.line {
		if end := i + len(w); end <= len(p.line) && same(p.line[i:end], w) && bounded(p.line, i, end) {
			found = true
			break
		}
	}
	if p.words == nil {
		p.words = map[string]bool{}
	}
	p.words[w] = found
	return found
}

// negatedBefore reports whether a negation stands right before line[i:].
func (p *parse) negatedBefore(lo, i int) bool {
	s := strings.TrimRight(p.line[lo:i], " ")
	for _, w := range p.glossary.before {
		if at := len(s) - len(w); at >= 0 && same(s[at:], w) && bounded(s, at, len(s)) {
			return true
		}
	}
	return false
}

// negatedAfter reports whether a negation stands right behind line[:end]: 埋单失败, 埋单=失败, 埋单 failed.
func (p *parse) negatedAfter(end, hi int) bool {
	s := p.line[end:hi]
	rest := strings.TrimLeft(s, " =＝:：")
	for _, w := range p.glossary.after {
		if len(rest) < len(w) || !same(rest[:len(w)], w) {
			continue
		}
		// 埋单失败次数 is of failures, whatever follows; in 埋单 失败次数 it is the next word that tells of them.
		if next := first(rest[len(w):]); len(rest) == len(s) || len(rest) == len(w) || next == '了' || !unicode.IsLetter(next) && !unicode.IsDigit(next) {
			return bounded(rest, 0, len(w))
		}
	}
	return false
}
