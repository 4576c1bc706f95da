package ticket

import (
	"crypto"
	"encoding/asn1"
	"math/big"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// signRaw returns the SM2 signature of msg as r ‖ s, 32 bytes each.
func signRaw(signer crypto.Signer, msg []byte) ([]byte, error) {
	der, err := gm.Sign(signer, []byte(SignerID), msg)
	if err != nil {
		return nil, err
	}
	return rawOf(der)
}

// rawOf writes a signature in DER as r ‖ s.
func rawOf(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) > 0 || sig.R.Sign() < 0 || sig.S.Sign() < 0 || sig.R.BitLen() > 256 || sig.S.BitLen() > 256 {
		return nil, errs.Wrap(err, errs.Internal, "签名设备的签名不合格式", "the signer's signature is malformed")
	}
	raw := make([]byte, sigSize)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return raw, nil
}

// toDER writes r ‖ s as the SEQUENCE of two INTEGERs that gm.Verify reads.
func toDER(raw []byte) []byte {
	der := make([]byte, 2, 72)
	der = appendInteger(der, raw[:32])
	der = appendInteger(der, raw[32:])
	der[0], der[1] = 0x30, byte(len(der)-2)
	return der
}

// appendInteger appends a non-negative INTEGER in its shortest form.
func appendInteger(der, b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	if b[0] >= 0x80 {
		der = append(der, 2, byte(len(b)+1), 0)
	} else {
		der = append(der, 2, byte(len(b)))
	}
	return append(der, b...)
}
