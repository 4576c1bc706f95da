package receipt

import (
	"crypto"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// SignatureType is the identifier of the cosignatures, which C2SP signed-note asks for after the byte 0xff.
const SignatureType = "qiong.dev/sm2-sm3-cosignature/v1"

// signatureSize is the length of what a line of a note encodes: key id, time, r, s.
const signatureSize = 4 + 8 + 64

// KeyID tells the keys of a name from each other and, being bound to the signature type, from keys of other types. With
// 32 bits it is no commitment to the key.
type KeyID [4]byte

// String returns the id as 8 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns what String returns.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what String returns.
func (id *KeyID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(id) || hex.EncodeToString(raw) != string(text) {
		return bad("keyId", "应为 8 位小写十六进制", "8 lower-case hexadecimal digits")
	}
	*id = KeyID(raw)
	return nil
}

// KeyIDOf returns the id of a key under a name: the first 4 bytes of SM3(name ‖ LF ‖ 0xff ‖ SignatureType ‖ 0x00 ‖ the
// compressed point).
func KeyIDOf(name string, pub *gm.PublicKey) KeyID {
	point := pub.Bytes()
	compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
	digest := gm.SM3([]byte(name+"\n\xff"+SignatureType+"\x00"), compressed)
	return KeyID(digest[:4])
}

// Signature is a cosignature of a checkpoint: its signer saw this checkpoint at that time, as the largest of a log that
// only ever grew.
type Signature struct {
	Name  string
	KeyID KeyID
	Time  int64 // Unix seconds
	R, S  [32]byte
}

func newSignature(name string, raw []byte) Signature {
	return Signature{name, KeyID(raw), int64(binary.BigEndian.Uint64(raw[4:])), [32]byte(raw[12:]), [32]byte(raw[44:])}
}

func (s Signature) bytes() []byte {
	b := binary.BigEndian.AppendUint64(s.KeyID[:], uint64(s.Time))
	return append(append(b, s.R[:]...), s.S[:]...)
}

func (s Signature) check() error {
	if s.Time < 0 || s.Time > int64(lastTime/1000) {
		return bad("signature", "时间超出范围", "its time is out of range")
	}
	return CheckName(s.Name)
}

// der returns the signature as kit/gm verifies it. Numbers from n on are refused there.
func (s Signature) der() []byte {
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s.R[:]), new(big.Int).SetBytes(s.S[:])})
	if err != nil {
		panic(err) // unreachable: two numbers always have a DER
	}
	return der
}

// cosigned returns the message of a cosignature (C2SP tlog-cosignature, v1).
func cosigned(c Checkpoint, unix int64) []byte {
	return append(strconv.AppendInt([]byte("cosignature/v1\ntime "), unix, 10), "\n"+c.Text()...)
}

// Signer cosigns checkpoints under a name. Whether a checkpoint may be cosigned, since the log only grew, is for the
// caller to know first.
type Signer struct {
	name string
	key  crypto.Signer
	id   KeyID
}

// NewSigner returns a signer with an SM2 key, which may stand for a hardware module.
func NewSigner(name string, key crypto.Signer) (*Signer, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	pub, err := gm.PublicKeyOf(key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{name, key, KeyIDOf(name, pub)}, nil
}

// Name returns the name under which it signs.
func (s *Signer) Name() string { return s.name }

// KeyID returns the id of its key.
func (s *Signer) KeyID() KeyID { return s.id }

// Cosign returns the cosignature of a checkpoint at a time, of which whole seconds count.
func (s *Signer) Cosign(c Checkpoint, at time.Time) (Signature, error) {
	sig := Signature{Name: s.name, KeyID: s.id, Time: at.Unix()}
	if err := c.check(); err != nil {
		return Signature{}, err
	}
	if err := sig.check(); err != nil {
		return Signature{}, err
	}
	der, err := gm.Sign(s.key, []byte(gm.DefaultID), cosigned(c, sig.Time))
	if err != nil {
		return Signature{}, err
	}
	var numbers struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &numbers)
	if err != nil || len(rest) > 0 || numbers.R.Sign() <= 0 || numbers.S.Sign() <= 0 || numbers.R.BitLen() > 256 || numbers.S.BitLen() > 256 {
		return Signature{}, errs.Wrap(err, errs.Internal, "签名模块给出的不是 SM2 签名", "the signer returned no SM2 signature")
	}
	numbers.R.FillBytes(sig.R[:])
	numbers.S.FillBytes(sig.S[:])
	return sig, nil
}

// VerifySignature returns nil where s is pub's cosignature of the checkpoint under its name. Otherwise the error is of
// kind Invalid and code CodeSignature.
func VerifySignature(pub *gm.PublicKey, c Checkpoint, s Signature) error {
	if s.KeyID == KeyIDOf(s.Name, pub) && gm.Verify(pub, []byte(gm.DefaultID), cosigned(c, s.Time), s.der()) == nil {
		return nil
	}
	return errs.New(errs.Invalid, "联合签名验证不通过", "the cosignature does not verify").WithCode(CodeSignature)
}
