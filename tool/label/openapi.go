package label

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// document is what is read of an OpenAPI 3 document.
type document struct {
	OpenAPI    string                                `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type graded struct {
	Grade    label.Grade `json:"x-data-grade"`
	Category string      `json:"x-data-category"`
	Mask     string      `json:"x-data-mask"`
}

func (g graded) tag() label.Tag {
	t := label.Tag{Grade: g.Grade, Category: g.Category}
	t.Mask, _ = label.ParseMask(g.Mask) // a mask that nobody knows shows nothing
	return t
}

type operation struct {
	graded
	OperationID string   `json:"operationId"`
	Tags        []string `json:"tags"`
	Parameters  []struct {
		graded
		Name   string  `json:"name"`
		In     string  `json:"in"`
		Schema *schema `json:"schema"`
	} `json:"parameters"`
	RequestBody struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
}

type content map[string]struct {
	Schema *schema `json:"schema"`
}

type schema struct {
	graded
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"` // a word, or since 3.1 a list of them
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	More       json.RawMessage    `json:"additionalProperties"`
	AllOf      []*schema          `json:"allOf"`
	OneOf      []*schema          `json:"oneOf"`
	AnyOf      []*schema          `json:"anyOf"`
}

func isOpenAPI(body []byte) bool {
	var d struct {
		OpenAPI string `json:"openapi"`
	}
	return json.Unmarshal(body, &d) == nil && strings.HasPrefix(d.OpenAPI, "3.")
}

// openAPI lists the assets of an API: every operation's parameters, request and answers, problems left out.
func openAPI(body []byte) ([]asset, error) {
	var d document
	if !isOpenAPI(body) {
		return nil, errs.New(errs.Invalid, "不是 OpenAPI 3 文档（JSON）", "not an OpenAPI 3 document (JSON)").WithCode("label.openapi")
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "OpenAPI 文档无法读取", "the OpenAPI document can't be read").WithCode("label.openapi")
	}
	var all []asset
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			if !slices.Contains([]string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}, method) {
				continue
			}
			var op operation
			if err := json.Unmarshal(d.Paths[path][method], &op); err != nil {
				return nil, errs.Wrap(err, errs.Invalid, "OpenAPI 文档无法读取", "the OpenAPI document can't be read").WithCode("label.openapi").WithField(path)
			}
			all = append(all, d.operation(asset{Service: serviceOf(path, op), API: strings.ToUpper(method) + " " + path}, op)...)
		}
	}
	return all, nil
}

// serviceOf is the part of the path after /api/, or the first tag.
func serviceOf(path string, op operation) string {
	if rest, ok := strings.CutPrefix(path, "/api/"); ok {
		service, _, _ := strings.Cut(rest, "/")
		return service
	}
	if len(op.Tags) > 0 {
		return op.Tags[0]
	}
	return ""
}

// operation lists an operation's assets; one of which nobody knows anything is an asset itself.
func (d *document) operation(base asset, op operation) (all []asset) {
	whole := base
	whole.Grade, whole.Tag = op.Grade, op.tag()
	for _, p := range op.Parameters {
		a := base
		a.Direction, a.Field, a.Type = "request", p.In+" "+p.Name, p.Schema.word()
		a.Tag = p.tag()
		a.Grade = a.Tag.Grade
		all = append(all, a)
	}
	walk := func(direction string, c content) {
		for _, media := range slices.Sorted(maps.Keys(c)) {
			w := walker{doc: d, base: base}
			w.base.Direction = direction
			if s := c[media].Schema; s != nil {
				w.walk(s, "", label.Tag{}, nil)
			} else {
				a := w.base
				a.Field, a.Type, a.Grade, a.Tag = "*", media, op.Grade, op.tag()
				w.found = append(w.found, a)
			}
			all = append(all, w.found...)
		}
	}
	walk("request", op.RequestBody.Content)
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if strings.HasPrefix(status, "2") {
			walk("response", op.Responses[status].Content)
		}
	}
	if len(all) == 0 || op.Grade == label.Ungraded {
		all = append([]asset{whole}, all...)
	}
	return all
}

type walker struct {
	doc   *document
	base  asset
	found []asset
}

// walk lists the values in a schema. tag is that of what it stands in; open are the references that lead here.
func (w *walker) walk(s *schema, path string, tag label.Tag, open []string) {
	if own := s.tag(); own.Grade != label.Ungraded {
		own.Grade = max(own.Grade, tag.Grade)
		tag = own
	}
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		if target := w.doc.Components.Schemas[name]; target != nil && !slices.Contains(open, name) {
			w.walk(target, path, tag, append(slices.Clone(open), name))
		}
		return
	}
	var parts []*schema
	parts = append(append(append(parts, s.AllOf...), s.OneOf...), s.AnyOf...)
	for _, p := range parts {
		w.walk(p, path, tag, open)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		w.walk(s.Properties[name], join(path, name), tag, open)
	}
	if s.Items != nil {
		w.walk(s.Items, path, tag, open)
	}
	more := &schema{}
	if json.Unmarshal(s.More, more) == nil && string(s.More) != "{}" && len(s.More) > 0 {
		w.walk(more, join(path, "*"), tag, open)
		return
	}
	if len(parts) == 0 && len(s.Properties) == 0 && s.Items == nil && (path != "" || s.word() != "object") {
		a := w.base
		a.Field, a.Type, a.Tag, a.Grade = path, s.word(), tag, tag.Grade
		if path == "" {
			a.Field = "*"
		}
		w.found = append(w.found, a)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// word is a schema's type in one word.
func (s *schema) word() string {
	if s == nil {
		return ""
	}
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, one := range t {
			if name, ok := one.(string); ok && name != "null" {
				return name
			}
		}
	}
	return "any"
}
