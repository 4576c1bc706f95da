package merkle

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// The naive tree: RFC 6962, section 2.1, letter by letter, with nothing from this package.

func naiveRoot(d [][]byte) Hash {
	switch len(d) {
	case 0:
		return gm.SM3()
	case 1:
		return gm.SM3([]byte{0}, d[0])
	}
	k := naiveSplit(len(d))
	left, right := naiveRoot(d[:k]), naiveRoot(d[k:])
	return gm.SM3([]byte{1}, left[:], right[:])
}

// naiveSplit returns the largest power of two smaller than n: k < n <= 2k.
func naiveSplit(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// naivePath is PATH(m, D[n]) of section 2.1.1.
func naivePath(m int, d [][]byte) []Hash {
	if len(d) == 1 {
		return nil
	}
	if k := naiveSplit(len(d)); m < k {
		return append(naivePath(m, d[:k]), naiveRoot(d[k:]))
	} else {
		return append(naivePath(m-k, d[k:]), naiveRoot(d[:k]))
	}
}

// naiveProof is SUBPROOF(m, D[n], b) of section 2.1.2.
func naiveProof(m int, d [][]byte, b bool) []Hash {
	if m == len(d) {
		if b {
			return nil
		}
		return []Hash{naiveRoot(d)}
	}
	if k := naiveSplit(len(d)); m <= k {
		return append(naiveProof(m, d[:k], b), naiveRoot(d[k:]))
	} else {
		return append(naiveProof(m-k, d[k:], false), naiveRoot(d[:k]))
	}
}

// leaves returns n leaves of different data.
func leaves(n int) [][]byte {
	d := make([][]byte, n)
	for i := range d {
		d[i] = binary.BigEndian.AppendUint32(nil, uint32(i))
	}
	return d
}

// grow returns the tree of the leaves.
func grow(d [][]byte) *Tree {
	t := new(Tree)
	for _, leaf := range d {
		t.Append(LeafHash(leaf))
	}
	return t
}

func TestPrefixesAndEmptyTree(t *testing.T) {
	a, b := Hash{1}, Hash{2}
	if LeafHash([]byte("abc")) != gm.SM3([]byte("\x00abc")) || NodeHash(a, b) != gm.SM3([]byte{1}, a[:], b[:]) {
		t.Error("leaf or node is hashed without its prefix")
	}
	// SM3 of nothing, as OpenSSL prints it.
	if got := EmptyRoot(); hex.EncodeToString(got[:]) != "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b" || new(Range).Root() != got {
		t.Errorf("the empty root is %x", got)
	}
}

func TestRootsAndRanges(t *testing.T) {
	d := leaves(600)
	var r Range
	for n := range len(d) {
		if want := naiveRoot(d[:n]); r.Root() != want || r.Size() != uint64(n) {
			t.Fatalf("size %d: wrong root", n)
		}
		again, err := RangeOf(r.Size(), r.Nodes())
		if err != nil || again.Root() != r.Root() {
			t.Fatalf("size %d: stored and read, another root: %v", n, err)
		}
		before := r.Root()
		if c := r.Clone(); c.Add(d[n], nil) != LeafHash(d[n]) || r.Root() != before {
			t.Fatalf("size %d: a clone changed its original", n)
		}
		r.Add(d[n], nil)
	}
}

func TestVisitTellsEveryCompleteNodeOnce(t *testing.T) {
	const n = 300
	d := leaves(n)
	have := map[Node]Hash{}
	var r Range
	for _, leaf := range d {
		r.Add(leaf, func(node Node, h Hash) {
			if _, twice := have[node]; twice {
				t.Fatalf("%v twice", node)
			}
			have[node] = h
		})
	}
	count := 0
	for level := 0; n>>level > 0; level++ {
		for i := range n >> level {
			count++
			if have[Node{level, uint64(i)}] != naiveRoot(d[i<<level:(i+1)<<level]) {
				t.Fatalf("level %d, index %d: wrong or missing", level, i)
			}
		}
	}
	if count != len(have) {
		t.Errorf("%d nodes were told of, %d are complete", len(have), count)
	}
}

func TestEveryInclusionProof(t *testing.T) {
	const most = 130
	d := leaves(most)
	tree := grow(d)
	for n := 1; n <= most; n++ {
		root := naiveRoot(d[:n])
		for i := range n {
			proof, err := ProveInclusion(uint64(i), uint64(n), tree.Read)
			if err != nil || !slices.Equal(proof, naivePath(i, d[:n])) {
				t.Fatalf("leaf %d of %d: not the proof of the RFC: %v", i, n, err)
			}
			if err := VerifyInclusion(LeafHash(d[i]), uint64(i), uint64(n), proof, root); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			if n <= 40 || n == most {
				refuseInclusions(t, LeafHash(d[i]), uint64(i), uint64(n), proof, root)
			}
		}
	}
}

// refuseInclusions changes a good proof in every way.
func refuseInclusions(t *testing.T, leaf Hash, index, size uint64, proof []Hash, root Hash) {
	t.Helper()
	refuse := func(what string, err error) {
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("leaf %d of %d, %s: %v", index, size, what, err)
		}
	}
	refuse("another leaf", VerifyInclusion(flip(leaf), index, size, proof, root))
	refuse("another root", VerifyInclusion(leaf, index, size, proof, flip(root)))
	for other := range size + 2 {
		if other != index {
			refuse("another index", VerifyInclusion(leaf, other, size, proof, root))
		}
	}
	for i := range proof {
		bad := slices.Clone(proof)
		bad[i] = flip(bad[i])
		refuse("a changed hash", VerifyInclusion(leaf, index, size, bad, root))
		refuse("a hash less", VerifyInclusion(leaf, index, size, slices.Delete(slices.Clone(proof), i, i+1), root))
		refuse("a hash doubled", VerifyInclusion(leaf, index, size, slices.Insert(slices.Clone(proof), i, proof[i]), root))
		if i > 0 {
			bad := slices.Clone(proof)
			bad[i], bad[i-1] = bad[i-1], bad[i]
			refuse("two hashes swapped", VerifyInclusion(leaf, index, size, bad, root))
		}
	}
	refuse("a hash more", VerifyInclusion(leaf, index, size, append(slices.Clone(proof), root), root))
}

