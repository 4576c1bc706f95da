package tlog

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// shapes are what many records have in common: type, needs and the outcome of a rule, each as a record in which all that
// differs is nought. A packed entry is the number of its shape, the time in milliseconds and the batch as varints, the
// commitment and the id: 40 bytes and the id in the place of 150 and the id twice. They are never changed, only added to.
type shapes struct {
	numbers map[string]int64 // by the shape's bytes
	records map[int64]*receipt.Record
}

// maxShapes bounds what a log keeps in memory. Entries of further shapes stand as they are.
const maxShapes = 1024

func readShapes(ctx context.Context, q sqldb.Querier) (shapes, error) {
	s := shapes{map[string]int64{}, map[int64]*receipt.Record{}}
	_, err := sqldb.All(ctx, q, func(row sqldb.Scanner) (_ struct{}, err error) {
		var number int64
		var text string
		if err := row.Scan(&number, &text); err != nil {
			return struct{}{}, err
		}
		s.numbers[text] = number
		if s.records[number], err = receipt.ParseRecord([]byte(text)); err != nil {
			err = broken("日志的记录形式已损坏", "a shape of the log's records is damaged")
		}
		return struct{}{}, err
	}, "SELECT shape, record FROM log_shape")
	return s, err
}

// with returns the shapes and one more.
func (s shapes) with(text []byte) shapes {
	more := shapes{maps.Clone(s.numbers), maps.Clone(s.records)}
	number := int64(len(s.numbers)) + 1
	more.numbers[string(text)] = number
	more.records[number], _ = receipt.ParseRecord(text) // Marshal has written it
	return more
}

// pack appends the packed form of an entry to b. It appends nothing where the entry stands as it is, being no record of
// that id, or of a shape that there is no place for. A shape that is not among these is returned, and nothing appended.
func (s shapes) pack(b []byte, e Entry) (packed, missing []byte) {
	r := e.Record
	if r == nil {
		r, _ = receipt.ParseRecord(e.Data) // nil where it is none
	}
	if r == nil || r.ID != e.ID {
		return b, nil
	}
	number := s.numberOf(r)
	if number == 0 {
		shape := receipt.Record{ID: "0", Type: r.Type, Needs: r.Needs, Rule: r.Rule}
		text, err := shape.Marshal()
		if number = s.numbers[string(text)]; err != nil || number == 0 && len(s.numbers) >= maxShapes {
			return b, nil
		}
		if number == 0 {
			return b, text
		}
	}
	b = binary.AppendUvarint(b, uint64(number))
	b = binary.AppendUvarint(b, uint64(r.Time))
	b = binary.AppendUvarint(b, r.Batch)
	b = append(b, r.Commitment[:]...)
	return append(b, r.ID...), nil
}

// firstShapes are compared one by one, which is quicker than to write a shape down: most logs have no more.
const firstShapes = 16

// numberOf returns the number of a record's shape where it is one of the first; 0 otherwise.
func (s shapes) numberOf(r *receipt.Record) int64 {
	for number := int64(1); number <= firstShapes; number++ {
		shape := s.records[number]
		if shape == nil {
			return 0
		}
		if shape.Type == r.Type && slices.Equal(shape.Needs, r.Needs) && (shape.Rule == nil) == (r.Rule == nil) && (r.Rule == nil || *shape.Rule == *r.Rule) {
			return number
		}
	}
	return 0
}

// unpack is the inverse of pack. known is false where the shape is not; else the entry is broken where it has no id.
func (s shapes) unpack(packed []byte) (e Entry, known bool) {
	var head [3]uint64
	rest := packed
	for i := range head {
		n, width := binary.Uvarint(rest)
		if width <= 0 {
			return Entry{}, true
		}
		head[i], rest = n, rest[width:]
	}
	shape := s.records[int64(head[0])]
	if shape == nil || len(rest) < merkle.HashSize {
		return Entry{}, shape != nil
	}
	r := *shape
	r.Time, r.Batch = beijing.Time(head[1]), head[2]
	r.ID = string(rest[copy(r.Commitment[:], rest):])
	data, err := r.Marshal()
	if err != nil {
		return Entry{}, true
	}
	return Entry{ID: r.ID, Data: data}, true
}

// unpacked returns the entry of a row. A shape that this process has not seen is one that another has added.
func (l *Log) unpacked(ctx context.Context, id string, data []byte) (Entry, error) {
	if id != "" {
		return Entry{ID: id, Data: data}, nil
	}
	l.mu.RLock()
	s := l.shapes
	l.mu.RUnlock()
	e, known := s.unpack(data)
	if !known {
		var err error
		if s, err = readShapes(ctx, l.db); err != nil {
			return Entry{}, err
		}
		e, _ = s.unpack(data)
	}
	if e.ID == "" {
		return Entry{}, broken("日志的条目已损坏", "an entry of the log is damaged")
	}
	return e, nil
}
