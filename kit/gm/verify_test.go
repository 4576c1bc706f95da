package gm

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"fmt"
	"math/big"
	"testing"

	"github.com/emmansun/gmsm/sm2"
)

// TestVerifyByTable holds the short way to the general one: on good signatures the table alone must accept, and on
// whatever else both must refuse.
func TestVerifyByTable(t *testing.T) {
	for i := range 200 {
		key, msg := newKey(t), fmt.Appendf(nil, "message %d", i)
		pub := key.PublicKey()
		pub.Precompute()
		pub.Precompute()
		sig, err := Sign(key, []byte(DefaultID), msg)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := Digest(pub, []byte(DefaultID), msg)
		if err != nil {
			t.Fatal(err)
		}
		if !verifyByTable(pub.table.Load(), digest, sig) || Verify(pub, []byte(DefaultID), msg, sig) != nil {
			t.Fatalf("a good signature is refused: key %x", key.scalar)
		}
		for bit := range 8 * len(sig) {
			bad := append([]byte(nil), sig...)
			bad[bit/8] ^= 1 << (bit % 8)
			if verifyByTable(pub.table.Load(), digest, bad) {
				t.Fatalf("bit %d changed, and accepted: key %x", bit, key.scalar)
			}
		}
		digest[i%32] ^= 1
		if verifyByTable(pub.table.Load(), digest, sig) {
			t.Fatalf("another digest is accepted: key %x", key.scalar)
		}
	}
}

func TestVerifyByTableRefusesNumbersOutOfRange(t *testing.T) {
	pub := newKey(t).PublicKey()
	pub.Precompute()
	numbers := []*big.Int{big.NewInt(-1), big.NewInt(0), big.NewInt(1), big.NewInt(2),
		new(big.Int).Sub(order, big.NewInt(2)), new(big.Int).Sub(order, big.NewInt(1)), order,
		new(big.Int).Add(order, big.NewInt(1)), new(big.Int).Lsh(big.NewInt(1), 256), new(big.Int).Lsh(big.NewInt(1), 300)}
	for _, r := range numbers {
		for _, s := range numbers {
			sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				t.Fatal(err)
			}
			for _, digest := range [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), bytes.Repeat([]byte{0x55}, 32)} {
				if pub.verify(digest, sig) != sm2.VerifyASN1(pub.key, digest, sig) {
					t.Errorf("r %x, s %x: the two ways differ", r, s)
				}
			}
		}
	}
}

// A signature can be made for any r + s and point, without a key, where the digest may be chosen: so the scalar meets
// the values at which digits carry.
func TestVerifyByTableAtTheEdgesOfDigits(t *testing.T) {
	curve := sm2.P256()
	key := newKey(t)
	pub := key.PublicKey()
	pub.Precompute()
	var scalars []*big.Int
	for shift := range 256 {
		power := new(big.Int).Lsh(big.NewInt(1), uint(shift))
		scalars = append(scalars, power, new(big.Int).Sub(power, big.NewInt(1)), new(big.Int).Sub(order, power))
	}
	for _, sum := range scalars {
		if sum.Sign() <= 0 || sum.Cmp(order) >= 0 {
			continue
		}
		s, err := rand.Int(rand.Reader, order)
		if err != nil {
			t.Fatal(err)
		}
		r := new(big.Int).Sub(sum, s)
		if r.Mod(r, order).Sign() == 0 || s.Sign() == 0 {
			continue
		}
		// x of s·G + t·P, P = d·G, and the digest r - x that fits it.
		k := new(big.Int).Mul(sum, new(big.Int).SetBytes(key.scalar[:]))
		k.Add(k, s).Mod(k, order)
		x, _ := curve.ScalarBaseMult(k.Bytes())
		e := new(big.Int).Sub(r, x)
		digest := e.Mod(e, order).FillBytes(make([]byte, 32))
		sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		if !sm2.VerifyASN1(pub.key, digest, sig) {
			t.Fatalf("the test's own signature is wrong at %x", sum)
		}
		if !verifyByTable(pub.table.Load(), digest, sig) {
			t.Errorf("refused at r + s = %x", sum)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, table := range []bool{false, true} {
		b.Run(fmt.Sprintf("table=%v", table), func(b *testing.B) {
			key := newKey(b)
			if table {
				key.PublicKey().Precompute()
			}
			msg := make([]byte, 300)
			sig, err := Sign(key, []byte(DefaultID), msg)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := Verify(key.PublicKey(), []byte(DefaultID), msg, sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
