package point

import (
	"encoding/hex"
	"math/big"
	"testing"
)

var p = new(big.Int).SetBytes(unhex("fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff"))

// The curve's b and base point, GB/T 32918.5.
var (
	curveB = new(big.Int).SetBytes(unhex("28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93"))
	baseX  = unhex("32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7")
	baseY  = unhex("bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// value takes e out of Montgomery's form.
func (e *element) value() *big.Int {
	var out element
	out.mul(e, &element{1})
	v := new(big.Int)
	for i := 3; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(out[i]))
	}
	return v
}

// FuzzField holds every operation to math/big.
func FuzzField(f *testing.F) {
	f.Add(make([]byte, 32), make([]byte, 32))
	f.Add(new(big.Int).Sub(p, big.NewInt(1)).Bytes(), new(big.Int).Sub(p, big.NewInt(1)).Bytes())
	f.Add(p.Bytes(), baseX)
	f.Add(baseX, baseY)
	f.Add(unhex("ffffffff00000000ffffffffffffffff00000000ffffffffffffffffffffffff"), baseY)
	f.Add(unhex("fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffe"), unhex("0000000100000000000000000000000000000000ffffffff0000000000000001"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) != 32 || len(b) != 32 {
			return
		}
		x, y := new(big.Int).SetBytes(a), new(big.Int).SetBytes(b)
		var ex, ey, got element
		okX, okY := ex.set(a), ey.set(b)
		if okX != (x.Cmp(p) < 0) || okY != (y.Cmp(p) < 0) {
			t.Fatalf("set(%x) = %v, set(%x) = %v", a, okX, b, okY)
		}
		if !okX || !okY {
			return
		}
		check := func(name string, want *big.Int) {
			if want.Mod(want, p); got.value().Cmp(want) != 0 {
				t.Errorf("%s of %x and %x: %x, want %x", name, a, b, got.value(), want)
			}
		}
		got.mul(&ex, &ey)
		check("mul", new(big.Int).Mul(x, y))
		got.sqr(&ex)
		check("sqr", new(big.Int).Mul(x, x))
		got.add(&ex, &ey)
		check("add", new(big.Int).Add(x, y))
		got.sub(&ex, &ey)
		check("sub", new(big.Int).Sub(x, y))
		got.neg(&ex)
		check("neg", new(big.Int).Neg(x))
		got.invert(&ex)
		if want := new(big.Int).ModInverse(x, p); want != nil {
			check("invert", want)
		}
	})
}

// TestTableLiesOnTheCurve checks every multiple by the curve's equation, and that neighbours differ by the base.
func TestTableLiesOnTheCurve(t *testing.T) {
	table := NewTable(baseX, baseY)
	seen := map[string]bool{}
	for _, w := range table.multiples {
		for _, a := range w {
			x, y := a.x.value(), a.y.value()
			// y² = x³ - 3x + b
			right := new(big.Int).Exp(x, big.NewInt(3), p)
			right.Sub(right, new(big.Int).Mul(x, big.NewInt(3))).Add(right, curveB).Mod(right, p)
			if new(big.Int).Exp(y, big.NewInt(2), p).Cmp(right) != 0 {
				t.Fatalf("(%x, %x) is not on the curve", x, y)
			}
			seen[x.String()] = true
		}
	}
	if len(seen) != windows*half { // 64·2⁷ⁱ is not 1·2⁷⁽ⁱ⁺¹⁾, which is twice that
		t.Errorf("%d different points of %d", len(seen), windows*half)
	}
}

func TestSumsThatTheFormulasLeaveOut(t *testing.T) {
	table := NewTable(baseX, baseY)
	one := make([]byte, 32)
	one[31] = 1
	if table.XOfSum(baseX, baseY, one, baseX) {
		t.Error("G + G has the coordinate of G")
	}
	minusY := new(big.Int).Sub(p, new(big.Int).SetBytes(baseY)).FillBytes(make([]byte, 32))
	if table.XOfSum(baseX, minusY, one, make([]byte, 32)) {
		t.Error("-G + G has a coordinate")
	}
	if !table.XOfSum(baseX, baseY, make([]byte, 32), baseX) {
		t.Error("G + 0·G is not G")
	}
	if table.XOfSum(p.Bytes(), baseY, one, baseX) {
		t.Error("p is taken for a coordinate")
	}
}
