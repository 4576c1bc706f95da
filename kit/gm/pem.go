package gm

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"

	"github.com/qiongdev/qiong/kit/errs"
)

// Every SM2 public key has the same DER but for its 65-byte point, so the encodings are written as constants. This
// keeps package x509, and with it files and sockets, out of a package that promises to do no I/O.
const (
	pkixHead  = "3059301306072a8648ce3d020106082a811ccf5501822d034200"
	pkcs8Head = "308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420"
	pkcs8Mid  = "a144034200"
)

const (
	publicType  = "PUBLIC KEY"
	privateType = "PRIVATE KEY"
)

// PKIX returns the key as SubjectPublicKeyInfo in DER (RFC 5480), 91 bytes.
func (p *PublicKey) PKIX() []byte { return append(unhex(pkixHead), p.point[:]...) }

// PEM returns the key as a PEM block "PUBLIC KEY".
func (p *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: publicType, Bytes: p.PKIX()})
}

// ParsePKIX reads what [PublicKey.PKIX] writes. Compressed points are refused.
func ParsePKIX(der []byte) (*PublicKey, error) {
	point, ok := bytes.CutPrefix(der, unhex(pkixHead))
	if !ok {
		return nil, errs.New(errs.Invalid, "不是 SM2 公钥（PKIX）", "not an SM2 public key in PKIX form")
	}
	return NewPublicKey(point)
}

// ParsePublicKeyPEM reads one PEM block "PUBLIC KEY" with an SM2 key and nothing after it.
func ParsePublicKeyPEM(text []byte) (*PublicKey, error) {
	der, err := onlyBlock(text, publicType)
	if err != nil {
		return nil, err
	}
	return ParsePKIX(der)
}

// PKCS8 returns the key as unencrypted PKCS#8 in DER (RFC 5958, RFC 5915), 138 bytes. Keep it sealed.
func (k *PrivateKey) PKCS8() []byte {
	der := append(unhex(pkcs8Head), k.scalar[:]...)
	der = append(der, unhex(pkcs8Mid)...)
	return append(der, k.public.point[:]...)
}

// PEM returns the key as an unencrypted PEM block "PRIVATE KEY".
func (k *PrivateKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: privateType, Bytes: k.PKCS8()})
}

// ParsePKCS8 reads an unencrypted SM2 key in PKCS#8 DER. A public key inside must belong to the private one.
func ParsePKCS8(der []byte) (*PrivateKey, error) {
	var outer struct {
		Version   int
		Algorithm struct {
			Type, Curve asn1.ObjectIdentifier
		}
		Key        []byte
		Attributes asn1.RawValue `asn1:"optional,tag:0"`
	}
	var inner struct {
		Version int
		Scalar  []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	curve := asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
	malformed := errs.New(errs.Invalid, "不是 SM2 私钥（PKCS#8）", "not an SM2 private key in PKCS#8 form")
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 || outer.Version != 0 {
		return nil, malformed
	}
	if !outer.Algorithm.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}) || !outer.Algorithm.Curve.Equal(curve) {
		return nil, malformed
	}
	if rest, err := asn1.Unmarshal(outer.Key, &inner); err != nil || len(rest) > 0 || inner.Version != 1 {
		return nil, malformed
	}
	if inner.Curve != nil && !inner.Curve.Equal(curve) {
		return nil, malformed
	}
	key, err := NewPrivateKey(inner.Scalar)
	if err != nil {
		return nil, err
	}
	if public := inner.Public.RightAlign(); len(public) > 0 && !bytes.Equal(public, key.public.point[:]) {
		return nil, errs.New(errs.Invalid, "私钥与其公钥不匹配", "the private key does not belong to its public key")
	}
	return key, nil
}

// ParsePrivateKeyPEM reads one PEM block "PRIVATE KEY" with an SM2 key and nothing after it.
func ParsePrivateKeyPEM(text []byte) (*PrivateKey, error) {
	der, err := onlyBlock(text, privateType)
	if err != nil {
		return nil, err
	}
	return ParsePKCS8(der)
}

// onlyBlock returns the bytes of the single PEM block in text, which must be of the given type.
func onlyBlock(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errs.Newf(errs.Invalid, "需要且仅需要一个 PEM 块“%s”", "want exactly one PEM block %q", kind)
	}
	return block.Bytes, nil
}

func unhex(constant string) []byte {
	b, err := hex.DecodeString(constant)
	if err != nil {
		panic(err) // unreachable: the constants above are hexadecimal
	}
	return b
}
