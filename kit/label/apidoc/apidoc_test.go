package apidoc_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/apidoc"
	"github.com/qiongdev/qiong/kit/label/plan"
)

type text struct {
	ZH string `json:"zh"`
}

type in struct {
	ID   string `path:"id" grade:"L2,pii=account"`
	Sort string `query:"sort" grade:"L1"`
}

type out struct {
	Body struct {
		_     struct{} `grade:"L1"`
		Card  string   `json:"card" grade:"L3,pii=id_card"`
		Title text     `json:"title" grade:"L2"`
		State string   `json:"state"`
	}
}

func TestTheDocumentSaysTheGrades(t *testing.T) {
	api := humago.New(http.NewServeMux(), huma.DefaultConfig("x", "1"))
	huma.Register(api, huma.Operation{Method: "GET", Path: "/x/{id}", OperationID: "get-x"}, func(context.Context, *in) (*out, error) { return nil, nil })
	doc, p := api.OpenAPI(), plan.New(nil)
	apidoc.Operation(doc.Paths["/x/{id}"].Get, label.L3, reflect.TypeFor[in](), p)
	apidoc.Schemas(doc, p)
	apidoc.Schemas(doc, p)
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Paths map[string]map[string]struct {
			Grade      string `json:"x-data-grade"`
			Parameters []struct {
				Name     string
				Grade    string `json:"x-data-grade"`
				Category string `json:"x-data-category"`
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]map[string]any }
		}
	}
	if err := json.Unmarshal(b, &said); err != nil {
		t.Fatal(err)
	}
	op := said.Paths["/x/{id}"]["get"]
	if op.Grade != "L3" || len(op.Parameters) != 2 || op.Parameters[0].Grade != "L2" || op.Parameters[0].Category != "account" || op.Parameters[1].Grade != "L1" {
		t.Errorf("%+v", op)
	}
	var body map[string]map[string]any
	for name, s := range said.Components.Schemas {
		if s.Properties["card"] != nil {
			body = s.Properties
		}
		if zh := s.Properties["zh"]; zh != nil && zh["x-data-grade"] != nil {
			t.Errorf("%s.zh has a grade of its own: %v", name, zh)
		}
	}
	if card := body["card"]; card["x-data-grade"] != "L3" || card["x-data-category"] != "id_card" || card["x-data-mask"] != "3-4" {
		t.Errorf("card: %v", card)
	}
	if title := body["title"]; title["x-data-grade"] != "L2" || title["$ref"] == nil {
		t.Errorf("title: %v", title)
	}
	if body["state"]["x-data-grade"] != "L1" {
		t.Errorf("state: %v", body["state"])
	}
}
