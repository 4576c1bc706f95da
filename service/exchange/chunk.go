package exchange

import (
	"encoding/binary"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/recordio"
)

// A chunk is some hundred records of a transfer, accepted, kept and delivered together. Its bytes are, for each record,
// the number of the record in its file, then for each field 0 where it has no value, or the length of its text and one,
// then the text; numbers are unsigned varints.

// pack appends a record.
func pack(dst []byte, seq int64, values []recordio.Value) []byte {
	dst = binary.AppendUvarint(dst, uint64(seq))
	for _, v := range values {
		if !v.Set {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(v.Text))+1)
		dst = append(dst, v.Text...)
	}
	return dst
}

// unpack calls visit for each record of a chunk of n fields each. The values are valid until visit returns.
func unpack(chunk []byte, n int, visit func(seq int64, values []recordio.Value) error) error {
	values := make([]recordio.Value, n)
	for len(chunk) > 0 {
		seq, ok := number(&chunk)
		for i := 0; ok && i < n; i++ {
			var size uint64
			size, ok = number(&chunk)
			if ok = ok && size <= uint64(len(chunk))+1; !ok {
				break
			}
			values[i] = recordio.Value{}
			if size > 0 {
				values[i] = recordio.Value{Text: chunk[: size-1 : size-1], Set: true}
				chunk = chunk[size-1:]
			}
		}
		if !ok {
			return errs.New(errs.Internal, "数据块已损坏", "the chunk is damaged")
		}
		if err := visit(int64(seq), values); err != nil {
			return err
		}
	}
	return nil
}

// number takes a varint off the front of b.
func number(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}