func flip(h Hash) Hash { h[rand.IntN(HashSize)] ^= 1 << rand.IntN(8); return h }

func TestEveryConsistencyProof(t *testing.T) {
	const most = 100
	d := leaves(most)
	tree := grow(d)
	roots := make([]Hash, most+1)
	for n := range roots {
		roots[n] = naiveRoot(d[:n])
	}
	for n := 0; n <= most; n++ {
		for m := 0; m <= n; m++ {
			proof, err := ProveConsistency(uint64(m), uint64(n), tree.Read)
			var want []Hash
			if m > 0 && m < n {
				want = naiveProof(m, d[:n], true)
			}
			if err != nil || !slices.Equal(proof, want) {
				t.Fatalf("%d to %d: not the proof of the RFC: %v", m, n, err)
			}
			if err := VerifyConsistency(uint64(m), uint64(n), roots[m], roots[n], proof); err != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
			refuseConsistencies(t, uint64(m), uint64(n), roots, proof)
		}
	}
}

// refuseConsistencies changes a good proof in every way.
func refuseConsistencies(t *testing.T, m, n uint64, roots []Hash, proof []Hash) {
	t.Helper()
	refuse := func(what string, err error) {
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%d to %d, %s: %v", m, n, what, err)
		}
	}
	refuse("another old root", VerifyConsistency(m, n, flip(roots[m]), roots[n], proof))
	if m > 0 { // every tree begins with the empty one
		refuse("another new root", VerifyConsistency(m, n, roots[m], flip(roots[n]), proof))
	}
	if m < n {
		refuse("turned round", VerifyConsistency(n, m, roots[n], roots[m], proof))
	}
	for i := range proof {
		bad := slices.Clone(proof)
		bad[i] = flip(bad[i])
		refuse("a changed hash", VerifyConsistency(m, n, roots[m], roots[n], bad))
		refuse("a hash less", VerifyConsistency(m, n, roots[m], roots[n], slices.Delete(slices.Clone(proof), i, i+1)))
		refuse("a hash doubled", VerifyConsistency(m, n, roots[m], roots[n], slices.Insert(slices.Clone(proof), i, proof[i])))
	}
	refuse("a hash more", VerifyConsistency(m, n, roots[m], roots[n], append(slices.Clone(proof), roots[n])))
}

// A log that was rewritten before its old size cannot prove that it continues itself.
func TestRewrittenLogIsFound(t *testing.T) {
	d := leaves(77)
	before := naiveRoot(d[:50])
	for i := range 50 {
		forged := slices.Clone(d)
		forged[i] = []byte("forged")
		tree := grow(forged)
		proof, err := ProveConsistency(50, 77, tree.Read)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyConsistency(50, 77, before, tree.Root(), proof); errs.As(err).Code != "merkle.old-root" {
			t.Errorf("leaf %d rewritten: %v", i, err)
		}
	}
}

