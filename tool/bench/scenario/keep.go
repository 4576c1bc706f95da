package scenario

import (
	"encoding/binary"
	"encoding/json"
	"errors"
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

// MarshalJSON writes everything kept, as bytes.
func (k *Kept) MarshalJSON() ([]byte, error) { return json.Marshal(k.data) }

// UnmarshalJSON reads what MarshalJSON wrote, and refuses bytes that are not whole pairs.
func (k *Kept) UnmarshalJSON(b []byte) error {
	var data []byte
	if err := json.Unmarshal(b, &data); err != nil {
		return err
	}
	texts := 0
	for rest := data; len(rest) > 0; texts++ {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return errors.New("kept: cut short")
		}
		rest = rest[used+int(n):]
	}
	if texts%2 != 0 {
		return errors.New("kept: a key without its id")
	}
	k.data, k.Count = data, texts/2
	return nil
}

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
