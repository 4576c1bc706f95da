package gm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/emmansun/gmsm/sm2"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm/internal/point"
)

// DefaultID is the signer id that GM/T 0009 prescribes where two parties have agreed on no other.
const DefaultID = "1234567812345678"

// maxID is the longest id in bytes: its length in bits is written in two bytes.
const maxID = 8191

// PublicKey is an SM2 public key, a point checked to lie on the curve. It is immutable and safe for concurrent use.
type PublicKey struct {
	key   *ecdsa.PublicKey
	point [65]byte // uncompressed: 0x04, x, y

	precompute sync.Once
	table      atomic.Pointer[point.Table] // where Precompute was called
}

// PrivateKey is an SM2 private key in memory. It is a crypto.Signer, immutable and safe for concurrent use.
type PrivateKey struct {
	key    *sm2.PrivateKey
	scalar [32]byte
	public *PublicKey
}

// GenerateKey returns a new random key.
func GenerateKey() (*PrivateKey, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法生成 SM2 密钥", "cannot generate an SM2 key")
	}
	exchange, err := key.ECDH()
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法生成 SM2 密钥", "cannot generate an SM2 key")
	}
	return NewPrivateKey(exchange.Bytes())
}

// NewPrivateKey returns the key with the given big-endian scalar of 32 bytes, in [1, n-2].
func NewPrivateKey(scalar []byte) (*PrivateKey, error) {
	key, err := sm2.NewPrivateKey(scalar)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是有效的 SM2 私钥", "not a valid SM2 private key")
	}
	public, err := wrapPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return &PrivateKey{key: key, scalar: [32]byte(scalar), public: public}, nil
}

// NewPublicKey returns the key with the given uncompressed point: 65 bytes, 0x04 then x and y.
func NewPublicKey(point []byte) (*PublicKey, error) {
	key, err := sm2.NewPublicKey(point)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是有效的 SM2 公钥", "not a valid SM2 public key")
	}
	return wrapPublicKey(key)
}

// PublicKeyOf returns the SM2 public key behind what a crypto.Signer or a certificate calls its public key: a
// *PublicKey, or an *ecdsa.PublicKey on the SM2 curve.
func PublicKeyOf(key crypto.PublicKey) (*PublicKey, error) {
	switch key := key.(type) {
	case *PublicKey:
		return key, nil
	case *ecdsa.PublicKey:
		return wrapPublicKey(key)
	}
	return nil, errs.New(errs.Invalid, "不是 SM2 公钥", "not an SM2 public key")
}

func wrapPublicKey(key *ecdsa.PublicKey) (*PublicKey, error) {
	if !sm2.IsSM2PublicKey(key) {
		return nil, errs.New(errs.Invalid, "公钥不在 SM2 曲线上", "the public key is not on the SM2 curve")
	}
	exchange, err := sm2.PublicKeyToECDH(key)
	if err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "不是有效的 SM2 公钥", "not a valid SM2 public key")
	}
	return &PublicKey{key: key, point: [65]byte(exchange.Bytes())}, nil
}

// Bytes returns the uncompressed point: 65 bytes, 0x04 then x and y.
func (p *PublicKey) Bytes() []byte { return append([]byte(nil), p.point[:]...) }

// Equal reports whether x is the same SM2 public key.
func (p *PublicKey) Equal(x crypto.PublicKey) bool {
	other, err := PublicKeyOf(x)
	return err == nil && other.point == p.point
}

// KeyID returns a short stable name of pub: the first 8 bytes of the SM3 of its PKIX DER, as 16 hexadecimal digits.
// It finds a key among trusted ones; with 64 bits it is no commitment to the key.
func KeyID(pub *PublicKey) string {
	digest := SM3(pub.PKIX())
	return hex.EncodeToString(digest[:8])
}

// Public returns the *PublicKey.
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// PublicKey returns the public half.
func (k *PrivateKey) PublicKey() *PublicKey { return k.public }

// Sign signs a digest made by [Digest], as crypto.Signer; most callers want the function [Sign]. The nonce is hedged:
// derived from key, digest and random, so a weak random source does not reveal the key.
func (k *PrivateKey) Sign(random io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	if len(digest) != 32 {
		return nil, errs.New(errs.Internal, "SM2 摘要必须为 32 字节", "an SM2 digest is 32 bytes")
	}
	return k.key.Sign(random, digest, digestOnly{})
}

// digestOnly tells a crypto.Signer that it gets a finished digest; SM3 has no number in package crypto.
type digestOnly struct{}

func (digestOnly) HashFunc() crypto.Hash { return 0 }

// Digest returns what SM2 signs: SM3(ZA ‖ msg), where ZA binds id, curve and public key (GB/T 32918.2, 5.5).
// The id is 1 to 8191 bytes.
func Digest(pub *PublicKey, id, msg []byte) ([]byte, error) {
	if len(id) == 0 || len(id) > maxID {
		return nil, errs.Newf(errs.Internal, "SM2 签名者标识须为 1 至 %d 字节", "an SM2 signer id is 1 to %d bytes", maxID)
	}
	digest, err := sm2.CalculateSM2Hash(pub.key, msg, id)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法计算 SM2 摘要", "cannot compute the SM2 digest")
	}
	return digest, nil
}

// Sign returns signer's SM2 signature of msg as id, in ASN.1 DER. The signer may be a [PrivateKey] or stand for a
// hardware module: it is given the finished digest with HashFunc 0, and its Public must suit [PublicKeyOf].
func Sign(signer crypto.Signer, id, msg []byte) ([]byte, error) {
	pub, err := PublicKeyOf(signer.Public())
	if err != nil {
		return nil, err
	}
	digest, err := Digest(pub, id, msg)
	if err != nil {
		return nil, err
	}
	sig, err := signer.Sign(rand.Reader, digest, digestOnly{})
	var said *errs.Error
	if errors.As(err, &said) {
		return nil, err // a module that is away, or refuses, says so itself
	}
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "SM2 签名失败", "cannot sign with SM2")
	}
	return sig, nil
}
