package approval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
)

// form is a compiled JSON Schema (draft 2020-12) and what the service needs to know of it.
type form struct {
	schema *jsonschema.Schema
	json   json.RawMessage // the schema, for clients
	parts  []string        // top-level properties
}

// formats are the formats a form may name beside JSON Schema's own. Their errors are the house's, in both languages.
var formats = map[string]func(string) error{
	"id-card":     label.IDCard,
	"credit-code": label.CreditCode,
	"phone":       label.Phone,
	"person-name": func(s string) error { return han.Error(han.CheckName(s), "") },
	"han-text": func(s string) error {
		return han.Error(han.Check(s, han.Policy{Max: 2000, Lines: true}), "")
	},
}

func compileForm(name string, node *yaml.Node) (*form, error) {
	var doc any
	if err := node.Decode(&doc); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var top struct {
		Type       string                     `json:"type"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(encoded, &top); err != nil || top.Type != "object" {
		return nil, fmt.Errorf("type must be object")
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
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
	url := "urn:qiong:matter:" + name
	if err := c.AddResource(url, parsed); err != nil {
		return nil, err
	}
	f := &form{json: encoded}
	if f.schema, err = c.Compile(url); err != nil {
		return nil, err
	}
	for p := range top.Properties {
		f.parts = append(f.parts, p)
	}
	slices.Sort(f.parts)
	return f, nil
}

// noLoader refuses references to other documents: a form is one file, and checking it opens nothing else.
type noLoader struct{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to another document (%s)", url)
}

// check validates an application form. The error names every field that is wrong, and repeats no value.
func (f *form) check(data json.RawMessage) (map[string]any, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, errs.New(errs.Invalid, "表单不是有效的 JSON", "the form is not valid JSON").WithField("form")
	}
	if err := f.schema.Validate(doc); err != nil {
		bad, ok := err.(*jsonschema.ValidationError)
		if !ok {
			return nil, err
		}
		var found []*errs.Error
		collect(bad, &found)
		if len(found) == 0 {
			return nil, errs.New(errs.Invalid, "表单不符合要求", "the form is not as required").WithField("form")
		}
		first := found[0]
		first.Also = found[1:]
		return nil, first
	}
	object, _ := doc.(map[string]any) // an object, by the schema
	return object, nil
}

// maxFindings bounds what one answer lists.
const maxFindings = 50

// collect walks to the causes: a parent only says that a child is wrong.
func collect(e *jsonschema.ValidationError, found *[]*errs.Error) {
	if len(*found) >= maxFindings {
		return
	}
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			collect(c, found)
		}
		return
	}
	path := path(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			*found = append(*found, finding(join(path, name), "required", "必须填写", "is required"))
		}
	case *kind.AdditionalProperties:
		// The name was submitted, so it is not repeated.
		*found = append(*found, finding(path, "unknown", "含有表单中没有的字段", "has a field that the form does not have"))
	case *kind.Format:
		*found = append(*found, formatFinding(path, k))
	default:
		*found = append(*found, finding(path, "form", words(e.ErrorKind).ZH, words(e.ErrorKind).EN))
	}
}

func formatFinding(path string, k *kind.Format) *errs.Error {
	e := errs.As(k.Err)
	if e.Kind == errs.Internal {
		return finding(path, "format", "格式不正确", "is malformed")
	}
	copied := *e
	copied.Field, copied.HasOffset = path, false // the offset is within the value, not within the body
	return &copied
}

func finding(field, code, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithField(field).WithCode("form." + code)
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
func path(location []string) string {
	p := "form"
	for _, part := range location {
		if _, err := strconv.Atoi(part); err == nil {
			p += "[" + part + "]"
		} else {
			p = join(p, part)
		}
	}
	return p
}

func join(path, name string) string { return path + "." + name }

// subject reads the field at a dotted path; empty where it is no string.
func subject(form map[string]any, path string) string {
	var v any = form
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = object[name]
	}
	s, _ := v.(string) // empty otherwise
	return s
}
