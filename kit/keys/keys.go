// Package keys promises that a house's secret keys rest sealed in one folder, appear when first named, and survive a
// crash at any moment.
//
// A ring is a folder with one file a key, each sealed by SM4-GCM under a key derived from one master secret, with the
// key's name and kind bound to it: a file that was altered, renamed, or sealed under another master is refused by
// name. Whoever can read the folder but not the master learns nothing but names. Public keys of others are sealed the
// same way, so that nobody can put a key of their own among the trusted ones.
//
// The folder's format is described at [Ring]. Losing the master means losing every key: back it up apart.
package keys

import (
	"crypto"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Options say where the master secret is and what Open may create.
type Options struct {
	// MasterFile is the path of the master secret, best kept on another medium than the ring. All its bytes count, 32 to
	// 4096 of them, random: `openssl rand -hex 32` makes a good one. Nobody but its owner may be able to read it.
	// Empty means master.key in the ring's own folder.
	MasterFile string

	// CreateMaster lets Open make master.key in the ring's folder where there is none yet and no key either.
	// It does not apply to a MasterFile named above: a wrong path must not become a new master.
	CreateMaster bool

	// ReadOnly forbids to create or change anything.
	ReadOnly bool

	// Elsewhere has signers whose private keys the ring does not have. A name that it knows is made in the ring no more.
	Elsewhere Elsewhere
}

// Ring is a set of named keys in a folder. It is safe for concurrent use, also by several processes: of two that create
// the same key at once, both get the one that reached the disk first.
//
// A file <name>.key is a PEM block "QIONG SEALED KEY" with the header Kind; its bytes are sealed as gm.Sealer seals, by
// the key HKDF-SM3(master, info "qiong/keys/1"), with the aad "qiong/keys/1 <kind> <name>". master.check is such a
// file, of no secret, that tells a wrong master from a damaged key. A name is 1 to 64 of a-z, 0-9, '.', '_', '-' and
// begins with a letter or digit.
type Ring struct {
	dir      string
	master   string // the master file's path
	readOnly bool
	sealer   *gm.Sealer

	elsewhere Elsewhere // nil: all is in the ring

	mu      sync.Mutex
	entries map[string]entry
}

// Open opens the ring in dir, creating the folder where it may, and reads every key in it, so that damage is found now
// and not at midnight. Errors name the file and what to do.
func Open(dir string, opt Options) (*Ring, error) {
	r := &Ring{dir: dir, master: opt.MasterFile, readOnly: opt.ReadOnly, elsewhere: opt.Elsewhere, entries: map[string]entry{}}
	if !opt.ReadOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, storage(err, dir)
		}
		if err := syncDir(filepath.Dir(realPath(dir))); err != nil {
			return nil, storage(err, dir)
		}
	}
	names, err := listKeys(dir)
	if err != nil {
		return nil, err
	}
	secret, err := r.openMaster(opt.CreateMaster, len(names) > 0)
	if err != nil {
		return nil, err
	}
	key, err := gm.Derive(secret, nil, format, 16)
	if err != nil {
		return nil, err
	}
	if r.sealer, err = gm.NewSealer(key); err != nil {
		return nil, err
	}
	if err := r.checkMaster(len(names) > 0); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := r.read(name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Key is an SM2 key of the ring, or one [Elsewhere] whose public half it has. It is a crypto.Signer over SM2 digests, for
// gm.Sign.
type Key struct {
	name   string
	public *gm.PublicKey
	signer crypto.Signer
}

// Name returns the key's name in the ring.
func (k *Key) Name() string { return k.name }

// Public returns the *gm.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// PublicKey returns the public half.
func (k *Key) PublicKey() *gm.PublicKey { return k.public }

// KeyID returns gm.KeyID of the public half.
func (k *Key) KeyID() string { return gm.KeyID(k.public) }

// Sign signs an SM2 digest, as gm.PrivateKey does.
func (k *Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer.Sign(random, digest, opts)
}

// Signer returns the SM2 key called name: of the ring, or elsewhere; where neither has it, it is created in the ring.
func (r *Ring) Signer(name string) (*Key, error) {
	if r.elsewhere != nil {
		if k, err := r.away(name); k != nil || err != nil {
			return k, err
		}
	}
	e, err := r.get(name, kindSigner, func() (entry, error) {
		key, err := gm.GenerateKey()
		if err != nil {
			return entry{}, err
		}
		return newEntry(kindSigner, key.PKCS8())
	})
	if err != nil {
		return nil, err
	}
	return &Key{name, e.public, e.private}, nil
}

// Sealer returns the SM4-GCM sealer called name, its key created on first use.
func (r *Ring) Sealer(name string) (*gm.Sealer, error) {
	e, err := r.get(name, kindSealer, func() (entry, error) { return newEntry(kindSealer, random(16)) })
	return e.sealer, err
}

// Secret returns n random bytes called name, created on first use, such as a key for gm.HMAC. Asking for another
// length later is a conflict. n is 16 to 1024.
func (r *Ring) Secret(name string, n int) ([]byte, error) {
	if n < 16 || n > 1024 {
		return nil, errs.New(errs.Internal, "密钥环中的秘密须为 16 至 1024 字节", "a secret of the ring is 16 to 1024 bytes")
	}
	e, err := r.get(name, kindSecret, func() (entry, error) { return newEntry(kindSecret, random(n)) })
	if err != nil {
		return nil, err
	}
	if len(e.plain) != n {
		return nil, errs.Newf(errs.Conflict, "秘密 %s 已存在，但长度不同", "the secret %s exists with another length", name)
	}
	return slices.Clone(e.plain), nil
}

// Public returns the public key called name: that of a signer of the ring, or a trusted one. It creates nothing.
func (r *Ring) Public(name string) (*gm.PublicKey, error) {
	e, err := r.find(name)
	if err != nil {
		return nil, err
	}
	if e.public == nil {
		return nil, otherKind(name, e.kind)
	}
	return e.public, nil
}

// Trust stores pub, the public key of someone else, as name. It replaces an earlier trusted key of that name and
// refuses the name of any other kind of key.
func (r *Ring) Trust(name string, pub *gm.PublicKey) error {
	if err := checkName(name); err != nil {
		return err
	}
	e, err := newEntry(kindPublic, pub.PKIX())
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, err := r.load(name)
	switch {
	case err == nil && old.kind != kindPublic:
		return otherKind(name, old.kind)
	case err == nil && old.public.Equal(pub):
		return nil
	case err != nil && !errs.Is(err, errs.NotFound):
		return err
	case r.readOnly:
		return readOnly(name)
	}
	if err := replaceFile(r.path(name), r.seal(name, e)); err != nil {
		return storage(err, r.path(name))
	}
	r.entries[name] = e
	return nil
}

// Lookup returns the public key with the given gm.KeyID among the trusted keys and the ring's own signers. It knows
// what this Ring has opened or trusted, not what another process has added since.
func (r *Ring) Lookup(keyID string) (*gm.PublicKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.public != nil && e.keyID == keyID {
			e.public.Precompute() // who asks by id verifies, and not once
			return e.public, nil
		}
	}
	return nil, errs.New(errs.NotFound, "密钥环中没有此标识的公钥", "the ring has no public key with this id")
}

// Names returns the names of all keys this Ring knows, sorted.
func (r *Ring) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.entries))
}

// MasterIsLocal reports whether the master secret lies in the ring's own folder: whoever copies the folder then has
// both lock and key, so a house in production should be warned.
func (r *Ring) MasterIsLocal() bool {
	dir, file := realPath(r.dir), realPath(r.master)
	rel, err := filepath.Rel(dir, file)
	return err == nil && filepath.IsLocal(rel)
}
