package merkle

import "github.com/qiongdev/qiong/kit/errs"

// Tree is a whole tree in memory, for batches and tests: 64 bytes a leaf. The zero value is the empty tree.
type Tree struct {
	edge   Range
	levels [][]Hash // the complete nodes of each level
}

// Append adds the leaf with the given hash.
func (t *Tree) Append(leaf Hash) {
	t.edge.Append(leaf, func(n Node, h Hash) {
		if n.Level == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[n.Level] = append(t.levels[n.Level], h)
	})
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.edge.size }

// Root returns the hash of the whole tree.
func (t *Tree) Root() Hash { return t.edge.Root() }

// Read is a [Reader] of the tree's nodes.
func (t *Tree) Read(nodes []Node) ([]Hash, error) {
	all := make([]Hash, len(nodes))
	for i, n := range nodes {
		if n.Level < 0 || n.Level >= len(t.levels) || n.Index >= uint64(len(t.levels[n.Level])) {
			return nil, errs.New(errs.Invalid, "树中没有这个节点", "the tree has no such node").WithCode("merkle.node")
		}
		all[i] = t.levels[n.Level][n.Index]
	}
	return all, nil
}
