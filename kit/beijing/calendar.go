package beijing

import (
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Calendar knows which days are working days. It knows only the years whose official notice it has: a day of another
// year is an error of kind Unavailable with the code "calendar.year", never a guess. Days are taken in Beijing,
// whatever the zone of a time. A Calendar does not change and may be shared.
//
// The notice of a year may move days of the December before it, as that for 2019 did, and an urgent one may change the
// current year, as in 2020. Deadlines that reach so far are to be computed again when a notice is published.
type Calendar struct {
	years map[int]string   // to the numbers of their notices
	days  map[day]dayState // that are not as their weekday is, or have a name
}

// day counts the days in Beijing since 1970-01-01.
type day int64

// dayState is what a notice says of a day.
type dayState struct {
	work bool
	name lang.Text // of the days off
}

const daySeconds = 24 * 60 * 60

func dayOf(t time.Time) day {
	seconds := t.Unix() + 8*60*60
	d := seconds / daySeconds
	if seconds%daySeconds < 0 {
		d--
	}
	return day(d)
}

// start is the first instant of d.
func (d day) start() time.Time { return time.Unix(int64(d)*daySeconds-8*60*60, 0).In(Zone) }

// weekend reports whether d is a Saturday or Sunday; day 0 was a Thursday.
func (d day) weekend() bool {
	w := ((d+4)%7 + 7) % 7
	return w == 0 || w == 6
}

// Years returns the years that the calendar knows, in order.
func (c *Calendar) Years() []int {
	all := make([]int, 0, len(c.years))
	for y := range c.years {
		all = append(all, y)
	}
	slices.Sort(all)
	return all
}

// Notice returns the numbers of the notices that a year rests on; empty for a year that the calendar does not know.
func (c *Calendar) Notice(year int) string { return c.years[year] }

// Holiday returns the name of the holiday that a day off belongs to; no words for any other day.
func (c *Calendar) Holiday(t time.Time) lang.Text { return c.days[dayOf(t)].name }

// IsWorkday reports whether the day of t is a working day.
func (c *Calendar) IsWorkday(t time.Time) (bool, error) { return c.works(dayOf(t)) }

func (c *Calendar) works(d day) (bool, error) {
	if year := d.start().Year(); c.years[year] == "" {
		return false, errs.Newf(errs.Unavailable, "工作日历没有 %d 年的放假通知", "the calendar of working days has no notice for the year %d", year).
			WithCode("calendar.year").WithHint("请按通知补充这一年", "add the year from its official notice")
	}
	if state, ok := c.days[d]; ok {
		return state.work, nil
	}
	return !d.weekend(), nil
}

// AddWorkdays returns the beginning of the n-th working day after the day of t, or before it where n is negative. For
// n = 0 it is the day itself where that is a working day, and the next working day otherwise.
func (c *Calendar) AddWorkdays(t time.Time, n int) (time.Time, error) {
	d, err := c.step(dayOf(t), n)
	if err != nil {
		return time.Time{}, err
	}
	return d.start(), nil
}

func (c *Calendar) step(d day, n int) (day, error) {
	forward, left := day(1), n
	if n < 0 {
		forward, left = -1, -n
	}
	works, err := c.works(d)
	if err != nil {
		return 0, err
	}
	if n == 0 && !works {
		left = 1
	}
	for left > 0 { // ends with the years that are known
		d += forward
		if works, err = c.works(d); err != nil {
			return 0, err
		}
		if works {
			left--
		}
	}
	return d, nil
}

// Workdays counts the working days after the day of from, up to and with the day of to. It is negative where to is
// earlier: -Workdays(to, from).
func (c *Calendar) Workdays(from, to time.Time) (int, error) {
	a, b, sign := dayOf(from), dayOf(to), 1
	if b < a {
		a, b, sign = b, a, -1
	}
	if _, err := c.works(a); err != nil {
		return 0, err
	}
	n := 0
	for d := a + 1; d <= b; d++ {
		works, err := c.works(d)
		if err != nil {
			return 0, err
		}
		if works {
			n++
		}
	}
	return n * sign, nil
}
