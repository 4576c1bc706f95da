// Package schema promises that a JSON document is held to its JSON Schema (draft 2020-12) quickly where it is right,
// and that all that is wrong is named where it is not, in both languages and without repeating a value.
//
// The judge is a library that follows the standard to the letter. Before it a document meets a plan of the schema's
// plain keywords, which reads the bytes once and either accepts or leaves the judgement to the library; schemas with
// rarer keywords have no plan.
package schema

import (
	"bytes"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Schema is a compiled JSON Schema. It is immutable and safe for concurrent use.
type Schema struct {
	full *jsonschema.Schema
	plan *plan // nil where the schema says more than a plan can
}

// Formats are the formats that a schema may name beside JSON Schema's own. Their errors are shown to people, so each is
// of package errs and repeats no value.
type Formats map[string]func(string) error

// Compile compiles a schema, a JSON document of its own: references to other documents are errors. Formats are
// asserted. The name identifies it in errors, which are for its author.
func Compile(name string, document []byte, formats Formats) (*Schema, error) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(noLoader{})
	for n, check := range formats {
		c.RegisterFormat(&jsonschema.Format{Name: n, Validate: func(v any) error {
			if s, ok := v.(string); ok {
				return check(s)
			}
			return nil
		}})
	}
	address := "qiong:///schema/" + url.PathEscape(name) // a hierarchy, so that a relative reference leaves it
	if err := c.AddResource(address, parsed); err != nil {
		return nil, err
	}
	s := new(Schema)
	if s.full, err = c.Compile(address); err != nil {
		return nil, err
	}
	s.plan = newPlan(s.full)
	return s, nil
}

// noLoader refuses references to other documents: compiling a schema opens nothing.
type noLoader struct{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(address string) (any, error) {
	return nil, fmt.Errorf("reference to another document (%s)", address)
}

// maxFindings bounds what one answer lists.
const maxFindings = 50

// Check returns nil where data, which package strictjson has accepted, is as the schema says. Otherwise the error is of
// kind Invalid; it and those in Also name every field that is wrong, below the field that root names.
func (s *Schema) Check(data []byte, root string) error {
	if s.plan != nil && s.plan.accept(data) {
		return nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return errs.New(errs.Invalid, "不是有效的 JSON", "is not valid JSON").WithField(root)
	}
	err = s.full.Validate(doc)
	bad, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return err
	}
	f := findings{root: root}
	f.collect(bad)
	if len(f.found) == 0 {
		return errs.New(errs.Invalid, "不符合要求", "is not as required").WithField(root)
	}
	first := f.found[0]
	first.Also = f.found[1:]
	return first
}

// findings are what the library found, in the house's words.
type findings struct {
	root  string
	found []*errs.Error
}

// collect walks to the causes: a parent only says that a child is wrong.
func (f *findings) collect(e *jsonschema.ValidationError) {
	if len(f.found) >= maxFindings {
		return
	}
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			f.collect(c)
		}
		return
	}
	path := f.path(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			f.add(join(path, name), "required", lang.T("必须填写", "is required"))
		}
	case *kind.AdditionalProperties:
		// The name was submitted, so it is not repeated.
		f.add(path, "unknown", lang.T("含有表单中没有的字段", "has a field that the form does not have"))
	case *kind.Format:
		f.format(path, k)
	default:
		f.add(path, "form", words(e.ErrorKind))
	}
}

func (f *findings) add(field, code string, text lang.Text) {
	f.found = append(f.found, errs.New(errs.Invalid, text.ZH, text.EN).WithField(field).WithCode("form."+code))
}

func (f *findings) format(path string, k *kind.Format) {
	e := errs.As(k.Err)
	if e.Kind == errs.Internal {
		f.add(path, "format", lang.T("格式不正确", "is malformed"))
		return
	}
	copied := *e
	copied.Field, copied.HasOffset = path, false // the offset is within the value, not within the body
	f.found = append(f.found, &copied)
}

// words says what a keyword asks for. Limits come from the schema, never from what was submitted.
func words(k jsonschema.ErrorKind) lang.Text {
	say := func(zh, en string, args ...any) lang.Text {
		return lang.T(fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...))
	}
	switch k := k.(type) {
	case *kind.Type:
		return say("类型应为 %s", "must be of type %s", strings.Join(k.Want, "/"))
	case *kind.Enum, *kind.Const:
		return say("不在允许的取值之内", "is not one of the allowed values")
	case *kind.MinLength:
		return say("至少 %d 个字", "must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return say("最多 %d 个字", "must have at most %d characters", k.Want)
	case *kind.MinItems:
		return say("至少 %d 项", "must have at least %d items", k.Want)
	case *kind.MaxItems:
		return say("最多 %d 项", "must have at most %d items", k.Want)
	case *kind.Minimum:
		return say("不能小于 %s", "must be at least %s", k.Want.RatString())
	case *kind.Maximum:
		return say("不能大于 %s", "must be at most %s", k.Want.RatString())
	case *kind.ExclusiveMinimum:
		return say("必须大于 %s", "must be greater than %s", k.Want.RatString())
	case *kind.ExclusiveMaximum:
		return say("必须小于 %s", "must be less than %s", k.Want.RatString())
	case *kind.Pattern:
		return say("格式不正确", "is malformed")
	}
	return say("不符合要求", "is not as required")
}

// path writes a JSON pointer as the house writes fields: form.shareholders[0].id. Names that the schema does not
// have never come here, since additional properties are reported at their parent.
func (f *findings) path(location []string) string {
	p := f.root
	for _, part := range location {
		if _, err := strconv.Atoi(part); err == nil {
			p += "[" + part + "]"
		} else {
			p = join(p, part)
		}
	}
	return p
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
