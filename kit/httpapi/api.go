// Package httpapi serves JSON over HTTP so that bad input is refused at the door, in words.
//
// It promises that a handler sees only what passed: an authenticated principal with one of the operation's roles, a body
// within the limit that strict JSON allows one reading of, every field known and of its type. Whatever is wrong comes
// back as an RFC 9457 problem in Chinese or English with the field and byte offset and never with a submitted value;
// an inner cause goes to the log once and to nobody else. The OpenAPI document is made from the same Go types, and the
// page that shows it needs no other server. Where data are graded, a caller sees of an answer what they are cleared for.
//
// Huma (github.com/danielgtaylor/huma) decodes, validates against the types and describes; the standard mux routes.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Options configure an API.
type Options struct {
	Title   lang.Text
	Version string
	Mux     *http.ServeMux     // where the operations are served; required
	Auth    auth.Authenticator // required unless every operation is Public
	Log     *slog.Logger       // default slog.Default()
	MaxBody int64              // bytes of a request body; default 1 MiB

	// BodyTimeout is how long the client may take to send a body; default 30 s. A plain handler's body has it for
	// each read instead, so that a slow but steady upload is not cut off.
	BodyTimeout time.Duration

	// Grades hold graded data to those who are cleared for it. Without them nothing is graded, and nothing held back.
	Grades *httplabel.Routes
}

// DefaultMaxBody is the limit of a request body where nothing else is said.
const DefaultMaxBody = 1 << 20

// API is a set of operations on one mux.
type API struct {
	o    Options
	huma huma.API
	docs docs

	ungraded []error              // what Graded tells
	hot      map[string]*hotRoute // by path
	warned   warned
}

// Operation describes one operation.
type Operation struct {
	Method  string
	Path    string // with {name} wildcards of net/http
	ID      string // unique, such as "submit-case"
	Tag     string // the group it is shown in
	Summary lang.Text
	Doc     lang.Text
	Roles   []auth.Role // who may; empty means any authenticated principal
	Public  bool        // nobody is asked who they are
	Status  int         // on success; default 200, or 204 where there is no answer body
	MaxBody int64       // default Options.MaxBody

	// Idempotent operations honour an Idempotency-Key: it is checked, and stands in Call beside the digest of the body.
	// Keeping answers is the caller's part, since they belong in the transaction of the state.
	Idempotent bool
	KeyNeeded  bool // an Idempotent operation that refuses to be called without a key

	// OwnRules says that the input's Validate checks the body, and its tags only describe it: for hot paths, where
	// checking the tags costs a second decoding. Strictness, unknown fields and types are checked all the same.
	OwnRules bool

	// Grade is the grade of what is answered, at least; plain handlers without an Event must have one. Refuse refuses an
	// answer to whoever is not cleared for all of it; otherwise they see it masked, where it has a type. Clears is what the
	// operation's own rules clear a caller for, whatever their role: for what is theirs by its nature.
	Grade  label.Grade
	Refuse bool
	Clears label.Grade
	Event  reflect.Type // plain handlers that answer with Stream: of its data

	Accepts  []string // plain handlers: media types of the request body; any where empty
	Produces string   // plain handlers: media type of the answer

	// Takes and Answers describe the bodies of plain handlers that read and write JSON themselves.
	Takes, Answers reflect.Type
}

// New returns an API on o.Mux. It also serves GET /api/ (the page) and GET /api/openapi.json, and answers every other
// path below /api/ that no operation has with a problem. It panics where Options lack the mux.
func New(o Options) *API {
	if o.Mux == nil {
		panic("httpapi: Options.Mux is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = 30 * time.Second
	}
	api := &API{o: o}
	api.huma = huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: o.Title.In(lang.ZH), Version: o.Version, Extensions: map[string]any{"x-title-en": o.Title.In(lang.EN)},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaNames()),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "qiong_…"},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{api.transform},
	}, humago.NewAdapter(o.Mux, ""))
	api.serveDocs()
	return api
}

// jsonFormat is huma's own, but for bodies that strictjson, which has checked every body before, fills faster.
var jsonFormat = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, v any) error {
		if strictjson.Fill(data, v) {
			return nil
		}
		return json.Unmarshal(data, v)
	},
}

// Register serves op with handler. I is huma's input struct (fields tagged path, query, header; Body for the JSON body)
// and O its output struct (fields tagged header; Body). Where *I has a method Validate() error, it is called before the
// handler. The handler's error becomes a problem by its kind, or, as *Replay, the stored answer. Register panics where
// the types or op cannot be served: that is a defect of the program, found when it starts.
func Register[I, O any](api *API, op Operation, handler func(context.Context, *I) (*O, error)) {
	body := bodyOf(reflect.TypeFor[I]())
	described := api.describe(op)
	described.MaxBodyBytes = api.maxBody(op) + 1 // huma refuses a body that reaches its limit; ours was there before
	described.BodyReadTimeout = -1               // the body is in memory by then
	described.RejectUnknownQueryParameters = true
	var gate *httplabel.Gate
	wrap := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { api.serve(op, gate, body, next, w, r) }
	}
	huma.Register(scoped{api.huma, humago.NewAdapter(routes{api.o.Mux, wrap}, "")}, described,
		func(ctx context.Context, in *I) (*O, error) {
			ex := exchangeOf(ctx)
			if v, ok := any(in).(interface{ Validate() error }); ok {
				if err := v.Validate(); err != nil {
					ex.fail(err)
					return nil, nil
				}
			}
			out, err := handler(ctx, in)
			if err != nil {
				ex.fail(err)
				return nil, nil
			}
			return out, nil
		})
	// Only now are its parameters described.
	stored := operationOf(api.huma.OpenAPI().Paths[op.Path], op.Method)
	gate = api.grade(op.typed(reflect.TypeFor[I](), bodyOf(reflect.TypeFor[O]())), stored)
	api.docs.add(op)
}

