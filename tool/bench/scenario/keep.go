package scenario

import (
	"encoding/binary"
	"iter"
)

// Kept is what one part of the load keeps of acknowledged requests: the key each was sent with, and the id it was
// answered with. It grows by what they are long and a few bytes, so that millions fit.
type Kept struct {
	data  []byte
	Count int
}

func (k *Kept) add(key, id []byte) {
	k.data = binary.AppendUvarint(k.data, uint64(len(key)))
	k.data = append(k.data, key...)
	k.data = binary.AppendUvarint(k.data, uint64(len(id)))
	k.data = append(k.data, id...)
	k.Count++
}

// Add adds a pair.
func (k *Kept) Add(key, id string) { k.add([]byte(key), []byte(id)) }

// All returns every key with its id, in the order of their answers.
func (k *Kept) All() iter.Seq2[string, string] {
	return func(yield func(key, id string) bool) {
		next := func(data []byte) (string, []byte) {
			n, used := binary.Uvarint(data)
			data = data[used:]
			return string(data[:n]), data[n:]
		}
		for data := k.data; len(data) > 0; {
			var key, id string
			key, data = next(data)
			id, data = next(data)
			if !yield(key, id) {
				return
			}
		}
	}
}
