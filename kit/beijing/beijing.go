// Package beijing promises times as China's public services write them: Beijing time, always +08:00, with milliseconds,
// the same on every machine whatever its own time zone or zone database; and working days as the official notices have
// them, with the time limits that are counted in them.
//
// From 1986 to 1991 China had daylight saving time (+09:00 in summer). It is deliberately not applied: an instant of
// those summers is written here as +08:00, which names the same instant, but not always the clock on the wall then.
package beijing

import (
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Layout is the one shape of a time, as package time describes it: 2024-06-15T09:23:45.123+08:00.
const Layout = "2006-01-02T15:04:05.000-07:00"

const layoutDate = time.DateOnly

// Zone is Beijing time, eight hours ahead of UTC.
var Zone = time.FixedZone("CST", 8*60*60)

// Format returns t in Layout, in Beijing time; what is finer than a millisecond is cut off.
func Format(t time.Time) string { return t.In(Zone).Format(Layout) }

// FromMilli returns the time that is ms milliseconds after the Unix epoch, in Beijing time.
func FromMilli(ms int64) time.Time { return time.UnixMilli(ms).In(Zone) }

// Date returns the day on which t falls in Beijing: 2024-06-15.
func Date(t time.Time) string { return t.In(Zone).Format(layoutDate) }

// ParseDate returns the first instant in Beijing of a day written 2024-06-15.
func ParseDate(s string) (time.Time, error) {
	t, err := time.ParseInLocation(layoutDate, s, Zone)
	if err != nil {
		return time.Time{}, errs.New(errs.Invalid, "日期须写作 2024-06-15 的形式，且真实存在", "a date is written as 2024-06-15 and must exist")
	}
	return t, nil
}

// Time is an instant in milliseconds since the Unix epoch, as databases hold it (BIGINT), that is written in JSON and
// text as Layout. Fields that may be absent are tagged omitzero: the zero Time is the epoch itself.
type Time int64

// At returns t as Time; what is finer than a millisecond is cut off.
func At(t time.Time) Time { return Time(t.UnixMilli()) }

// Time returns t as a time.Time in Beijing time.
func (t Time) Time() time.Time { return FromMilli(int64(t)) }

// String returns t in Layout.
func (t Time) String() string { return Format(t.Time()) }

// MarshalText returns t in Layout. Years beyond 0000 to 9999 have no such shape and are an error.
func (t Time) MarshalText() ([]byte, error) {
	if year := t.Time().Year(); year < 0 || year > 9999 {
		return nil, errs.New(errs.Internal, "时间超出 0000 至 9999 年", "the time is outside the years 0000 to 9999")
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads Layout and nothing else: milliseconds and +08:00 are required.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*t = At(parsed)
	}
	return err
}

// Parse reads Layout and nothing else: milliseconds and +08:00 are required.
func Parse(s string) (time.Time, error) {
	t, err := time.Parse(Layout, s)
	if err != nil || Format(t) != s { // time.Parse is lenient about fractions and offsets
		return time.Time{}, errs.New(errs.Invalid, "时间须写作 2024-06-15T09:23:45.123+08:00 的形式（北京时间，含毫秒），且真实存在",
			"a time is written as 2024-06-15T09:23:45.123+08:00 (Beijing time with milliseconds) and must exist")
	}
	return t.In(Zone), nil
}
