package config

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// section is a Section with its fields found.
type section struct {
	name   string
	typ    reflect.Type
	fields []*field
}

// field is one value of a section, or (dynamic) a map whose values are structs.
type field struct {
	key     string // full, such as "approval.limits.days"; within a map's element, from the element on
	index   []int
	typ     reflect.Type
	value   reflect.Value // default; the zero Value within a map's element
	zh, en  string
	secret  bool
	dynamic bool
	element []*field // of a dynamic field: what its values hold
	groups  []group  // the structs that begin with this field
}

// group is a nested struct, for the template's comments.
type group struct {
	key, zh, en string
}

// of returns the field's value within a struct.
func (f *field) of(v reflect.Value) reflect.Value { return v.FieldByIndex(f.index) }

// env returns the field's variable.
func (f *field) env() string {
	return Prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(f.key))
}

// describe finds the fields of sections. Its errors are defects of the program.
func describe(sections []Section) ([]*section, error) {
	var out []*section
	variables := map[string]string{}
	names := map[string]bool{}
	for _, s := range sections {
		v := reflect.ValueOf(s.Defaults)
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return nil, fmt.Errorf("config: section %s: Defaults must be a pointer to a struct", s.Name)
		}
		if s.Name == "" || strings.Contains(s.Name, ".") || names[s.Name] {
			return nil, fmt.Errorf("config: section name %q is empty, dotted or taken", s.Name)
		}
		names[s.Name] = true
		comments, err := commentsOf(s.Source)
		if err != nil {
			return nil, fmt.Errorf("config: section %s: %w", s.Name, err)
		}
		d := &section{name: s.Name, typ: v.Elem().Type()}
		if d.fields, err = fieldsOf(v.Elem(), v.Elem().Type(), s.Name, nil, comments); err != nil {
			return nil, err
		}
		for _, f := range d.fields {
			if other, taken := variables[f.env()]; taken {
				return nil, fmt.Errorf("config: %s and %s share the variable %s", other, f.key, f.env())
			}
			variables[f.env()] = f.key
		}
		out = append(out, d)
	}
	return out, nil
}

// fieldsOf lists the fields of struct t in order, those of nested structs in their place. v is invalid within the
// element of a map.
func fieldsOf(v reflect.Value, t reflect.Type, prefix string, index []int, comments map[string]string) ([]*field, error) {
	var out []*field
	for sf := range t.Fields() {
		name := sf.Tag.Get("koanf")
		if name == "-" || !sf.IsExported() {
			continue
		}
		if name == "" || strings.ContainsAny(name, ". ") {
			return nil, fmt.Errorf("config: %s.%s needs a koanf tag without dots and blanks", t, sf.Name)
		}
		f := &field{
			key: strings.TrimPrefix(prefix+"."+name, "."), index: append(append([]int(nil), index...), sf.Index...), typ: sf.Type,
			zh: sf.Tag.Get("zh"), en: comments[t.Name()+"."+sf.Name], secret: sf.Tag.Get("secret") == "true",
		}
		f.en, f.zh = cmp.Or(f.en, f.zh), cmp.Or(f.zh, f.en)
		if v.IsValid() {
			f.value = v.FieldByIndex(sf.Index)
		}
		switch {
		case readable(sf.Type):
			out = append(out, f)
		case sf.Type.Kind() == reflect.Struct:
			inner, err := fieldsOf(f.value, sf.Type, f.key, f.index, comments)
			if err != nil {
				return nil, err
			}
			if len(inner) > 0 {
				inner[0].groups = append([]group{{f.key, f.zh, f.en}}, inner[0].groups...)
			}
			out = append(out, inner...)
		case v.IsValid() && sf.Type.Kind() == reflect.Map && sf.Type.Key().Kind() == reflect.String && sf.Type.Elem().Kind() == reflect.Struct:
			var err error
			f.dynamic = true
			if f.element, err = fieldsOf(reflect.Value{}, sf.Type.Elem(), "", nil, comments); err != nil {
				return nil, err
			}
			out = append(out, f)
		default:
			return nil, fmt.Errorf("config: %s.%s: type %s is not supported", t, sf.Name, sf.Type)
		}
	}
	return out, nil
}

// commentsOf returns the comments of the struct fields in a Go file, by "Type.Field".
func commentsOf(source string) (map[string]string, error) {
	comments := map[string]string{}
	if source == "" {
		return comments, nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("read the source of the comments: %w", err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				text := cmp.Or(f.Doc.Text(), f.Comment.Text())
				for _, name := range f.Names {
					comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(text), " ")
				}
			}
		}
		return true
	})
	return comments, nil
}

// nearest returns the name that want most likely means; empty where none is near.
func nearest[V any](want string, names map[string]V) string {
	best, bestDistance := "", len(want)/3+1
	for name := range names {
		d := distance(want, name)
		if d < bestDistance || d == bestDistance && best != "" && name < best {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func wrong(zh, en string) *errs.Error { return errs.New(errs.Invalid, "应为"+zh, "expected "+en) }
