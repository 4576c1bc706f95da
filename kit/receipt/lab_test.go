package receipt_test

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// The lab: keys that are no secret, a log, and receipts of it, the same in every run.

const origin = "evidence.hainan.example"

// council are the agencies of the lab's log.
var council = []string{"clearing", "customs", "forex", "tax"}

// testKey returns the test key of a name: its scalar is SM3 of the name. Never use such a key.
func testKey(t testing.TB, name string) *gm.PrivateKey {
	t.Helper()
	scalar := gm.SM3([]byte("qiong test key, not secret: " + name))
	key, err := gm.NewPrivateKey(scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fixed is a key whose signatures are the same in every run.
type fixed struct{ *gm.PrivateKey }

func (k fixed) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(bytes.NewReader(make([]byte, 1024)), digest, opts)
}

func signer(t testing.TB, name string) *receipt.Signer {
	t.Helper()
	s, err := receipt.NewSigner(name, fixed{testKey(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t testing.TB, name string, role receipt.Role) receipt.Key {
	t.Helper()
	return receipt.Key{Name: name, Origin: origin, Role: role, Public: testKey(t, name).PublicKey()}
}

func trust(t testing.TB, keys ...receipt.Key) *receipt.Trust {
	t.Helper()
	all, err := receipt.NewTrust(keys)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// councilTrust returns the keys of the council and of a witness.
func councilTrust(t testing.TB) *receipt.Trust {
	t.Helper()
	var keys []receipt.Key
	for _, name := range council {
		keys = append(keys, key(t, name, receipt.Agency))
	}
	return trust(t, append(keys, key(t, "witness.example/w1", receipt.Witness))...)
}

// accepted is when the lab's records were accepted.
var accepted = time.Date(2026, 11, 22, 20, 11, 57, 123e6, beijing.Zone)

// original returns the original of the n-th record.
func original(n int) *receipt.Original {
	salt := gm.SM3(fmt.Appendf(nil, "salt %d", n))
	return &receipt.Original{Salt: [16]byte(salt[:]), Data: fmt.Appendf(nil, `{"case":"approval-%d","result":"approved","note":"准予"}`+"\n", n)}
}

// record returns the n-th record, that of an original.
func record(n int) receipt.Record {
	return receipt.Record{
		ID: fmt.Sprintf("approval-%d", n), Type: "approval.case.decided/1", Commitment: original(n).Commitment(),
		Time: beijing.At(accepted), Needs: []string{"customs", "forex", "tax"},
		Rule: &receipt.Rule{Name: "return-voucher", Version: 2, Outcome: receipt.Passed},
	}
}

// cosign returns the note of a checkpoint, signed by each name, a second after the one before.
func cosign(t testing.TB, c receipt.Checkpoint, names ...string) receipt.Note {
	t.Helper()
	n := receipt.Note{Checkpoint: c}
	for i, name := range names {
		s, err := signer(t, name).Cosign(c, accepted.Add(time.Duration(i+1)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if !n.Add(s) {
			t.Fatalf("%s signed twice", name)
		}
	}
	return n
}

// logged returns the receipt of a record that stands at index among others.
func logged(t testing.TB, r receipt.Record, index, size int, names ...string) *receipt.Receipt {
	t.Helper()
	var tree merkle.Tree
	for i := range size {
		other := r
		if i != index {
			other = record(i)
		}
		data, err := other.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		tree.Append(merkle.LeafHash(data))
	}
	path, err := merkle.ProveInclusion(uint64(index), uint64(size), tree.Read)
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Checkpoint{Origin: origin, Size: tree.Size(), Root: tree.Root()}
	return &receipt.Receipt{Record: r, Index: uint64(index), Path: path, Note: cosign(t, c, names...)}
}

// oneLevel returns a complete receipt of one original.
func oneLevel(t testing.TB) *receipt.Receipt {
	return logged(t, record(5), 5, 13, "customs", "forex", "tax", "witness.example/w1")
}

// twoLevel returns a receipt of the third of 7 acts of a batch, whose original is that of record 102.
func twoLevel(t testing.TB) *receipt.Receipt {
	t.Helper()
	var acts merkle.Tree
	for i := range 7 {
		c := original(100 + i).Commitment()
		acts.Append(merkle.LeafHash(c[:]))
	}
	path, err := merkle.ProveInclusion(2, 7, acts.Read)
	if err != nil {
		t.Fatal(err)
	}
	batch := record(9)
	batch.ID, batch.Type, batch.Rule = "booking-batch-1", "booking.batch.sealed/1", nil
	batch.Commitment, batch.Batch = acts.Root(), 7
	r := logged(t, batch, 9, 11, "clearing", "customs", "tax")
	r.Act = &receipt.Act{Index: 2, Commitment: original(102).Commitment(), Path: path}
	return r
}

func marshal(t testing.TB, r *receipt.Receipt) []byte {
	t.Helper()
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// check parses and verifies a file.
func check(data []byte, keys *receipt.Trust, original []byte) (*receipt.Result, error) {
	r, err := receipt.Parse(data)
	if err != nil {
		return nil, err
	}
	return receipt.Verify(r, keys, original)
}

func names(all []receipt.Cosignature) (list []string) {
	for _, s := range all {
		list = append(list, s.Name)
	}
	return list
}

func TestLabIsTheSameInEveryRun(t *testing.T) {
	for range 20 {
		if a, b := marshal(t, oneLevel(t)), marshal(t, oneLevel(t)); !slices.Equal(a, b) {
			t.Fatal("two runs differ")
		}
	}
}
