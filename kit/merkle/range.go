package merkle

import (
	"math/bits"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// Range is a tree of which only the right edge is kept: enough to append leaves and to know the root, in at most 64
// hashes. The zero value is the empty tree. It is not safe for concurrent use; copy it with [Range.Clone].
type Range struct {
	size   uint64
	nodes  []Hash // of RangeNodes(size)
	hasher Hasher
}

// RangeOf returns the range of a stored tree: its size and the hashes of RangeNodes(size).
func RangeOf(size uint64, nodes []Hash) (*Range, error) {
	if size > MaxSize {
		return nil, errs.New(errs.Invalid, "树的大小超出范围", "the size of the tree is out of range").WithCode("merkle.size")
	}
	if want := bits.OnesCount64(size); len(nodes) != want {
		return nil, errs.Newf(errs.Invalid, "大小为 %d 的树需要 %d 个节点，得到 %d 个", "a tree of %d leaves needs %d nodes, not %d", size, want, len(nodes)).
			WithCode("merkle.nodes")
	}
	return &Range{size: size, nodes: slices.Clone(nodes)}, nil
}

// ReadRange returns the range of a stored tree, whose nodes it reads.
func ReadRange(size uint64, read Reader) (*Range, error) {
	if size > MaxSize {
		return RangeOf(size, nil)
	}
	nodes, err := read.read(RangeNodes(size))
	if err != nil {
		return nil, err
	}
	return RangeOf(size, nodes)
}

// Size returns the number of leaves.
func (r *Range) Size() uint64 { return r.size }

// Nodes returns the hashes of RangeNodes(Size()), which with the size are all there is to store.
func (r *Range) Nodes() []Hash { return slices.Clone(r.nodes) }

// Clone returns a copy that grows by itself.
func (r *Range) Clone() *Range { return &Range{size: r.size, nodes: slices.Clone(r.nodes)} }

// Append adds the leaf with the given hash. Where visit is not nil, it is told of every node that became complete, the
// leaf first, then the nodes above it from below.
func (r *Range) Append(leaf Hash, visit func(node Node, h Hash)) {
	index, sum := r.size, leaf
	if visit != nil {
		visit(Node{0, index}, sum)
	}
	level := 0
	for ; index&1 == 1; index >>= 1 { // a left neighbour waits
		last := len(r.nodes) - 1
		sum = r.hasher.Node(r.nodes[last], sum)
		r.nodes = r.nodes[:last]
		level++
		if visit != nil {
			visit(Node{level, index >> 1}, sum)
		}
	}
	r.nodes = append(r.nodes, sum)
	r.size++
}

// Add appends the leaf with the given data and returns its hash. With a visit that does not allocate, nothing does.
func (r *Range) Add(data []byte, visit func(node Node, h Hash)) Hash {
	leaf := r.hasher.Leaf(data)
	r.Append(leaf, visit)
	return leaf
}

// Root returns the hash of the whole tree.
func (r *Range) Root() Hash { return r.hasher.fold(r.nodes) }
