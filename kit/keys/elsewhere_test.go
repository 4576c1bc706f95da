package keys

import (
	"crypto"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// vault has private keys, as long as it is there.
type vault struct {
	keys map[string]*gm.PrivateKey
	gone bool
}

func (v *vault) Find(name string) (*gm.PublicKey, error) {
	if v.gone {
		return nil, errs.New(errs.Unavailable, "不在", "away")
	}
	if k := v.keys[name]; k != nil {
		return k.PublicKey(), nil
	}
	return nil, errs.New(errs.NotFound, "没有", "none")
}

func (v *vault) Signer(pub *gm.PublicKey) crypto.Signer {
	for _, k := range v.keys {
		if k.PublicKey().Equal(pub) {
			return k
		}
	}
	return nil
}

func TestKeysElsewhere(t *testing.T) {
	dir := t.TempDir()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{keys: map[string]*gm.PrivateKey{"audit": key}}
	open := func(e Elsewhere) *Ring {
		t.Helper()
		r, err := Open(dir, Options{CreateMaster: true, Elsewhere: e})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	signer := func(r *Ring, name string) *Key {
		t.Helper()
		k, err := r.Signer(name)
		if err != nil {
			t.Fatal(name, err)
		}
		sig, err := gm.Sign(k, []byte(gm.DefaultID), []byte("m"))
		if err == nil {
			err = gm.Verify(k.PublicKey(), []byte(gm.DefaultID), []byte("m"), sig)
		}
		if err != nil {
			t.Fatal(name, err)
		}
		return k
	}
	r := open(v)
	if k := signer(r, "audit"); !k.PublicKey().Equal(key.PublicKey()) {
		t.Error("the key elsewhere was not taken")
	}
	own := signer(r, "approval") // unknown elsewhere: it is the ring's own

	v.gone = true
	r = open(v)
	if k := signer(r, "audit"); !k.PublicKey().Equal(key.PublicKey()) {
		t.Error("what was known is forgotten")
	}
	if k := signer(r, "approval"); k.KeyID() != own.KeyID() {
		t.Error("the ring's own key is another")
	}
	if k, err := r.Signer("exchange"); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a key was made whose name nobody could ask about: %v, %v", k, err)
	}
	v.gone = false
	v.keys["approval"], v.keys["audit"] = key, nil
	r = open(v)
	if k := signer(r, "approval"); k.KeyID() != own.KeyID() {
		t.Error("a name came to mean another key")
	}

	r = open(nil)
	if _, err := r.Signer("audit"); !errs.Is(err, errs.Conflict) {
		t.Errorf("nobody has the private key: %v", err)
	}
	if pub, err := r.Public("audit"); err != nil || !pub.Equal(key.PublicKey()) {
		t.Error(err)
	}
}
