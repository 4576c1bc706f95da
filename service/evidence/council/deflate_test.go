package council

import (
	"bytes"
	"strings"
	"testing"

	dbm "github.com/cometbft/cometbft-db"
)

// What goes in comes out, whichever way it went and is asked for; what a database held before is still read.
func TestDeflatedKeepsWhatItIsGiven(t *testing.T) {
	plain := dbm.NewMemDB()
	d := newDeflated(plain)
	values := map[string][]byte{
		"a": nil, "b": []byte("7"), "c": bytes.Repeat([]byte("x"), worthwhile-1), "d": bytes.Repeat([]byte("x"), worthwhile),
		"e": random(3 * worthwhile), "f": []byte(strings.Repeat(`{"commitment":"penKAe6lBNOS7rXlcVNrph+/E9rZS5BYiaBY0BMlUKg="}`, 1000)),
	}
	batch := d.NewBatch()
	for key, value := range values {
		if value == nil {
			value = []byte{}
		}
		for how, set := range map[string]func(k, v []byte) error{"set": d.Set, "sync": d.SetSync, "batch": batch.Set, "before": plain.Set} {
			if err := set([]byte(how+key), value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := batch.WriteSync(); err != nil {
		t.Fatal(err)
	}
	for _, walk := range []func(start, end []byte) (dbm.Iterator, error){d.Iterator, d.ReverseIterator} {
		i, err := walk(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; i.Valid(); i.Next() {
			key := string(i.Key())
			want := values[key[len(key)-1:]]
			got, err := d.Get(i.Key())
			if err != nil || !bytes.Equal(got, want) || !bytes.Equal(i.Value(), want) {
				t.Errorf("%s: %d bytes, want %d, %v", key, len(got), len(want), err)
			}
			n++
		}
		if err := i.Close(); err != nil || n != 4*len(values) {
			t.Errorf("%d values, %v", n, err)
		}
	}
	if stored, _ := plain.Get([]byte("setf")); len(stored) > len(values["f"])/10 {
		t.Errorf("%d bytes became %d", len(values["f"]), len(stored))
	}
	if got, err := d.Get([]byte("nowhere")); got != nil || err != nil {
		t.Errorf("a value that is not there: %q, %v", got, err)
	}
	if err := plain.Set([]byte("damaged"), []byte(deflatedMark+"x")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get([]byte("damaged")); err == nil {
		t.Error("a damaged value was read")
	}
}
