// Package gm promises the national algorithms in forms that are hard to misuse: SM2 signatures with an explicit
// signer id, SM3 digests and what is built on them, and SM4-GCM sealing that detects every change, cut and swap.
//
// Algorithms: SM2 GB/T 32918 (PKIX and PKCS#8 encodings as OpenSSL writes them), SM3 GB/T 32905, SM4 GB/T 32907 in
// GCM (RFC 8998). The arithmetic is github.com/emmansun/gmsm, which is not certified by the State Cryptography
// Administration. Where a certified module is required, let it hold the key: [Sign] takes any crypto.Signer that signs
// a 32-byte SM2 digest, so a hardware module plugs in without cgo, as a process of its own.
package gm

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"hash"
	"sync"

	"github.com/emmansun/gmsm/sm3"

	"github.com/qiongdev/qiong/kit/errs"
)

// NewSM3 returns an SM3 hash. Its Sum is 32 bytes, its block 64.
func NewSM3() hash.Hash { return sm3.New() }

// SM3 returns the digest of the parts, one after the other. The boundaries are not part of the digest: where they
// carry meaning, the caller must delimit them.
func SM3(parts ...[]byte) [32]byte {
	if len(parts) == 1 {
		return sm3.Sum(parts[0])
	}
	s := plain.Get().(*summer)
	defer plain.Put(s)
	s.Reset()
	return s.sum(parts)
}

var plain = sync.Pool{New: func() any { return &summer{Hash: sm3.New()} }}

// HMAC returns HMAC-SM3 (RFC 2104) under key of the parts, one after the other. Compare it with crypto/hmac.Equal.
func HMAC(key []byte, parts ...[]byte) [32]byte {
	return (&summer{Hash: hmac.New(sm3.New, key)}).sum(parts)
}

// MAC is HMAC under one key, for those who need it again and again: it takes a third of the time of HMAC. It is safe for
// concurrent use.
type MAC struct{ pool sync.Pool }

// NewMAC returns the MAC under a key.
func NewMAC(key []byte) *MAC {
	key = bytes.Clone(key)
	return &MAC{sync.Pool{New: func() any { return &summer{Hash: hmac.New(sm3.New, key)} }}}
}

// Sum returns HMAC-SM3 of the parts, one after the other.
func (m *MAC) Sum(parts ...[]byte) [32]byte {
	s := m.pool.Get().(*summer)
	defer m.pool.Put(s)
	s.Reset()
	return s.sum(parts)
}

// summer is a hash that is used again. What it is given goes through room of its own: behind an interface, everything
// else would have to lie on the heap.
type summer struct {
	hash.Hash
	room [1 << 10]byte
}

func (s *summer) sum(parts [][]byte) (digest [32]byte) {
	for _, p := range parts {
		for len(p) > 0 {
			n := copy(s.room[:], p)
			s.Write(s.room[:n])
			p = p[n:]
		}
	}
	copy(digest[:], s.Sum(s.room[:0]))
	return digest
}

// Derive returns n bytes derived from secret by HKDF-SM3 (RFC 5869). The secret must be random, not a passphrase; info
// names the use, so that two uses never share a key; salt may be nil. n is at most 8160.
func Derive(secret, salt []byte, info string, n int) ([]byte, error) {
	if len(secret) == 0 || n <= 0 {
		return nil, errs.New(errs.Internal, "密钥派生需要非空的秘密和长度", "key derivation needs a secret and a length")
	}
	key, err := hkdf.Key(sm3.New, secret, salt, info, n)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "密钥派生失败", "cannot derive a key")
	}
	return key, nil
}
