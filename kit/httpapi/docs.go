package httpapi

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/apidoc"
	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed docs.html docs.css
var docsFiles embed.FS

var docsPage = template.Must(template.New("docs.html").Funcs(template.FuncMap{"fields": func(words map[string]string, fields []fieldView) any {
	return map[string]any{"T": words, "Fields": fields}
}}).ParseFS(docsFiles, "docs.html"))

// docs is the API page and its document, made at the first request after the last registration.
type docs struct {
	mu         sync.Mutex
	operations []Operation
	document   []byte
	pages      map[lang.Lang][]byte
}

func (d *docs) add(op Operation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operations = append(d.operations, op)
	d.document, d.pages = nil, nil
}

// OpenAPI returns the OpenAPI 3.1 document in JSON.
func (api *API) OpenAPI() ([]byte, error) {
	d := &api.docs
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.document == nil {
		// Huma registers its own error model beside ours; nothing refers to it.
		delete(api.huma.OpenAPI().Components.Schemas.Map(), "ErrorModel")
		if api.o.Grades != nil {
			apidoc.Schemas(api.huma.OpenAPI(), api.o.Grades.Planner())
		}
		document, err := json.Marshal(api.huma.OpenAPI())
		if err != nil {
			return nil, err
		}
		d.document = document
	}
	return d.document, nil
}

func (api *API) serveDocs() {
	mux := api.o.Mux
	mux.HandleFunc("GET /api/{$}", api.serveDocsPage)
	mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		document, err := api.OpenAPI()
		if err != nil {
			api.Fail(w, r, err)
			return
		}
		serveStatic(w, r, "application/openapi+json", document)
	})
	mux.HandleFunc("GET /api/docs.css", func(w http.ResponseWriter, r *http.Request) {
		css, err := docsFiles.ReadFile("docs.css")
		if err != nil {
			api.Fail(w, r, err)
			return
		}
		serveStatic(w, r, "text/css; charset=utf-8", css)
	})
	mux.HandleFunc("/api/", api.serveNothing)
}

