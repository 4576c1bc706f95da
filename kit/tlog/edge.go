package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// tile is a row of log_tile.
type tile struct {
	level  int
	index  uint64
	hashes []byte
}

// edge is the right edge of a log: what appending needs. Of every level of tiles it keeps the one that is not full.
type edge struct {
	tree    *merkle.Range
	partial [][]byte // by level of tiles
	full    []tile   // that became full since take
	from    []bool   // by level: whether the partial tile has changed since take
	hasher  merkle.Hasher
}

func (e *edge) clone() *edge {
	c := &edge{tree: e.tree.Clone(), partial: make([][]byte, len(e.partial)), from: make([]bool, len(e.partial))}
	for i, p := range e.partial {
		c.partial[i] = bytes.Clone(p)
	}
	return c
}

// add appends a leaf with its data.
func (e *edge) add(data []byte) { e.append(e.hasher.Leaf(data)) }

// append appends a leaf with its hash.
func (e *edge) append(leaf merkle.Hash) {
	e.tree.Append(leaf, func(n merkle.Node, h merkle.Hash) {
		if n.Level%merkle.TileHeight != 0 {
			return
		}
		level := n.Level / merkle.TileHeight
		for len(e.partial) <= level {
			e.partial, e.from = append(e.partial, nil), append(e.from, false)
		}
		if e.partial[level] == nil {
			e.partial[level] = make([]byte, 0, fullTile)
		}
		e.partial[level], e.from[level] = append(e.partial[level], h[:]...), true
		if len(e.partial[level]) == fullTile {
			e.full = append(e.full, tile{level, n.Index / merkle.TileWidth, e.partial[level]})
			e.partial[level], e.from[level] = nil, false
		}
	})
}

const fullTile = merkle.TileWidth * merkle.HashSize

// take returns the tiles that were changed since the edge was made.
func (e *edge) take() []tile {
	changed := e.full
	e.full = nil
	for level, p := range e.partial {
		if e.from[level] && len(p) > 0 {
			index := e.tree.Size() >> (merkle.TileHeight * (level + 1))
			changed = append(changed, tile{level, index, bytes.Clone(p)})
		}
		e.from[level] = false
	}
	return changed
}

// readEdge reads the right edge of a log of the given size.
func readEdge(ctx context.Context, q sqldb.Querier, size uint64) (*edge, error) {
	e := &edge{}
	for level := 0; size>>(merkle.TileHeight*level) > 0; level++ {
		hashes := size >> (merkle.TileHeight * level)
		width := int(hashes % merkle.TileWidth)
		e.partial, e.from = append(e.partial, nil), append(e.from, false)
		if width == 0 {
			continue
		}
		p, err := readTile(ctx, q, merkle.Tile{Level: level, Index: hashes / merkle.TileWidth, Width: width})
		if err != nil {
			return nil, err
		}
		e.partial[level] = p
	}
	var err error
	e.tree, err = merkle.ReadRange(size, merkle.TileReader(size, func(t merkle.Tile) ([]byte, error) { return readTile(ctx, q, t) }))
	return e, err
}

// readTile reads the tile at its width.
func readTile(ctx context.Context, q sqldb.Querier, t merkle.Tile) ([]byte, error) {
	hashes, err := sqldb.Value[[]byte](ctx, q, "SELECT hashes FROM log_tile WHERE level = $1 AND idx = $2", int64(t.Level), int64(t.Index))
	if errors.Is(err, sqldb.ErrNoRows) || err == nil && len(hashes) < t.Width*merkle.HashSize {
		return nil, broken(fmt.Sprintf("日志缺少散列块 %s", t.Path()), "the log lacks "+t.Path())
	}
	if err != nil {
		return nil, err
	}
	return hashes[:t.Width*merkle.HashSize], nil
}
