package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"go.opentelemetry.io/otel/trace"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
)

const (
	jsonType  = "application/json"
	keyHeader = "Idempotency-Key"
	maxKey    = 255
	// maxIdle is how much of a pooled buffer is kept for the next request.
	maxIdle = 1 << 20
)

// Call is what a handler may want to know of the request beyond its input: what an idempotency row is keyed by.
type Call struct {
	Principal *auth.Principal // nil for a Public operation
	Route     string          // method and pattern, such as "POST /api/approval/cases"
	Key       string          // Idempotency-Key; empty where none was sent or the operation is not Idempotent
	BodySM3   [32]byte        // of the body's bytes as sent; zero where the operation is not Idempotent
	Lang      lang.Lang       // for people
	Trace     string          // trace id, 32 hexadecimal digits; may be empty
}

// exchange is one request being answered.
type exchange struct {
	api   *API
	gate  *httplabel.Gate
	pass  httplabel.Pass
	r     *http.Request
	reply *reply
	body  []byte
	call  Call
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	ex, _ := ctx.Value(exchangeKey{}).(*exchange)
	return ex
}

// CallFrom returns the Call of the request that ctx belongs to; the zero Call outside of one.
func CallFrom(ctx context.Context) Call {
	if ex := exchangeOf(ctx); ex != nil {
		return ex.call
	}
	return Call{}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve is what happens around a registered handler.
func (api *API) serve(op Operation, gate *httplabel.Gate, body reflect.Type, next http.HandlerFunc, w http.ResponseWriter, r *http.Request) {
	ex, ctx := api.exchange(op, gate, w, r)
	defer ex.recover()
	ctx, err := ex.admit(ctx, op)
	if err != nil {
		ex.fail(err)
		return
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxIdle {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if err := ex.readBody(buf, op, body); err != nil {
		ex.fail(err)
		return
	}
	request := r.WithContext(ctx)
	request.Body = io.NopCloser(bytes.NewReader(ex.body))
	if media := r.Header.Get("Content-Type"); len(ex.body) > 0 && media != jsonType {
		request.Header = r.Header.Clone() // huma knows this one spelling
		request.Header.Set("Content-Type", jsonType)
	}
	next(ex.reply, request)
}

// servePlain is what happens around a plain handler.
func (api *API) servePlain(op Operation, gate *httplabel.Gate, handler func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ex, ctx := api.exchange(op, gate, w, r)
		defer ex.recover()
		ctx, err := ex.admit(ctx, op)
		if err == nil {
			err = ex.checkType(op)
		}
		if err == nil && r.ContentLength > api.maxBody(op) {
			err = tooLarge(api.maxBody(op))
		}
		if err != nil {
			ex.fail(err)
			return
		}
		request := r.WithContext(ctx)
		request.Body = api.steady(w, http.MaxBytesReader(w, r.Body, api.maxBody(op)))
		if err := handler(ex.reply, request); err != nil {
			ex.fail(bodyError(err, api.maxBody(op)))
		}
	}
}

func (api *API) exchange(op Operation, gate *httplabel.Gate, w http.ResponseWriter, r *http.Request) (*exchange, context.Context) {
	ex := &exchange{api: api, gate: gate, r: r, reply: &reply{ResponseWriter: w}}
	ex.call = Call{Route: op.route(), Lang: langOf(r), Trace: traceOf(r.Context())}
	if r.ContentLength != 0 {
		// The deadline stands until the body has been read whole: where it is refused unread, net/http still drains the
		// rest of it, and would wait for a stalled client for ever. A writer without deadlines (a test's) has none.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(api.o.BodyTimeout))
	}
	return ex, context.WithValue(r.Context(), exchangeKey{}, ex)
}

// admit asks who sends the request, whether they may, whether they are cleared, and for the key.
func (ex *exchange) admit(ctx context.Context, op Operation) (context.Context, error) {
	if !op.Public {
		p, err := ex.api.o.Auth.Authenticate(ctx, ex.r)
		if err != nil {
			return ctx, err
		}
		ctx = auth.With(ctx, p)
		if err := auth.Require(ctx, op.Roles...); err != nil {
			return ctx, err
		}
		ex.call.Principal = p
	}
	if err := ex.enter(ctx); err != nil {
		return ctx, err
	}
	if !op.Idempotent {
		return ctx, nil
	}
	var err error
	ex.call.Key, err = idempotencyKey(ex.r.Header.Values(keyHeader), op.KeyNeeded)
	return ctx, err
}

func idempotencyKey(values []string, needed bool) (string, error) {
	if len(values) == 0 && !needed {
		return "", nil
	}
	if len(values) == 1 && len(values[0]) >= 1 && len(values[0]) <= maxKey &&
		!strings.ContainsFunc(values[0], func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return values[0], nil
	}
	return "", errs.New(errs.Invalid, "幂等键应为 1 至 255 个可见 ASCII 字符，且只出现一次",
		"the idempotency key is 1 to 255 visible ASCII characters, given once").
		WithCode("http.idempotency-key").WithField(keyHeader)
}

// readBody reads the body into buf, within the limit and the time, and scans it strictly. body is the Go type it must
// fit; nil where the operation takes none.
func (ex *exchange) readBody(buf *bytes.Buffer, op Operation, body reflect.Type) error {
	limit := ex.api.maxBody(op)
	if ex.r.ContentLength > limit {
		return tooLarge(limit)
	}
	if ex.r.ContentLength != 0 && ex.r.Body != nil && ex.r.Body != http.NoBody {
		if _, err := buf.ReadFrom(http.MaxBytesReader(ex.reply.ResponseWriter, ex.r.Body, limit)); err != nil {
			return bodyError(err, limit)
		}
		_ = http.NewResponseController(ex.reply).SetReadDeadline(time.Time{}) // or it would cancel the handler's context
	}
	ex.body = buf.Bytes()
	if op.Idempotent {
		ex.call.BodySM3 = sm3.Sum(ex.body)
	}
	switch {
	case body == nil && len(ex.body) > 0:
		return errs.New(errs.Invalid, "此操作不接受请求体", "this operation takes no request body").WithCode("http.unexpected-body")
	case len(ex.body) == 0:
		return nil // huma knows whether one is required
	}
	if err := checkJSONType(ex.r.Header); err != nil {
		return err
	}
	if err := strictjson.Check(ex.body, strictjson.Limits{}); err != nil {
		return err
	}
	return strictjson.Fields(ex.body, body)
}

func checkJSONType(h http.Header) error {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return errs.New(errs.Unsupported, "请求体不得压缩", "the request body must not be compressed").
			WithCode("http.content-encoding").WithField("Content-Encoding")
	}
	if h.Get("Content-Type") == jsonType {
		return nil
	}
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || media != jsonType || charset != "" && charset != "utf-8" {
		return errs.New(errs.Unsupported, "请求体应为 UTF-8 编码的 application/json", "the request body must be application/json in UTF-8").
			WithCode("http.content-type").WithField("Content-Type")
	}
	return nil
}

func (ex *exchange) checkType(op Operation) error {
	if len(op.Accepts) == 0 {
		return nil
	}
	media, _, err := mime.ParseMediaType(ex.r.Header.Get("Content-Type"))
	if err == nil && slices.Contains(op.Accepts, media) {
		return nil
	}
	accepted := strings.Join(op.Accepts, ", ")
	return errs.New(errs.Unsupported, "请求体应为 "+accepted, "the request body must be "+accepted).
		WithCode("http.content-type").WithField("Content-Type")
}

func tooLarge(limit int64) error {
	return errs.Newf(errs.TooLarge, "请求体超过 %d 字节", "the request body is longer than %d bytes", limit).
		WithCode("http.body-too-large")
}

// bodyError says what went wrong while the body was read; any other error comes back as it is.
func bodyError(err error, limit int64) error {
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.Wrap(err, errs.Invalid, "请求体发送过慢", "the request body came too slowly").WithCode("http.slow-body")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errs.Wrap(err, errs.Invalid, "请求体不完整", "the request body ends too early").WithCode("http.incomplete-body")
	}
	return err
}

