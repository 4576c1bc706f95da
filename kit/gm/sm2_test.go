package gm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"io"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/qiongdev/qiong/kit/errs"
)

func newKey(t testing.TB) *PrivateKey {
	t.Helper()
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVerifyRefusesWhatWasNotSigned(t *testing.T) {
	key, other := newKey(t), newKey(t)
	id, msg := []byte("QIONG"), []byte("企业开办")
	sig, err := Sign(key, id, msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(key.PublicKey(), id, msg, sig); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"other key":      Verify(other.PublicKey(), id, msg, sig),
		"other id":       Verify(key.PublicKey(), []byte(DefaultID), msg, sig),
		"other message":  Verify(key.PublicKey(), id, msg[1:], sig),
		"trailing bytes": Verify(key.PublicKey(), id, msg, append(bytes.Clone(sig), 0)),
		"empty":          Verify(key.PublicKey(), id, msg, nil),
	} {
		if e := errs.As(err); err == nil || e.Kind != errs.Invalid || e.Code != "gm.signature" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range sig {
		bad := bytes.Clone(sig)
		bad[i] ^= 1
		if Verify(key.PublicKey(), id, msg, bad) == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}

func TestIDIsRequired(t *testing.T) {
	key := newKey(t)
	for _, id := range [][]byte{nil, {}, make([]byte, maxID+1)} {
		if _, err := Sign(key, id, []byte("m")); err == nil {
			t.Errorf("signed with an id of %d bytes", len(id))
		}
		if Verify(key.PublicKey(), id, []byte("m"), []byte("s")) == nil {
			t.Errorf("verified with an id of %d bytes", len(id))
		}
	}
	if _, err := Sign(key, make([]byte, maxID), nil); err != nil {
		t.Errorf("the longest id: %v", err)
	}
}

// device stands for a hardware module: it has the standard key type, and signs digests only.
type device struct{ key *sm2.PrivateKey }

func (d device) Public() crypto.PublicKey { return d.key.Public() }

func (d device) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if len(digest) != 32 || opts.HashFunc() != 0 {
		return nil, io.ErrShortBuffer
	}
	return d.key.Sign(random, digest, nil)
}

func TestSignerMayBeADevice(t *testing.T) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := Sign(device{key}, []byte(DefaultID), []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if !sm2.VerifyASN1WithSM2(&key.PublicKey, []byte(DefaultID), []byte("m"), sig) {
		t.Error("the library does not verify it")
	}
	if _, err := newKey(t).Sign(rand.Reader, []byte("not a digest"), nil); err == nil {
		t.Error("a private key signs what is no digest")
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(p256, []byte(DefaultID), []byte("m")); !errs.Is(err, errs.Invalid) {
		t.Errorf("a key on another curve: %v", err)
	}
}

// smx509 is an independent writer and reader of the same encodings.
func TestEncodingsAgreeWithX509(t *testing.T) {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := smx509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := smx509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ParsePKCS8(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours.PKCS8(), pkcs8) || !bytes.Equal(ours.PublicKey().PKIX(), pkix) {
		t.Error("encoded differently")
	}
	pub, err := ParsePKIX(pkix)
	if err != nil || !pub.Equal(&key.PublicKey) {
		t.Errorf("ParsePKIX: %v", err)
	}
	if id := KeyID(pub); len(id) != 16 || id != KeyID(ours.PublicKey()) {
		t.Errorf("KeyID = %q", id)
	}
}

func TestParseRefusesOtherKeys(t *testing.T) {
	key, other := newKey(t), newKey(t)
	mixed := append(key.PKCS8()[:138-65], other.PublicKey().Bytes()...)
	offCurve := key.PublicKey().PKIX()
	offCurve[len(offCurve)-1] ^= 1
	zero := bytes.Replace(key.PKCS8(), key.scalar[:], make([]byte, 32), 1)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	private := func(text []byte) error { _, err := ParsePrivateKeyPEM(text); return err }
	public := func(text []byte) error { _, err := ParsePublicKeyPEM(text); return err }
	for name, err := range map[string]error{
		"another's public key": private(block(privateType, mixed)),
		"zero scalar":          private(block(privateType, zero)),
		"trailing DER":         private(block(privateType, append(key.PKCS8(), 0))),
		"not DER":              private(block(privateType, []byte("key"))),
		"other PEM type":       private(block("EC PRIVATE KEY", key.PKCS8())),
		"two blocks":           private(append(key.PEM(), key.PEM()...)),
		"no block":             private(nil),
		"off the curve":        public(block(publicType, offCurve)),
		"short point":          public(block(publicType, offCurve[:90])),
		"private for public":   public(key.PEM()),
	} {
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParsePKCS8(f *testing.F) {
	key := newKey(f)
	f.Add(key.PKCS8())
	f.Add(key.PKCS8()[:100])
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := ParsePKCS8(der)
		if err != nil {
			return
		}
		again, err := ParsePKCS8(key.PKCS8())
		if err != nil || !again.PublicKey().Equal(key.Public()) {
			t.Fatalf("%x does not survive a round trip: %v", der, err)
		}
	})
}

func FuzzParsePublicKeyPEM(f *testing.F) {
	f.Add(newKey(f).PublicKey().PEM())
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pub, err := ParsePublicKeyPEM(text)
		if err != nil {
			return
		}
		again, err := ParsePublicKeyPEM(pub.PEM())
		if err != nil || !again.Equal(pub) {
			t.Fatalf("%q does not survive a round trip: %v", text, err)
		}
	})
}
