// Package point promises sums of points of the SM2 curve by public numbers, fast where one point is used again and
// again. Nothing here runs in constant time: it verifies, and never touches a secret.
//
// A [Table] keeps the multiples of its point by 1 to 64 in each of 37 windows of seven bits, 148 KiB in all, so that
// a multiplication is 37 additions and no doubling.
package point

// window is the number of bits of the scalar that choose one addition; digits are signed, so half the multiples do.
const (
	window  = 7
	windows = (256 + window) / window // the last takes the carry of the one before
	half    = 1 << (window - 1)
)

// affine is a point other than infinity by its coordinates.
type affine struct{ x, y element }

// jacobian is the point (x/z², y/z³), or infinity where z is zero.
type jacobian struct{ x, y, z element }

// Table holds the multiples of a point.
type Table struct {
	multiples [windows][half]affine
}

// NewTable returns the table of the point with the given coordinates, 32 big-endian bytes each. The caller has made
// sure that it lies on the curve.
func NewTable(x, y []byte) *Table {
	var base jacobian
	base.x.set(x)
	base.y.set(y)
	base.z = one
	all := make([]jacobian, 0, windows*half)
	for range windows {
		sum := base
		all = append(all, sum)
		for range half - 1 {
			sum.addJacobian(&base)
			all = append(all, sum)
		}
		for range window {
			base.double()
		}
	}
	t := new(Table)
	normalise(all, func(i int, a affine) { t.multiples[i/half][i%half] = a })
	return t
}

// normalise gives the points' coordinates with one inversion for all. None is infinity: a small number times a power of
// two is no multiple of the curve's order, which is prime.
func normalise(points []jacobian, give func(int, affine)) {
	products := make([]element, len(points)+1)
	products[0] = one
	for i := range points {
		products[i+1].mul(&products[i], &points[i].z)
	}
	var inverse element
	inverse.invert(&products[len(points)])
	for i := len(points) - 1; i >= 0; i-- {
		var z, z2 element
		z.mul(&inverse, &products[i])
		inverse.mul(&inverse, &points[i].z)
		var a affine
		z2.sqr(&z)
		a.x.mul(&points[i].x, &z2)
		z2.mul(&z2, &z)
		a.y.mul(&points[i].y, &z2)
		give(i, a)
	}
}

// XOfSum reports whether the point (x, y) + scalar·P has the first coordinate want, all numbers of 32 big-endian
// bytes, P being the table's point and (x, y) a point of the curve. True is proof; false is not, as the formulas leave
// out what happens once in 2²⁵⁶: that the sum meets infinity, or one point twice.
func (t *Table) XOfSum(x, y, scalar, want []byte) bool {
	sum := jacobian{z: one}
	var w element
	if !sum.x.set(x) || !sum.y.set(y) || !w.set(want) {
		return false
	}
	for i, d := range digits(scalar) {
		if d == 0 {
			continue
		}
		p := t.multiples[i][max(d, -d)-1]
		if d < 0 {
			p.y.neg(&p.y)
		}
		if !sum.add(&p) {
			return false
		}
	}
	var z2 element
	z2.sqr(&sum.z)
	w.mul(&w, &z2)
	return w == sum.x && !sum.z.isZero()
}

// digits writes a number as the sum of dᵢ·2⁷ⁱ with dᵢ from -64 to 64.
func digits(scalar []byte) (d [windows]int) {
	x := limbs(scalar)
	carry := 0
	for i := range d {
		bit := i * window
		v := x[bit/64] >> (bit % 64)
		if rest := 64 - bit%64; rest < window && bit/64 < 3 {
			v |= x[bit/64+1] << rest
		}
		d[i] = int(v&(1<<window-1)) + carry
		carry = 0
		if d[i] > half {
			d[i] -= 1 << window
			carry = 1
		}
	}
	return d
}

// add sets p = p + q and reports whether it could: not where p is infinity, q or -q. (madd-2004-hmv: 8M + 3S.)
func (p *jacobian) add(q *affine) bool {
	var z2, h, r, h2, h3, v element
	z2.sqr(&p.z)
	h.mul(&q.x, &z2)
	h.sub(&h, &p.x)
	if h.isZero() || p.z.isZero() {
		return false
	}
	r.mul(&q.y, &p.z)
	r.mul(&r, &z2)
	r.sub(&r, &p.y)
	h2.sqr(&h)
	h3.mul(&h2, &h)
	v.mul(&p.x, &h2)
	p.z.mul(&p.z, &h)
	p.x.sqr(&r)
	p.x.sub(&p.x, &h3)
	p.x.sub(&p.x, &v)
	p.x.sub(&p.x, &v)
	v.sub(&v, &p.x)
	v.mul(&v, &r)
	h3.mul(&h3, &p.y)
	p.y.sub(&v, &h3)
	return true
}

// addJacobian sets p = p + q, in any case but infinity. (add-1998-cmo.)
func (p *jacobian) addJacobian(q *jacobian) {
	var z1, z2, u1, h, s1, r element
	z1.sqr(&p.z)
	z2.sqr(&q.z)
	u1.mul(&p.x, &z2)
	h.mul(&q.x, &z1)
	h.sub(&h, &u1)
	s1.mul(&p.y, &q.z)
	s1.mul(&s1, &z2)
	r.mul(&q.y, &p.z)
	r.mul(&r, &z1)
	r.sub(&r, &s1)
	if h.isZero() && r.isZero() {
		p.double()
		return
	}
	var h2, h3, v element
	h2.sqr(&h)
	h3.mul(&h2, &h)
	v.mul(&u1, &h2)
	p.z.mul(&p.z, &q.z)
	p.z.mul(&p.z, &h)
	p.x.sqr(&r)
	p.x.sub(&p.x, &h3)
	p.x.sub(&p.x, &v)
	p.x.sub(&p.x, &v)
	v.sub(&v, &p.x)
	v.mul(&v, &r)
	h3.mul(&h3, &s1)
	p.y.sub(&v, &h3)
}

// double sets p = 2p. (dbl-2001-b, for a = -3.)
func (p *jacobian) double() {
	var delta, gamma, beta, alpha, t element
	delta.sqr(&p.z)
	gamma.sqr(&p.y)
	beta.mul(&p.x, &gamma)
	t.sub(&p.x, &delta)
	alpha.add(&p.x, &delta)
	alpha.mul(&alpha, &t)
	t.add(&alpha, &alpha)
	alpha.add(&alpha, &t)
	p.z.add(&p.y, &p.z)
	p.z.sqr(&p.z)
	p.z.sub(&p.z, &gamma)
	p.z.sub(&p.z, &delta)
	beta.add(&beta, &beta)
	beta.add(&beta, &beta) // 4β
	p.x.sqr(&alpha)
	p.x.sub(&p.x, &beta)
	p.x.sub(&p.x, &beta)
	beta.sub(&beta, &p.x)
	p.y.mul(&alpha, &beta)
	gamma.add(&gamma, &gamma)
	gamma.sqr(&gamma)
	gamma.add(&gamma, &gamma) // 8γ²
	p.y.sub(&p.y, &gamma)
}
