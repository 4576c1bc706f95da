package dialect

import (
	_ "embed"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed glossary.yaml
var builtinText []byte

var builtin = sync.OnceValues(func() (*Glossary, error) {
	d, err := parseDraft(builtinText)
	if err != nil {
		return nil, err
	}
	return d.glossary(), nil
})

// Term is an entry of a glossary.
type Term struct {
	Term     string    `json:"term"`
	Code     string    `json:"code"`   // stable, such as bounced-to-sign-in
	Kind     Kind      `json:"kind"`   // what it tells of
	Speech   Speech    `json:"speech"` // what part of speech it is
	Meaning  lang.Text `json:"meaning"`
	Context  []string  `json:"context,omitempty"` // where given, one of them stands in the line
	Examples []string  `json:"examples,omitempty"`
}

// Kind is what a term tells of.
type Kind string

// The kinds.
const (
	KindEvent Kind = "event" // it happened
	KindState Kind = "state" // it is so
)

// Speech is a part of speech.
type Speech string

// The parts of speech.
const (
	Verb      Speech = "verb"
	Noun      Speech = "noun"
	Adjective Speech = "adjective"
	Phrase    Speech = "phrase"
)

// Glossary knows terms, the longer words that only look like them, and what negates them. It does not change and may be
// shared.
type Glossary struct {
	said          *draft
	index         map[rune][]entry // by the first character in lower case, the longest first
	before, after []string         // negations, the longest first
}

// entry is a term or a known word. A term that several entries of the glossary share has several senses.
type entry struct {
	text   string
	senses []*Term // none for a word
}

// Builtin returns the glossary that comes with Qiong.
func Builtin() *Glossary {
	g, err := builtin()
	if err != nil {
		panic("kit/dialect: glossary.yaml: " + err.Error()) // a test reads it
	}
	return g
}

// Version returns the version of the glossary: 1 for Qiong's own, 1+3 with version 3 of a team's.
func (g *Glossary) Version() string { return g.said.version }

// Terms returns the terms in the order of the files.
func (g *Glossary) Terms() []Term { return slices.Clone(g.said.terms) }

// draft is what a file says.
type draft struct {
	version       string
	terms         []Term
	words         []string
	before, after []string
}

// with returns d with what a team adds. A term that the team defines is no longer as d has it.
func (d *draft) with(own *draft) *draft {
	defined := map[string]bool{}
	for _, t := range own.terms {
		defined[t.Term] = true
	}
	kept := slices.DeleteFunc(slices.Clone(d.terms), func(t Term) bool { return defined[t.Term] })
	return &draft{
		version: d.version + "+" + own.version,
		terms:   append(kept, own.terms...),
		words:   slices.DeleteFunc(slices.Concat(d.words, own.words), func(w string) bool { return defined[w] }),
		before:  slices.Concat(d.before, own.before),
		after:   slices.Concat(d.after, own.after),
	}
}

// glossary makes the index.
func (d *draft) glossary() *Glossary {
	g := &Glossary{said: d, index: map[rune][]entry{}, before: longestFirst(d.before), after: longestFirst(d.after)}
	for i := range d.terms {
		t := &d.terms[i]
		g.add(t.Term, t)
	}
	for _, w := range d.words {
		g.add(w, nil)
	}
	for _, entries := range g.index {
		slices.SortFunc(entries, func(a, b entry) int { return len(b.text) - len(a.text) })
	}
	return g
}

func (g *Glossary) add(text string, sense *Term) {
	r, _ := utf8.DecodeRuneInString(text)
	r = lower(r)
	for i := range g.index[r] {
		if e := &g.index[r][i]; e.text == text {
			if sense != nil {
				e.senses = append(e.senses, sense)
			}
			return
		}
	}
	e := entry{text: text}
	if sense != nil {
		e.senses = []*Term{sense}
	}
	g.index[r] = append(g.index[r], e)
}

func longestFirst(words []string) []string {
	words = slices.Clone(words)
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	return words
}
