package merkle

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// In a tree whose leaves are all the same, all nodes of a level are the same: so there are trees of any size, up to the
// largest, without a leaf in memory.

// uniform returns the hash of every level.
func uniform() (levels [63]Hash) {
	levels[0] = LeafHash([]byte("the same"))
	for i := range levels[1:] {
		levels[i+1] = NodeHash(levels[i], levels[i])
	}
	return levels
}

func TestTreesOfAnySize(t *testing.T) {
	levels := uniform()
	read := func(nodes []Node) ([]Hash, error) {
		hashes := make([]Hash, len(nodes))
		for i, n := range nodes {
			hashes[i] = levels[n.Level]
		}
		return hashes, nil
	}
	tiled := func(size uint64) Reader {
		return TileReader(size, func(tile Tile) ([]byte, error) {
			if again, err := ParseTilePath(tile.Path()); err != nil || again != tile {
				t.Errorf("%v has the path %s: %v", tile, tile.Path(), err)
			}
			return bytes.Repeat(levels[tile.Level*TileHeight][:], tile.Width), nil
		})
	}
	random := func(most uint64) uint64 { return rand.Uint64N(most>>rand.IntN(63)+1) + 1 }
	for range 300 {
		size := random(MaxSize - 2)
		index, older := rand.Uint64N(size), min(size, random(size))
		for name, source := range map[string]Reader{"nodes": read, "tiles": tiled(size)} {
			edge, err := ReadRange(size, source)
			if err != nil {
				t.Fatalf("%s, size %d: %v", name, size, err)
			}
			proof, err := ProveInclusion(index, size, source)
			if err != nil || VerifyInclusion(levels[0], index, size, proof, edge.Root()) != nil {
				t.Fatalf("%s, leaf %d of %d: %v", name, index, size, err)
			}
			if len(proof) > 63 {
				t.Fatalf("leaf %d of %d: %d hashes", index, size, len(proof))
			}
			old, err := ReadRange(older, read)
			if err != nil {
				t.Fatal(err)
			}
			proof, err = ProveConsistency(older, size, source)
			if err != nil || VerifyConsistency(older, size, old.Root(), edge.Root(), proof) != nil {
				t.Fatalf("%s, %d to %d: %v", name, older, size, err)
			}
			edge.Append(levels[0], nil)
			if again, err := ReadRange(size+1, read); err != nil || again.Root() != edge.Root() {
				t.Fatalf("%s, size %d: one leaf more, another root: %v", name, size, err)
			}
		}
	}
}
