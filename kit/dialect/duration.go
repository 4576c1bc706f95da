package dialect

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// unit is a unit of time as logs write it.
type unit struct {
	name  string
	size  time.Duration
	alone bool // sure by itself in a text, where 5m may be metres
}

// The units, longer names before those that begin them.
var units = []unit{
	{"ns", time.Nanosecond, true}, {"us", time.Microsecond, true}, {"µs", time.Microsecond, true}, {"μs", time.Microsecond, true},
	{"ms", time.Millisecond, true}, {"s", time.Second, true}, {"m", time.Minute, false}, {"h", time.Hour, false},
	{"纳秒", time.Nanosecond, true}, {"微秒", time.Microsecond, true}, {"毫秒", time.Millisecond, true}, {"秒钟", time.Second, true},
	{"秒", time.Second, true}, {"分钟", time.Minute, true}, {"分", time.Minute, false}, {"小时", time.Hour, true}, {"天", 24 * time.Hour, true},
}

// prose reads what is no field: terms and durations.
func (p *parse) prose(lo, hi int) {
	p.terms(lo, hi, hi)
	for i := lo; i < hi; {
		n := strings.IndexAny(p.line[i:hi], "0123456789")
		if n < 0 {
			return
		}
		i += n
		before, _ := utf8.DecodeLastRuneInString(p.line[:i])
		d, size, sure := readDuration(p.line[i:hi])
		after, _ := utf8.DecodeRuneInString(p.line[i+size:])
		if size > 0 && sure && !strings.ContainsRune(".:/+", before) && !(i > 0 && alphabetic(before)) && !(i+size < len(p.line) && alphabetic(after)) {
			p.Durations = append(p.Durations, Duration{Value: d, Offset: i})
		}
		for size = max(size, 1); i+size < hi && (p.line[i+size] >= '0' && p.line[i+size] <= '9' || p.line[i+size] == '.'); {
			size++ // the rest of a number
		}
		i += size
	}
}

// wholeDuration reads s as a duration and nothing else.
func wholeDuration(s string) (time.Duration, bool) {
	d, size, _ := readDuration(s)
	return d, size > 0 && size == len(s)
}

// readDuration reads the duration that s begins with, such as 35ms, 1.5s, 2m30s, 3分20秒 or 1小时. It is sure where it
// can be nothing else. The size is 0 where there is none.
func readDuration(s string) (d time.Duration, size int, sure bool) {
	total, parts := 0.0, 0
	last := time.Duration(math.MaxInt64)
	for {
		n, value := number(s[size:])
		u, ok := unitOf(s[size+n:])
		if n == 0 || !ok || u.size >= last {
			break
		}
		total += value * float64(u.size)
		size += n + len(u.name)
		last, parts = u.size, parts+1
		sure = u.alone || parts > 1
	}
	if total >= math.MaxInt64 {
		return 0, 0, false
	}
	return time.Duration(math.Round(total)), size, sure
}

// number reads digits with a fraction, and returns how many bytes they are.
func number(s string) (n int, value float64) {
	scale := 0.0
	for ; n < len(s) && n < 18; n++ {
		switch c := s[n]; {
		case c >= '0' && c <= '9':
			value = value*10 + float64(c-'0')
			scale *= 10
		case c == '.' && n > 0 && scale == 0 && n+1 < len(s) && s[n+1] >= '0' && s[n+1] <= '9':
			scale = 1
		default:
			return n, value / max(scale, 1)
		}
	}
	return n, value / max(scale, 1)
}

func unitOf(s string) (longest unit, ok bool) {
	for _, u := range units {
		if strings.HasPrefix(s, u.name) && len(u.name) > len(longest.name) {
			longest, ok = u, true
		}
	}
	return longest, ok
}
