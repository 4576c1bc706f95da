package council

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"

	dbm "github.com/cometbft/cometbft-db"
)

// deflated keeps the long values of a database compressed: blocks are JSON with much base64, of which goleveldb's own
// compression makes little. A value that stands as it is, being short or from before, begins with no mark.
type deflated struct {
	dbm.DB
	writers, readers sync.Pool
}

// deflatedMark begins what is compressed: as protobuf, as which CometBFT writes, it would be a field of a type that there
// is not, and as text no number.
const deflatedMark = "\xff\xffqz"

// worthwhile is from which length on a value is compressed: a block's parts are, its header and votes are not.
const worthwhile = 1 << 10

// maxValue bounds what one value becomes: a block has parts of 64 KB.
const maxValue = 2 * maxBlock

func newDeflated(db dbm.DB) *deflated {
	d := &deflated{DB: db}
	d.writers.New = func() any {
		w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is good
		return w
	}
	d.readers.New = func() any { return flate.NewReader(nil) }
	return d
}

func (d *deflated) deflate(value []byte) []byte {
	if len(value) < worthwhile || len(value) > maxValue {
		return value
	}
	var b bytes.Buffer
	b.WriteString(deflatedMark)
	w := d.writers.Get().(*flate.Writer)
	defer d.writers.Put(w)
	w.Reset(&b)
	_, err := w.Write(value)
	if errors.Join(err, w.Close()) != nil || b.Len() >= len(value) {
		return value
	}
	return b.Bytes()
}

func (d *deflated) inflate(value []byte) ([]byte, error) {
	packed, ok := bytes.CutPrefix(value, []byte(deflatedMark))
	if !ok {
		return value, nil
	}
	r := d.readers.Get().(io.ReadCloser)
	defer d.readers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxValue))
	if err != nil {
		return nil, errors.New("a value of the block store is damaged")
	}
	return plain, nil
}

// Get implements dbm.DB.
func (d *deflated) Get(key []byte) ([]byte, error) {
	value, err := d.DB.Get(key)
	if err != nil {
		return nil, err
	}
	return d.inflate(value)
}

// Set implements dbm.DB.
func (d *deflated) Set(key, value []byte) error { return d.DB.Set(key, d.deflate(value)) }

// SetSync implements dbm.DB.
func (d *deflated) SetSync(key, value []byte) error { return d.DB.SetSync(key, d.deflate(value)) }

// NewBatch implements dbm.DB.
func (d *deflated) NewBatch() dbm.Batch { return deflatedBatch{d.DB.NewBatch(), d} }

// Iterator implements dbm.DB.
func (d *deflated) Iterator(start, end []byte) (dbm.Iterator, error) {
	i, err := d.DB.Iterator(start, end)
	return deflatedIterator{i, d}, err
}

// ReverseIterator implements dbm.DB.
func (d *deflated) ReverseIterator(start, end []byte) (dbm.Iterator, error) {
	i, err := d.DB.ReverseIterator(start, end)
	return deflatedIterator{i, d}, err
}

type deflatedBatch struct {
	dbm.Batch
	d *deflated
}

func (b deflatedBatch) Set(key, value []byte) error { return b.Batch.Set(key, b.d.deflate(value)) }

type deflatedIterator struct {
	dbm.Iterator
	d *deflated
}

// Value implements dbm.Iterator, which panics where it can't go on.
func (i deflatedIterator) Value() []byte {
	value, err := i.d.inflate(i.Iterator.Value())
	if err != nil {
		panic(err)
	}
	return value
}
