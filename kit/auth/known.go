package auth

import (
	"crypto/subtle"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// known has the hashes of secrets that were good lately: those who come again do not wait for theirs. Which cell a secret
// has is nothing that anybody outside can steer or foresee, and a wrong one takes as long as it takes.
type known struct {
	once  sync.Once
	seed  maphash.Seed
	cells [1 << 10]atomic.Pointer[hashed]
}

type hashed struct {
	secret string
	hash   Hash
}

func (k *known) cell(secret string) *atomic.Pointer[hashed] {
	k.once.Do(func() { k.seed = maphash.MakeSeed() })
	return &k.cells[maphash.String(k.seed, secret)%uint64(len(k.cells))]
}

func (k *known) find(secret string) (Hash, bool) {
	h := k.cell(secret).Load()
	if h == nil || subtle.ConstantTimeCompare([]byte(h.secret), []byte(secret)) == 0 {
		return Hash{}, false
	}
	return h.hash, true
}

func (k *known) add(secret string, hash Hash) { k.cell(secret).Store(&hashed{secret, hash}) }

func (k *known) drop(secret string) { k.cell(secret).Store(nil) }
