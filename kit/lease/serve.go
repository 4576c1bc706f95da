package lease

import (
	"crypto"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpsig"
)

// anyAge is the window of signatures: their time plays no part, since clocks may be wrong. That a request is not an old
// one sent again is seen by the session and the numbers in it, that an answer is not by the signature it answers.
const anyAge = 200 * 365 * 24 * time.Hour

// Keys are the public keys of replicas or voters, by name.
type Keys map[string]*gm.PublicKey

// name returns whose key has the id.
func (k Keys) name(keyID string) (string, *gm.PublicKey) {
	for name, pub := range k {
		if gm.KeyID(pub) == keyID {
			return name, pub
		}
	}
	return "", nil
}

func (k Keys) lookup(keyID string) (*gm.PublicKey, error) {
	if _, pub := k.name(keyID); pub != nil {
		return pub, nil
	}
	return nil, errs.New(errs.NotFound, "没有这个密钥", "there is no such key")
}

// Handler serves a voter over HTTP: POST with a signed request, 200 with a signed answer. It believes nothing that is
// not signed by a replica's key, and hears nothing that was sent to an earlier life of it.
type Handler struct {
	Voter    *Voter
	Name     string
	Key      crypto.Signer
	Replicas Keys                       // who may ask
	Observe  func(kind, outcome string) // for metrics; may be nil
	Fail     func(w http.ResponseWriter, r *http.Request, err error)

	session string
	room    chan struct{}
}

// rooms is how many requests are worked on at a time. One more is told to come back.
const rooms = 256

// NewHandler returns a handler. Its session begins.
func NewHandler(v *Voter, name string, key crypto.Signer, replicas Keys) *Handler {
	return &Handler{Voter: v, Name: name, Key: key, Replicas: replicas, Observe: func(string, string) {}, Fail: httpapi.WriteProblem,
		session: httpsig.NewNonce(), room: make(chan struct{}, rooms)}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.Serve(w, r); err != nil {
		h.Fail(w, r, err)
	}
}

// Serve answers, or returns why not, having written nothing.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	select {
	case h.room <- struct{}{}:
		defer func() { <-h.room }()
	default:
		return errs.New(errs.TooMany, "投票者繁忙", "the voter is busy").WithRetryAfter(time.Second)
	}
	kind, outcome, answer, err := h.answer(w, r)
	h.Observe(kind, outcome)
	if err != nil {
		return err
	}
	body := encode(answer)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := httpsig.SignResponse(w.Header(), http.StatusOK, body, r, h.Key, time.Now(), httpsig.NewNonce()); err != nil {
		return err
	}
	_, _ = w.Write(body) // the asker has gone
	return nil
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) (kind, outcome string, _ answered, err error) {
	m, replica, err := h.admit(w, r)
	if err != nil {
		return "none", "refused", answered{}, err
	}
	kind, to := string(m.Request.Kind), answered{Session: h.session, Voter: h.Name}
	if m.Session != h.session {
		return kind, "session", to, nil
	}
	a, err := h.Voter.Ask(r.Context(), replica, m.Request)
	switch {
	case err != nil:
		return kind, "failed", to, err
	case a.OK:
		outcome = "ok"
	case a.Held > 0:
		outcome = "held"
	default:
		outcome = "outdone"
	}
	to.Answer = &a
	return kind, outcome, to, nil
}

// admit reads a request and verifies who sent it.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) (m asked, replica string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return m, "", errs.Newf(errs.TooLarge, "请求超过 %d 字节", "the request is longer than %d bytes", large.Limit)
	case err != nil:
		return m, "", errs.Wrap(err, errs.Invalid, "请求不完整", "the request is cut")
	}
	signed, err := httpsig.VerifyRequest(r, body, h.Replicas.lookup, time.Now(), anyAge)
	if err != nil {
		return m, "", err
	}
	replica, _ = h.Replicas.name(signed.KeyID)
	m, err = parseAsked(body)
	return m, replica, err
}
