package gm

import (
	"crypto"
	"io"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestVerifyDigest(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	digest := SM3([]byte("a digest"))
	sig, err := key.Sign(nil, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	other := SM3([]byte("another"))
	for name, c := range map[string]struct {
		digest, sig []byte
		ok          bool
	}{
		"right":          {digest[:], sig, true},
		"another digest": {other[:], sig, false},
		"a short digest": {digest[:31], sig, false},
		"no digest":      {nil, sig, false},
		"no signature":   {digest[:], nil, false},
		"a cut one":      {digest[:], sig[:len(sig)-1], false},
	} {
		if err := VerifyDigest(key.PublicKey(), c.digest, c.sig); (err == nil) != c.ok || err != nil && errs.As(err).Code != "gm.signature" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// away is a hardware module that can't be reached, and says so.
type away struct{ *PrivateKey }

func (away) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errs.New(errs.Unavailable, "不在", "away")
}

func TestAModuleSaysItselfWhatIsWrong(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(away{key}, []byte(DefaultID), []byte("m")); !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}
