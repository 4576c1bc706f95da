package gm

import (
	"math/big"

	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm/internal/point"
)

// Verify returns nil where sig is the SM2 signature of msg by id with pub's private key. Otherwise the error is of
// kind Invalid and code "gm.signature", whether sig is malformed or does not match.
func Verify(pub *PublicKey, id, msg, sig []byte) error {
	digest, err := Digest(pub, id, msg)
	if err != nil {
		return err
	}
	return VerifyDigest(pub, digest, sig)
}

// VerifyDigest is [Verify] for a digest made by [Digest]: for who holds what a signer gave out to what it was given.
func VerifyDigest(pub *PublicKey, digest, sig []byte) error {
	if len(digest) != 32 || !pub.verify(digest, sig) {
		return mismatch()
	}
	return nil
}

func mismatch() error {
	return errs.New(errs.Invalid, "SM2 签名验证不通过", "the SM2 signature does not verify").WithCode("gm.signature")
}

// Precompute makes every later [Verify] with this key about a third as long, for 148 KiB and a millisecond: for the
// keys of partners, which verify again and again. It may be called at any time, and more than once.
func (p *PublicKey) Precompute() {
	p.precompute.Do(func() { p.table.Store(point.NewTable(p.point[1:33], p.point[33:])) })
}

// verify takes the short way where there is a table. Only what that accepts is decided there: the rest, and the cases
// so rare that its formulas leave them out, is for the general way.
func (p *PublicKey) verify(digest, sig []byte) bool {
	if table := p.table.Load(); table != nil && verifyByTable(table, digest, sig) {
		return true
	}
	return sm2.VerifyASN1(p.key, digest, sig)
}

// order is n, the order of the SM2 curve.
var order, _ = new(big.Int).SetString("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123", 16)

// verifyByTable verifies as GB/T 32918.2, 7.1 says: with t = r + s mod n, the first coordinate of s·G + t·P must be
// r - e mod n.
func verifyByTable(table *point.Table, digest, sig []byte) bool {
	var inner cryptobyte.String
	input := cryptobyte.String(sig)
	r, s := new(big.Int), new(big.Int)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !input.Empty() ||
		!inner.ReadASN1Integer(r) || !inner.ReadASN1Integer(s) || !inner.Empty() ||
		r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(order) >= 0 || s.Cmp(order) >= 0 {
		return false
	}
	var scalar, want [32]byte
	key, err := ecdh.P256().NewPrivateKey(s.FillBytes(scalar[:])) // whose public key is s·G; s is no secret here
	if err != nil {
		return false
	}
	base := key.PublicKey().Bytes()
	t := s.Add(s, r)
	if t.Mod(t, order).Sign() == 0 {
		return false
	}
	x := r.Sub(r, new(big.Int).SetBytes(digest))
	return table.XOfSum(base[1:33], base[33:], t.FillBytes(scalar[:]), x.Mod(x, order).FillBytes(want[:]))
}