func TestLargeTrees(t *testing.T) {
	const most = 20_000
	d := leaves(most)
	tree := grow(d)
	for range 300 {
		n := 1 + rand.Uint64N(most)
		i, m := rand.Uint64N(n), rand.Uint64N(n+1)
		edge, err := ReadRange(n, tree.Read)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := ProveInclusion(i, n, tree.Read)
		if err != nil || VerifyInclusion(LeafHash(d[i]), i, n, proof, edge.Root()) != nil {
			t.Fatalf("leaf %d of %d: %v", i, n, err)
		}
		old, err := ReadRange(m, tree.Read)
		if err != nil {
			t.Fatal(err)
		}
		if proof, err = ProveConsistency(m, n, tree.Read); err != nil || VerifyConsistency(m, n, old.Root(), edge.Root(), proof) != nil {
			t.Fatalf("%d to %d: %v", m, n, err)
		}
	}
	if tree.Root() != naiveRoot(d) {
		t.Error("wrong root")
	}
}

func TestRefusals(t *testing.T) {
	tree := grow(leaves(5))
	silent := func([]Node) ([]Hash, error) { return nil, nil }
	for name, err := range map[string]error{
		"index":        second(ProveInclusion(5, 5, tree.Read)),
		"empty tree":   second(ProveInclusion(0, 0, tree.Read)),
		"no such node": second(ProveInclusion(0, 9, tree.Read)),
		"shrinking":    second(ProveConsistency(5, 4, tree.Read)),
		"huge":         second(ProveInclusion(0, MaxSize+1, tree.Read)),
		"huge range":   second(RangeOf(MaxSize+1, make([]Hash, 1))),
		"huge read":    second(ReadRange(MaxSize+1, tree.Read)),
		"nodes":        second(RangeOf(5, make([]Hash, 3))),
		"hash":         second(ParseHash("AAAA")),
		"loose base64": second(ParseHash("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=")),
	} {
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	zeros := func(nodes []Node) ([]Hash, error) { return make([]Hash, len(nodes)), nil }
	if err := second(ProveInclusion(0, MaxSize+1, zeros)); !errs.Is(err, errs.Invalid) {
		t.Errorf("a size beyond the largest: %v", err)
	}
	if err := second(ProveInclusion(0, 5, silent)); !errs.Is(err, errs.Internal) {
		t.Errorf("a reader that answers nothing: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAppendingDoesNotAllocate(t *testing.T) {
	var r Range
	record := make([]byte, 400)
	count := 0
	visit := func(Node, Hash) { count++ }
	for range 1024 {
		r.Add(record, visit)
	}
	if n := testing.AllocsPerRun(1000, func() { r.Add(record, visit) }); n != 0 {
		t.Errorf("%.1f allocations a leaf", n)
	}
}

func TestHashText(t *testing.T) {
	h := LeafHash(nil)
	text, err := h.MarshalText()
	var back Hash
	if err != nil || back.UnmarshalText(text) != nil || back != h || back.UnmarshalText(text[1:]) == nil || back != h {
		t.Errorf("%s: %v", text, err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte("0123456789abcdef0123456789abcdef"))
	f.Add(uint64(0), uint64(1), []byte(nil))
	f.Add(uint64(1<<62), uint64(1<<63-1), make([]byte, 64*HashSize))
	f.Fuzz(func(t *testing.T, a, b uint64, raw []byte) {
		var proof []Hash
		for ; len(raw) >= HashSize; raw = raw[HashSize:] {
			proof = append(proof, Hash(raw))
		}
		// Roots that nothing was hashed into: no proof leads there.
		if VerifyInclusion(Hash{1}, a, b, proof, Hash{2}) == nil {
			t.Error("an inclusion out of nothing")
		}
		if VerifyConsistency(a, b, Hash{1}, Hash{2}, proof) == nil {
			t.Error("a consistency out of nothing")
		}
	})
}

// FuzzProofs makes proofs of trees of any shape and verifies them.
func FuzzProofs(f *testing.F) {
	f.Add(uint16(7), uint16(3))
	f.Add(uint16(1024), uint16(1023))
	f.Fuzz(func(t *testing.T, n, m uint16) {
		size := uint64(n%2048) + 1
		tree := grow(leaves(int(size)))
		at := uint64(m) % size
		proof, err := ProveInclusion(at, size, tree.Read)
		if err != nil || VerifyInclusion(tree.levels[0][at], at, size, proof, tree.Root()) != nil {
			t.Fatalf("leaf %d of %d: %v", at, size, err)
		}
		old, err := ReadRange(at, tree.Read)
		if err != nil {
			t.Fatal(err)
		}
		proof, err = ProveConsistency(at, size, tree.Read)
		if err != nil || VerifyConsistency(at, size, old.Root(), tree.Root(), proof) != nil {
			t.Fatalf("%d to %d: %v", at, size, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	var r Range
	record := make([]byte, 300)
	for b.Loop() {
		r.Add(record, nil)
	}
}
