package httpapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

const problemType = "application/problem+json"

// Problem is an RFC 9457 problem document.
type Problem struct {
	_       struct{}  `grade:"L1"`
	Type    string    `json:"type" doc:"urn:qiong:problem:<code or kind>"`
	Title   string    `json:"title" doc:"the kind, in words"`
	Status  int       `json:"status" doc:"HTTP status"`
	Detail  string    `json:"detail" doc:"what went wrong here; never a submitted value"`
	Kind    string    `json:"kind" doc:"what a program can act on, such as not-found"`
	Code    string    `json:"code,omitempty" doc:"the very case, such as json.duplicate-key"`
	Field   string    `json:"field,omitempty" doc:"path in the body, or name of a parameter or header"`
	Offset  *int64    `json:"offset,omitempty" doc:"byte offset in the request body"`
	Line    int       `json:"line,omitempty" doc:"line in an uploaded file"`
	Hint    string    `json:"hint,omitempty" doc:"what to do next"`
	TraceID string    `json:"traceId,omitempty" doc:"give this to the operator"`
	Errors  []Finding `json:"errors,omitempty" doc:"all findings, where there are several"`
}

// Finding is one of several things wrong with a request.
type Finding struct {
	_      struct{} `grade:"L1"`
	Detail string   `json:"detail"`
	Code   string   `json:"code,omitempty"`
	Field  string   `json:"field,omitempty"`
	Offset *int64   `json:"offset,omitempty" doc:"byte offset in the request body"`
	Line   int      `json:"line,omitempty"`
}

// titles are the kinds in words.
var titles = map[errs.Kind]lang.Text{
	errs.Internal:        lang.T("系统内部错误", "Internal error"),
	errs.Invalid:         lang.T("请求有误", "Invalid request"),
	errs.Unauthenticated: lang.T("未认证", "Not authenticated"),
	errs.Forbidden:       lang.T("无权操作", "Not allowed"),
	errs.NotFound:        lang.T("未找到", "Not found"),
	errs.Conflict:        lang.T("状态冲突", "Conflict"),
	errs.Precondition:    lang.T("内容已变更", "Precondition failed"),
	errs.TooLarge:        lang.T("内容过大", "Too large"),
	errs.Unsupported:     lang.T("不支持的格式", "Unsupported media type"),
	errs.Canceled:        lang.T("请求已取消", "Canceled"),
	errs.TooMany:         lang.T("请求过多", "Too many requests"),
	errs.Unavailable:     lang.T("暂时不可用", "Unavailable"),
	errs.Timeout:         lang.T("处理超时", "Timeout"),
	errs.Full:            lang.T("存储空间不足", "Storage is full"),
}

// ProblemOf returns the problem document of err in l. An Internal error's own words are kept from people unless it is
// an *errs.Error, whose words were written for them.
func ProblemOf(err error, l lang.Lang, traceID string) Problem {
	e := errs.As(err)
	name := e.Code
	if name == "" {
		name = e.Kind.String()
	}
	p := Problem{
		Type: "urn:qiong:problem:" + name, Title: titles[e.Kind].In(l), Status: e.Kind.HTTP(), Detail: e.Msg.In(l),
		Kind: e.Kind.String(), Code: e.Code, Field: e.Field, Offset: offsetOf(e), Line: e.Line, Hint: e.Hint.In(l), TraceID: traceID,
	}
	if len(e.Also) > 0 {
		p.Errors = append(p.Errors, findingOf(e, l))
		for _, other := range e.Also {
			p.Errors = append(p.Errors, findingOf(other, l))
		}
	}
	return p
}

func findingOf(e *errs.Error, l lang.Lang) Finding {
	return Finding{Detail: e.Msg.In(l), Code: e.Code, Field: e.Field, Offset: offsetOf(e), Line: e.Line}
}

func offsetOf(e *errs.Error) *int64 {
	if e.HasOffset {
		return &e.Offset
	}
	return nil
}

// WriteProblem answers r with the problem of err, in the language r accepts. It does not log; [API.Fail] does.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, langOf(r), traceOf(r.Context()), err)
}

// Fail logs err as its kind deserves and answers r with its problem: for handlers outside of the API.
func (api *API) Fail(w http.ResponseWriter, r *http.Request, err error) {
	api.log(r, err)
	WriteProblem(w, r, err)
}

func writeProblem(w http.ResponseWriter, l lang.Lang, traceID string, err error) {
	var e *errs.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		setRetryAfter(w.Header(), e)
	}
	ProblemOf(err, l, traceID).write(w, l)
}

func setRetryAfter(h http.Header, e *errs.Error) {
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
}

func (p Problem) write(w http.ResponseWriter, l lang.Lang) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"status":500,"kind":"internal"}`)
	}
	h := w.Header()
	for _, name := range []string{"Etag", "Content-Length", "Content-Encoding", "Last-Modified"} {
		h.Del(name)
	}
	lower(h)
	h.Set("Content-Type", problemType)
	h.Set("Content-Language", string(l))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Language")
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="qiong"`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// langOf returns the language to answer r in.
func langOf(r *http.Request) lang.Lang { return lang.FromAccept(r.Header.Get("Accept-Language")) }
