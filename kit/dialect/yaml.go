package dialect

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// ParseGlossary returns the glossary of Qiong with what a team adds in YAML:
//
//	version: 1                                    # of this file; raised with every change
//	negation: {before: [冇], after: [唔成]}        # may be absent
//	words: [埋单码]                                # longer words that are no slang; may be absent
//	terms:
//	  - term: 起锚                                 # letters and digits, at most 16 of them
//	    code: started                             # small letters, digits and hyphens
//	    kind: event                               # event or state
//	    speech: verb                              # verb, noun, adjective or phrase
//	    meaning: {zh: 启动, en: started}
//	    context: [服务, service]                   # one of them stands in the line; may be absent
//	    examples: [预约服务起锚 pid=31]             # each has the term in it; may be absent
//
// A term of Qiong's own that is listed is replaced. A term may be listed more than once with different codes where
// context tells them apart. The error is of kind Invalid, with the code "glossary.invalid" and the line; whatever else is
// wrong stands in Also.
func ParseGlossary(data []byte) (*Glossary, error) {
	own, err := parseDraft(data)
	if err != nil {
		return nil, err
	}
	return Builtin().said.with(own).glossary(), nil
}

func parseDraft(data []byte) (*draft, error) {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	if err == nil {
		if next := dec.Decode(&more); !errors.Is(next, io.EOF) {
			err = errs.New(errs.Invalid, "只能有一个文档", "there is more than one document")
		}
	}
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, errs.New(errs.Invalid, "词汇表是空的", "the glossary is empty").WithCode("glossary.invalid").WithLine(1)
	}
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "词汇表不是有效的 YAML", "the glossary is not valid YAML").WithCode("glossary.invalid").WithLine(lineOf(err))
	}
	r := &reading{seen: map[string]bool{}}
	r.root(doc.Content[0])
	if r.err != nil {
		return nil, r.err
	}
	return &r.draft, nil
}

var saidLine = regexp.MustCompile(`line (\d+)`)

// lineOf finds the line in what the YAML library says.
func lineOf(err error) int {
	if m := saidLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return max(n, 1)
		}
	}
	return 1
}

// reading reads a glossary and gathers what is wrong with it.
type reading struct {
	draft draft
	seen  map[string]bool // terms with their codes
	err   *errs.Error
}

func (r *reading) fail(at *yaml.Node, zh, en string) {
	e := errs.New(errs.Invalid, zh, en).WithCode("glossary.invalid").WithLine(max(at.Line, 1))
	if r.err == nil {
		r.err = e
		return
	}
	r.err.Also = append(r.err.Also, e)
}

// count is how many faults were found.
func (r *reading) count() int {
	if r.err == nil {
		return 0
	}
	return 1 + len(r.err.Also)
}

// members calls take for every member of a mapping; take reports whether it knows the key.
func (r *reading) members(n *yaml.Node, take func(key string, value *yaml.Node) bool) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "此处应为键值对", "a mapping is wanted here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			r.fail(key, "不允许锚点与合并", "anchors and merges are not allowed")
		case seen[key.Value]:
			r.fail(key, "键重复", "the key stands twice")
		case !take(key.Value, value):
			r.fail(key, "未知的键", "an unknown key")
		}
		seen[key.Value] = true
	}
}

func (r *reading) root(n *yaml.Node) {
	r.members(n, func(key string, v *yaml.Node) bool {
		switch key {
		case "version":
			if number, err := strconv.Atoi(v.Value); v.Kind != yaml.ScalarNode || err != nil || number < 1 || v.Value != strconv.Itoa(number) {
				r.fail(v, "version 应为正整数", "version is a whole number from 1 on")
			}
			r.draft.version = v.Value
		case "negation":
			r.members(v, func(key string, v *yaml.Node) bool {
				switch key {
				case "before":
					r.draft.before = r.list(v, isTerm)
				case "after":
					r.draft.after = r.list(v, isTerm)
				default:
					return false
				}
				return true
			})
		case "words":
			r.draft.words = r.list(v, isTerm)
		case "terms":
			r.terms(v)
		default:
			return false
		}
		return true
	})
	if r.count() == 0 && r.draft.version == "" {
		r.fail(n, "缺少 version", "version is missing")
	}
}

