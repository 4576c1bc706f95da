// Package apidoc says the grades of an API in its OpenAPI document: what a reader of the document, an auditor or a gateway
// needs to know of the data without the code.
//
// An operation's x-data-grade is the grade of its gravest field. A property's or parameter's is that of the value and of
// all within it that has none of its own; x-data-category and x-data-mask stand beside it.
package apidoc

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/plan"
)

// The extensions. Their values are what label.Grade, label.Category.Name and label.Mask have as text.
const (
	Grade    = "x-data-grade"
	Category = "x-data-category"
	Mask     = "x-data-mask"
)

const prefix = "#/components/schemas/"

// Extensions adds the extensions that say a tag to those that are there, which may be nil.
func Extensions(t label.Tag, there map[string]any) map[string]any {
	if there == nil {
		there = map[string]any{}
	}
	there[Grade] = t.Grade.String()
	if t.Category != "" {
		there[Category] = t.Category
	}
	if !t.Mask.IsZero() {
		there[Mask] = t.Mask.String()
	}
	return there
}

// Schemas puts into every component of doc what the Go type it was made from says of its fields. It may be called again
// when there are more.
func Schemas(doc *huma.OpenAPI, p *plan.Planner) {
	reg := doc.Components.Schemas
	for name, s := range reg.Map() {
		t := reg.TypeFromRef(prefix + name)
		if t == nil || t.Kind() != reflect.Struct {
			continue
		}
		for field, tag := range p.Tags(t) {
			if property := s.Properties[field]; property != nil {
				property.Extensions = Extensions(tag, property.Extensions)
			}
		}
	}
}

// Operation puts the grade of a route into op, and into its parameters what the fields of the input type in (tagged path,
// query, header or cookie) say of themselves; in may be nil.
func Operation(op *huma.Operation, grade label.Grade, in reflect.Type, p *plan.Planner) {
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions[Grade] = grade.String()
	if in == nil {
		return
	}
	tags := p.Tags(in)
	for _, f := range reflect.VisibleFields(in) {
		tag, ok := tags[f.Name]
		if !ok {
			continue
		}
		for _, param := range op.Parameters {
			if f.Tag.Get(param.In) == param.Name {
				param.Extensions = Extensions(tag, param.Extensions)
			}
		}
	}
}
