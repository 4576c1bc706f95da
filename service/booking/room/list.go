package room

import (
	"bufio"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
)

// List is the closed list of a sale: everyone who was in the room when it opened, by number. It does not change, so that
// hashing it ([List.Tree]) needs no hold on the room.
type List struct {
	record  Record
	seed    [32]byte
	aliases []Alias  // of all numbers that joined before
	numbers []uint32 // those on the list, growing
}

// Close closes the list at or after the opening; before it, the error is of kind Conflict and code "room.open". Called
// again it returns the same list. From here on who joins stands behind the draw.
func (r *Room) Close(now time.Time) (*List, error) {
	if r.closeAt(now); r.list == nil {
		return nil, errs.New(errs.Conflict, "尚未到开售时间", "the sale has not opened").WithCode("room.open")
	}
	return r.list, nil
}

// closeAt closes the list where it is time.
func (r *Room) closeAt(now time.Time) {
	if r.list == nil && !now.Before(r.cfg.Opens) {
		r.close(func(p *place) bool { return p.state == InDraw })
	}
}

// close puts on the list who is picked.
func (r *Room) close(pick func(*place) bool) {
	l := &List{record: r.Record(), seed: r.cfg.Seed}
	for i := range r.places {
		if p := &r.places[i]; pick(p) {
			p.drawn = true
			l.numbers = append(l.numbers, uint32(i+1))
		}
	}
	r.first = len(r.places)
	l.aliases = r.aliases[:r.first:r.first]
	l.numbers = slices.Clip(l.numbers)
	l.record.Count = uint64(len(l.numbers))
	r.list = l
}

// List returns the closed list; nil before Close. It only reads.
func (r *Room) List() *List { return r.list }

// Len returns how many entries there are.
func (l *List) Len() int { return len(l.numbers) }

// entry returns the i-th entry.
func (l *List) entry(i int) [20]byte {
	n := l.numbers[i]
	return entry(l.aliases[n-1], n)
}

// WriteTo writes the list as it is published: for each entry, in order, its number, a space, its alias in hexadecimal and
// a newline.
func (l *List) WriteTo(w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, 1<<16)
	var line []byte
	var total int64
	for _, n := range l.numbers {
		line = appendLine(line[:0], n, l.aliases[n-1])
		m, err := out.Write(line)
		if total += int64(m); err != nil {
			return total, err
		}
	}
	return total, out.Flush()
}

// appendLine adds the line of an entry.
func appendLine(b []byte, number uint32, alias Alias) []byte {
	b = strconv.AppendUint(b, uint64(number), 10)
	return append(hex.AppendEncode(append(b, ' '), alias[:]), '\n')
}

// tileLevel is the lowest level of the tree whose nodes are kept. A proof hashes the 32 entries below again, and the
// tree costs two bytes for each place.
const tileLevel = 5

// Tree is the Merkle tree (kit/merkle) over a list, whose root is published before the seed. It does not change.
type Tree struct {
	list *List
	root merkle.Hash
	kept [][]merkle.Hash // complete nodes of level tileLevel and above
}

// Tree returns the tree over the list. It takes about 0.4 s for a million entries.
func (l *List) Tree() *Tree {
	t := &Tree{list: l}
	var edge merkle.Range
	keep := func(n merkle.Node, h merkle.Hash) {
		if n.Level < tileLevel {
			return
		}
		if n.Level-tileLevel == len(t.kept) {
			t.kept = append(t.kept, nil)
		}
		t.kept[n.Level-tileLevel] = append(t.kept[n.Level-tileLevel], h)
	}
	for i := range l.numbers {
		e := l.entry(i)
		edge.Add(e[:], keep)
	}
	t.root = edge.Root()
	return t
}

// List returns the list that it is over.
func (t *Tree) List() *List { return t.list }

// Root returns the root.
func (t *Tree) Root() merkle.Hash { return t.root }

// Record returns what is to be published before [Tree.Draw]: the count and the root, behind what Room.Record said.
func (t *Tree) Record() Record {
	r := t.list.record
	r.Closed, r.Root = true, t.root
	return r
}

// Proof shows that an entry is on the closed list: see [Record.VerifyEntry].
type Proof struct {
	Index uint64        `json:"index"`
	Path  []merkle.Hash `json:"path"`
}

// Prove returns the proof of the entry with a number. An entry that is not on the list is of kind NotFound.
func (t *Tree) Prove(number uint32) (Proof, error) {
	i, ok := slices.BinarySearch(t.list.numbers, number)
	if !ok {
		return Proof{}, errs.New(errs.NotFound, "该候场号不在抽签名单中", "this place is not on the list of the draw").WithCode("room.place")
	}
	path, err := merkle.ProveInclusion(uint64(i), uint64(t.list.Len()), t.read)
	if err != nil {
		return Proof{}, err
	}
	return Proof{Index: uint64(i), Path: path}, nil
}

// read is the merkle.Reader of the tree.
func (t *Tree) read(nodes []merkle.Node) ([]merkle.Hash, error) {
	out := make([]merkle.Hash, len(nodes))
	var h merkle.Hasher
	for i, n := range nodes {
		out[i] = t.node(&h, n)
	}
	return out, nil
}

func (t *Tree) node(h *merkle.Hasher, n merkle.Node) merkle.Hash {
	switch {
	case n.Level >= tileLevel:
		return t.kept[n.Level-tileLevel][n.Index]
	case n.Level == 0:
		e := t.list.entry(int(n.Index))
		return h.Leaf(e[:])
	}
	left := t.node(h, merkle.Node{Level: n.Level - 1, Index: 2 * n.Index})
	return h.Node(left, t.node(h, merkle.Node{Level: n.Level - 1, Index: 2*n.Index + 1}))
}
