package sandbox

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpsig"
)

// Prefix is the path below which the agencies answer.
const Prefix = "/api/sandbox/agencies/"

// Handler serves the agencies below Prefix.
func (s *Sandbox) Handler() http.Handler { return s.mux }

func (s *Sandbox) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"{agency}/openapi.yaml", s.serveDocument)
	mux.HandleFunc(Prefix+"{agency}/{resource}/{requestId}", s.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.send(w, r, nil, problem(r, errs.New(errs.NotFound, "没有这个地址", "there is nothing at this address")), "")
	})
	return mux
}

func (s *Sandbox) serveDocument(w http.ResponseWriter, r *http.Request) {
	o, err := s.office(r.PathValue("agency"))
	if err != nil {
		s.send(w, r, nil, problem(r, err), "")
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(o.doc.text) // the reader may leave
}

// serve answers one request to an agency.
func (s *Sandbox) serve(w http.ResponseWriter, r *http.Request) {
	o, err := s.office(r.PathValue("agency"))
	if err != nil {
		s.send(w, r, nil, problem(r, err), "")
		return
	}
	if s.faults.take(o.name, r.PathValue("resource"), s.now(), isDown) == Down {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		s.send(w, r, o, problem(r, errs.New(errs.TooMany, "部门系统繁忙，请稍后再试", "the agency is busy; try again later").WithRetryAfter(time.Second)), "")
		return
	}
	rep, fault, err := s.answer(w, r, o)
	if err != nil {
		if errs.KindOf(err) == errs.Internal && fault != Error500 {
			s.deps.Log.ErrorContext(r.Context(), "an agency failed", "agency", o.name, "error", err)
		}
		rep = problem(r, err)
	}
	s.send(w, r, o, rep, fault)
}

// answer admits the request, lets a fault strike before the effect, and processes it.
func (s *Sandbox) answer(w http.ResponseWriter, r *http.Request, o *office) (reply, FaultKind, error) {
	body, err := s.admit(w, r)
	if err != nil {
		return reply{}, "", err
	}
	k := key{o.name, r.PathValue("resource"), r.PathValue("requestId")}
	b, ok := o.resources[k.resource]
	if !ok {
		return reply{}, "", errs.New(errs.NotFound, "该部门没有这项资源", "the agency has no such resource").WithField("resource")
	}
	if !agency.ValidID(k.id) {
		return reply{}, "", errs.New(errs.Invalid, "不是合法的请求编号", "is not a request id").WithField("requestId")
	}
	act, err := s.action(r.Method, o, b, k, body)
	if err != nil {
		return reply{}, "", err
	}
	fault, err := s.fault(r, k, b)
	if err == nil {
		err = s.fail(r, fault)
	}
	if err != nil {
		return reply{}, fault, err
	}
	// What was admitted is processed, whether its caller stays or not.
	rep, err := act(context.WithoutCancel(r.Context()), fault)
	return rep, fault, err
}

// action is what a request asks for, with the fault that strikes it on the way.
type action func(ctx context.Context, fault FaultKind) (reply, error)

func (s *Sandbox) action(method string, o *office, b *Behaviour, k key, body []byte) (action, error) {
	switch method {
	case http.MethodPut:
		req, app, err := o.doc.decode(k, body)
		return func(ctx context.Context, fault FaultKind) (reply, error) { return s.do(ctx, k, b, req, app, fault) }, err
	case http.MethodGet:
		return func(ctx context.Context, _ FaultKind) (reply, error) { return s.query(ctx, k) }, nil
	case http.MethodDelete:
		return func(ctx context.Context, fault FaultKind) (reply, error) { return s.undo(ctx, k, b, fault) }, nil
	}
	return nil, errs.New(errs.Invalid, "只支持 PUT、GET 和 DELETE", "PUT, GET and DELETE alone are supported").WithCode("http.method")
}

// fail is the faults that strike before anything has happened.
func (s *Sandbox) fail(r *http.Request, fault FaultKind) error {
	switch fault {
	case Down:
		panic(http.ErrAbortHandler)
	case Timeout:
		s.wait(r.Context(), maxHold)
		panic(http.ErrAbortHandler)
	case Error500:
		return errs.New(errs.Internal, "部门系统内部错误（演练）", "the agency's system failed (a rehearsal)").WithCode("sandbox.fault")
	}
	return nil
}

// maxHold bounds how long a caller without a time limit of its own is held.
const maxHold = 2 * time.Minute

// admit reads the body and verifies who sent it, and that it is not a replay.
func (s *Sandbox) admit(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxBody)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errs.Newf(errs.TooLarge, "请求体超过 %d 字节", "the body is longer than %d bytes", tooLarge.Limit).WithCode("http.body-too-large")
	case err != nil:
		return nil, errs.Wrap(err, errs.Invalid, "请求体不完整", "the body is incomplete").WithCode("http.body-truncated")
	}
	now := s.now()
	signed, err := httpsig.VerifyRequest(r, body, s.deps.Keys.Lookup, now, agency.Window)
	if err != nil {
		return nil, err
	}
	if err := s.nonces.Add(signed, now); err != nil {
		return nil, err
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method == http.MethodPut && media != "application/json" {
		return nil, errs.New(errs.Unsupported, "请求体应为 application/json", "the body is application/json").WithField("Content-Type")
	}
	return body, nil
}

// fault returns what strikes this request: by an order, or, once for each request, by the scenario.
func (s *Sandbox) fault(r *http.Request, k key, b *Behaviour) (FaultKind, error) {
	if kind := s.faults.take(k.agency, k.resource, s.now(), isNotDown); kind != "" {
		return kind, nil
	}
	if r.Method == http.MethodGet {
		return "", nil
	}
	kind := sampleFault(draw(s.cfg.Seed, k, "fault/"+r.Method), b.faults)
	if kind == "" {
		return "", nil
	}
	struck, err := s.store.strike(r.Context(), k, r.Method)
	if !struck {
		kind = ""
	}
	return kind, err
}
