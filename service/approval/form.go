package approval

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/han"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/schema"
)

// form is what an application must be like: a JSON Schema (draft 2020-12).
type form struct {
	*schema.Schema
	json  json.RawMessage // the schema, for clients
	parts []string        // top-level properties
}

// formats are the formats a form may name beside JSON Schema's own.
var formats = schema.Formats{
	"id-card":          label.IDCard,
	"home-permit":      label.HomePermit,
	"taiwan-permit":    label.TaiwanPermit,
	"residence-permit": label.ResidencePermit,
	"foreigner-permit": label.ForeignerPermit,
	"credit-code":      label.CreditCode,
	"phone":            label.Phone,
	"person-name":      func(s string) error { return han.Error(han.CheckName(s), "") },
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
	f := &form{json: encoded}
	if f.Schema, err = schema.Compile(name, encoded, formats); err != nil {
		return nil, err
	}
	for p := range top.Properties {
		f.parts = append(f.parts, p)
	}
	slices.Sort(f.parts)
	return f, nil
}
