package httpapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// HotHandler answers a request of somebody who has one of the operation's roles. It reads the body itself, within its own
// limit, and keeps nothing of the request beyond its return. An error that is returned before the answer began becomes a
// problem.
type HotHandler func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error

// HandleHot serves an operation that a crowd calls at once. It is described as any other and, where the server asks
// Front first, has a shorter way: who asks and which roles they have, a label and the figures of its route, and nothing
// else. There is no span, no record of the access (the service keeps its own, of everything it does), and no masking:
// what it answers must be for everyone who may call it. The path has no wildcards. The answers of the refusals are made
// ready once.
func HandleHot(api *API, op Operation, handler HotHandler, refusals ...*errs.Error) {
	Handle(api, op, func(w http.ResponseWriter, r *http.Request) error { return handler(w, r, auth.From(r.Context())) })
	route := &hotRoute{op: op, handler: handler, ready: map[*errs.Error]*[2][]byte{}}
	for _, e := range refusals {
		route.ready[e] = &[2][]byte{problemBody(e, lang.ZH), problemBody(e, lang.EN)}
	}
	if api.hot == nil {
		api.hot = map[string]*hotRoute{}
	}
	api.hot[op.Path] = route
}

// hotRoute is a hot operation with what it needs at hand.
type hotRoute struct {
	op      Operation
	handler HotHandler
	ready   map[*errs.Error]*[2][]byte // problems, by language
	lane    Lane
}

// Lane watches the requests of one route.
type Lane interface {
	Begin()
	End(r *http.Request, status int, took time.Duration)
}

func problemBody(e *errs.Error, l lang.Lang) []byte {
	body, err := json.Marshal(ProblemOf(e, l, ""))
	if err != nil {
		panic(err) // plain data
	}
	return append(body, '\n')
}

// Hot returns the methods and paths of the hot operations, for package express.
func (api *API) Hot() (routes []string) {
	for _, route := range api.hot {
		routes = append(routes, route.op.route())
	}
	return routes
}

// Front serves hot operations, and passes everything else on. It is called once all operations are registered.
func (api *API) Front(next http.Handler, lane func(pattern string) Lane) http.Handler {
	if len(api.hot) == 0 {
		return next
	}
	for _, route := range api.hot {
		route.lane = lane(route.op.route())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := api.hot[r.URL.Path]
		if route == nil || r.Method != route.op.Method {
			next.ServeHTTP(w, r)
			return
		}
		api.serveHot(route, w, r)
	})
}

func (api *API) serveHot(route *hotRoute, w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	route.lane.Begin()
	answer := hotReply{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler || answer.status != 0 {
				route.lane.End(r, http.StatusInternalServerError, time.Since(began))
				panic(http.ErrAbortHandler)
			}
			api.o.Log.LogAttrs(r.Context(), slog.LevelError, "panic in a handler", slog.String("route", route.op.route()),
				slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
			WriteProblem(&answer, r, errs.New(errs.Internal, "系统内部错误", "internal error"))
		}
		route.lane.End(r, answer.status, time.Since(began))
	}()
	if err := route.serve(api, &answer, r); err != nil {
		route.fail(api, &answer, r, err)
	}
}

func (route *hotRoute) serve(api *API, w http.ResponseWriter, r *http.Request) error {
	p, err := api.o.Auth.Authenticate(r.Context(), r)
	if err != nil {
		return err
	}
	if len(route.op.Roles) > 0 && !p.Is(route.op.Roles...) {
		return auth.Require(auth.With(r.Context(), p), route.op.Roles...)
	}
	return route.handler(w, r, p)
}

func (route *hotRoute) fail(api *API, w *hotReply, r *http.Request, err error) {
	e, _ := err.(*errs.Error)
	ready := route.ready[e]
	if w.status != 0 || ready == nil || e == nil {
		if w.status != 0 {
			panic(http.ErrAbortHandler)
		}
		api.Fail(w, r, bodyError(err, api.maxBody(route.op)))
		return
	}
	l, h := langOf(r), w.Header()
	h["Content-Type"], h["Cache-Control"], h["Vary"] = problemTypes, noStore, varyLanguage
	if e.RetryAfter > 0 {
		setRetryAfter(h, e)
	}
	body := ready[0]
	if l == lang.EN {
		body = ready[1]
	}
	h["Content-Language"] = []string{string(l)}
	w.WriteHeader(e.Kind.HTTP())
	_, _ = w.Write(body)
}

// Values of headers that are the same in every answer. Nobody changes them.
var (
	problemTypes = []string{problemType}
	noStore      = []string{"no-store"}
	varyLanguage = []string{"Accept-Language"}
)

// hotReply notes the status.
type hotReply struct {
	http.ResponseWriter
	status int
}

func (w *hotReply) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *hotReply) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *hotReply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
