package shard

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/qiongdev/qiong/service/booking/ledger"
)

// filter knows which keys were surely never seen. The writer adds, anyone asks. It is a row of Bloom filters, each four
// times as large as the one before.
type filter struct {
	layers atomic.Pointer[[]*layer]
}

type layer struct {
	bits []atomic.Uint64
	n    int // of keys; the writer's
}

const (
	firstLayer = 1 << 14 // words
	perKey     = 16      // bits
)

func (f *filter) add(k ledger.Key) {
	layers := f.layers.Load()
	if layers == nil {
		layers = &[]*layer{{bits: make([]atomic.Uint64, firstLayer)}}
		f.layers.Store(layers)
	}
	top := (*layers)[len(*layers)-1]
	if top.n*perKey >= len(top.bits)*64 {
		top = &layer{bits: make([]atomic.Uint64, 4*len(top.bits))}
		more := append((*layers)[:len(*layers):len(*layers)], top)
		f.layers.Store(&more)
	}
	top.n++
	for _, bit := range top.find(k) {
		word := &top.bits[bit/64]
		if old := word.Load(); old&(1<<(bit%64)) == 0 {
			word.Store(old | 1<<(bit%64))
		}
	}
}

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

// replace makes the filter know the given keys and no others.
func (f *filter) replace(keys func(func(ledger.Key))) {
	var fresh filter
	keys(fresh.add)
	f.layers.Store(fresh.layers.Load())
}
