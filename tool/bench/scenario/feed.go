package scenario

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/qiongdev/qiong/kit/label"
)

// feed makes values for the requests of one part of the load. Each is drawn at most once a request, so that all places
// that name it agree. It appends one value for each column asked for.
type feed interface {
	draw(s *Stream, f *feedState)
}

// feedState is where a part stands in a feed.
type feedState struct {
	n     uint64 // drawn so far
	slots []slot
}

// slot is a value that requests ask for: a column of a feed, the only one where that has no columns.
type slot struct {
	column int
	at     int // in Stream.values
}

// number returns a number that no other part of the load draws, and that grows by parts.
func (s *Stream) number(f *feedState) uint64 {
	n := uint64(s.part) + f.n*uint64(s.parts)
	f.n++
	return n
}

// set begins the value of a slot.
func (s *Stream) set(at int, value []byte) { s.values[at] = append(s.values[at][:0], value...) }

// sequence counts.
type sequence struct {
	from  uint64
	width int
}

func (q sequence) draw(s *Stream, f *feedState) {
	n := strconv.AppendUint(s.scratch[:0], q.from+s.number(f), 10)
	for _, slot := range f.slots {
		v := s.values[slot.at][:0]
		for i := len(n); i < q.width; i++ {
			v = append(v, '0')
		}
		s.values[slot.at] = append(v, n...)
	}
	s.scratch = n
}

// uuid makes random UUIDs (version 4).
type uuid struct{}

func (uuid) draw(s *Stream, f *feedState) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], s.random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], s.random.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	for _, slot := range f.slots {
		s.set(slot.at, text[:])
	}
}

// integer draws evenly between two bounds, both included.
type integer struct{ from, to int64 }

func (i integer) draw(s *Stream, f *feedState) {
	n := i.from + int64(s.random.Uint64N(uint64(i.to-i.from)+1))
	for _, slot := range f.slots {
		s.values[slot.at] = strconv.AppendInt(s.values[slot.at][:0], n, 10)
	}
}

// idCard makes identity numbers of residents that pass their check and belong to nobody: their region does not exist.
type idCard struct{ from uint64 }

func (i idCard) draw(s *Stream, f *feedState) {
	number := label.FakeIDCard(i.from + s.number(f))
	for _, slot := range f.slots {
		s.values[slot.at] = append(s.values[slot.at][:0], number...)
	}
}

// rows draws from rows of values: by weight, evenly at random, or in turn.
type rows struct {
	rows    [][]string
	inTurn  bool
	weights []float64 // growing up to the sum; nil where all are equal
}

func (r rows) draw(s *Stream, f *feedState) {
	var i int
	switch {
	case r.inTurn:
		i = int(s.number(f) % uint64(len(r.rows)))
	case r.weights == nil:
		i = s.random.IntN(len(r.rows))
	default:
		i = pick(s.random, r.weights)
	}
	for _, slot := range f.slots {
		s.values[slot.at] = append(s.values[slot.at][:0], r.rows[i][slot.column]...)
	}
}

// pick returns an index by growing sums of weights.
func pick(r *rand.Rand, sums []float64) int {
	i, found := slices.BinarySearch(sums, r.Float64()*sums[len(sums)-1])
	if found {
		i++ // a bound belongs to what follows it
	}
	return min(i, len(sums)-1)
}

// sums returns the growing sums of weights.
func sums(weights []float64) []float64 {
	all := make([]float64, len(weights))
	sum := 0.0
	for i, w := range weights {
		sum += w
		all[i] = sum
	}
	return all
}
