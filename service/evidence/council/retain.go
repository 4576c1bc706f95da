package council

import cmttypes "github.com/cometbft/cometbft/types"

// pruneStep is how many blocks are pruned at a time: one batch of deletions instead of one with every block.
const pruneStep = 20

// retention is how many blocks are kept, and of how many bytes.
type retention struct {
	blocks, bytes int64 // at most; 0 for any
	first         int64 // height of the oldest that counts
	sizes         []int64
	total         int64
}

// add counts a block, which follows on the last.
func (r *retention) add(height, size int64) {
	if r.bytes == 0 {
		return
	}
	if len(r.sizes) == 0 {
		r.first = height
	}
	r.sizes, r.total = append(r.sizes, size), r.total+size
}

// height returns below which height blocks may go when that is the last; 0 for none.
func (r *retention) height(last int64) int64 {
	keep := int64(0)
	if r.blocks > 0 {
		keep = max(last-r.blocks, 0)
	}
	if r.bytes == 0 {
		return keep
	}
	for len(r.sizes) > 1 && (r.total > r.bytes || r.first < keep) {
		r.total -= r.sizes[0]
		r.sizes, r.first = r.sizes[1:], r.first+1
	}
	return max(keep, r.first)
}

// blockStore is what is read of CometBFT's blocks.
type blockStore interface {
	Base() int64
	Height() int64
	LoadBlockMeta(height int64) *cmttypes.BlockMeta
}

// count counts the blocks that are kept already.
func (r *retention) count(blocks blockStore) {
	*r = retention{blocks: r.blocks, bytes: r.bytes}
	if r.bytes == 0 {
		return
	}
	for h := blocks.Base(); h > 0 && h <= blocks.Height(); h++ {
		size := 0
		if m := blocks.LoadBlockMeta(h); m != nil {
			size = m.BlockSize
		}
		r.add(h, int64(size))
	}
}
