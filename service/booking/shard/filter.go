package shard

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/qiongdev/qiong/service/booking/ledger"
)

// filter knows which keys were surely never seen. Anyone adds and asks. It is a row of Bloom filters, each four times as
// large as the one before.
type filter struct {
	layers atomic.Pointer[[]*layer]
	mu     sync.Mutex // held while a layer is added
}

type layer struct {
	bits []atomic.Uint64
	n    atomic.Int64 // of keys
}

const (
	firstLayer = 1 << 14 // words
	perKey     = 16      // bits
)

func (f *filter) add(k ledger.Key) {
	top := f.top()
	top.n.Add(1)
	for _, bit := range top.find(k) {
		if word := &top.bits[bit/64]; word.Load()&(1<<(bit%64)) == 0 {
			word.Or(1 << (bit % 64))
		}
	}
}

// top returns the layer that takes keys, a new one where the last is full.
func (f *filter) top() *layer {
	if layers := f.layers.Load(); layers != nil && !(*layers)[len(*layers)-1].full() {
		return (*layers)[len(*layers)-1]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var now []*layer
	size := firstLayer
	if layers := f.layers.Load(); layers != nil {
		now = *layers
		last := now[len(now)-1]
		if !last.full() {
			return last
		}
		size = 4 * len(last.bits)
	}
	more := append(now[:len(now):len(now)], &layer{bits: make([]atomic.Uint64, size)})
	f.layers.Store(&more)
	return more[len(more)-1]
}

func (l *layer) full() bool { return int(l.n.Load())*perKey >= len(l.bits)*64 }

func (l *layer) find(k ledger.Key) (bits [3]uint64) {
	mask := uint64(len(l.bits))*64 - 1
	a, b := binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])
	for i := range bits {
		bits[i] = (a + uint64(i)*(b|1)) & mask
	}
	return bits
}

// has reports whether a key may have been added; where it says no, it was not.
func (f *filter) has(k ledger.Key) bool {
	layers := f.layers.Load()
	if layers == nil {
		return false
	}
	for _, l := range *layers {
		bits, all := l.find(k), true
		for _, bit := range bits {
			all = all && l.bits[bit/64].Load()&(1<<(bit%64)) != 0
		}
		if all {
			return true
		}
	}
	return false
}

// replace makes the filter know the given keys and, of all others, only those of its last layer: some of them may be on
// their way.
func (f *filter) replace(keys func(func(ledger.Key))) {
	var fresh filter
	keys(fresh.add)
	f.mu.Lock()
	defer f.mu.Unlock()
	old, kept := f.layers.Load(), fresh.layers.Load()
	if old == nil {
		return
	}
	last := (*old)[len(*old)-1:]
	if kept != nil {
		last = append(slices.Clone(*kept), last...)
	}
	f.layers.Store(&last)
}
