// Package httpsig promises that an HTTP request or answer is from the holder of an SM2 key, whole, fresh, and, for an
// answer, an answer to this very request.
//
// The shape is HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530). The algorithm label "sm2-sm3" (SM2
// with SM3 and the signer id gm.DefaultID, in DER) and the digest label "sm3" are not registered with IANA: they are
// agreed among houses of this kind, and a general library must be taught both.
//
// A request signs @method, @authority, @path, @query and content-digest, and content-type and idempotency-key where it
// has them; an answer signs @status, content-digest, content-type where it has one, and the request's signature. What
// is covered follows from the message, so nothing can be added to it or taken away unnoticed. There is exactly one
// signature, labelled sig. A proxy on the way must keep Host as it is.
//
// A signature is valid for a window around its creation, within which it could be sent again: whoever acts on a
// request must store [Signed]'s key id and nonce with the act, or at least ask a [NonceCache].
package httpsig

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// The labels of this package's own agreement; see the package comment.
const (
	Algorithm = "sm2-sm3"
	Digest    = "sm3"
	Tag       = "qiong" // the application, as RFC 9421 section 2.3 means it
)

const (
	label           = "sig"
	headerInput     = "Signature-Input"
	headerSignature = "Signature"
	headerDigest    = "Content-Digest"
)

// Lookup returns the public key with the given gm.KeyID. For a key it does not trust it must return an error of kind
// NotFound; any other error is passed on as it is.
type Lookup func(keyID string) (*gm.PublicKey, error)

// Signed is what a verified signature says of itself.
type Signed struct {
	KeyID   string
	Nonce   string
	Created time.Time // to the second
	Expires time.Time // from here on the signature is refused for its age
}

// NewNonce returns 128 random bits as 22 characters of base64url.
func NewNonce() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: package crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// SignRequest sets Content-Digest, Signature-Input and Signature on r, whose body is (or will be) body. Set the method,
// URL, Host and all other headers first. The nonce is 16 to 64 characters of base64url, new for each request, also for
// a repeated one.
func SignRequest(r *http.Request, body []byte, key crypto.Signer, now time.Time, nonce string) error {
	return sign(requestMessage(r), body, key, now, nonce)
}

// VerifyRequest checks r, as a server received it, with its whole body. The signature must have been created within
// window before or after now. What is wrong with the request is an error of kind Unauthenticated, with a code that
// begins "signature.".
func VerifyRequest(r *http.Request, body []byte, lookup Lookup, now time.Time, window time.Duration) (Signed, error) {
	return verify(requestMessage(r), body, lookup, now, window)
}

// SignResponse sets Content-Digest, Signature-Input and Signature on header, which will be sent with status and body in
// answer to r. Where r itself bears a signature, the answer is bound to it.
func SignResponse(header http.Header, status int, body []byte, r *http.Request, key crypto.Signer, now time.Time, nonce string) error {
	return sign(responseMessage(header, status, r), body, key, now, nonce)
}

// VerifyResponse checks resp with its whole body as the answer to r, which must be the request as it was signed.
// Otherwise it is as [VerifyRequest].
func VerifyResponse(resp *http.Response, body []byte, r *http.Request, lookup Lookup, now time.Time, window time.Duration) (Signed, error) {
	return verify(responseMessage(resp.Header, resp.StatusCode, r), body, lookup, now, window)
}

func sign(m message, body []byte, key crypto.Signer, now time.Time, nonce string) error {
	pub, err := gm.PublicKeyOf(key.Public())
	if err != nil {
		return err
	}
	p := params{created: now.Unix(), nonce: nonce, keyID: gm.KeyID(pub)}
	if !validNonce(nonce) || p.created < 0 {
		return errs.New(errs.Internal, "签名需要 16 至 64 位 base64url 随机数和有效时间", "signing needs a nonce of 16 to 64 base64url characters and a valid time")
	}
	m.header.Set(headerDigest, contentDigest(body))
	m.header.Del(headerInput)
	m.header.Del(headerSignature)
	p.components = m.covered()
	base, err := m.base(p)
	if err != nil {
		return err
	}
	sig, err := gm.Sign(key, []byte(gm.DefaultID), base)
	if err != nil {
		return err
	}
	m.header.Set(headerInput, label+"="+p.String())
	m.header.Set(headerSignature, label+"="+byteSequence(sig))
	return nil
}

func verify(m message, body []byte, lookup Lookup, now time.Time, window time.Duration) (Signed, error) {
	p, sig, err := m.signature()
	if err != nil {
		return Signed{}, err
	}
	if !sameSet(p.components, m.covered()) {
		return Signed{}, refuse("components", "签名覆盖的内容不符合约定", "the signature does not cover what it must, and only that")
	}
	s := Signed{KeyID: p.keyID, Nonce: p.nonce, Created: time.Unix(p.created, 0)}
	s.Expires = s.Created.Add(window)
	if !now.Before(s.Expires) {
		return Signed{}, refuse("expired", "签名已过期", "the signature has expired")
	}
	if s.Created.After(now.Add(window)) {
		return Signed{}, refuse("future", "签名时间晚于本机时间；请校准时钟", "the signature was created in the future; check the clocks")
	}
	if got, err := m.single(headerDigest); err != nil {
		return Signed{}, err
	} else if got != contentDigest(body) {
		return Signed{}, refuse("digest", "Content-Digest 与正文不符", "Content-Digest does not match the body")
	}
	pub, err := lookup(p.keyID)
	if errs.Is(err, errs.NotFound) {
		return Signed{}, refuse("unknown-key", "签名所用的密钥不受信任", "the signature's key is not trusted")
	}
	if err != nil {
		return Signed{}, err
	}
	base, err := m.base(p)
	if err != nil {
		return Signed{}, err
	}
	if gm.Verify(pub, []byte(gm.DefaultID), base, sig) != nil {
		return Signed{}, refuse("mismatch", "签名验证不通过", "the signature does not verify")
	}
	return s, nil
}

func refuse(code, zh, en string) error {
	return errs.New(errs.Unauthenticated, zh, en).WithCode("signature." + code)
}
