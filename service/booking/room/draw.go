package room

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"encoding/binary"
	"slices"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// MaxBeacon is the longest beacon in bytes.
const MaxBeacon = 512

// Draw is the order of a sale, with all that it was made from. It does not change.
type Draw struct {
	tree   *Tree
	record Record
	order  []uint32 // by rank: the number
}

// Draw reveals the seed and makes the order: entries sorted by SM3-HMAC(seed, root ‖ beacon ‖ entry), see [Order].
//
// A visitor cannot steer the order, for they do not know the seed. An operator does know it, and could try lists until
// one suits them; against that helps a beacon that came to be after the root was published and that the operator neither
// knew nor could choose between, such as a witness's signature of that record. Without one (nil) the record says so.
//
// It takes about a second for a million entries.
func (t *Tree) Draw(beacon []byte) (*Draw, error) {
	if len(beacon) > MaxBeacon {
		return nil, errs.Newf(errs.Invalid, "信标至多 %d 字节", "a beacon is at most %d bytes", MaxBeacon).WithField("beacon")
	}
	r := t.Record()
	r.Drawn, r.Beacon, r.Seed = true, bytes.Clone(beacon), t.list.seed
	sorted := order(r, t.list.numbers, t.list.entry)
	r.Order = r.seal(sorted)
	return &Draw{tree: t, record: r, order: sorted}, nil
}

// Record returns all that there is to publish; with the list ([List.WriteTo]) it lets anyone compute the order again.
func (d *Draw) Record() Record { return d.record }

// Tree returns the tree of the list that was drawn from.
func (d *Draw) Tree() *Tree { return d.tree }

// Order returns the numbers in the order of the draw. It is the draw's own: do not change it.
func (d *Draw) Order() []uint32 { return d.order }

// order sorts numbers, whose i-th has the i-th entry. Two equal first halves of a digest are not to be expected; their
// order is that of the numbers, so that there is one order in any case.
func order(r Record, numbers []uint32, entry func(i int) [20]byte) []uint32 {
	type key struct {
		high, low uint64
		number    uint32
	}
	keys := make([]key, len(numbers))
	mac := hmac.New(gm.NewSM3, r.Seed[:])
	prefix := append(r.Root[:], r.Beacon...)
	var sum [32]byte
	for i, n := range numbers {
		e := entry(i)
		mac.Reset()
		mac.Write(prefix)
		mac.Write(e[:])
		mac.Sum(sum[:0])
		keys[i] = key{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16]), n}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(a.low, b.low), cmp.Compare(a.number, b.number))
	})
	sorted := make([]uint32, len(keys))
	for i, k := range keys {
		sorted[i] = k.number
	}
	return sorted
}

// Begin starts the queue in the order of the draw, which must be of this room's list; otherwise, and where the room has
// begun with another draw, the error is of kind Conflict and code "room.draw".
func (r *Room) Begin(d *Draw) error {
	if r.draw == d {
		return nil
	}
	if r.draw != nil || r.list == nil || d.tree.list != r.list {
		return errs.New(errs.Conflict, "抽签结果不属于本场次的名单", "the draw is not of this room's list").WithCode("room.draw")
	}
	for rank, n := range d.order {
		p := &r.places[n-1]
		p.rank = uint32(rank)
		if p.state == InDraw {
			p.state = Waiting
		}
	}
	r.draw, r.head = d, 0
	r.queue = make(fenwick, 0, len(d.order)+len(r.places)-r.first)
	for rank := range cap(r.queue) {
		r.queue.append(waits(r.places[r.at(uint32(rank))-1]))
	}
	return nil
}

func waits(p place) int32 {
	if p.state == Waiting {
		return 1
	}
	return 0
}

// at returns the number at a rank.
func (r *Room) at(rank uint32) uint32 {
	if drawn := uint32(len(r.draw.order)); rank >= drawn {
		return uint32(r.first) + rank - drawn + 1
	}
	return r.draw.order[rank]
}

// Draw returns the draw that the room began with; nil before. It only reads.
func (r *Room) Draw() *Draw { return r.draw }
