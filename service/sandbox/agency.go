package sandbox

import (
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
)

//go:embed agencies/*.yaml
var documents embed.FS

// document is the OpenAPI document of one agency.
type document struct {
	text    []byte
	title   lang.Text
	schemas map[string]*openapi3.Schema // of the body of a PUT, by resource
}

// office is one agency at work.
type office struct {
	name      string
	doc       *document
	key       *keys.Key
	resources map[string]*Behaviour
}

func loadDocuments() (map[string]*document, error) {
	names, err := fs.Glob(documents, "agencies/*.yaml")
	if err != nil {
		return nil, err
	}
	all := map[string]*document{}
	for _, name := range names {
		text, err := documents.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if all[strings.TrimSuffix(path.Base(name), ".yaml")], err = compile(text); err != nil {
			return nil, errs.Wrap(err, errs.Internal, "内置的 OpenAPI 文档有误", "a built-in OpenAPI document is broken")
		}
	}
	return all, nil
}

func compile(text []byte) (*document, error) {
	loader := openapi3.NewLoader()
	api, err := loader.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := api.Validate(loader.Context); err != nil {
		return nil, err
	}
	en, _ := api.Info.Extensions["x-title-en"].(string)
	doc := &document{text: text, title: lang.T(api.Info.Title, en), schemas: map[string]*openapi3.Schema{}}
	for route, item := range api.Paths.Map() {
		resource, ok := strings.CutSuffix(strings.TrimPrefix(route, "/"), "/{requestId}")
		if !ok || item.Put == nil || item.Put.RequestBody == nil {
			return nil, errors.New("a path is not of the agency protocol")
		}
		media := item.Put.RequestBody.Value.Content.Get("application/json")
		if media == nil || media.Schema == nil {
			return nil, errors.New("a PUT has no schema")
		}
		doc.schemas[resource] = media.Schema.Value
	}
	return doc, nil
}

// decode reads the body of a PUT: strict JSON, of the schema, for the request that the path names.
func (d *document) decode(k key, body []byte) (agency.Request, application, error) {
	var r agency.Request
	if err := strictjson.Unmarshal(body, &r); err != nil {
		return r, application{}, err
	}
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		return r, application{}, errs.Wrap(err, errs.Invalid, "不是 JSON 对象", "this is not a JSON object").WithCode(strictjson.CodeType)
	}
	if err := d.schemas[k.resource].VisitJSON(v, openapi3.VisitAsRequest(), openapi3.MultiErrors()); err != nil {
		return r, application{}, violations(err, body)
	}
	if r.RequestID != k.id {
		return r, application{}, errs.New(errs.Invalid, "与路径中的请求编号不一致", "differs from the request id in the path").
			WithCode("agency.request-id").WithField("requestId")
	}
	return r, application{v["form"], v["earlier"]}, nil
}

// maxViolations bounds how many findings one answer lists.
const maxViolations = 20

// violations translates what the schema refuses. kin-openapi's own words stay out: they may quote the value.
func violations(err error, body []byte) error {
	var found []*errs.Error
	var walk func(error)
	walk = func(err error) {
		var many openapi3.MultiError
		var one *openapi3.SchemaError
		switch {
		case len(found) == maxViolations:
		case errors.As(err, &many):
			for _, e := range many {
				walk(e)
			}
		case errors.As(err, &one):
			found = append(found, violation(one, body))
		}
	}
	walk(err)
	if len(found) == 0 {
		return errs.Wrap(err, errs.Invalid, "请求体不符合接口文档", "the body does not fit the OpenAPI document").WithCode("schema")
	}
	found[0].Also = found[1:]
	return found[0]
}

// phrases are the keywords of JSON Schema that the documents use, in words.
var phrases = map[string]lang.Text{
	"required":  lang.T("缺少必填字段", "a required field is missing"),
	"type":      lang.T("类型不符", "is of the wrong type"),
	"nullable":  lang.T("不可为 null", "must not be null"),
	"enum":      lang.T("不是允许的值", "is not an allowed value"),
	"pattern":   lang.T("格式不符", "is not of the right form"),
	"minLength": lang.T("太短", "is too short"),
	"maxLength": lang.T("太长", "is too long"),
	"minimum":   lang.T("太小", "is too small"),
	"maximum":   lang.T("太大", "is too large"),
}

func violation(e *openapi3.SchemaError, body []byte) *errs.Error {
	words, ok := phrases[e.SchemaField]
	if !ok {
		words = lang.T("不符合接口文档", "does not fit the OpenAPI document")
	}
	pointer := e.JSONPointer()
	shown := make([]string, len(pointer))
	for i, part := range pointer {
		if shown[i], ok = strictjson.Name(part); !ok {
			shown[i] = "*"
		}
	}
	found := errs.New(errs.Invalid, words.ZH, words.EN).WithCode("schema." + e.SchemaField).WithField(strings.Join(shown, "."))
	if at, ok := strictjson.Locate(body, strings.Join(pointer, ".")); ok {
		found.WithOffset(at)
	}
	return found
}
