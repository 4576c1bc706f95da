// Package merkle promises append-only logs that cannot be rewritten unnoticed: trees of RFC 6962 and RFC 9162 over SM3,
// proofs that a leaf is in a tree and that one tree continues another, and the tiles in which C2SP tlog-tiles stores
// and serves them.
//
// A leaf's hash is SM3(0x00 ‖ data), an inner node's SM3(0x01 ‖ left ‖ right), the root of no leaves SM3(""). Nodes are
// named by [Node]: level 0 are the leaves, and the node with index i of level l stands over the leaves from i·2^l up to
// (i+1)·2^l. Only complete nodes have a name and are ever stored; the ragged right edge of a tree is computed from them.
//
// Every error is of kind Invalid, where a proof or a path is wrong, or comes from the caller's own reading.
package merkle

import (
	"encoding/base64"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// HashSize is the length of a Hash in bytes.
const HashSize = 32

// MaxSize is the largest size of a tree: sizes and indices fit a signed 64-bit number everywhere, also in databases.
const MaxSize = 1<<63 - 1

// The first bytes of what is hashed: a leaf can never be taken for a node (RFC 6962, section 2.1).
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// Hash is the SM3 hash of a leaf, a node or a tree.
type Hash [HashSize]byte

// String returns the hash in standard base64, as it stands in checkpoints and proofs: 44 characters.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText returns what String returns.
func (h Hash) MarshalText() ([]byte, error) { return h.AppendText(nil) }

// AppendText appends what String returns.
func (h Hash) AppendText(b []byte) ([]byte, error) {
	return base64.StdEncoding.AppendEncode(b, h[:]), nil
}

// UnmarshalText reads what [Hash.String] writes and nothing else: one hash has one text.
func (h *Hash) UnmarshalText(text []byte) error {
	var raw [HashSize + 1]byte // 44 characters decode to 33 bytes at most
	if len(text) == textSize {
		if n, err := strict.Decode(raw[:], text); err == nil && n == HashSize {
			copy(h[:], raw[:])
			return nil
		}
	}
	return errs.New(errs.Invalid, "不是 SM3 值（32 字节的 base64）", "not an SM3 hash (32 bytes in base64)").WithCode("merkle.hash")
}

// textSize is the length of a hash in base64. Of that length no text with a line break decodes to a hash.
const textSize = 44

// strict refuses bits behind the last byte.
var strict = base64.StdEncoding.Strict()

// ParseHash reads what [Hash.String] writes and nothing else.
func ParseHash(text string) (h Hash, err error) {
	err = h.UnmarshalText([]byte(text))
	return h, err
}

// EmptyRoot returns the root of a tree without leaves.
func EmptyRoot() Hash { return gm.SM3(nil) }

// LeafHash returns the hash of the leaf with the given data.
func LeafHash(data []byte) Hash { return new(Hasher).Leaf(data) }

// NodeHash returns the hash of the node over two nodes.
func NodeHash(left, right Hash) Hash { return new(Hasher).Node(left, right) }

// Hasher hashes leaves and nodes without allocating. The zero value is ready. It is not safe for concurrent use.
type Hasher struct {
	node [1 + 2*HashSize]byte
	leaf []byte
}

// Leaf returns LeafHash(data).
func (h *Hasher) Leaf(data []byte) Hash {
	h.leaf = append(append(h.leaf[:0], leafPrefix), data...)
	return gm.SM3(h.leaf)
}

// Node returns NodeHash(left, right).
func (h *Hasher) Node(left, right Hash) Hash {
	h.node[0] = nodePrefix
	copy(h.node[1:], left[:])
	copy(h.node[1+HashSize:], right[:])
	return gm.SM3(h.node[:])
}
