package httplabel

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
	"github.com/qiongdev/qiong/kit/lang"
)

const jsonType = "application/json"

// Wrap returns next behind the gate. Where the caller is cleared, next's answer is not touched. Where it is masked, next
// can't take over the connection, an answer that is not JSON (or is compressed, or a part) is refused in its place, and
// one that turns out not to be JSON after it began is broken off.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, err := g.Enter(r.Context(), w.Header())
		switch {
		case err != nil:
			g.routes.o.Refuse(w, r, err)
		case pass.Decision == access.Passed:
			next.ServeHTTP(w, r)
		default:
			g.masked(w, r, next, g.masks[pass.Clearance])
		}
	})
}

func (g *Gate) masked(w http.ResponseWriter, r *http.Request, next http.Handler, m *jsonmask.Masker) {
	out := g.routes.idle.Get().(*writer)
	out.w, out.r, out.refuse, out.masker = w, r, g.routes.o.Refuse, m
	defer func() { // not after a panic: the writer may be in use still
		*out = writer{json: out.json}
		g.routes.idle.Put(out)
	}()
	next.ServeHTTP(out, plain(r))
	if out.begun && !out.refused {
		if err := out.json.Close(); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// plain returns r without what asks for an answer that can't be masked: a compressed one, or a part.
func plain(r *http.Request) *http.Request {
	if r.Header["Accept-Encoding"] == nil && r.Header["Range"] == nil {
		return r
	}
	asked := *r
	asked.Header = r.Header.Clone()
	delete(asked.Header, "Accept-Encoding")
	delete(asked.Header, "Range")
	return &asked
}

// writer masks an answer.
type writer struct {
	w       http.ResponseWriter
	r       *http.Request
	refuse  func(http.ResponseWriter, *http.Request, error)
	masker  *jsonmask.Masker
	json    jsonmask.Writer
	begun   bool
	refused bool
}

func (w *writer) Header() http.Header { return w.w.Header() }

// WriteHeader looks at what kind of answer begins.
func (w *writer) WriteHeader(code int) {
	if w.begun {
		return
	}
	if code < 200 {
		w.w.WriteHeader(code)
		return
	}
	w.begun = true
	h := w.w.Header()
	masker := w.masker
	media := h.Get("Content-Type")
	if media != jsonType { // as nearly always
		media, _, _ = mime.ParseMediaType(media) // "" where it is malformed
	}
	switch {
	case code == http.StatusNoContent || code == http.StatusNotModified:
	case h.Get("Content-Encoding") != "", h.Get("Content-Range") != "", code == http.StatusPartialContent:
		w.refused = true
	case media == "application/problem+json":
		masker = jsonmask.Detecting()
	case media != jsonType && media != "application/x-ndjson" && !strings.HasSuffix(media, "+json"):
		w.refused = true
	}
	for _, name := range [...]string{"Content-Length", "Content-Digest", "Repr-Digest", "Digest", "Etag", "Accept-Ranges"} {
		delete(h, name) // they are of what is not sent
	}
	if w.refused {
		delete(h, "Content-Type")
		delete(h, "Content-Encoding")
		delete(h, "Content-Range")
		w.refuse(w.w, w.r, errs.New(errs.Forbidden, "此应答无法掩码，而您的数据权限低于其级别",
			"this answer can't be masked, and your clearance is below its grade").WithCode("grade.mask"))
		return
	}
	w.json.Reset(masker, w.w)
	w.w.WriteHeader(code)
}

func (w *writer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused {
		return len(p), nil
	}
	n, err := w.json.Write(p)
	if errs.Is(err, errs.Invalid) {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// FlushError is what http.ResponseController calls. There is no Unwrap: it would lead around the mask.
func (w *writer) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.w).Flush()
}

// Flush is FlushError for those who ask for an http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// refuse answers with a problem.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := errs.As(err)
	l := lang.FromAccept(r.Header.Get("Accept-Language"))
	h := w.Header()
	delete(h, label.Header)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", string(l))
	h.Set("Cache-Control", "no-store")
	body, err := json.Marshal(struct {
		Status int    `json:"status"`
		Kind   string `json:"kind"`
		Code   string `json:"code,omitempty"`
		Title  string `json:"title"`
		Hint   string `json:"hint,omitempty"`
	}{e.Kind.HTTP(), e.Kind.String(), e.Code, e.In(l), e.Hint.In(l)})
	if err != nil {
		panic(err) // strings and a number
	}
	w.WriteHeader(e.Kind.HTTP())
	_, _ = w.Write(body) // the client may be gone
}
