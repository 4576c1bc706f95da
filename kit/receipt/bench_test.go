package receipt_test

import (
	"testing"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// tenMillion returns a receipt from a log of ten million records with four cosignatures, and its size.
func tenMillion(t testing.TB) []byte {
	t.Helper()
	const size, index = 10_000_000, 1_234_567
	r := record(1)
	r.ID = "approval-01jd9x5k3v8q2m4n6p7r8s9t0w" // 26 characters after the prefix, as identifiers commonly have
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// The other leaves do not matter here: any hashes will do, and lead to some root.
	leaf := merkle.LeafHash(data)
	path, err := merkle.ProveInclusion(index, size, func(nodes []merkle.Node) ([]merkle.Hash, error) {
		hashes := make([]merkle.Hash, len(nodes))
		for i, n := range nodes {
			hashes[i] = merkle.NodeHash(merkle.Hash{byte(n.Level)}, merkle.Hash{byte(n.Index)})
		}
		return hashes, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	root, err := merkle.RootFrom(leaf, index, size, path)
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Checkpoint{Origin: origin, Size: size, Root: root}
	return marshal(t, &receipt.Receipt{Record: r, Index: index, Path: path, Note: cosign(t, c, "clearing", "customs", "forex", "tax")})
}

func TestSizeAtTenMillion(t *testing.T) {
	data := tenMillion(t)
	if _, err := check(data, councilTrust(t), nil); err != nil {
		t.Fatal(err)
	}
	if len(data) > 2048 {
		t.Errorf("%d bytes", len(data))
	}
	t.Logf("%d bytes", len(data))
}

func BenchmarkVerify(b *testing.B) {
	data, keys := tenMillion(b), councilTrust(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := check(data, keys, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data)), "bytes/receipt")
}

func BenchmarkVerifyPrecomputed(b *testing.B) {
	data, keys := tenMillion(b), councilTrust(b)
	keys.Precompute()
	for b.Loop() {
		if _, err := check(data, keys, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCosign(b *testing.B) {
	s := signer(b, "customs")
	for b.Loop() {
		if _, err := s.Cosign(checkpointAt, accepted); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRecord(b *testing.B) {
	r := record(1)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Append(buf); err != nil {
			b.Fatal(err)
		}
	}
}