func (r *reading) terms(v *yaml.Node) {
	if v.Kind != yaml.SequenceNode {
		r.fail(v, "terms 应为列表", "terms is a list")
		return
	}
	for _, item := range v.Content {
		r.term(item)
	}
}

func (r *reading) term(n *yaml.Node) {
	var t Term
	before := r.count()
	r.members(n, func(key string, v *yaml.Node) bool {
		switch key {
		case "term":
			t.Term = r.word(v, isTerm(v.Value), "term 应为至多 16 个字母、汉字或数字", "term is at most 16 letters, Han characters or digits")
		case "code":
			t.Code = r.word(v, isCode(v.Value), "code 应为小写字母、数字和连字符，以字母开头", "code is small letters, digits and hyphens, a letter first")
		case "kind":
			t.Kind = Kind(r.word(v, oneOf(v.Value, "event", "state"), "kind 应为 event 或 state", "kind is event or state"))
		case "speech":
			t.Speech = Speech(r.word(v, oneOf(v.Value, "verb", "noun", "adjective", "phrase"),
				"speech 应为 verb、noun、adjective 或 phrase", "speech is verb, noun, adjective or phrase"))
		case "meaning":
			t.Meaning = r.meaning(v)
		case "context":
			t.Context = r.list(v, isTerm)
		case "examples":
			t.Examples = r.list(v, func(s string) bool { return strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "\r\n") })
		default:
			return false
		}
		return true
	})
	if r.count() == before {
		r.whole(n, t)
	}
}

// whole takes a term whose parts are sound.
func (r *reading) whole(n *yaml.Node, t Term) {
	id := t.Term + "\x00" + t.Code
	switch {
	case t.Term == "" || t.Code == "" || t.Kind == "" || t.Speech == "" || t.Meaning.ZH == "" || t.Meaning.EN == "":
		r.fail(n, "缺少 term、code、kind、speech 或 meaning 的 zh、en", "term, code, kind, speech, or zh or en of meaning is missing")
	case r.seen[id]:
		r.fail(n, "同一术语的代码重复", "the term stands twice with this code")
	}
	for _, example := range t.Examples {
		if !strings.Contains(strings.ToLower(example), strings.ToLower(t.Term)) {
			r.fail(n, "例句中没有该术语", "an example does not have the term in it")
		}
	}
	for _, w := range t.Context {
		if strings.Contains(t.Term, w) {
			r.fail(n, "术语本身含有这个上下文词", "the term itself has the context word in it")
		}
	}
	r.seen[id] = true
	r.draft.terms = append(r.draft.terms, t)
}

func (r *reading) word(v *yaml.Node, ok bool, zh, en string) string {
	if v.Kind != yaml.ScalarNode || !ok {
		r.fail(v, zh, en)
	}
	return v.Value
}

func (r *reading) meaning(v *yaml.Node) (t lang.Text) {
	r.members(v, func(key string, v *yaml.Node) bool {
		switch key {
		case "zh":
			t.ZH = r.word(v, strings.TrimSpace(v.Value) != "", "应为文字", "words are wanted here")
		case "en":
			t.EN = r.word(v, strings.TrimSpace(v.Value) != "", "应为文字", "words are wanted here")
		default:
			return false
		}
		return true
	})
	return t
}

func (r *reading) list(v *yaml.Node, sound func(string) bool) (all []string) {
	if v.Kind != yaml.SequenceNode {
		r.fail(v, "应为列表", "a list is wanted here")
		return nil
	}
	for _, item := range v.Content {
		all = append(all, r.word(item, sound(item.Value), "列表中的词不合规范", "a word of the list is not of the wanted form"))
	}
	return all
}

// isTerm reports whether s can be found in a line: letters, digits, and marks and hyphens within.
func isTerm(s string) bool {
	letter := false
	for i, r := range s {
		switch {
		case unicode.IsLetter(r):
			letter = true
		case unicode.IsDigit(r):
		case i > 0 && (r == '-' || r == '_' || unicode.IsMark(r)):
		default:
			return false
		}
	}
	return letter && utf8.ValidString(s) && utf8.RuneCountInString(s) <= 16
}

var code = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func isCode(s string) bool { return len(s) <= 64 && code.MatchString(s) }

func oneOf(s string, all ...string) bool { return slices.Contains(all, s) }
