package httpsig

import (
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// NonceCache remembers the nonces of verified signatures until they expire, in bounded memory. It forgets when the
// process ends: within the window after a restart a request could be replayed, so what must never happen twice is
// guarded by a row in the database beside the act.
type NonceCache struct {
	max  int
	span time.Duration // how long a signature can stay valid after it is first seen: twice the window

	mu       sync.Mutex
	now, old map[nonceKey]struct{} // two generations, each of them filled during one span
	since    time.Time             // when the generation now began
	floor    time.Time             // signatures that expire up to here may have been forgotten
}

// nonceKey is half of the SM3 of key id and nonce: enough to tell them apart, small, and nothing for the garbage
// collector to follow.
type nonceKey [16]byte

func keyOfNonce(s Signed) (k nonceKey) {
	sum := gm.SM3([]byte(s.KeyID), []byte{0}, []byte(s.Nonce))
	copy(k[:], sum[:])
	return k
}

// NewNonceCache returns a cache of at most max nonces (each takes about 40 bytes) for signatures verified with window.
// Within twice to four times the window at most max requests can pass, so choose it with room.
func NewNonceCache(max int, window time.Duration) *NonceCache {
	return &NonceCache{max: max, span: 2 * window, now: map[nonceKey]struct{}{}, old: map[nonceKey]struct{}{}}
}

// Add remembers s, which was verified at now. It returns an error of kind Unauthenticated where s was added before or
// may have been, and TooMany where the cache is full: it never forgets a nonce that could still be used.
func (c *NonceCache) Add(s Signed, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	key := keyOfNonce(s)
	_, inNow := c.now[key]
	_, inOld := c.old[key]
	switch {
	case inNow || inOld || !s.Expires.After(c.floor): // the last: the clock went back beyond what was forgotten
		return refuse("replayed", "此签名已经用过", "this signature was used before")
	case len(c.now)+len(c.old) >= c.max:
		return errs.New(errs.TooMany, "请求过多，请稍后再试", "too many requests; try again later").WithRetryAfter(c.span)
	}
	c.now[key] = struct{}{}
	return nil
}

// turn begins a new generation when the present one is a span old. All that the older one holds was then seen more
// than a span ago and has expired.
func (c *NonceCache) turn(now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
	if now.Sub(c.since) < c.span {
		return
	}
	if now.Sub(c.since) >= 2*c.span {
		c.now = map[nonceKey]struct{}{}
	}
	c.old, c.now = c.now, map[nonceKey]struct{}{}
	c.since, c.floor = now, now
}
