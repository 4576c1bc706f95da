package beijing

import (
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Naive says what a time without a zone means.
type Naive int

// The policies.
const (
	Refuse Naive = iota // nothing: it is refused
	Assume              // Beijing time
)

// ReadTime reads a time as Chinese government interfaces write it, and nothing that could be read in two ways:
//
//	2024-06-15T09:23:45.123+08:00   2024-06-15T01:23:45Z       RFC 3339; the zone is kept in account
//	2024-06-15 09:23:45             2024/6/15 9:23             date and time, seconds and fraction optional
//	20240615092345                  20240615092345123          compact, seconds or milliseconds
//	20240615 092345                 20240615T092345+0800
//	2024年6月15日 9时23分45秒        2024年06月15日09:23
//
// All but those with Z or an offset are naive. Refused are two-digit years, days before months, numbers that may be
// seconds since 1970, 24:00, leap seconds, names of zones, and dates without a time. The error is of kind Invalid with
// the code "time.naive" where only the zone is missing, and "time.syntax" otherwise.
func ReadTime(s string, naive Naive) (time.Time, error) {
	r := reader{s: s}
	year, month, day, ok := r.date()
	if !ok || r.s == "" {
		return time.Time{}, noTime()
	}
	h, m, sec, nano, ok := r.clock()
	if !ok {
		return time.Time{}, noTime()
	}
	offset, zoned, ok := r.zone()
	if !ok || r.s != "" {
		return time.Time{}, noTime()
	}
	zone := Zone
	if zoned {
		zone = time.FixedZone("", offset)
	}
	t := time.Date(year, time.Month(month), day, h, m, sec, nano, zone)
	if y, mo, d := t.Date(); y != year || int(mo) != month || d != day || t.Hour() != h || t.Minute() != m || t.Second() != sec {
		return time.Time{}, errs.New(errs.Invalid, "没有这个时间", "there is no such time").WithCode("time.syntax")
	}
	if !zoned && naive != Assume {
		return time.Time{}, errs.New(errs.Invalid, "时间没有时区", "the time has no zone").WithCode("time.naive").
			WithHint("请写明 +08:00", "write +08:00")
	}
	return t.In(Zone), nil
}

// ReadDate reads a date as Chinese government interfaces write it: 2024-06-15, 2024/6/15, 2024.6.15, 20240615 or
// 2024年6月15日. It returns the day's beginning. A time behind it is taken where it is midnight without a zone, as
// databases write dates.
func ReadDate(s string) (time.Time, error) {
	r := reader{s: s}
	year, month, day, ok := r.date()
	if !ok {
		return time.Time{}, noDate()
	}
	if r.s != "" {
		h, m, sec, nano, ok := r.clock()
		if !ok || r.s != "" || h+m+sec+nano != 0 {
			return time.Time{}, noDate()
		}
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, Zone)
	if y, mo, d := t.Date(); y != year || int(mo) != month || d != day {
		return time.Time{}, errs.New(errs.Invalid, "没有这个日期", "there is no such date").WithCode("date.syntax")
	}
	return t, nil
}

func noTime() error {
	return errs.New(errs.Invalid, "应为时间，如 2024-06-15T09:23:45.123+08:00 或 2024-06-15 09:23:45",
		"must be a time such as 2024-06-15T09:23:45.123+08:00 or 2024-06-15 09:23:45").WithCode("time.syntax")
}

func noDate() error {
	return errs.New(errs.Invalid, "应为日期，如 2024-06-15", "must be a date such as 2024-06-15").WithCode("date.syntax")
}

// reader takes the parts of a time off the front of a text.
type reader struct{ s string }

// digits takes from least to most digits.
func (r *reader) digits(least, most int) (n int, ok bool) {
	i := 0
	for i < len(r.s) && i < most && r.s[i] >= '0' && r.s[i] <= '9' {
		n = n*10 + int(r.s[i]-'0')
		i++
	}
	r.s = r.s[i:]
	return n, i >= least
}

// take takes a mark.
func (r *reader) take(mark string) bool {
	rest, ok := strings.CutPrefix(r.s, mark)
	r.s = rest
	return ok
}

// leading returns how many digits come next.
func (r *reader) leading() int {
	return len(r.s) - len(strings.TrimLeft(r.s, "0123456789"))
}

// date takes a date. Of a compact time, whose digits go on, it takes the first eight.
func (r *reader) date() (year, month, day int, ok bool) {
	switch r.leading() {
	case 8, 14, 17:
		year, _ = r.digits(4, 4)
		month, _ = r.digits(2, 2)
		day, ok = r.digits(2, 2)
		return year, month, day, ok
	case 4:
		year, _ = r.digits(4, 4)
	default:
		return 0, 0, 0, false
	}
	for _, mark := range []string{"-", "/", "."} {
		if !r.take(mark) {
			continue
		}
		least := 1
		if mark == "-" {
			least = 2 // ISO 8601 knows no other
		}
		if month, ok = r.digits(least, 2); !ok || !r.take(mark) {
			return 0, 0, 0, false
		}
		day, ok = r.digits(least, 2)
		return year, month, day, ok
	}
	if !r.take("年") {
		return 0, 0, 0, false
	}
	if month, ok = r.digits(1, 2); !ok || !r.take("月") {
		return 0, 0, 0, false
	}
	day, ok = r.digits(1, 2)
	return year, month, day, ok && r.take("日")
}

// clock takes the time of day and what parts it from the date.
func (r *reader) clock() (hour, minute, second, nano int, ok bool) {
	if !r.take("T") {
		r.take(" ")
	}
	if n := r.leading(); n == 6 || n == 9 {
		return r.compact(n)
	}
	if hour, ok = r.digits(1, 2); !ok {
		return 0, 0, 0, 0, false
	}
	if r.take("时") {
		return r.chinese(hour)
	}
	if !r.take(":") {
		return 0, 0, 0, 0, false
	}
	if minute, ok = r.digits(2, 2); !ok {
		return 0, 0, 0, 0, false
	}
	if r.take(":") {
		if second, ok = r.digits(2, 2); !ok {
			return 0, 0, 0, 0, false
		}
		if r.take(".") || r.take(",") {
			nano, ok = r.fraction()
		}
	}
	return hour, minute, second, nano, ok && hour < 24 && second < 60
}

// compact takes 092345 or, with milliseconds, 092345123.
func (r *reader) compact(n int) (hour, minute, second, nano int, ok bool) {
	hour, _ = r.digits(2, 2)
	minute, _ = r.digits(2, 2)
	second, ok = r.digits(2, 2)
	if n == 9 {
		nano, ok = r.digits(3, 3)
		nano *= int(time.Millisecond)
	}
	return hour, minute, second, nano, ok && hour < 24 && second < 60
}

// chinese takes 23分45秒 behind 9时.
func (r *reader) chinese(hour int) (h, minute, second, nano int, ok bool) {
	if minute, ok = r.digits(1, 2); !ok || !r.take("分") {
		return 0, 0, 0, 0, false
	}
	if r.leading() > 0 {
		second, _ = r.digits(1, 2)
		ok = r.take("秒")
	}
	return hour, minute, second, 0, ok && hour < 24 && second < 60
}

// fraction takes one to nine digits as nanoseconds.
func (r *reader) fraction() (nano int, ok bool) {
	before := len(r.s)
	if nano, ok = r.digits(1, 9); !ok {
		return 0, false
	}
	for range 9 - (before - len(r.s)) {
		nano *= 10
	}
	return nano, true
}

// zone takes Z, +08:00 or +0800; none is naive.
func (r *reader) zone() (offset int, zoned, ok bool) {
	sign := 1
	switch {
	case r.s == "":
		return 0, false, true
	case r.take("Z"):
		return 0, true, true
	case r.take("-"):
		sign = -1
	case !r.take("+"):
		return 0, false, false
	}
	h, ok := r.digits(2, 2)
	if !ok {
		return 0, false, false
	}
	r.take(":")
	m, ok := r.digits(2, 2)
	return sign * (h*3600 + m*60), true, ok && h < 24 && m < 60
}