// steady gives each read of body its own deadline, and each read the answer a new one: an upload may take as long as it
// needs while it moves.
func (api *API) steady(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	return &steadyBody{ReadCloser: body, control: http.NewResponseController(w), each: api.o.BodyTimeout}
}

type steadyBody struct {
	io.ReadCloser
	control *http.ResponseController
	each    time.Duration
}

func (b *steadyBody) Read(p []byte) (int, error) {
	now := time.Now()
	_ = b.control.SetReadDeadline(now.Add(b.each))
	_ = b.control.SetWriteDeadline(now.Add(2 * b.each))
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // or it would cancel the context of a handler that goes on
	}
	return n, err
}

// fail ends the exchange with what err says: a stored answer, or a problem. Once the answer has begun it can only be
// broken off.
func (ex *exchange) fail(err error) {
	if ex.reply.begun {
		ex.api.log(ex.r, err)
		panic(http.ErrAbortHandler)
	}
	defer ex.reply.close()
	var stored *Replay
	if errors.As(err, &stored) {
		var shown Stored
		if shown, err = ex.resend(stored.Stored); err == nil {
			(&Replay{shown, stored.First}).write(ex.reply)
			return
		}
	}
	ex.api.log(ex.r, err)
	writeProblem(ex.reply, ex.call.Lang, ex.call.Trace, err)
}

