package receipt

import (
	"cmp"
	"slices"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Role says what a signature of a key means.
type Role string

// The roles.
const (
	Agency   Role = "agency"   // one of the council that orders the log by turns
	Operator Role = "operator" // who alone orders the log
	Witness  Role = "witness"  // who orders nothing and saw that the log only grew
)

// Key is a public key that a reader believes: a name's, for one log.
type Key struct {
	Name   string
	Origin string
	Role   Role
	From   beijing.Time // signatures count from this time on; 0 where there is no beginning
	Until  beijing.Time // and up to it, but not at it: the key was replaced, or its holder left; 0 where there is no end
	Public *gm.PublicKey
	id     KeyID
}

// ID returns the id of the key under its name.
func (k *Key) ID() KeyID { return k.id }

// at reports whether signatures of a time count.
func (k *Key) at(t beijing.Time) bool { return t >= k.From && (k.Until == 0 || t < k.Until) }

// Trust is a set of public keys. It does not change and may be shared.
type Trust struct{ keys []Key }

// NewTrust returns the set of the given keys. A name has one role in a log; no key of a log stands there under two names,
// or one holder could count as two.
func NewTrust(keys []Key) (*Trust, error) {
	t := &Trust{slices.Clone(keys)}
	for i := range t.keys {
		k := &t.keys[i]
		if err := k.check(); err != nil {
			return nil, err
		}
		k.id = KeyIDOf(k.Name, k.Public)
		for _, other := range t.keys[:i] {
			if err := k.suits(&other); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(t.keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From))
	})
	return t, nil
}

func (k *Key) check() error {
	if k.Public == nil {
		return bad("key", "缺少公钥", "there is no public key")
	}
	if err := CheckName(k.Name); err != nil {
		return err
	}
	if err := CheckOrigin(k.Origin); err != nil {
		return err
	}
	if k.Role != Agency && k.Role != Operator && k.Role != Witness {
		return bad("Role", "应为 agency、operator 或 witness", "agency, operator or witness")
	}
	if k.From < 0 || k.Until < 0 || k.From > lastTime || k.Until > lastTime || k.Until != 0 && k.Until <= k.From {
		return bad("Until", "应晚于 From", "later than From")
	}
	return nil
}

// suits returns an error where two keys cannot stand in one set.
func (k *Key) suits(other *Key) error {
	switch {
	case k.Origin != other.Origin:
		return nil
	case k.Name != other.Name && k.Public.Equal(other.Public):
		return bad("Name", "同一公钥不能有两个名称", "a public key cannot have two names")
	case k.Name == other.Name && k.id == other.id:
		return bad("Name", "同一公钥出现两次", "a key stands there twice")
	case k.Name == other.Name && k.Role != other.Role:
		return bad("Role", "同一名称不能有两种角色", "a name cannot have two roles")
	}
	return nil
}

// Keys returns the keys, sorted by origin, name and beginning.
func (t *Trust) Keys() []Key { return slices.Clone(t.keys) }

// Precompute makes later verifications about three times as fast, for 148 KiB and a millisecond a key: for a program that
// verifies again and again.
func (t *Trust) Precompute() {
	for _, k := range t.keys {
		k.Public.Precompute()
	}
}

// Council returns the names of a log's agencies at a time, sorted.
func (t *Trust) Council(origin string, at beijing.Time) (names []string) {
	for _, k := range t.keys {
		if k.Origin == origin && k.Role == Agency && k.at(at) && !slices.Contains(names, k.Name) {
			names = append(names, k.Name)
		}
	}
	return names
}

// has reports whether any key of a log has the role.
func (t *Trust) has(origin string, role Role) bool {
	return slices.ContainsFunc(t.keys, func(k Key) bool { return k.Origin == origin && k.Role == role })
}

// find returns the key of a name, or an error that says what is unknown: the name, or this key of it.
func (t *Trust) find(origin, name string, id KeyID) (*Key, error) {
	known := false
	for i := range t.keys {
		if k := &t.keys[i]; k.Origin == origin && k.Name == name {
			if known = true; k.id == id {
				found := *k
				return &found, nil
			}
		}
	}
	e := errs.New(errs.Invalid, "签名者不在信任的公钥之中", "the signer is not among the trusted keys").WithCode(CodeSigner)
	if known {
		e = errs.Newf(errs.Invalid, "%s 的这把密钥不在信任的公钥之中", "this key of %s is not among the trusted keys", name).WithCode(CodeSigner)
	}
	return nil, e.WithHint("向各单位索取现行的公钥文件", "ask the agencies for their current public keys")
}
