package gm

import (
	"crypto/cipher"
	"crypto/rand"

	"github.com/emmansun/gmsm/sm4"

	"github.com/qiongdev/qiong/kit/errs"
)

// The first byte of what is sealed says how.
const (
	sealedWhole  = 1 // version ‖ nonce[12] ‖ ciphertext ‖ tag[16]
	sealedStream = 2 // see stream.go
)

const (
	nonceSize = 12
	tagSize   = 16

	// Overhead is by how many bytes Seal lengthens a plaintext.
	Overhead = 1 + nonceSize + tagSize
)

// Sealer seals and opens with SM4-GCM under one key. It is safe for concurrent use; keep it, since its construction
// costs more than sealing a short message. Nonces are random: use one key for at most 2^32 calls of Seal.
type Sealer struct {
	aead   cipher.AEAD
	stream []byte // the secret from which each stream's own key is derived
}

// NewSealer returns a Sealer under key, which must be 16 bytes: SM4 has no other key size, and a longer key cut short
// would promise a strength that is not there.
func NewSealer(key []byte) (*Sealer, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	stream, err := Derive(key, nil, "qiong/gm/stream", 32)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead, stream: stream}, nil
}

// Seal encrypts plaintext and authenticates it together with aad, which is not stored: give the same one to Open.
// Put into aad what the text belongs to (table, row, name), so that one sealed text cannot stand in another's place.
func (s *Sealer) Seal(plaintext, aad []byte) []byte {
	out := append(make([]byte, 1+nonceSize, Overhead+len(plaintext)), plaintext...)
	out[0] = sealedWhole
	head, text := out[:1+nonceSize], out[1+nonceSize:]
	rand.Read(head[1:])                           // never fails: package crypto/rand ends the program instead
	return s.aead.Seal(head, head[1:], text, aad) // in place
}

// Open returns the plaintext that Seal was given together with the same aad. Otherwise the error is of kind Internal
// and code "gm.sealed": the text was changed, or sealed under another key or aad.
func (s *Sealer) Open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != sealedWhole {
		return nil, damaged()
	}
	nonce, text := sealed[1:1+nonceSize], sealed[1+nonceSize:]
	plaintext, err := s.aead.Open(nil, nonce, text, aad)
	if err != nil {
		return nil, damaged()
	}
	return plaintext, nil
}

func damaged() error {
	return errs.New(errs.Internal, "密封数据已损坏、被改动，或不属于此密钥",
		"the sealed data is damaged, altered, or not of this key").WithCode("gm.sealed")
}

func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) != sm4.BlockSize {
		return nil, errs.Newf(errs.Invalid, "SM4 密钥必须为 16 字节（128 位），得到 %d 字节",
			"an SM4 key is 16 bytes (128 bits); got %d bytes", len(key))
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法使用 SM4 密钥", "cannot use the SM4 key")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errs.Wrap(err, errs.Internal, "无法使用 SM4-GCM", "cannot use SM4-GCM")
	}
	return aead, nil
}
