package auth

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/big"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"github.com/qiongdev/qiong/kit/errs"
)

// A secret reads qiong_<33 characters><6 characters>: 24 random bytes and the CRC-32 of them in base62, each of fixed
// length. The prefix lets secret scanners find a leaked one; the checksum tells a typing error from a revoked token
// without a look at the store, and is no protection.
const (
	prefix       = "qiong_"
	randomBytes  = 24
	randomChars  = 33 // 62^33 > 2^192
	checkChars   = 6  // 62^6 > 2^32
	secretLength = len(prefix) + randomChars + checkChars
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Hash is the SM3 hash of a secret: what is stored. A secret has 192 random bits, so one plain hash is enough.
type Hash [sm3.Size]byte

// HashOf returns the hash of secret.
func HashOf(secret string) Hash { return sm3.Sum([]byte(secret)) }

// newSecret makes a secret.
func newSecret() string {
	var random [randomBytes]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program where the system has no randomness
	var check [4]byte
	binary.BigEndian.PutUint32(check[:], crc32.ChecksumIEEE(random[:]))
	return prefix + base62(random[:], randomChars) + base62(check[:], checkChars)
}

// WellFormed reports whether secret has the form of one: a mistyped secret does not.
func WellFormed(secret string) bool {
	body, ok := strings.CutPrefix(secret, prefix)
	if !ok || len(secret) != secretLength {
		return false
	}
	random, ok1 := unbase62(body[:randomChars], randomBytes)
	check, ok2 := unbase62(body[randomChars:], 4)
	return ok1 && ok2 && binary.BigEndian.Uint32(check) == crc32.ChecksumIEEE(random)
}

func base62(data []byte, width int) string {
	n, base, digit := new(big.Int).SetBytes(data), big.NewInt(62), new(big.Int)
	out := make([]byte, width)
	for i := range slices.Backward(out) {
		n.DivMod(n, base, digit)
		out[i] = alphabet[digit.Int64()]
	}
	return string(out)
}

// unbase62 reads what base62 wrote of size bytes, at most 24; false where it is no such number.
func unbase62(text string, size int) ([]byte, bool) {
	var n [3]uint64 // the least first
	for i := range len(text) {
		digit := strings.IndexByte(alphabet, text[i])
		if digit < 0 {
			return nil, false
		}
		carry := uint64(digit)
		for j := range n {
			high, low := bits.Mul64(n[j], 62)
			sum, over := bits.Add64(low, carry, 0)
			n[j], carry = sum, high+over
		}
		if carry > 0 {
			return nil, false
		}
	}
	var out [24]byte
	for j, word := range n {
		binary.BigEndian.PutUint64(out[16-8*j:], word)
	}
	for _, b := range out[:len(out)-size] {
		if b != 0 {
			return nil, false
		}
	}
	return out[len(out)-size:], true
}

// Token is what is kept of a secret that was handed out.
type Token struct {
	ID        string // names it in lists; not secret
	Hash      Hash
	Principal Principal
	OneTime   bool      // works once, in Exchange alone
	Note      string    // what it is for
	Created   time.Time // UTC
	Expires   time.Time // UTC; the zero time never comes
}

// ErrNoToken is what a TokenStore wraps or returns where it has no such token.
var ErrNoToken = errors.New("no such token")

// TokenStore keeps tokens. Its methods may be called at the same time from many goroutines.
type TokenStore interface {
	// Create stores a token; the caller has chosen ID and Hash, both unique.
	Create(ctx context.Context, t Token) error
	// Lookup returns the token with that hash, or an error wrapping ErrNoToken.
	Lookup(ctx context.Context, h Hash) (Token, error)
	// Consume deletes the one-time token with that hash and returns it; of many callers one gets it, and the others
	// an error wrapping ErrNoToken. An ordinary token is not consumed: ErrNoToken.
	Consume(ctx context.Context, h Hash) (Token, error)
	// Revoke deletes the token with that ID, or returns an error wrapping ErrNoToken.
	Revoke(ctx context.Context, id string) error
	// List returns all tokens, newest first.
	List(ctx context.Context) ([]Token, error)
}

// Tokens hands out secrets and recognises them.
type Tokens struct {
	Store TokenStore
	Clock func() time.Time // default time.Now
	known known
}

func (t *Tokens) now() time.Time {
	if t.Clock != nil {
		return t.Clock().UTC()
	}
	return time.Now().UTC()
}

// Issue stores a new token for p and returns its secret, which is nowhere else. life 0 means it never expires, which a
// one-time token may not.
func (t *Tokens) Issue(ctx context.Context, p Principal, life time.Duration, oneTime bool, note string) (string, Token, error) {
	switch {
	case p.ID == "":
		return "", Token{}, errs.New(errs.Invalid, "缺少主体标识", "the principal has no id").WithField("principal.id")
	case len(p.Roles) == 0 || slices.ContainsFunc(p.Roles, func(r Role) bool { return !r.Valid() }):
		return "", Token{}, errs.New(errs.Invalid, "角色缺失或不存在", "a role is missing or unknown").WithField("principal.roles")
	case separated(p.Roles) > 1:
		return "", Token{}, errs.New(errs.Invalid, "系统、安全、审计管理员必须分设",
			"the operator, security and audit roles must be held apart").WithField("principal.roles")
	case life < 0 || oneTime && life == 0:
		return "", Token{}, errs.New(errs.Invalid, "有效期必须大于零", "the life time must be above zero").WithField("life")
	}
	secret, now := newSecret(), t.now()
	tok := Token{ID: rand.Text(), Hash: HashOf(secret), Principal: p, OneTime: oneTime, Note: note, Created: now}
	if life > 0 {
		tok.Expires = now.Add(life)
	}
	if err := t.Store.Create(ctx, tok); err != nil {
		return "", Token{}, err
	}
	return secret, tok, nil
}

func separated(roles []Role) (n int) {
	for _, r := range []Role{Operator, Security, Auditor} {
		if slices.Contains(roles, r) {
			n++
		}
	}
	return n
}

// Verify returns the ordinary token of secret. The error is of kind Unauthenticated whatever is wrong with it, or
// Unavailable where the store failed.
func (t *Tokens) Verify(ctx context.Context, secret string) (Token, error) {
	hash, again := t.known.find(secret)
	if !again {
		if !WellFormed(secret) {
			return Token{}, refused()
		}
		hash = HashOf(secret)
	}
	// Timing tells nothing: what is compared is a hash that the caller cannot steer.
	tok, err := t.usable(t.Store.Lookup(ctx, hash))
	switch {
	case err == nil && tok.OneTime:
		return Token{}, refused()
	case err == nil && !again:
		t.known.add(secret, hash)
	case err != nil && again:
		t.known.drop(secret)
	}
	return tok, err
}

// Exchange consumes a one-time secret and issues an ordinary token of the same principal that lives for life. Of many
// callers with the same secret one succeeds.
func (t *Tokens) Exchange(ctx context.Context, secret string, life time.Duration) (string, Token, error) {
	if !WellFormed(secret) {
		return "", Token{}, refused()
	}
	old, err := t.usable(t.Store.Consume(ctx, HashOf(secret)))
	if err != nil {
		return "", Token{}, err
	}
	return t.Issue(ctx, old.Principal, life, false, old.Note)
}

func (t *Tokens) usable(tok Token, err error) (Token, error) {
	switch {
	case errors.Is(err, ErrNoToken):
		return Token{}, refused()
	case err != nil && errs.KindOf(err) != errs.Internal:
		return Token{}, err
	case err != nil:
		return Token{}, errs.Wrap(err, errs.Unavailable, "暂时无法核验令牌", "tokens cannot be checked right now").
			WithRetryAfter(time.Second)
	case !tok.Expires.IsZero() && !t.now().Before(tok.Expires):
		return Token{}, refused()
	}
	return tok, nil
}

// refused is one answer for unknown, expired, revoked and mistyped, so that it teaches nothing.
func refused() *errs.Error {
	return unauthenticated("auth.refused", "令牌无效或已过期", "the token is not valid or has expired")
}
