package sandbox

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/label"
)

// template makes one field of an output: a fixed value, or text with placeholders.
type template struct {
	name  string
	fixed json.RawMessage // where there are no pieces
	text  []piece
}

// piece is fixed text, or a placeholder with its argument.
type piece struct{ text, verb, arg string }

const maxDigits = 64

// parseTemplate reads text such as "FAKE-{digits:12}". It reports false where a placeholder is not closed or not known.
func parseTemplate(s string) ([]piece, bool) {
	pieces := []piece{}
	for s != "" {
		before, rest, open := strings.Cut(s, "{")
		if strings.Contains(before, "}") {
			return nil, false
		}
		if before != "" {
			pieces = append(pieces, piece{text: before})
		}
		if !open {
			break
		}
		inside, after, closed := strings.Cut(rest, "}")
		p := piece{}
		p.verb, p.arg, _ = strings.Cut(inside, ":")
		if !closed || !p.known() {
			return nil, false
		}
		pieces = append(pieces, p)
		s = after
	}
	return pieces, true
}

func (p piece) known() bool {
	switch p.verb {
	case "credit-code", "id-card":
		return p.arg == ""
	case "digits":
		n, err := strconv.Atoi(p.arg)
		return err == nil && n > 0 && n <= maxDigits
	case "form", "earlier":
		return p.arg != ""
	}
	return false
}

// application is what templates and rules read of a request, as encoding/json decodes it.
type application struct{ form, earlier any }

// at returns the text of the value at a dotted path; false where there is none, or it is no text, number or boolean.
func at(v any, path string) (string, bool) {
	for part := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		v = object[part]
	}
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// output issues what templates say, marked as fake.
func output(templates []template, seed uint64, k key, app application) (json.RawMessage, error) {
	fields := map[string]any{"fake": true}
	for _, t := range templates {
		if t.text == nil {
			fields[t.name] = t.fixed
			continue
		}
		fields[t.name] = render(t.text, draw(seed, k, "output/"+t.name), app)
	}
	return json.Marshal(fields)
}

func render(pieces []piece, r *rand.Rand, app application) string {
	var b strings.Builder
	for _, p := range pieces {
		switch p.verb {
		case "":
			b.WriteString(p.text)
		case "credit-code":
			b.WriteString(label.FakeCreditCode(r.Uint64()))
		case "id-card":
			b.WriteString(label.FakeIDCard(r.Uint64()))
		case "digits":
			n, _ := strconv.Atoi(p.arg) // checked when it was read
			for range n {
				fmt.Fprint(&b, r.IntN(10))
			}
		case "form":
			text, _ := at(app.form, p.arg)
			b.WriteString(text)
		case "earlier":
			text, _ := at(app.earlier, p.arg)
			b.WriteString(text)
		}
	}
	return b.String()
}

// Rule refuses requests whose form has a field with a value.
type Rule struct {
	Field    string // dotted path in the form
	Contains string // exactly one of Contains and Equals is set
	Equals   string
	Refusal
}

func (r Rule) holds(app application) bool {
	text, ok := at(app.form, r.Field)
	if r.Contains != "" {
		return ok && strings.Contains(text, r.Contains)
	}
	return ok && text == r.Equals
}
