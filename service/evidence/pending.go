package evidence

import (
	"slices"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// maxPending is how many signatures of one name are kept that lie beyond the log here. Of more, the oldest go: whoever
// signs is heard again at a later size, and nobody fills the memory of others.
const maxPending = 1024

// pending is what agencies have signed and this house has not taken in yet. The zero value is empty.
type pending struct {
	sizes map[uint64]map[merkle.Hash][]receipt.Signature
	order map[string][]uint64 // by name: the sizes it has signed, as they came
}

// add keeps a signature, and returns all of the same checkpoint, and those of the same name and size under other roots.
func (p *pending) add(c receipt.Checkpoint, s receipt.Signature) (with []receipt.Signature, against []merkle.Hash) {
	if p.sizes == nil {
		p.sizes, p.order = map[uint64]map[merkle.Hash][]receipt.Signature{}, map[string][]uint64{}
	}
	roots := p.sizes[c.Size]
	if roots == nil {
		roots = map[merkle.Hash][]receipt.Signature{}
		p.sizes[c.Size] = roots
	}
	for root, signatures := range roots {
		if root != c.Root && index(signatures, s.Name) >= 0 {
			against = append(against, root)
		}
	}
	if index(roots[c.Root], s.Name) < 0 {
		roots[c.Root] = append(roots[c.Root], s)
		p.order[s.Name] = append(p.order[s.Name], c.Size)
	}
	with = slices.Clone(roots[c.Root])
	if order := p.order[s.Name]; len(order) > maxPending {
		p.order[s.Name] = slices.Clone(order[1:])
		p.drop(s.Name, order[0])
	}
	return with, against
}

func index(signatures []receipt.Signature, name string) int {
	return slices.IndexFunc(signatures, func(s receipt.Signature) bool { return s.Name == name })
}

// drop forgets what a name has signed of a size.
func (p *pending) drop(name string, size uint64) {
	roots := p.sizes[size]
	for root, signatures := range roots {
		if i := index(signatures, name); i >= 0 {
			if signatures = slices.Delete(signatures, i, i+1); len(signatures) == 0 {
				delete(roots, root)
			} else {
				roots[root] = signatures
			}
		}
	}
	if len(roots) == 0 {
		delete(p.sizes, size)
	}
}

// upTo takes out what was signed up to a size.
func (p *pending) upTo(size uint64) map[uint64]map[merkle.Hash][]receipt.Signature {
	out := map[uint64]map[merkle.Hash][]receipt.Signature{}
	for s, roots := range p.sizes {
		if s <= size {
			out[s] = roots
			delete(p.sizes, s)
		}
	}
	for name, order := range p.order {
		if order = slices.DeleteFunc(order, func(s uint64) bool { return s <= size }); len(order) == 0 {
			delete(p.order, name)
		} else {
			p.order[name] = order
		}
	}
	return out
}

// ready returns the checkpoints that enough agencies have signed, greatest first, with their signatures.
func (p *pending) ready(origin string, enough func([]receipt.Signature) bool) (all []signed) {
	for size, roots := range p.sizes {
		for root, signatures := range roots {
			if enough(signatures) {
				all = append(all, signed{receipt.Checkpoint{Origin: origin, Size: size, Root: root}, slices.Clone(signatures)})
			}
		}
	}
	slices.SortFunc(all, func(a, b signed) int {
		if a.checkpoint.Size > b.checkpoint.Size {
			return -1
		}
		return 1
	})
	return all
}

// signed is a checkpoint with signatures.
type signed struct {
	checkpoint receipt.Checkpoint
	signatures []receipt.Signature
}
