package beijing

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

//go:embed workdays.txt
var officialText string

var official = sync.OnceValues(func() (*Calendar, error) {
	years, err := parseNotices(officialText)
	return merge(years), err
})

// Official returns the calendar of the years that this version of the program knows.
func Official() *Calendar {
	c, err := official()
	if err != nil {
		panic("kit/beijing: workdays.txt: " + err.Error()) // a test reads it
	}
	return c
}

// ParseCalendar returns the official calendar with the years that an operator adds from their notices. A year that is
// already known is replaced as a whole:
//
//	# comment
//	year 2026 国办发明电〔2025〕7号
//	off  2026-01-01..2026-01-03 元旦 / New Year's Day
//	work 2026-01-04
//
// Days of the December before the year may be named, too. Days off are at most 31 at a time; a day that is worked is a
// Saturday or Sunday; no day is named twice. The error is of kind Invalid, with the code "calendar.syntax" and the line.
func ParseCalendar(text []byte) (*Calendar, error) {
	own, err := parseNotices(string(text))
	if err != nil {
		return nil, err
	}
	years, err := parseNotices(officialText)
	if err != nil {
		return nil, err
	}
	for y, n := range own {
		years[y] = n
	}
	return merge(years), nil
}

// notice is what is announced for a year.
type notice struct {
	number string
	days   map[day]dayState
}

// merge makes a calendar of notices. Where two speak of a day, which is one of December, the later one holds.
func merge(years map[int]*notice) *Calendar {
	c := &Calendar{years: map[int]string{}, days: map[day]dayState{}}
	for y, n := range years {
		c.years[y] = n.number
		for d, state := range n.days {
			if later := years[y+1]; later != nil {
				if _, ok := later.days[d]; ok {
					continue
				}
			}
			c.days[d] = state
		}
	}
	return c
}

func parseNotices(text string) (map[int]*notice, error) {
	if !utf8.ValidString(text) {
		return nil, bad(0, "须为 UTF-8", "must be UTF-8")
	}
	p := parser{years: map[int]*notice{}}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		p.line++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := p.take(verb, strings.TrimSpace(rest)); err != nil {
			return nil, err
		}
	}
	return p.years, nil
}

func bad(line int, zh, en string) error {
	return errs.New(errs.Invalid, zh, en).WithCode("calendar.syntax").WithLine(line)
}

// parser reads lines of notices.
type parser struct {
	line  int
	years map[int]*notice
	year  int // of the notice that lines belong to; 0 before the first
}

func (p *parser) take(verb, rest string) error {
	switch verb {
	case "year":
		return p.begin(rest)
	case "off":
		return p.off(rest)
	case "work":
		return p.work(rest)
	}
	return bad(p.line, "行应以 year、off 或 work 开头", "a line begins with year, off or work")
}

func (p *parser) begin(rest string) error {
	number, source, _ := strings.Cut(rest, " ")
	source = strings.TrimSpace(source)
	year, err := strconv.Atoi(number)
	switch {
	case err != nil || len(number) != 4 || year < 2000 || year > 2999:
		return bad(p.line, "year 之后应为 2000 至 2999 的年份", "year is followed by a year from 2000 to 2999")
	case source == "":
		return bad(p.line, "年份之后应写明通知文号", "the year is followed by the number of its notice")
	case p.years[year] != nil:
		return bad(p.line, "年份重复", "the year stands twice")
	}
	p.year, p.years[year] = year, &notice{number: source, days: map[day]dayState{}}
	return nil
}

func (p *parser) off(rest string) error {
	span, words, _ := strings.Cut(rest, " ")
	from, to, ranged := strings.Cut(span, "..")
	first, err := p.day(from)
	if err != nil {
		return err
	}
	last := first
	if ranged {
		if last, err = p.day(to); err != nil {
			return err
		}
	}
	if last < first || last-first > 30 {
		return bad(p.line, "放假区间应从早到晚，至多 31 天", "a range of days off runs forward and has at most 31 days")
	}
	zh, en, _ := strings.Cut(words, "/")
	name := lang.T(strings.TrimSpace(zh), strings.TrimSpace(en))
	if name.ZH == "" || name.EN == "" {
		return bad(p.line, "应写明节日的中英文名称，如 元旦 / New Year's Day", "the holiday is named in both languages: 元旦 / New Year's Day")
	}
	for d := first; d <= last; d++ {
		if err := p.set(d, dayState{name: name}); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) work(rest string) error {
	d, err := p.day(rest)
	if err != nil {
		return err
	}
	if !d.weekend() {
		return bad(p.line, "调休上班的日子应为周六或周日", "a make-up working day is a Saturday or Sunday")
	}
	return p.set(d, dayState{work: true})
}

// day reads a day of the notice's year or of the December before it.
func (p *parser) day(s string) (day, error) {
	if p.year == 0 {
		return 0, bad(p.line, "应先有 year 行", "a year line comes first")
	}
	t, err := ParseDate(s)
	if err != nil {
		return 0, bad(p.line, "日期须写作 2024-06-15 的形式，且真实存在", "a date is written as 2024-06-15 and must exist")
	}
	if t.Year() != p.year && (t.Year() != p.year-1 || t.Month() != time.December) {
		return 0, bad(p.line, "日期应在该年或上一年 12 月", "a date lies in the year or the December before it")
	}
	return dayOf(t), nil
}

func (p *parser) set(d day, state dayState) error {
	days := p.years[p.year].days
	if _, twice := days[d]; twice {
		return bad(p.line, "日期重复", "a day stands twice")
	}
	days[d] = state
	return nil
}
