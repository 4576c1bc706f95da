// Package yamlfile reads the YAML files that operators write (matters, feeds), and says what is wrong with them by file
// and line: strictly, one document a file, with every finding.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Decode reads the one document of data into v and returns its nodes, for the lines of later findings. Unknown keys,
// wrong types and a second document are errors of kind Invalid with their lines.
func Decode(data []byte, v any) (*yaml.Node, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, inWords(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(v); err != nil {
		return nil, inWords(err)
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, errs.New(errs.Invalid, "一个文件只能有一份定义", "a file holds one definition").WithLine(1)
	}
	return &root, nil
}

var atLine = regexp.MustCompile(`^(?:unmarshal errors:\s*)?line (\d+): (.*)`)

// inWords gives the YAML library's complaints the house's form.
func inWords(err error) error {
	var known *errs.Error
	if errors.As(err, &known) {
		return known
	}
	words := []string{err.Error()}
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		words = typed.Errors
	}
	var f Findings
	for _, w := range words {
		line := 1
		w = strings.TrimPrefix(w, "yaml: ")
		if m := atLine.FindStringSubmatch(w); m != nil {
			line, _ = strconv.Atoi(m[1]) // digits by the pattern
			w = m[2]
		}
		f.Add(line, "", "YAML 无法读取："+w, "the YAML can't be read: "+w)
	}
	return f.Err()
}

// Findings collect what is wrong with a file.
type Findings struct{ all []*errs.Error }

// Add adds a finding about a field, at a line.
func (f *Findings) Add(line int, field, zh, en string) {
	f.all = append(f.all, errs.New(errs.Invalid, zh, en).WithLine(max(line, 1)).WithField(field))
}

// None reports whether nothing was found.
func (f *Findings) None() bool { return len(f.all) == 0 }

// Err returns the first finding with the others in Also; nil where there is none.
func (f *Findings) Err() error {
	if f.None() {
		return nil
	}
	first := f.all[0]
	first.Also = f.all[1:]
	return first
}

// Find returns the line of the node at a path of keys and indices, or of the last part of it that is there, and the path
// as fields are written: to[0].table.name.
func Find(root *yaml.Node, steps ...any) (line int, field string) {
	node := root
	line = 1
	if len(node.Content) == 1 {
		node = node.Content[0]
	}
	for _, step := range steps {
		var next *yaml.Node
		switch s := step.(type) {
		case string:
			field = strings.TrimPrefix(field+"."+s, ".")
			for i := 0; node != nil && node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
				if node.Content[i].Value == s {
					line, next = node.Content[i].Line, node.Content[i+1]
				}
			}
		case int:
			field += fmt.Sprintf("[%d]", s)
			if node != nil && s < len(node.Content) {
				next = node.Content[s]
				line = next.Line
			}
		}
		node = next
	}
	return line, field
}

// Load reads every *.yaml of a folder by parse, in the order of their names. Two may not have one name. The prefix
// stands before the names of files in errors.
func Load[T any](files fs.FS, prefix string, parse func([]byte) (T, error), name func(T) string) ([]T, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errs.New(errs.Invalid, "目录中没有 *.yaml 文件", "the folder holds no file *.yaml").WithField(prefix)
	}
	var all []T
	seen := map[string]string{}
	for _, file := range names {
		data, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, err
		}
		one, err := parse(data)
		if err != nil {
			return nil, In(path.Join(prefix, file), err)
		}
		if other := seen[name(one)]; other != "" {
			return nil, errs.Newf(errs.Invalid, "%s 与 %s 同名", "%s and %s have the same name", file, other)
		}
		seen[name(one)] = file
		all = append(all, one)
	}
	return all, nil
}

// In puts the file's name before each finding of err.
func In(file string, err error) error {
	e := errs.As(err)
	for _, f := range append([]*errs.Error{e}, e.Also...) {
		f.Field = strings.TrimSuffix(file+" "+f.Field, " ")
	}
	return e
}

// Tell prints the findings of err as file:line: words, which editors can follow.
func Tell(w io.Writer, file string, err error, l lang.Lang) {
	e := errs.As(err)
	for _, f := range append([]*errs.Error{e}, e.Also...) {
		words := f.Msg.In(l)
		if f.Field != "" {
			words = f.Field + ": " + words
		}
		fmt.Fprintf(w, "%s:%d: %s\n", file, max(f.Line, 1), words)
	}
}

// Duration is written as 90s, 15m or 72h.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v <= 0 {
		return errs.New(errs.Invalid, "应为正的时长，如 90s、15m、72h", "must be a positive duration such as 90s, 15m or 72h").WithLine(n.Line)
	}
	*d = Duration(v)
	return nil
}