// recover turns a panic into a problem.
func (ex *exchange) recover() {
	switch cause := recover(); cause {
	case nil:
	case http.ErrAbortHandler:
		panic(cause)
	default:
		ex.api.o.Log.LogAttrs(ex.r.Context(), slog.LevelError, "panic in a handler",
			slog.String("route", ex.call.Route), slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
		if ex.reply.begun {
			panic(http.ErrAbortHandler)
		}
		writeProblem(ex.reply, ex.call.Lang, ex.call.Trace, errors.New("panic"))
	}
}

// log writes down what the operator must know. A caller's own mistake is not among it.
func (api *API) log(r *http.Request, err error) {
	level := slog.LevelDebug
	switch errs.KindOf(err) {
	case errs.Internal:
		level = slog.LevelError
	case errs.Unavailable, errs.Timeout, errs.Full:
		level = slog.LevelWarn
	}
	if level == slog.LevelDebug && !api.o.Log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("route", r.Pattern), slog.String("kind", errs.KindOf(err).String()),
		slog.String("err", fmt.Sprint(err))}
	if level == slog.LevelWarn { // while something is away, a crowd is refused the same
		unsaid, ok := api.warned.allow(time.Now())
		if !ok {
			return
		}
		if unsaid > 0 {
			attrs = append(attrs, slog.Int("unsaid", unsaid))
		}
	}
	api.o.Log.LogAttrs(r.Context(), level, "request failed", attrs...)
}

// maxWarnings is how many requests a second are warned about.
const maxWarnings = 10

// warned counts warnings of a second, and those that were not given.
type warned struct {
	mu     sync.Mutex
	second int64
	given  int
	unsaid int
}

// allow reports whether there may be another warning, and how many there were not since the last.
func (w *warned) allow(now time.Time) (unsaid int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if second := now.Unix(); second != w.second {
		w.second, w.given = second, 0
	}
	if w.given == maxWarnings {
		w.unsaid++
		return 0, false
	}
	w.given++
	unsaid, w.unsaid = w.unsaid, 0
	return unsaid, true
}

func traceOf(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// reply is the answer being written. After close it swallows what huma still has to say.
type reply struct {
	http.ResponseWriter
	begun, closed bool
}

func (w *reply) close() { w.closed = true }

func (w *reply) WriteHeader(code int) {
	if w.closed {
		return
	}
	w.begun = w.begun || code >= 200
	w.ResponseWriter.WriteHeader(code)
}

func (w *reply) Write(p []byte) (int, error) {
	if w.closed {
		return len(p), nil
	}
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls.
func (w *reply) FlushError() error {
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }
