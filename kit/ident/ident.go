// Package ident makes the numbers by which rows are known: 63 bits, growing, unique within one writer even where the
// clock stands still or steps back.
package ident

import (
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// sequenceBits leaves room for a million numbers a millisecond, and for the milliseconds until the year 2248.
const sequenceBits = 20

// Source hands out growing numbers. The zero Source is ready.
type Source struct {
	mu   sync.Mutex
	last int64
}

// Seen makes every later number greater than n. It is called with the greatest number stored before the first Next.
func (s *Source) Seen(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, n)
}

// Next returns a number made from the time now, or the last one plus one where the clock has not moved on.
func (s *Source) Next(now time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, now.UnixMilli()<<sequenceBits)
	return s.last
}

// Time returns when n was made, to the millisecond, by the clock of its maker.
func Time(n int64) time.Time { return time.UnixMilli(n >> sequenceBits) }

// alphabet is Crockford's base 32: no I, L, O or U, so that it can be read aloud.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Length is the length of a written number.
const Length = 13

// String writes n as 13 letters and digits that sort as the numbers do.
func String(n int64) string {
	var b [Length]byte
	for i := Length - 1; i >= 0; i-- {
		b[i] = alphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}

// Parse reads what String wrote, in either case.
func Parse(s string) (int64, error) {
	bad := errs.New(errs.Invalid, "编号格式不正确", "the number is malformed").WithCode("ident.malformed")
	if len(s) != Length {
		return 0, bad
	}
	var n uint64
	for _, c := range strings.ToUpper(s) {
		i := strings.IndexRune(alphabet, c)
		if i < 0 {
			return 0, bad
		}
		n = n<<5 | uint64(i)
	}
	if s[0] > '7' { // 13 letters hold 65 bits
		return 0, bad
	}
	return int64(n), nil
}
