package merkle

import (
	"encoding/binary"
	"math"

	"github.com/qiongdev/qiong/kit/errs"
)

// TileReader returns a [Reader] of the nodes of a tree of the given size that is stored as tiles. A call of the Reader
// asks fetch for every tile at most once. What fetch returns is held to the tile's length, not to the tree's root: a
// proof made from wrong tiles is refused by whoever verifies it.
func TileReader(size uint64, fetch func(t Tile) ([]byte, error)) Reader {
	return func(nodes []Node) ([]Hash, error) {
		all, have := make([]Hash, len(nodes)), map[Tile][]byte{}
		var h Hasher
		for i, n := range nodes {
			t, begin, end, err := TileAt(n, size)
			if err != nil {
				return nil, err
			}
			data, ok := have[t]
			if !ok {
				if data, err = fetch(t); err != nil {
					return nil, err
				}
				if len(data) != t.Width*HashSize {
					return nil, errs.Newf(errs.Invalid, "瓦片 %s 应为 %d 字节，得到 %d 字节", "the tile %s should be %d bytes, not %d",
						t.Path(), t.Width*HashSize, len(data)).WithCode("merkle.tile")
				}
				have[t] = data
			}
			all[i] = h.subtree(data[begin*HashSize : end*HashSize])
		}
		return all, nil
	}
}

// subtree returns the hash over a power of two of hashes.
func (h *Hasher) subtree(hashes []byte) Hash {
	if len(hashes) == HashSize {
		return Hash(hashes)
	}
	left := h.subtree(hashes[:len(hashes)/2])
	return h.Node(left, h.subtree(hashes[len(hashes)/2:]))
}

// MaxEntry is the longest entry of a bundle, in bytes.
const MaxEntry = math.MaxUint16

// AppendEntry appends an entry to a bundle: its length in two big-endian bytes, then its bytes.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > MaxEntry {
		return bundle, errs.Newf(errs.TooLarge, "一条记录不能超过 %d 字节", "an entry is at most %d bytes", MaxEntry).WithCode("merkle.entry")
	}
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...), nil
}

// ParseBundle returns the entries of a bundle, which must be width ones and nothing else. They share its memory.
func ParseBundle(bundle []byte, width int) ([][]byte, error) {
	if width < 1 || width > TileWidth {
		return nil, errs.Newf(errs.Invalid, "记录包的宽度为 1 至 %d", "a bundle holds 1 to %d entries", TileWidth).WithCode("merkle.bundle")
	}
	entries := make([][]byte, 0, width)
	for rest := bundle; len(entries) < width; {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errs.Newf(errs.Invalid, "记录包在第 %d 条处中断", "the bundle is cut at entry %d", len(entries)).
				WithCode("merkle.bundle").WithOffset(int64(len(bundle) - len(rest)))
		}
		n := int(binary.BigEndian.Uint16(rest))
		entries, rest = append(entries, rest[2:2+n:2+n]), rest[2+n:]
		if len(entries) == width && len(rest) > 0 {
			return nil, errs.New(errs.Invalid, "记录包之后还有数据", "something follows the bundle").
				WithCode("merkle.bundle").WithOffset(int64(len(bundle) - len(rest)))
		}
	}
	return entries, nil
}