// bodyOf returns the type of the member Body; nil where there is none.
func bodyOf(t reflect.Type) reflect.Type {
	if f, ok := t.FieldByName("Body"); ok {
		return f.Type
	}
	return nil
}

// Handle serves op with a plain handler: for uploads, downloads and streams. Authentication, roles, the limit of the
// body, panics and errors are as with Register; the body is not read, and comes without a digest in Call. An error
// returned before the answer began becomes a problem; a later one ends the connection, so that no client takes half an
// answer for a whole one.
func Handle(api *API, op Operation, handler func(w http.ResponseWriter, r *http.Request) error) {
	described := api.describe(op)
	if len(op.Accepts) > 0 {
		described.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
		for _, media := range op.Accepts {
			described.RequestBody.Content[media] = &huma.MediaType{Schema: api.schema(op.Takes, op.ID+"-body")}
		}
	}
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	answer := &huma.Response{Description: http.StatusText(status)}
	if op.Produces != "" {
		answer.Content = map[string]*huma.MediaType{op.Produces: {Schema: api.schema(op.Answers, op.ID+"-answer")}}
	}
	described.Responses[statusKey(status)] = answer
	for _, part := range strings.Split(op.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			described.Parameters = append(described.Parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	gate := api.grade(op.plain(), &described)
	api.huma.OpenAPI().AddOperation(&described)
	api.o.Mux.HandleFunc(op.route(), api.servePlain(op, gate, handler))
	api.docs.add(op)
}

// schema describes a Go type; nil where there is none.
func (api *API) schema(t reflect.Type, hint string) *huma.Schema {
	if t == nil {
		return nil
	}
	return api.huma.OpenAPI().Components.Schemas.Schema(t, true, hint)
}

// describe translates op for huma.
func (api *API) describe(op Operation) huma.Operation {
	if !op.Public && api.o.Auth == nil {
		panic("httpapi: " + op.ID + " is not Public, and there is no Authenticator")
	}
	described := huma.Operation{
		Method: op.Method, Path: op.Path, OperationID: op.ID, DefaultStatus: op.Status,
		Summary: op.Summary.In(lang.ZH), Description: op.Doc.In(lang.ZH),
		Extensions: map[string]any{"x-summary-en": op.Summary.In(lang.EN)}, SkipValidateBody: op.OwnRules,
		Responses: map[string]*huma.Response{"default": {
			Description: "问题说明 / problem (RFC 9457)",
			Content: map[string]*huma.MediaType{problemType: {
				Schema: api.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem"),
			}},
		}},
	}
	if !op.Doc.IsZero() {
		described.Extensions["x-description-en"] = op.Doc.In(lang.EN)
	}
	if op.Tag != "" {
		described.Tags = []string{op.Tag}
	}
	if !op.Public {
		described.Security = []map[string][]string{{"bearer": {}}}
		described.Extensions["x-roles"] = op.Roles
	}
	if op.Idempotent {
		one, most := 1, maxKey
		described.Parameters = append(described.Parameters, &huma.Param{
			Name: keyHeader, In: "header", Required: op.KeyNeeded,
			Description: "重复提交时返回同一结果 / the same answer for the same key",
			Schema:      &huma.Schema{Type: huma.TypeString, MinLength: &one, MaxLength: &most},
		})
	}
	return described
}

func (api *API) maxBody(op Operation) int64 {
	if op.MaxBody > 0 {
		return op.MaxBody
	}
	return api.o.MaxBody
}

// scoped is the API with another adapter, which knows the operation that is being registered.
type scoped struct {
	huma.API
	adapter huma.Adapter
}

func (s scoped) Adapter() huma.Adapter { return s.adapter }

// routes is a mux that wraps each handler.
type routes struct {
	*http.ServeMux
	wrap func(http.HandlerFunc) http.HandlerFunc
}

func (r routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.ServeMux.HandleFunc(pattern, r.wrap(handler))
}

// transform catches what huma refuses and writes our problem in its place. All else is shown as the caller may see it.
func (api *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	ex := exchangeOf(ctx.Context())
	if ex == nil {
		return nil, errors.New("httpapi: an operation was served without its exchange")
	}
	if refused, ok := v.(*huma.ErrorModel); ok {
		ex.fail(translate(refused, ex.body))
		return nil, nil
	}
	return ex.show(v)
}
