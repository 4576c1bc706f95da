package merkle

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// TileHeight is how many levels of the tree a tile stands for, and TileWidth how many hashes a full one holds: the
// nodes of its lowest level, from which the others are computed.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// maxTileLevel is the highest level of tiles that a tree of MaxSize leaves has.
const maxTileLevel = 63 / TileHeight

// Tile names a tile of C2SP tlog-tiles: the hashes of the nodes from Index·256 on, of level Level·8. It is Width hashes
// long: 256, or fewer at the right edge of a tree.
type Tile struct {
	Level int
	Index uint64
	Width int
}

// Path returns the name under which the tile is stored and served, relative to the log's prefix, such as
// tile/0/x001/x234/067 or tile/1/000.p/17.
func (t Tile) Path() string { return fmt.Sprintf("tile/%d/%s", t.Level, indexPath(t.Index, t.Width)) }

// Bundle names a bundle of 256 entries, or fewer at the end of a log.
type Bundle struct {
	Index uint64
	Width int
}

// Path returns the name under which the bundle is stored and served, such as tile/entries/x001/x234/067.p/8.
func (b Bundle) Path() string { return "tile/entries/" + indexPath(b.Index, b.Width) }

// indexPath writes an index in groups of three digits, all but the last with an x before, and the width of what is
// partial.
func indexPath(index uint64, width int) string {
	path := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		path = fmt.Sprintf("x%03d/%s", index%1000, path)
	}
	if width < TileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	return path
}

// ParseTilePath reads what [Tile.Path] writes and nothing else.
func ParseTilePath(path string) (Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	level, rest, found := strings.Cut(rest, "/")
	if n, err := strconv.Atoi(level); ok && found && err == nil && n >= 0 && n <= maxTileLevel {
		index, width, ok := parseIndex(rest)
		if t := (Tile{n, index, width}); ok && t.Path() == path {
			return t, nil
		}
	}
	return Tile{}, errs.New(errs.Invalid, "不是瓦片的路径", "not the path of a tile").WithCode("merkle.path")
}

// ParseBundlePath reads what [Bundle.Path] writes and nothing else.
func ParseBundlePath(path string) (Bundle, error) {
	rest, ok := strings.CutPrefix(path, "tile/entries/")
	index, width, good := parseIndex(rest)
	if b := (Bundle{index, width}); ok && good && b.Path() == path {
		return b, nil
	}
	return Bundle{}, errs.New(errs.Invalid, "不是记录包的路径", "not the path of an entry bundle").WithCode("merkle.path")
}

// parseIndex reads what indexPath writes, and more: callers compare with what it writes.
func parseIndex(path string) (index uint64, width int, ok bool) {
	path, partial, cut := strings.Cut(path, ".p/")
	width = TileWidth
	if cut {
		n, err := strconv.Atoi(partial)
		if err != nil || n < 1 || n >= TileWidth {
			return 0, 0, false
		}
		width = n
	}
	digits := strings.NewReplacer("x", "", "/", "").Replace(path)
	index, err := strconv.ParseUint(digits, 10, 63)
	return index, width, err == nil && index <= MaxSize/TileWidth
}

// TilesOf returns the tiles that the growth of a log from older to newer leaves writes: every one whose hashes it adds
// to, at its width in the new tree. Levels from below, and from left to right.
func TilesOf(older, newer uint64) (tiles []Tile) {
	for level := 0; newer>>(TileHeight*level) > 0 && level <= maxTileLevel; level++ {
		from, to := older>>(TileHeight*level), newer>>(TileHeight*level)
		if from >= to {
			break // nothing became complete here, nor above
		}
		for index := from / TileWidth; index <= (to-1)/TileWidth; index++ {
			tiles = append(tiles, Tile{level, index, int(min(TileWidth, to-index*TileWidth))})
		}
	}
	return tiles
}

// BundlesOf returns the bundles that the growth of a log from older to newer entries writes.
func BundlesOf(older, newer uint64) (bundles []Bundle) {
	if older >= newer {
		return nil
	}
	for index := older / TileWidth; index <= (newer-1)/TileWidth; index++ {
		bundles = append(bundles, Bundle{index, int(min(TileWidth, newer-index*TileWidth))})
	}
	return bundles
}

// BundleAt returns the bundle that holds the entry at index in a log of the given size; the entry stands at place
// index % TileWidth in it.
func BundleAt(index, size uint64) (Bundle, error) {
	if err := checkIndex(index, size); err != nil {
		return Bundle{}, err
	}
	n := index / TileWidth
	return Bundle{n, int(min(TileWidth, size-n*TileWidth))}, nil
}

// Nodes returns the nodes whose hashes, one after the other, are the tile.
func (t Tile) Nodes() []Node {
	nodes := make([]Node, t.Width)
	for i := range nodes {
		nodes[i] = Node{t.Level * TileHeight, t.Index*TileWidth + uint64(i)}
	}
	return nodes
}

// TileAt returns the tile from which a node of a tree of the given size is computed, and the run of its hashes that
// the node stands over.
func TileAt(n Node, size uint64) (t Tile, begin, end int, err error) {
	if n.Level < 0 || n.Level > 62 || size > MaxSize || n.Index >= size>>n.Level {
		return Tile{}, 0, 0, errs.New(errs.Invalid, "树中没有这个节点", "the tree has no such node").WithCode("merkle.node")
	}
	level, height := n.Level/TileHeight, n.Level%TileHeight
	first := n.Index << height
	t = Tile{level, first / TileWidth, 0}
	t.Width = int(min(TileWidth, size>>(level*TileHeight)-t.Index*TileWidth))
	begin = int(first % TileWidth)
	return t, begin, begin + 1<<height, nil
}
