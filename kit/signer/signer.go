// Package signer promises that a private key can live in a process of its own, before a certified hardware module or a
// sealed ring, and that whoever uses it sees a plain crypto.Signer.
//
// The process listens on a Unix socket and signs finished SM2 digests with keys that are named by the id of their public
// half; doc/formats/signer.md describes the protocol, so that a vendor's process in any language can speak it. A [Client]
// verifies every signature that comes back before anyone sees it, so that a process that signs wrongly is named, and it
// goes on by itself when the process was away. A [Server] serves any set of crypto.Signer, to the users it was told alone,
// and has each signature on record before it leaves.
//
// A signer sees digests and not what they are of: it keeps a key from being copied, and puts on record how often and for
// whom it signed; it cannot judge what is signed.
package signer

import (
	"crypto"
	"encoding/asn1"
	"math/big"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// The codes of errors.
const (
	CodeAway    = "signer.away"    // nobody listens, or nothing was answered in time
	CodeWrong   = "signer.wrong"   // a signature that came back does not verify
	CodeStrange = "signer.strange" // what came back is not of this protocol
	CodeNoKey   = "signer.no-key"  // the signer has no such key
	CodeRefused = "signer.refused" // the signer does not sign for this process, or not so often
)

// Key is a key that a [Server] signs with.
type Key struct {
	Name   string // 1 to 64 visible ASCII characters
	Signer crypto.Signer
}

// Public is a key as a signer lists it.
type Public struct {
	Name string
	Key  *gm.PublicKey
}

// toNumbers returns r and s of a signature in DER, 32 bytes each.
func toNumbers(der []byte) (sig [64]byte, ok bool) {
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 || v.R.BitLen() > 256 || v.S.BitLen() > 256 {
		return sig, false
	}
	v.R.FillBytes(sig[:32])
	v.S.FillBytes(sig[32:])
	return sig, true
}

// toDER is the reverse of toNumbers.
func toDER(sig [64]byte) ([]byte, error) {
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
}

func checkName(name string) error {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' {
			name = ""
		}
	}
	if name == "" || len(name) > maxName {
		return errs.Newf(errs.Invalid, "密钥名须为 1 至 %d 个可见 ASCII 字符", "a key's name is 1 to %d visible ASCII characters", maxName)
	}
	return nil
}
