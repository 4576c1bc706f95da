package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
)

// file reads the YAML file at path. An unreadable file ends the reading; wrong keys and values are findings.
func (l *loader) file(path string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // an empty file says nothing
	case err != nil:
		return errs.New(errs.Invalid, "配置文件不是有效的 YAML", "the configuration file is not valid YAML").
			WithCode("config.yaml").WithField(path).WithLine(lineOf(err))
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return errs.New(errs.Invalid, "配置文件只能有一个 YAML 文档", "the configuration file must hold one YAML document").
			WithCode("config.yaml").WithField(path).WithLine(max(second.Line, lineOf(err)))
	}
	root := &tree{inner: map[string]*tree{}}
	for _, s := range l.c.sections {
		for _, f := range s.fields {
			root.add(strings.Split(f.key, "."), f)
		}
		root.section(s.name)
	}
	w := &fileWalk{l: l, path: path}
	w.mapping(root, "", doc.Content[0])
	return nil
}

// yaml.v3 tells lines in its words alone.
var yamlLine = regexp.MustCompile(`line (\d+)`)

func lineOf(err error) int {
	if err == nil {
		return 0
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n
	}
	return 0
}

// tree is the keys a file may have.
type tree struct {
	field *field           // at a leaf
	inner map[string]*tree // below it
}

func (t *tree) section(name string) *tree {
	next, ok := t.inner[name]
	if !ok {
		next = &tree{inner: map[string]*tree{}}
		t.inner[name] = next
	}
	return next
}

func (t *tree) add(path []string, f *field) {
	for _, name := range path {
		t = t.section(name)
	}
	t.field = f
}

// fileWalk goes through the file and the tree side by side.
type fileWalk struct {
	l    *loader
	path string
}

func (w *fileWalk) report(n *yaml.Node, key, code string, e *errs.Error) {
	if e.Line == 0 {
		e.WithLine(n.Line)
	}
	w.l.report(e.WithCode(code).WithField(strings.TrimPrefix(key, ".")))
}

// pairs visits the members of a mapping, once each.
func (w *fileWalk) pairs(key string, n *yaml.Node, visit func(name, value *yaml.Node)) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "section:" with nothing below it
	}
	if n.Kind != yaml.MappingNode {
		w.report(n, key, "config.type", wrong("一组键值", "keys with values"))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if seen[name.Value] {
			w.report(name, key+"."+shown(name.Value), "config.duplicate", errs.New(errs.Invalid, "键重复", "the key stands twice"))
			continue
		}
		seen[name.Value] = true
		visit(name, n.Content[i+1])
	}
}

func (w *fileWalk) mapping(t *tree, key string, n *yaml.Node) {
	w.pairs(key, n, func(name, value *yaml.Node) {
		at := key + "." + name.Value
		next, ok := t.inner[name.Value]
		switch {
		case !ok:
			w.unknown(t.inner, name, key)
		case next.field == nil:
			w.mapping(next, at, value)
		case next.field.dynamic:
			w.dynamic(next.field, at, value)
		default:
			w.value(next.field, at, value)
		}
	})
}

// dynamic reads a map whose keys are the operator's own.
func (w *fileWalk) dynamic(f *field, key string, n *yaml.Node) {
	element := &tree{inner: map[string]*tree{}}
	for _, inner := range f.element {
		element.add(strings.Split(inner.key, "."), inner)
	}
	w.pairs(key, n, func(name, value *yaml.Node) {
		if name.Value == "" || strings.Contains(name.Value, ".") {
			w.report(name, key, "config.name", errs.New(errs.Invalid, "名称不得为空或含点号", "a name must not be empty or hold a dot"))
			return
		}
		w.mapping(element, key+"."+name.Value, value)
	})
}

func (w *fileWalk) value(f *field, key string, n *yaml.Node) {
	value, e := fromNode(f.typ, resolve(n))
	if e != nil {
		w.report(n, key, "config.type", e)
		return
	}
	w.l.set(strings.TrimPrefix(key, "."), value, Source{Kind: "file", Name: w.path, Line: n.Line})
}

func (w *fileWalk) unknown(known map[string]*tree, name *yaml.Node, key string) {
	e := errs.New(errs.Invalid, "没有这个配置项", "there is no such key")
	if near := nearest(name.Value, known); near != "" {
		e.WithHint("是否应为 "+near, "did you mean "+near+"?")
	}
	w.report(name, key+"."+shown(name.Value), "config.unknown-key", e)
}

// shown is an unknown name as a message may carry it: a value may have slipped into its place.
func shown(name string) string {
	if len(name) > 40 || strings.ContainsAny(name, " \t\n\x00") {
		return "*"
	}
	return name
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
