package point

import (
	"encoding/binary"
	"math/bits"
)

// element is a number modulo p = 2²⁵⁶ - 2²²⁴ - 2⁹⁶ + 2⁶⁴ - 1 as a·2²⁵⁶ mod p (Montgomery's form), in four limbs, the
// lowest first, always below p.
type element [4]uint64

// p, the field's prime, and 2⁵¹² mod p, by which a number enters Montgomery's form.
var (
	prime = element{0xffffffffffffffff, 0xffffffff00000000, 0xffffffffffffffff, 0xfffffffeffffffff}
	rr    = element{0x0000000200000003, 0x00000002ffffffff, 0x0000000100000001, 0x0000000400000002}
	one   = element{0x0000000000000001, 0x00000000ffffffff, 0x0000000000000000, 0x0000000100000000}
)

// set makes e the number with the given 32 big-endian bytes and reports whether it is below p.
func (e *element) set(b []byte) bool {
	x := limbs(b)
	if !less(&x, (*[4]uint64)(&prime)) {
		return false
	}
	e.mul((*element)(&x), &rr)
	return true
}

func limbs(b []byte) (x [4]uint64) {
	for i := range x {
		x[3-i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return x
}

func less(x, y *[4]uint64) bool {
	_, borrow := bits.Sub64(x[0], y[0], 0)
	_, borrow = bits.Sub64(x[1], y[1], borrow)
	_, borrow = bits.Sub64(x[2], y[2], borrow)
	_, borrow = bits.Sub64(x[3], y[3], borrow)
	return borrow == 1
}

func (e *element) isZero() bool { return *e == element{} }

// add sets e = x + y.
func (e *element) add(x, y *element) {
	var c uint64
	var t element
	t[0], c = bits.Add64(x[0], y[0], 0)
	t[1], c = bits.Add64(x[1], y[1], c)
	t[2], c = bits.Add64(x[2], y[2], c)
	t[3], c = bits.Add64(x[3], y[3], c)
	e.reduce(&t, c)
}

// sub sets e = x - y.
func (e *element) sub(x, y *element) {
	var b uint64
	var t element
	t[0], b = bits.Sub64(x[0], y[0], 0)
	t[1], b = bits.Sub64(x[1], y[1], b)
	t[2], b = bits.Sub64(x[2], y[2], b)
	t[3], b = bits.Sub64(x[3], y[3], b)
	mask := -b // adds p where it went below zero
	var c uint64
	e[0], c = bits.Add64(t[0], mask, 0)
	e[1], c = bits.Add64(t[1], mask&prime[1], c)
	e[2], c = bits.Add64(t[2], mask, c)
	e[3], _ = bits.Add64(t[3], mask&prime[3], c)
}

// neg sets e = -x.
func (e *element) neg(x *element) {
	zero := element{}
	e.sub(&zero, x)
}

// reduce sets e = t + 2²⁵⁶·carry, less p where that is p or more.
func (e *element) reduce(t *element, carry uint64) {
	var b uint64
	var s element
	s[0], b = bits.Sub64(t[0], prime[0], 0)
	s[1], b = bits.Sub64(t[1], prime[1], b)
	s[2], b = bits.Sub64(t[2], prime[2], b)
	s[3], b = bits.Sub64(t[3], prime[3], b)
	_, b = bits.Sub64(carry, 0, b)
	keep := -b // all ones where t is below p already
	e[0] = t[0]&keep | s[0]&^keep
	e[1] = t[1]&keep | s[1]&^keep
	e[2] = t[2]&keep | s[2]&^keep
	e[3] = t[3]&keep | s[3]&^keep
}

// mul sets e = x·y.
func (e *element) mul(x, y *element) {
	var t [8]uint64
	var c uint64
	y0, y1, y2, y3 := y[0], y[1], y[2], y[3]

	h0, l0 := bits.Mul64(x[0], y0)
	h1, l1 := bits.Mul64(x[0], y1)
	h2, l2 := bits.Mul64(x[0], y2)
	h3, l3 := bits.Mul64(x[0], y3)
	t[0] = l0
	t1, c := bits.Add64(h0, l1, 0)
	t2, c := bits.Add64(h1, l2, c)
	t3, c := bits.Add64(h2, l3, c)
	t4 := h3 + c

	h0, l0 = bits.Mul64(x[1], y0)
	h1, l1 = bits.Mul64(x[1], y1)
	h2, l2 = bits.Mul64(x[1], y2)
	h3, l3 = bits.Mul64(x[1], y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3 += c
	t[1], c = bits.Add64(t1, l0, 0)
	t2, c = bits.Add64(t2, l1, c)
	t3, c = bits.Add64(t3, l2, c)
	t4, c = bits.Add64(t4, l3, c)
	t5 := h3 + c

	h0, l0 = bits.Mul64(x[2], y0)
	h1, l1 = bits.Mul64(x[2], y1)
	h2, l2 = bits.Mul64(x[2], y2)
	h3, l3 = bits.Mul64(x[2], y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3 += c
	t[2], c = bits.Add64(t2, l0, 0)
	t3, c = bits.Add64(t3, l1, c)
	t4, c = bits.Add64(t4, l2, c)
	t5, c = bits.Add64(t5, l3, c)
	t6 := h3 + c

	h0, l0 = bits.Mul64(x[3], y0)
	h1, l1 = bits.Mul64(x[3], y1)
	h2, l2 = bits.Mul64(x[3], y2)
	h3, l3 = bits.Mul64(x[3], y3)
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3 += c
	t[3], c = bits.Add64(t3, l0, 0)
	t[4], c = bits.Add64(t4, l1, c)
	t[5], c = bits.Add64(t5, l2, c)
	t[6], c = bits.Add64(t6, l3, c)
	t[7] = h3 + c
	e.montgomery(&t)
}

// sqr sets e = x².
func (e *element) sqr(x *element) {
	var t [8]uint64
	var c uint64
	// The products of different limbs, once.
	h01, l01 := bits.Mul64(x[0], x[1])
	h02, l02 := bits.Mul64(x[0], x[2])
	h03, l03 := bits.Mul64(x[0], x[3])
	h12, l12 := bits.Mul64(x[1], x[2])
	h13, l13 := bits.Mul64(x[1], x[3])
	h23, l23 := bits.Mul64(x[2], x[3])
	t[1] = l01
	t[2], c = bits.Add64(h01, l02, 0)
	t[3], c = bits.Add64(h02, l03, c)
	t[4], c = bits.Add64(h03, l13, c)
	t[5], c = bits.Add64(h13, l23, c)
	t[6] = h23 + c
	t[3], c = bits.Add64(t[3], l12, 0)
	t[4], c = bits.Add64(t[4], h12, c)
	t[5], c = bits.Add64(t[5], 0, c)
	t[6] += c
	// Twice that, and the squares.
	t[7] = t[6] >> 63
	t[6] = t[6]<<1 | t[5]>>63
	t[5] = t[5]<<1 | t[4]>>63
	t[4] = t[4]<<1 | t[3]>>63
	t[3] = t[3]<<1 | t[2]>>63
	t[2] = t[2]<<1 | t[1]>>63
	t[1] <<= 1
	h0, l0 := bits.Mul64(x[0], x[0])
	h1, l1 := bits.Mul64(x[1], x[1])
	h2, l2 := bits.Mul64(x[2], x[2])
	h3, l3 := bits.Mul64(x[3], x[3])
	t[0] = l0
	t[1], c = bits.Add64(t[1], h0, 0)
	t[2], c = bits.Add64(t[2], l1, c)
	t[3], c = bits.Add64(t[3], h1, c)
	t[4], c = bits.Add64(t[4], l2, c)
	t[5], c = bits.Add64(t[5], h2, c)
	t[6], c = bits.Add64(t[6], l3, c)
	t[7] += h3 + c
	e.montgomery(&t)
}

// montgomery sets e = t·2⁻²⁵⁶. Four times it makes the lowest limb zero by adding a multiple of p. As -1/p is 1 modulo
// 2⁶⁴, the multiple m is that limb itself, and as p is 2²⁵⁶ - 2²²⁴ - 2⁹⁶ + 2⁶⁴ - 1, m·p takes shifts only: what is left
// above the limb is m·(2¹⁹² - 2¹⁶⁰ - 2³² + 1), which is not negative.
func (e *element) montgomery(t *[8]uint64) {
	a0, a1, a2, a3 := t[0], t[1], t[2], t[3]
	var c uint64
	for range 4 {
		high, low := a0>>32, a0<<32
		p0, b := bits.Sub64(a0, low, 0)
		p1, b := bits.Sub64(0, high, b)
		p2, b := bits.Sub64(0, low, b)
		p3, _ := bits.Sub64(a0, high, b)
		a0, c = bits.Add64(a1, p0, 0)
		a1, c = bits.Add64(a2, p1, c)
		a2, c = bits.Add64(a3, p2, c)
		a3, _ = bits.Add64(p3, 0, c) // p3 is below 2⁶⁴ - 2³²
	}
	var s element
	s[0], c = bits.Add64(a0, t[4], 0)
	s[1], c = bits.Add64(a1, t[5], c)
	s[2], c = bits.Add64(a2, t[6], c)
	s[3], c = bits.Add64(a3, t[7], c)
	e.reduce(&s, c)
}

// invert sets e = 1/x, by Fermat's xᵖ⁻². Of zero it makes zero.
func (e *element) invert(x *element) {
	exponent := [4]uint64(prime)
	exponent[0] -= 2
	result := one
	for i := 255; i >= 0; i-- {
		result.sqr(&result)
		if exponent[i/64]>>(i%64)&1 == 1 {
			result.mul(&result, x)
		}
	}
	*e = result
}
