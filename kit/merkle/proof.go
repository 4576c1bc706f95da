package merkle

import (
	"math/bits"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
)

// ProveInclusion returns the proof (RFC 9162, section 2.1.3.1) that a leaf is in the tree of the given size: the hashes
// beside its way to the root, from below. It reads all nodes at once.
func ProveInclusion(index, size uint64, read Reader) ([]Hash, error) {
	if err := checkIndex(index, size); err != nil {
		return nil, err
	}
	var way []segment
	for s := (segment{0, size}); s.end-s.begin > 1; {
		middle := s.begin + split(s.end-s.begin)
		if index < middle {
			way, s.end = append(way, segment{middle, s.end}), middle
		} else {
			way, s.begin = append(way, segment{s.begin, middle}), middle
		}
	}
	return hashes(way, read)
}

// ProveConsistency returns the proof (RFC 9162, section 2.1.4.1) that the tree of the new size begins with the tree of
// the old one. It is empty where old is 0 or equals new. It reads all nodes at once.
func ProveConsistency(older, newer uint64, read Reader) ([]Hash, error) {
	if err := checkSizes(older, newer); err != nil || older == 0 || older == newer {
		return nil, err
	}
	var way []segment
	s, known := segment{0, newer}, true // known: the rest is the old tree itself, whose root the verifier has
	for s.end != older {
		middle := s.begin + split(s.end-s.begin)
		if older <= middle {
			way, s.end = append(way, segment{middle, s.end}), middle
		} else {
			way, s.begin, known = append(way, segment{s.begin, middle}), middle, false
		}
	}
	if !known {
		way = append(way, s)
	}
	return hashes(way, read)
}

// hashes returns the hashes of the segments, the last one first. At most one of them is ragged.
func hashes(way []segment, read Reader) ([]Hash, error) {
	slices.Reverse(way)
	var nodes []Node
	for _, s := range way {
		nodes = append(nodes, s.nodes()...)
	}
	have, err := read.read(nodes)
	if err != nil {
		return nil, err
	}
	proof := make([]Hash, len(way))
	var h Hasher
	for i, s := range way {
		n := bits.OnesCount64(s.end - s.begin)
		proof[i], have = h.fold(have[:n]), have[n:]
	}
	return proof, nil
}

// VerifyInclusion returns nil where proof shows that the leaf with the given hash is at index in the tree of the given
// size and root.
func VerifyInclusion(leaf Hash, index, size uint64, proof []Hash, root Hash) error {
	sum, err := RootFrom(leaf, index, size, proof)
	if err != nil {
		return err
	}
	if sum != root {
		return errs.New(errs.Invalid, "包含证明与根不符", "the inclusion proof does not lead to the root").WithCode("merkle.root")
	}
	return nil
}

// RootFrom returns the root to which an inclusion proof leads. It is the caller's to compare it with one that is known.
func RootFrom(leaf Hash, index, size uint64, proof []Hash) (Hash, error) {
	if err := checkIndex(index, size); err != nil {
		return Hash{}, err
	}
	// Up to the level where the ways of the leaf and of the last leaf meet, a sibling is left or right as the index says;
	// above, the way is the right edge, and siblings are left ones alone.
	inner := bits.Len64(index ^ (size - 1))
	if err := checkLength(proof, inner+bits.OnesCount64(index>>inner)); err != nil {
		return Hash{}, err
	}
	var h Hasher
	sum := leaf
	for i, sibling := range proof {
		if i < inner && index>>i&1 == 0 {
			sum = h.Node(sum, sibling)
		} else {
			sum = h.Node(sibling, sum)
		}
	}
	return sum, nil
}

// VerifyConsistency returns nil where proof shows that the tree of the new size and root begins with the tree of the
// old size and root.
func VerifyConsistency(older, newer uint64, olderRoot, newerRoot Hash, proof []Hash) error {
	if err := checkSizes(older, newer); err != nil {
		return err
	}
	if older == 0 || older == newer {
		return verifyTrivial(older, newer, olderRoot, newerRoot, proof)
	}
	// The way starts at the last complete node of the old tree that is on its right edge. Where that is the whole old
	// tree, its hash is the old root and stands not in the proof.
	start := bits.TrailingZeros64(older)
	index, last := (older-1)>>start, (newer-1)>>start
	inner := bits.Len64(index ^ last)
	want := inner + bits.OnesCount64(index>>inner)
	seed := olderRoot
	if index != 0 {
		want++
	}
	if err := checkLength(proof, want); err != nil {
		return err
	}
	if index != 0 {
		seed, proof = proof[0], proof[1:]
	}
	var h Hasher
	oldSum, newSum := seed, seed
	for i, sibling := range proof {
		if i < inner && index>>i&1 == 0 {
			newSum = h.Node(newSum, sibling) // what stands right of the old tree is in the new one alone
			continue
		}
		oldSum, newSum = h.Node(sibling, oldSum), h.Node(sibling, newSum)
	}
	if oldSum != olderRoot {
		return errs.New(errs.Invalid, "一致性证明与旧根不符", "the consistency proof does not lead to the old root").WithCode("merkle.old-root")
	}
	if newSum != newerRoot {
		return errs.New(errs.Invalid, "一致性证明与新根不符", "the consistency proof does not lead to the new root").WithCode("merkle.root")
	}
	return nil
}

// verifyTrivial is VerifyConsistency where nothing has to be proved.
func verifyTrivial(older, newer uint64, olderRoot, newerRoot Hash, proof []Hash) error {
	if err := checkLength(proof, 0); err != nil {
		return err
	}
	if older == 0 && olderRoot != EmptyRoot() {
		return errs.New(errs.Invalid, "空树的根不对", "the root of the empty tree is wrong").WithCode("merkle.old-root")
	}
	if older == newer && olderRoot != newerRoot {
		return errs.New(errs.Invalid, "大小相同的两棵树根不同", "two trees of one size have different roots").WithCode("merkle.fork")
	}
	return nil
}

func checkIndex(index, size uint64) error {
	if size > MaxSize || index >= size {
		return errs.New(errs.Invalid, "序号超出树的大小", "the index is outside the tree").WithCode("merkle.index")
	}
	return nil
}

func checkSizes(older, newer uint64) error {
	if newer > MaxSize || older > newer {
		return errs.New(errs.Invalid, "旧树比新树大", "the old tree is larger than the new one").WithCode("merkle.size")
	}
	return nil
}

func checkLength(proof []Hash, want int) error {
	if len(proof) != want {
		return errs.Newf(errs.Invalid, "证明应有 %d 个哈希，得到 %d 个", "the proof should have %d hashes, not %d", want, len(proof)).WithCode("merkle.length")
	}
	return nil
}
