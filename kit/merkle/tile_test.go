package merkle

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
)

func TestTilePaths(t *testing.T) {
	for path, want := range map[string]Tile{ // the first ones are those of the specification
		"tile/0/x001/x234/067":                {0, 1234067, 256},
		"tile/0/273.p/112":                    {0, 273, 112},
		"tile/2/000.p/1":                      {2, 0, 1},
		"tile/0/000":                          {0, 0, 256},
		"tile/7/x999/999.p/255":               {7, 999999, 255},
		"tile/0/x036/x028/x797/x018/x963/967": {0, MaxSize / 256, 256},
		"tile/1/x001/000":                     {1, 1000, 256},
		"tile/0/x001/x000/000.p/9":            {0, 1000000, 9},
	} {
		if got, err := ParseTilePath(path); err != nil || got != want || want.Path() != path {
			t.Errorf("%s: %v, %v; written %s", path, got, err, want.Path())
		}
	}
	for _, path := range []string{"", "tile", "tile/0", "tile/0/", "tile/00/000", "tile/8/000", "tile/-1/000", "tile/0/0", "tile/0/0000",
		"tile/0/x000/001", "tile/0/001/002", "tile/0/x001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/",
		"tile/0/000/", "/tile/0/000", "tile/0/x001/x2/003", "tile/0/+01", "tile/0/000.p/1.p/1", "tile/entries/000", "tile/0/x036/x028/x797/x018/x963/968",
		"tile/+0/000", "tile/0/x999/x999/x999/x999/x999/x999/999"} {
		if got, err := ParseTilePath(path); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q was read as %v", path, got)
		}
	}
	for path, want := range map[string]Bundle{"tile/entries/x001/x234/067.p/8": {1234067, 8}, "tile/entries/000": {0, 256}} {
		if got, err := ParseBundlePath(path); err != nil || got != want || want.Path() != path {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if got, err := ParseBundlePath("tile/0/000"); err == nil {
		t.Errorf("a tile was read as the bundle %v", got)
	}
}

// The example of the specification: 70,000 leaves.
func TestTilesOfTheSpecification(t *testing.T) {
	tiles := TilesOf(0, 70_000)
	if len(tiles) != 273+1+1+1+1 {
		t.Fatalf("%d tiles", len(tiles))
	}
	want := []Tile{{0, 272, 256}, {0, 273, 112}, {1, 0, 256}, {1, 1, 17}, {2, 0, 1}}
	if got := tiles[272:]; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := TilesOf(0, 256); !slices.Equal(got, []Tile{{0, 0, 256}, {1, 0, 1}}) {
		t.Errorf("of 256 leaves: %v", got)
	}
	if got := TilesOf(70_000, 70_000); got != nil {
		t.Errorf("without growth: %v", got)
	}
	if got := TilesOf(70_000, 70_001); !slices.Equal(got, []Tile{{0, 273, 113}}) {
		t.Errorf("of one more: %v", got)
	}
}

// store is a log stored as tiles, written growth by growth.
type store map[string][]byte

func (s store) grow(t *testing.T, tree *Tree, older, newer uint64) {
	t.Helper()
	for _, tile := range TilesOf(older, newer) {
		hashes, err := tree.Read(tile.Nodes())
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		for _, h := range hashes {
			data = append(data, h[:]...)
		}
		s[tile.Path()] = data
	}
}

func (s store) fetch(t Tile) ([]byte, error) {
	data, ok := s[t.Path()]
	if !ok {
		return nil, errors.New("no tile " + t.Path())
	}
	return data, nil
}

func TestProofsFromTiles(t *testing.T) {
	const most = 66_000 // three levels of tiles
	d := leaves(most)
	tree, tiles := grow(d), store{}
	sizes := []uint64{0, 1, 2, 255, 256, 257, 511, 513, 1000, 65_535, 65_536, 65_537, most}
	for i, n := range sizes[1:] {
		tiles.grow(t, tree, sizes[i], n)
		read := TileReader(n, tiles.fetch)
		edge, err := ReadRange(n, tree.Read)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ReadRange(n, read); err != nil || again.Root() != edge.Root() {
			t.Fatalf("size %d: another root from tiles: %v", n, err)
		}
		for _, at := range []uint64{0, n / 3, n / 2, n - 1} {
			proof, err := ProveInclusion(at, n, read)
			if err != nil || VerifyInclusion(LeafHash(d[at]), at, n, proof, edge.Root()) != nil {
				t.Fatalf("leaf %d of %d: %v", at, n, err)
			}
		}
		for _, m := range sizes[:i+1] {
			old, err := ReadRange(m, tree.Read)
			if err != nil {
				t.Fatal(err)
			}
			proof, err := ProveConsistency(m, n, read)
			if err != nil || VerifyConsistency(m, n, old.Root(), edge.Root(), proof) != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
		}
	}
}

func TestTileReaderRefuses(t *testing.T) {
	short := TileReader(300, func(Tile) ([]byte, error) { return make([]byte, 31), nil })
	if _, err := short([]Node{{0, 0}}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a short tile: %v", err)
	}
	for _, n := range []Node{{0, 300}, {-1, 0}, {9, 0}, {63, 0}, {64, 0}} {
		if _, err := short([]Node{n}); errs.As(err).Code != "merkle.node" {
			t.Errorf("%v: %v", n, err)
		}
	}
	away := errors.New("away")
	if _, err := TileReader(300, func(Tile) ([]byte, error) { return nil, away })([]Node{{0, 0}}); !errors.Is(err, away) {
		t.Errorf("a tile that is away: %v", err)
	}
}

func TestTilesAreFetchedOnce(t *testing.T) {
	tree, tiles := grow(leaves(5000)), store{}
	tiles.grow(t, tree, 0, 5000)
	count := 0
	read := TileReader(5000, func(tile Tile) ([]byte, error) { count++; return tiles.fetch(tile) })
	if _, err := ProveInclusion(1234, 5000, read); err != nil || count != 3 { // its own, the tile above, and the right edge
		t.Errorf("%d tiles fetched, %v", count, err)
	}
}

func TestBundles(t *testing.T) {
	var bundle []byte
	entries := [][]byte{nil, []byte("a"), bytes.Repeat([]byte{7}, MaxEntry)}
	for _, e := range entries {
		var err error
		if bundle, err = AppendEntry(bundle, e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ParseBundle(bundle, 3)
	if err != nil || !slices.EqualFunc(got, entries, bytes.Equal) {
		t.Fatalf("%v", err)
	}
	if _ = append(got[1], 'x'); bundle[5] == 'x' {
		t.Error("an entry that grows runs into the next one")
	}
	for n := range len(bundle) {
		if _, err := ParseBundle(bundle[:n], 3); !errs.Is(err, errs.Invalid) {
			t.Fatalf("cut at %d and read", n)
		}
	}
	for _, width := range []int{0, 2, 4, 257} {
		if _, err := ParseBundle(bundle, width); !errs.Is(err, errs.Invalid) {
			t.Errorf("width %d: %v", width, err)
		}
	}
	if _, err := AppendEntry(nil, make([]byte, MaxEntry+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("an entry too long: %v", err)
	}
	if got := BundlesOf(250, 520); !slices.Equal(got, []Bundle{{0, 256}, {1, 256}, {2, 8}}) {
		t.Errorf("%v", got)
	}
	if got := BundlesOf(256, 256); got != nil {
		t.Errorf("without growth: %v", got)
	}
	if b, err := BundleAt(300, 520); err != nil || b != (Bundle{1, 256}) {
		t.Errorf("%v, %v", b, err)
	}
	if b, err := BundleAt(519, 520); err != nil || b != (Bundle{2, 8}) {
		t.Errorf("%v, %v", b, err)
	}
	if _, err := BundleAt(520, 520); err == nil {
		t.Error("a bundle beyond the log")
	}
}

func FuzzPaths(f *testing.F) {
	f.Add("tile/0/x001/x234/067.p/8")
	f.Add("tile/entries/x001/234")
	f.Fuzz(func(t *testing.T, path string) {
		if tile, err := ParseTilePath(path); err == nil && tile.Path() != path {
			t.Errorf("%q was read as %v", path, tile)
		}
		if bundle, err := ParseBundlePath(path); err == nil && bundle.Path() != path {
			t.Errorf("%q was read as %v", path, bundle)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 0}, 2)
	f.Fuzz(func(t *testing.T, bundle []byte, width int) {
		entries, err := ParseBundle(bundle, width)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			if again, err = AppendEntry(again, e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, bundle) {
			t.Error("written again, another bundle")
		}
	})
}