func serveStatic(w http.ResponseWriter, r *http.Request, media string, body []byte) {
	etag := ContentETag(body)
	secure(w.Header())
	w.Header().Set("Etag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	if NotModified(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(body)
}

// serveNothing answers for a path below /api/ that no operation has: 405 where another method would do, 404 otherwise.
func (api *API) serveNothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := *r
		other.Method = method
		if _, pattern := api.o.Mux.Handler(&other); pattern != r.Pattern && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		WriteProblem(w, r, errs.New(errs.NotFound, "没有这个接口", "there is no such operation").WithCode("http.no-route").
			WithHint("接口目录见 /api/", "see /api/ for what there is"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	e := errs.New(errs.Invalid, "此地址不支持该请求方法", "this path does not know the method").WithCode("http.method")
	p := ProblemOf(e, langOf(r), traceOf(r.Context()))
	p.Status = http.StatusMethodNotAllowed
	p.write(w, langOf(r))
}

func (api *API) serveDocsPage(w http.ResponseWriter, r *http.Request) {
	l := langOf(r)
	if chosen, ok := lang.Parse(r.URL.Query().Get("lang")); ok {
		l = chosen
	}
	page, err := api.page(l)
	if err != nil {
		api.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Language", string(l))
	w.Header().Set("Vary", "Accept-Language")
	serveStatic(w, r, "text/html; charset=utf-8", page)
}

func (api *API) page(l lang.Lang) ([]byte, error) {
	d := &api.docs
	d.mu.Lock()
	defer d.mu.Unlock()
	if page, ok := d.pages[l]; ok {
		return page, nil
	}
	var out bytes.Buffer
	if err := docsPage.Execute(&out, api.view(l)); err != nil {
		return nil, err
	}
	if d.pages == nil {
		d.pages = map[lang.Lang][]byte{}
	}
	d.pages[l] = out.Bytes()
	return d.pages[l], nil
}

// pageView is what docs.html shows.
type pageView struct {
	Lang, Title, Version string
	Groups               []groupView
	T                    map[string]string
}

type groupView struct {
	Name       string
	Operations []operationView
}

type operationView struct {
	Method, Path, ID, Summary, Doc, Roles string
	Grade                                 string // of its data; empty where nothing is graded
	Public, Idempotent                    bool
	Params                                []fieldView
	Accepts, Produces                     string
	Body, Answer                          []fieldView
	Status                                string
}

type fieldView struct {
	Name, In, Type, Doc string
	Required            bool
	Depth               int
}

var pageWords = map[string]lang.Text{
	"skip":     lang.T("跳到正文", "Skip to content"),
	"contents": lang.T("目录", "Contents"),
	"other":    lang.T("English", "中文"),
	"document": lang.T("OpenAPI 文档", "OpenAPI document"),
	"params":   lang.T("参数", "Parameters"),
	"body":     lang.T("请求体", "Request body"),
	"answer":   lang.T("应答", "Answer"),
	"field":    lang.T("名称", "Name"),
	"type":     lang.T("类型", "Type"),
	"about":    lang.T("说明", "About"),
	"required": lang.T("必填", "required"),
	"who":      lang.T("可调用者", "Who may"),
	"grade":    lang.T("数据级别", "Data grade"),
	"anyone":   lang.T("任何人，无需登录", "anyone, without signing in"),
	"signedIn": lang.T("任何已认证的主体", "any authenticated principal"),
	"retry":    lang.T("支持 Idempotency-Key：重复提交得到同一应答", "Honours Idempotency-Key: the same key has the same answer"),
	"problems": lang.T("出错时应答 application/problem+json（RFC 9457），以中文或英文说明字段、位置和处理办法，不回显所提交的内容。",
		"Failures answer application/problem+json (RFC 9457), naming field, offset and what to do, and never echo what was submitted."),
	"empty": lang.T("尚未登记任何接口。", "No operation is registered yet."),
}

func (api *API) view(l lang.Lang) pageView {
	v := pageView{Lang: string(l), Title: api.o.Title.In(l), Version: api.o.Version, T: map[string]string{}}
	for key, text := range pageWords {
		v.T[key] = text.In(l)
	}
	at := map[string]int{}
	for _, op := range api.docs.operations {
		i, ok := at[op.Tag]
		if !ok {
			i = len(v.Groups)
			at[op.Tag] = i
			v.Groups = append(v.Groups, groupView{Name: op.Tag})
		}
		v.Groups[i].Operations = append(v.Groups[i].Operations, api.viewOf(op, l))
	}
	slices.SortStableFunc(v.Groups, func(a, b groupView) int { return strings.Compare(a.Name, b.Name) })
	return v
}

func (api *API) viewOf(op Operation, l lang.Lang) operationView {
	v := operationView{
		Method: op.Method, Path: op.Path, ID: op.ID, Summary: op.Summary.In(l), Doc: op.Doc.In(l), Public: op.Public,
		Idempotent: op.Idempotent, Accepts: strings.Join(op.Accepts, ", "), Produces: op.Produces,
	}
	roles := make([]string, len(op.Roles))
	for i, role := range op.Roles {
		roles[i] = string(role)
	}
	v.Roles = strings.Join(roles, ", ")
	described := operationOf(api.huma.OpenAPI().Paths[op.Path], op.Method)
	if described == nil {
		return v
	}
	if grade, ok := described.Extensions[apidoc.Grade].(string); ok {
		v.Grade = grade
	}
	for _, p := range described.Parameters {
		v.Params = append(v.Params, fieldView{Name: p.Name, In: p.In, Type: api.typeOf(p.Schema), Doc: inLang(p.Description, l), Required: p.Required})
	}
	if b := described.RequestBody; b != nil && b.Content["application/json"] != nil {
		v.Body = api.fields(b.Content["application/json"].Schema, l, 0, nil)
	}
	for status, answer := range described.Responses {
		if status != "default" {
			v.Status = status
			if media := answer.Content["application/json"]; media != nil {
				v.Answer = api.fields(media.Schema, l, 0, nil)
			}
		}
	}
	return v
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch,
		"DELETE": item.Delete, "HEAD": item.Head, "OPTIONS": item.Options}[method]
}

const deepest = 6

// fields lists the members of a schema, nested ones below their parent; seen stops types that hold themselves.
func (api *API) fields(s *huma.Schema, l lang.Lang, depth int, seen []string) []fieldView {
	for s != nil && (s.Ref != "" || s.Items != nil) {
		if s.Ref != "" {
			if slices.Contains(seen, s.Ref) {
				return nil
			}
			seen = append(slices.Clone(seen), s.Ref)
			s = api.huma.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
		} else {
			s = s.Items
		}
	}
	if s == nil || depth > deepest {
		return nil
	}
	var out []fieldView
	for _, name := range sortedByOrder(s.Properties, s.Required) {
		p := s.Properties[name]
		out = append(out, fieldView{Name: name, Type: api.typeOf(p), Doc: inLang(p.Description, l), Required: slices.Contains(s.Required, name), Depth: depth})
		out = append(out, api.fields(p, l, depth+1, seen)...)
	}
	return out
}

// sortedByOrder lists required members first, as the type declares them, then the others by name.
func sortedByOrder(properties map[string]*huma.Schema, required []string) []string {
	var rest []string
	for name := range properties {
		if !slices.Contains(required, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	return append(slices.Clone(required), rest...)
}

func (api *API) typeOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == huma.TypeArray:
		return api.typeOf(s.Items) + "[]"
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	}
	return s.Type
}

// inLang returns the half of a "中文 / English" description that l asks for; the whole where it has no halves.
func inLang(description string, l lang.Lang) string {
	zh, en, found := strings.Cut(description, " / ")
	if !found {
		return description
	}
	return lang.T(zh, en).In(l)
}

func statusKey(status int) string { return strconv.Itoa(status) }

// schemaNames names schemas by their types. Where two packages have a type of one name, that of the second has the
// package's name before it.
func schemaNames() func(t reflect.Type, hint string) string {
	taken, given := map[string]reflect.Type{}, map[reflect.Type]string{}
	return func(t reflect.Type, hint string) string {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name, ok := given[t]; ok {
			return name
		}
		name := huma.DefaultSchemaNamer(t, hint)
		if t.Name() == "" || name == "" {
			return name
		}
		if _, twice := taken[name]; twice {
			origin := path.Base(t.PkgPath())
			if _, inner, generic := strings.Cut(t.Name(), "["); generic {
				origin, _, _ = strings.Cut(path.Base(inner), ".")
			}
			name = strings.ToUpper(origin[:1]) + origin[1:] + name
		}
		taken[name], given[t] = t, name
		return name
	}
}
