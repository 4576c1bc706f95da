package beijing

import (
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Unit is what a time limit counts.
type Unit int

// The units.
const (
	Workdays Unit = iota // working days
	Days                 // natural days
	Hours                // natural hours, from the moment of receipt
)

// Limit is a time limit, such as five working days from receipt.
type Limit struct {
	N    int // at least 1
	Unit Unit
	// FromReceipt counts the day of receipt as the first. Otherwise the day after it is the first, which is the rule of
	// the Civil Code, article 201. It means nothing for hours.
	FromReceipt bool
	// Fixed keeps a deadline where it falls. Otherwise one that falls on a day off moves on to the next working day
	// (Civil Code, article 203), in hours to the same time of that day, which is this project's rule.
	Fixed bool
}

// The most that a limit counts: what is longer is a mistake.
const maxLimit = 100 * 366 * 24

// Deadline returns the last millisecond in which what was received at a time is within the limit: the end of a day in
// Beijing, 23:59:59.999, or for hours that many hours later. Working days received on a day off are counted from the
// next working day on. With Fixed and without working days the calendar is not asked, and every year is known.
func (c *Calendar) Deadline(received time.Time, l Limit) (time.Time, error) {
	if l.N < 1 || l.N > maxLimit || l.Unit < Workdays || l.Unit > Hours {
		return time.Time{}, errs.New(errs.Invalid, "时限至少为 1，单位为工作日、自然日或小时", "a time limit is at least 1, in working days, days or hours").
			WithCode("limit.invalid")
	}
	switch l.Unit {
	case Workdays:
		return c.inWorkdays(dayOf(received), l)
	case Days:
		return c.inDays(dayOf(received), l)
	}
	return c.inHours(received, l)
}

func (c *Calendar) inWorkdays(d day, l Limit) (time.Time, error) {
	n := l.N
	if l.FromReceipt {
		works, err := c.works(d)
		if err != nil {
			return time.Time{}, err
		}
		if works {
			n--
		}
	}
	if n > 0 {
		var err error
		if d, err = c.step(d, n); err != nil {
			return time.Time{}, err
		}
	}
	return d.end(), nil
}

func (c *Calendar) inDays(d day, l Limit) (time.Time, error) {
	d += day(l.N)
	if l.FromReceipt {
		d--
	}
	if !l.Fixed {
		var err error
		if d, err = c.step(d, 0); err != nil {
			return time.Time{}, err
		}
	}
	return d.end(), nil
}

func (c *Calendar) inHours(received time.Time, l Limit) (time.Time, error) {
	at := FromMilli(received.UnixMilli()).Add(time.Duration(l.N) * time.Hour)
	if l.Fixed {
		return at, nil
	}
	d := dayOf(at)
	next, err := c.step(d, 0)
	if err != nil {
		return time.Time{}, err
	}
	return at.Add(time.Duration(next-d) * 24 * time.Hour), nil
}

// end is the last millisecond of d.
func (d day) end() time.Time { return (d + 1).start().Add(-time.Millisecond) }
