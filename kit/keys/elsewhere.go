package keys

import (
	"crypto"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Elsewhere holds private keys outside of the ring: in a process of its own, before a hardware module. A signer.Client is
// one.
type Elsewhere interface {
	// Find returns the public key called name. The error is of kind NotFound where there is none for sure, and of another
	// where that can't be told at the moment.
	Find(name string) (*gm.PublicKey, error)
	// Signer returns what signs with the private key of pub, whether it can be reached at the moment or not.
	Signer(pub *gm.PublicKey) crypto.Signer
}

// away returns a key whose private half lies elsewhere; nil where the ring has it, or is to make it. The public half is
// kept in the ring from the first time on: a name never comes to mean another key, and who is started while the other
// process is not needs it only when there is something to sign.
func (r *Ring) away(name string) (*Key, error) {
	e, err := r.find(name)
	switch {
	case err == nil && e.kind == kindPublic:
		return &Key{name, e.public, r.elsewhere.Signer(e.public)}, nil
	case err == nil:
		return nil, nil
	case !errs.Is(err, errs.NotFound):
		return nil, err
	}
	pub, err := r.elsewhere.Find(name)
	if errs.Is(err, errs.NotFound) {
		return nil, nil
	}
	if err == nil && !r.readOnly {
		err = r.Trust(name, pub)
	}
	if err != nil {
		return nil, err
	}
	return &Key{name, pub, r.elsewhere.Signer(pub)}, nil
}
