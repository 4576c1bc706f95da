package dialect

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
)

// Parser reads lines by a glossary. It does not change while it parses and may be shared.
type Parser struct {
	Glossary *Glossary     // Builtin where nil
	Naive    beijing.Naive // what a time without a zone is; refused ones are findings
}

// mark stands before a term in a comment.
const mark = "【琼】"

// Parse returns what a line says. The line has no line end.
func (p *Parser) Parse(line string) *Record {
	r := new(Record)
	p.ParseInto(r, line)
	return r
}

// ParseInto is Parse into a record whose memory is used again.
func (p *Parser) ParseInto(r *Record, line string) {
	*r = Record{Events: r.Events[:0], Fields: r.Fields[:0], Durations: r.Durations[:0], Findings: r.Findings[:0], Text: line}
	glossary := p.Glossary
	if glossary == nil {
		glossary = Builtin()
	}
	s := parse{Record: r, line: line, glossary: glossary, naive: p.Naive}
	if at := invalid(line); at >= 0 {
		s.find(BadText, at, len(line))
	}
	s.all()
}

// parse is a line that is being read.
type parse struct {
	*Record
	line     string
	glossary *Glossary
	naive    beijing.Naive
	words    map[string]bool // context words that were looked for
	keys     map[string]bool // of the fields, where there are many
}

func (p *parse) find(code string, from, to int) {
	p.Findings = append(p.Findings, Finding{Code: code, Offset: from, Size: to - from})
}

// invalid is where the first bytes stand that are no UTF-8; -1 for none.
func invalid(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return -1
}

func (p *parse) all() {
	i := p.head()
	for i < len(p.line) {
		at := strings.Index(p.line[i:], mark)
		if at < 0 {
			p.body(i, len(p.line))
			return
		}
		p.body(i, i+at)
		i = p.comment(i + at)
	}
}

// head reads the time and the level that a line begins with, in either order. Between them a thread may be named in
// brackets; it stays in the text.
func (p *parse) head() int {
	leveled := p.level(0)
	i := p.time(leveled)
	if p.Level != "" || i == leveled {
		return i
	}
	if after := p.level(i); p.Level != "" {
		return after
	}
	if thread := strings.TrimLeft(p.line[i:], " "); strings.HasPrefix(thread, "[") {
		if n := strings.IndexByte(thread, ']'); n > 0 {
			if after := p.level(len(p.line) - len(thread) + n + 1); p.Level != "" {
				return after
			}
		}
	}
	return i
}

// comment reads what is marked at i, up to the next mark, and returns where that is.
func (p *parse) comment(i int) int {
	start, end := i+len(mark), len(p.line)
	if next := strings.Index(p.line[start:], mark); next >= 0 {
		end = start + next
	}
	from, stop := trim(p.line, start, end)
	to := stop
	if n := strings.IndexFunc(p.line[from:stop], separates); n >= 0 {
		to = from + n
	}
	note, _ := trim(p.line, to, stop)
	colon := first(p.line[note:stop])
	named := colon == ':' || colon == '：'
	if named {
		note, _ = trim(p.line, note+utf8.RuneLen(colon), stop)
	}
	if from == to {
		p.find(MissingTerm, i, start)
	} else if term, after, ok := p.marked(from, to, named); !ok {
		p.find(UnknownTerm, from, to)
	} else {
		if after < to && !named {
			note = after
		}
		if term != nil {
			term.Marked, term.Note = true, p.line[note:stop]
		}
	}
	p.body(note, end)
	return end
}

// marked reads the term that line[from:to] begins with, negated perhaps. One that is named, by a colon behind it, is the
// whole of that; whatever else is there would be a word of its own. It returns the event, which is nil where the sense is
// not clear, and where the term ends; false where the glossary has no such term.
func (p *parse) marked(from, to int, named bool) (term *Event, end int, ok bool) {
	at := from
	e, ok := p.glossary.longest(p.line, at, to)
	for i := 0; !ok && i < len(p.glossary.before); i++ {
		if w := p.glossary.before[i]; strings.HasPrefix(p.line[from:to], w) {
			at = from + len(w)
			e, ok = p.glossary.longest(p.line, at, to)
		}
	}
	end = at + len(e.text)
	if !ok || e.senses == nil || named && end < to && !slices.Contains(p.glossary.after, p.line[end:to]) {
		return nil, 0, false
	}
	n := len(p.Events)
	p.term(e, at, from, to)
	if len(p.Events) > n {
		term = &p.Events[n]
	}
	return term, end, true
}

// exact reads line[from:to] as one term, and reports whether the glossary has it.
func (p *parse) exact(from, to int) bool {
	r, _ := utf8.DecodeRuneInString(p.line[from:to])
	for _, e := range p.glossary.index[lower(r)] {
		if e.senses != nil && same(e.text, p.line[from:to]) {
			p.term(e, from, from, to)
			return true
		}
	}
	return false
}

// trim narrows s[from:to] to what is not blank at its ends.
func trim(s string, from, to int) (int, int) {
	part := strings.TrimLeftFunc(s[from:to], unicode.IsSpace)
	from = to - len(part)
	return from, from + len(strings.TrimRightFunc(part, unicode.IsSpace))
}

// separates reports whether r parts a word from the next: blanks and marks.
func separates(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsSymbol(r) || unicode.IsPunct(r) && r != '_' && r != '-'
}
