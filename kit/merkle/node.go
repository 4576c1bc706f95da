package merkle

import (
	"math/bits"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// Node names a complete node: the root of the subtree over the leaves from Index·2^Level up to (Index+1)·2^Level.
type Node struct {
	Level int
	Index uint64
}

// Reader returns the hashes of complete nodes, in the order asked. It is the caller's: a database, tiles, a slice. It
// must answer every node or return an error.
type Reader func(nodes []Node) ([]Hash, error)

// read asks r and checks that it answered every node.
func (r Reader) read(nodes []Node) ([]Hash, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	hashes, err := r(nodes)
	if err != nil {
		return nil, err
	}
	if len(hashes) != len(nodes) {
		return nil, errs.Newf(errs.Internal, "读取 %d 个节点，得到 %d 个", "%d nodes were read, %d answered", len(nodes), len(hashes))
	}
	return hashes, nil
}

// RangeNodes returns the complete nodes that cover a tree of the given size, from left to right: what [RangeOf] needs.
func RangeNodes(size uint64) []Node { return segment{0, size}.nodes() }

// segment is a run of leaves whose hash stands in a proof. Its begin is a multiple of the power of two that is at least
// its length.
type segment struct{ begin, end uint64 }

// nodes returns the complete nodes that cover s, from left to right, and so from large to small.
func (s segment) nodes() []Node {
	all := make([]Node, 0, bits.OnesCount64(s.end-s.begin))
	for begin := s.begin; begin < s.end; {
		level := bits.Len64(s.end-begin) - 1
		all = append(all, Node{level, begin >> level})
		begin += 1 << level
	}
	return all
}

// fold returns the hash over neighbouring nodes as nodes lists them: the smaller ones on the right first.
func (h *Hasher) fold(nodes []Hash) Hash {
	if len(nodes) == 0 {
		return EmptyRoot()
	}
	sum := nodes[len(nodes)-1]
	for _, left := range slices.Backward(nodes[:len(nodes)-1]) {
		sum = h.Node(left, sum)
	}
	return sum
}

// split returns the largest power of two smaller than n, where a tree of n > 1 leaves divides.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }
