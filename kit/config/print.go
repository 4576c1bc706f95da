package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/lang"
)

// Hidden stands where the value of a secret would.
const Hidden = "••••"

// Print writes the YAML template of sections: every key with its default, explained in l. Read back, it changes nothing.
func Print(w io.Writer, sections []Section, l lang.Lang) error {
	described, err := describe(sections)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for i, s := range described {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.name + ":\n")
		if len(s.fields) == 0 {
			b.Truncate(b.Len() - 1)
			b.WriteString(" {}\n")
		}
		for _, f := range s.fields {
			printField(&b, f, l)
		}
	}
	_, err = w.Write(b.Bytes())
	return err
}

func printField(b *bytes.Buffer, f *field, l lang.Lang) {
	for _, g := range f.groups {
		indent := indentOf(g.key)
		comment(b, indent, lang.T(g.zh, g.en).In(l))
		b.WriteString(indent + last(g.key) + ":\n")
	}
	indent := indentOf(f.key)
	comment(b, indent, lang.T(f.zh, f.en).In(l))
	if f.dynamic {
		printMap(b, f, indent, l)
		return
	}
	b.WriteString(indent + last(f.key) + ": " + scalar(f.value) + "\n")
}

// printMap writes a map's default entries, and how an entry is made.
func printMap(b *bytes.Buffer, f *field, indent string, l lang.Lang) {
	comment(b, indent, lang.T("每项的写法：", "An entry reads:").In(l))
	comment(b, indent, "  name:")
	for _, inner := range f.element {
		depth := strings.Repeat("  ", strings.Count(inner.key, "."))
		for _, g := range inner.groups {
			comment(b, indent, "    "+strings.Repeat("  ", strings.Count(g.key, "."))+last(g.key)+":")
		}
		comment(b, indent, "    "+depth+last(inner.key)+": # "+lang.T(inner.zh, inner.en).In(l))
	}
	if f.value.Len() == 0 {
		b.WriteString(indent + last(f.key) + ": {}\n")
		return
	}
	b.WriteString(indent + last(f.key) + ":\n")
	for _, name := range sortedKeys(f.value) {
		b.WriteString(indent + "  " + quoted(name) + ":\n")
		for _, inner := range f.element {
			for _, g := range inner.groups {
				b.WriteString(indent + "    " + strings.Repeat("  ", strings.Count(g.key, ".")) + last(g.key) + ":\n")
			}
			depth := strings.Repeat("  ", strings.Count(inner.key, "."))
			b.WriteString(indent + "    " + depth + last(inner.key) + ": " + scalar(inner.of(f.value.MapIndex(reflect.ValueOf(name).Convert(f.value.Type().Key())))) + "\n")
		}
	}
}

func sortedKeys(m reflect.Value) []string {
	var names []string
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

func comment(b *bytes.Buffer, indent, text string) {
	if text != "" {
		b.WriteString(indent + "# " + text + "\n")
	}
}

func indentOf(key string) string { return strings.Repeat("  ", strings.Count(key, ".")) }

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// scalar writes v as YAML on one line.
func scalar(v reflect.Value) string {
	if v.Kind() == reflect.Slice && !isText(v.Type()) {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = quoted(v.Index(i).String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64:
		return toText(v)
	case reflect.String:
		return quoted(v.String())
	}
	if v.Type() == durationType || isText(v.Type()) {
		return quoted(toText(v))
	}
	return toText(v)
}

// quoted writes text so that YAML reads it as a string, plain where that is safe.
func quoted(text string) string {
	var n yaml.Node
	if plain := text != "" && !strings.ContainsAny(text, ",[]{}#\"'\n\r\t:&*!|>%@`") && strings.TrimSpace(text) == text; plain {
		if yaml.Unmarshal([]byte(text), &n) == nil && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && n.Content[0].Tag == "!!str" {
			return text
		}
	}
	out, err := json.Marshal(text) // JSON's strings are YAML's double-quoted ones
	if err != nil {
		return `""`
	}
	return string(out)
}

// Setting is one value and where it came from.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // Hidden for a secret that is set
	Secret bool   `json:"secret,omitempty"`
	Source Source `json:"source"`
	Env    string `json:"env,omitempty"` // the variable that would set it
	About  string `json:"about,omitempty"`
}

// Settings returns every value in the order of the structs, explained in l.
func (c *Config) Settings(l lang.Lang) []Setting {
	var out []Setting
	for _, s := range c.sections {
		filled := reflect.ValueOf(c.values[s.name]).Elem()
		for _, f := range s.fields {
			if !f.dynamic {
				out = append(out, c.setting(f, f.key, f.of(filled), f.env(), l))
				continue
			}
			m := f.of(filled)
			for _, name := range sortedKeys(m) {
				element := m.MapIndex(reflect.ValueOf(name).Convert(m.Type().Key()))
				for _, inner := range f.element {
					out = append(out, c.setting(inner, f.key+"."+name+"."+inner.key, inner.of(element), "", l))
				}
			}
		}
	}
	return out
}

func (c *Config) setting(f *field, key string, v reflect.Value, env string, l lang.Lang) Setting {
	value := toText(v)
	if f.secret && value != "" {
		value = Hidden
	}
	return Setting{Key: key, Value: value, Secret: f.secret, Source: c.Source(key), Env: env, About: lang.T(f.zh, f.en).In(l)}
}

// Explain writes every key, its value and where that came from, as a table in l.
func (c *Config) Explain(w io.Writer, l lang.Lang) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, lang.T("配置项\t值\t来源\t说明", "KEY\tVALUE\tSOURCE\tABOUT").In(l))
	for _, s := range c.Settings(l) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Key, s.Value, s.Source.in(l), s.About)
	}
	return t.Flush()
}

// ExplainJSON is Explain for a program: an array of Setting.
func (c *Config) ExplainJSON(w io.Writer, l lang.Lang) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(c.Settings(l))
}

var sourceWords = map[string]lang.Text{
	"flag": lang.T("参数", "flag"), "env": lang.T("环境变量", "env"), "file": lang.T("文件", "file"), "default": lang.T("默认", "default"),
}

func (s Source) in(l lang.Lang) string {
	s.Kind = sourceWords[s.Kind].In(l)
	return s.String()
}
