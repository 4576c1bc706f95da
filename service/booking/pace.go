package booking

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// pace limits how often one identity tries; what networks may is for networks to say. (Guessing tokens is slowed down by
// kit/auth, before anybody is anybody.) It counts in a fixed table: two identities in one cell share its limit, which is
// why there are many more cells than people who book at a time.
type pace struct {
	limit int
	seed  maphash.Seed
	once  sync.Once
	cells []atomic.Uint64 // window of ten seconds, and attempts in it
}

const (
	paceCells  = 1 << 20
	paceWindow = 10 // seconds
)

var errPace = errs.New(errs.TooMany, "操作过于频繁，请稍候", "too many attempts: wait a little").WithCode("booking.pace").WithRetryAfter(paceWindow * time.Second)

func (p *pace) allow(who string, now time.Time) bool {
	p.once.Do(func() { p.seed, p.cells = maphash.MakeSeed(), make([]atomic.Uint64, paceCells) })
	cell := &p.cells[maphash.String(p.seed, who)%paceCells]
	window := uint64(now.Unix()/paceWindow) << 16
	for {
		old := cell.Load()
		next := window | 1
		if old&^0xffff == window {
			if old&0xffff >= uint64(p.limit) {
				return false
			}
			next = old + 1
		}
		if cell.CompareAndSwap(old, next) {
			return true
		}
	}
}
