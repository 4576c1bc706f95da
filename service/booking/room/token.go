package room

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Tokens are base64url without padding, in its strict form, so that one token has one text.
//
//	place:     1 ‖ number[4] ‖ joined in Unix milliseconds[8] ‖ MAC[16]   over sale, alias and what stands before it
//	admission: 2 ‖ number[4] ‖ until in Unix milliseconds[8] ‖ MAC[16]    over scope, person and what stands before it
const (
	placeToken     = 1
	admissionToken = 2
	tokenHead      = 13
	tokenSize      = tokenHead + 16
)

// TokenLength is the length of a written token.
const TokenLength = (tokenSize*8 + 5) / 6

var encoding = base64.RawURLEncoding.Strict()

// tokens makes what a room hands out.
type tokens struct {
	sale    string
	aliases *mac
	places  *mac
	checker *Checker
}

func newTokens(key []byte, sale string) (tokens, error) {
	derive := func(use string) (*mac, error) {
		k, err := gm.Derive(key, nil, "qiong/room/"+use+"/"+sale, 32)
		return newMAC(k), err
	}
	aliases, err := derive("alias")
	if err != nil {
		return tokens{}, err
	}
	places, err := derive("place")
	if err != nil {
		return tokens{}, err
	}
	checker, err := NewChecker(key)
	return tokens{sale, aliases, places, checker}, err
}

// alias returns a person's pseudonym in the sale.
func (t *tokens) alias(person []byte) Alias {
	sum := t.aliases.sum(person)
	return Alias(sum[:16])
}

// place writes the token of a place.
func (t *tokens) place(alias Alias, number uint32, joined int64) string {
	return write(placeToken, number, joined, func(head []byte) [32]byte { return t.places.sum(alias[:], head) })
}

// parse reads the token of a place of alias.
func (t *tokens) parse(token string, alias Alias) (number uint32, joined int64, err error) {
	number, joined, ok := read(placeToken, token, func(head []byte) [32]byte { return t.places.sum(alias[:], head) })
	if !ok {
		return 0, 0, errs.New(errs.Forbidden, "候场凭据无效", "the token of the place is not valid").WithCode("room.token")
	}
	return number, joined, nil
}

// Checker tells true admissions from others, away from the room: in the path of every booking. It is safe for concurrent
// use.
type Checker struct{ mac *mac }

// NewChecker returns the checker of all rooms with this key; see Config.Key.
func NewChecker(key []byte) (*Checker, error) {
	k, err := gm.Derive(key, nil, "qiong/room/admission", 32)
	if err != nil {
		return nil, err
	}
	return &Checker{newMAC(k)}, nil
}

// Check returns the number of the admitted place where token is an admission of this person to this sale, and not expired
// at now. Otherwise the error is of kind Forbidden with code "room.admission", or "room.admission-expired".
func (c *Checker) Check(token, sale string, person []byte, now time.Time) (number uint32, err error) {
	number, until, ok := read(admissionToken, token, func(head []byte) [32]byte { return c.sum(sale, person, head) })
	switch {
	case !ok:
		return 0, errs.New(errs.Forbidden, "入场凭据无效，请先在候场页排队", "the admission is not valid; wait in the waiting room first").
			WithCode("room.admission")
	case now.UnixMilli() >= until:
		return 0, errs.New(errs.Forbidden, "入场凭据已过期，请重新排队", "the admission has expired; join the waiting room again").
			WithCode("room.admission-expired")
	}
	return number, nil
}

// issue writes an admission.
func (c *Checker) issue(sale string, person []byte, number uint32, until int64) string {
	return write(admissionToken, number, until, func(head []byte) [32]byte { return c.sum(sale, person, head) })
}

// sum writes the length of the sale's id before it, so that no two pairs of sale and person read alike.
func (c *Checker) sum(sale string, person, head []byte) [32]byte {
	var buf [1 + maxSale]byte
	if len(sale) > maxSale {
		sale = "" // no sale has this id, and none the empty one
	}
	buf[0] = byte(len(sale))
	n := 1 + copy(buf[1:], sale)
	return c.mac.sum(head, buf[:n], person)
}

func write(kind byte, number uint32, ms int64, sum func(head []byte) [32]byte) string {
	var b [tokenSize]byte
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], number)
	binary.BigEndian.PutUint64(b[5:], uint64(ms))
	tag := sum(b[:tokenHead])
	copy(b[tokenHead:], tag[:])
	return encoding.EncodeToString(b[:])
}

func read(kind byte, token string, sum func(head []byte) [32]byte) (number uint32, ms int64, ok bool) {
	var b [tokenSize]byte
	if len(token) != TokenLength {
		return 0, 0, false
	}
	var text [TokenLength]byte
	copy(text[:], token)
	if n, err := encoding.Decode(b[:], text[:]); err != nil || n != tokenSize || b[0] != kind { // it skips line breaks
		return 0, 0, false
	}
	tag := sum(b[:tokenHead])
	if !hmac.Equal(tag[:tokenSize-tokenHead], b[tokenHead:]) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[1:]), int64(binary.BigEndian.Uint64(b[5:])), true
}

// mac is HMAC-SM3 under one key, which is expanded once for many sums.
type mac struct{ pool sync.Pool }

func newMAC(key []byte) *mac {
	return &mac{sync.Pool{New: func() any { return hmac.New(gm.NewSM3, key) }}}
}

// sum returns the HMAC of the parts, one after the other.
func (m *mac) sum(parts ...[]byte) (tag [32]byte) {
	h := m.pool.Get().(hash.Hash)
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(tag[:0])
	m.pool.Put(h)
	return tag
}
