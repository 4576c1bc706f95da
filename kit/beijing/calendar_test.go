package beijing_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
)

// at reads a day, or a time without its zone.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	if len(s) == len(time.DateOnly) {
		s += " 00:00:00"
	}
	got, err := beijing.ReadTime(s, beijing.Assume)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestIsWorkday(t *testing.T) {
	for day, want := range map[string]bool{
		"2018-12-29": true,  // a Saturday, worked by the notice for 2019
		"2018-12-31": false, // a Monday, off by the notice for 2019
		"2019-05-02": false, // off by the second notice for 2019
		"2020-01-31": false, // off by the second notice for 2020
		"2020-02-01": false, // a Saturday that the second notice for 2020 no longer has worked
		"2020-02-03": true,
		"2022-12-31": false,
		"2024-02-09": true, // the eve of the Spring Festival, which was a holiday from 2025 on
		"2025-01-28": false,
		"2025-09-28": true, // a Sunday
		"2025-10-08": false,
		"2025-10-11": true, // a Saturday
		"2026-02-14": true,
		"2026-02-23": false,
		"2026-02-24": true,
		"2026-11-21": false, // any Saturday
		"2026-11-23": true,
	} {
		for _, clock := range []string{"00:00:00", "23:59:59"} {
			got, err := beijing.Official().IsWorkday(at(t, day+" "+clock).UTC())
			if err != nil || got != want {
				t.Errorf("%s %s: %v, %v", day, clock, got, err)
			}
		}
	}
	if got := beijing.Official().Holiday(at(t, "2026-02-17")); got.ZH != "春节" || got.EN != "Spring Festival" {
		t.Errorf("%v", got)
	}
	if got := beijing.Official().Holiday(at(t, "2026-02-14")); !got.IsZero() {
		t.Errorf("%v", got)
	}
}

// The working days of every month, counted from two packages published by others.
func TestWorkingDaysOfMonths(t *testing.T) {
	want := map[int][12]int{
		2018: {22, 17, 22, 20, 22, 20, 22, 23, 21, 18, 22, 21},
		2019: {22, 17, 21, 22, 21, 19, 23, 22, 21, 19, 21, 22},
		2020: {17, 20, 22, 22, 19, 21, 23, 21, 23, 17, 21, 23},
		2021: {20, 17, 23, 22, 19, 21, 22, 22, 22, 17, 22, 23},
		2022: {21, 16, 23, 21, 20, 21, 21, 23, 21, 18, 22, 22},
		2023: {18, 20, 23, 20, 21, 21, 21, 23, 20, 19, 22, 21},
		2024: {22, 18, 21, 22, 21, 19, 23, 22, 21, 19, 21, 22},
		2025: {19, 19, 21, 22, 19, 20, 23, 21, 23, 18, 20, 23},
		2026: {21, 16, 22, 21, 19, 21, 23, 21, 22, 18, 21, 23},
	}
	if got := beijing.Official().Years(); len(got) != len(want) || !slices.IsSorted(got) {
		t.Errorf("years %v", got)
	}
	for year, months := range want {
		var got [12]int
		for d := time.Date(year, 1, 1, 12, 0, 0, 0, beijing.Zone); d.Year() == year; d = d.AddDate(0, 0, 1) {
			works, err := beijing.Official().IsWorkday(d)
			if err != nil {
				t.Fatal(err)
			}
			if works {
				got[d.Month()-1]++
			}
		}
		if got != months {
			t.Errorf("%d: %v, want %v", year, got, months)
		}
		if !strings.HasPrefix(beijing.Official().Notice(year), "国办发明电") {
			t.Errorf("%d: notice %q", year, beijing.Official().Notice(year))
		}
	}
}

func TestUnknownYears(t *testing.T) {
	c := beijing.Official()
	for name, ask := range map[string]func() error{
		"before":     func() error { _, err := c.IsWorkday(at(t, "2017-12-31")); return err },
		"after":      func() error { _, err := c.IsWorkday(at(t, "2027-01-01")); return err },
		"add":        func() error { _, err := c.AddWorkdays(at(t, "2026-12-30"), 2); return err },
		"add none":   func() error { _, err := c.AddWorkdays(at(t, "2027-01-04"), 0); return err },
		"subtract":   func() error { _, err := c.AddWorkdays(at(t, "2018-01-02"), -1); return err },
		"count":      func() error { _, err := c.Workdays(at(t, "2026-12-01"), at(t, "2027-01-01")); return err },
		"count from": func() error { _, err := c.Workdays(at(t, "2017-12-31"), at(t, "2018-01-05")); return err },
		"deadline": func() error {
			_, err := c.Deadline(at(t, "2026-12-31"), beijing.Limit{N: 1, Unit: beijing.Days})
			return err
		},
		"much":    func() error { _, err := c.AddWorkdays(at(t, "2026-01-05"), 1<<62); return err },
		"distant": func() error { _, err := c.IsWorkday(time.Unix(1<<40, 0)); return err },
	} {
		if err := ask(); errs.KindOf(err) != errs.Unavailable || errs.As(err).Code != "calendar.year" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := c.AddWorkdays(at(t, "2026-12-30"), 1); err != nil || beijing.Date(got) != "2026-12-31" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAddWorkdays(t *testing.T) {
	c := beijing.Official()
	for _, k := range []struct {
		from string
		n    int
		want string
	}{
		{"2026-02-13", 1, "2026-02-14"}, // Friday, then a Saturday that is worked
		{"2026-02-13", 2, "2026-02-24"},
		{"2026-02-24", -1, "2026-02-14"},
		{"2026-02-18", 0, "2026-02-24"},
		{"2026-02-18", 1, "2026-02-24"},
		{"2026-02-18", -1, "2026-02-14"},
		{"2026-02-24", 0, "2026-02-24"},
		{"2025-09-26", 5, "2025-10-10"}, // Sunday 28 is worked; 1 to 8 October are off
		{"2025-09-26", 6, "2025-10-11"},
		{"2018-12-28", 2, "2019-01-02"},
		{"2025-12-31", 1, "2026-01-04"}, // a Sunday
	} {
		got, err := c.AddWorkdays(at(t, k.from+" 18:30:00"), k.n)
		if err != nil || beijing.Format(got) != k.want+"T00:00:00.000+08:00" {
			t.Errorf("%s %+d: %v, %v; want %s", k.from, k.n, got, err, k.want)
		}
	}
}

// Counting is the inverse of adding, wherever it starts.
func TestWorkdaysCountsWhatIsAdded(t *testing.T) {
	c := beijing.Official()
	for d := at(t, "2025-01-01 15:00:00"); d.Year() < 2026; d = d.AddDate(0, 0, 2) {
		for _, n := range []int{1, 20, 60} {
			to, err := c.AddWorkdays(d, n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Workdays(d, to)
			back, err2 := c.Workdays(to, d)
			if err != nil || err2 != nil || got != n || back != -n {
				t.Fatalf("%v to %v: %d and %d, want %d (%v, %v)", d, to, got, back, n, err, err2)
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	const workdays, days, hours = beijing.Workdays, beijing.Days, beijing.Hours
	for _, k := range []struct {
		received string
		limit    beijing.Limit
		want     string
	}{
		{"2025-09-30 10:00", beijing.Limit{N: 1}, "2025-10-09 23:59:59.999"},
		{"2025-09-30 10:00", beijing.Limit{N: 1, FromReceipt: true}, "2025-09-30 23:59:59.999"},
		{"2025-09-30 10:00", beijing.Limit{N: 3, FromReceipt: true}, "2025-10-10 23:59:59.999"},
		{"2025-10-03 10:00", beijing.Limit{N: 1}, "2025-10-09 23:59:59.999"},
		{"2025-10-03 10:00", beijing.Limit{N: 1, FromReceipt: true}, "2025-10-09 23:59:59.999"},
		{"2025-10-03 10:00", beijing.Limit{N: 3, Unit: workdays, Fixed: true}, "2025-10-11 23:59:59.999"},
		{"2026-02-13 00:00", beijing.Limit{N: 5}, "2026-02-27 23:59:59.999"},
		{"2026-02-06 09:00", beijing.Limit{N: 10, Unit: days}, "2026-02-24 23:59:59.999"},
		{"2026-02-06 09:00", beijing.Limit{N: 10, Unit: days, Fixed: true}, "2026-02-16 23:59:59.999"},
		{"2026-02-06 09:00", beijing.Limit{N: 9, Unit: days, FromReceipt: true}, "2026-02-14 23:59:59.999"},
		{"2026-11-18 23:59:59.999", beijing.Limit{N: 1, Unit: days}, "2026-11-19 23:59:59.999"},
		{"2026-11-18 09:30:15.250", beijing.Limit{N: 24, Unit: hours}, "2026-11-19 09:30:15.250"},
		{"2026-11-20 22:00", beijing.Limit{N: 4, Unit: hours}, "2026-11-23 02:00:00.000"},
		{"2026-11-20 22:00", beijing.Limit{N: 4, Unit: hours, Fixed: true}, "2026-11-21 02:00:00.000"},
		{"2030-01-01 08:00", beijing.Limit{N: 48, Unit: hours, Fixed: true}, "2030-01-03 08:00:00.000"},
		{"2030-01-01 08:00", beijing.Limit{N: 30, Unit: days, Fixed: true}, "2030-01-31 23:59:59.999"},
	} {
		got, err := beijing.Official().Deadline(at(t, k.received).UTC(), k.limit)
		if want := at(t, k.want); err != nil || !got.Equal(want) || got.Location() != beijing.Zone {
			t.Errorf("%s %+v: %v, %v; want %v", k.received, k.limit, got, err, want)
		}
	}
	for _, l := range []beijing.Limit{{}, {N: -1}, {N: 1 << 40, Unit: hours}, {N: 1, Unit: 3}, {N: 1, Unit: -1}} {
		if _, err := beijing.Official().Deadline(at(t, "2026-11-20"), l); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestParseCalendar(t *testing.T) {
	c, err := beijing.ParseCalendar([]byte("\ufeff# a year of one's own, for a test\r\nyear 2099 测试通知\r\n\r\noff 2098-12-31..2099-01-01 元旦 / New Year's Day\r\nwork 2099-01-03\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]bool{"2099-01-01": false, "2099-01-02": true, "2099-01-03": true, "2099-01-04": false, "2026-02-14": true} {
		if got, err := c.IsWorkday(at(t, day)); err != nil || got != want {
			t.Errorf("%s: %v, %v", day, got, err)
		}
	}
	if _, err := c.IsWorkday(at(t, "2098-12-31")); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a day of a year without a notice: %v", err)
	}
	if _, err := beijing.Official().IsWorkday(at(t, "2099-01-02")); err == nil {
		t.Error("the official calendar was changed")
	}

	replaced, err := beijing.ParseCalendar([]byte("year 2026 测试通知\noff 2026-01-01 元旦 / New Year's Day\nwork 2025-12-27\n"))
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]bool{"2026-02-14": false, "2026-02-17": true, "2026-01-01": false, "2025-12-27": true} {
		if got, err := replaced.IsWorkday(at(t, day)); err != nil || got != want {
			t.Errorf("%s of a replaced year: %v, %v", day, got, err)
		}
	}
}

// Where two notices speak of a day in December, the later one holds, whichever is read first.
func TestLaterNoticeHolds(t *testing.T) {
	for range 20 { // the order of a map
		c, err := beijing.ParseCalendar([]byte("year 2098 甲\nwork 2098-12-27\nyear 2099 乙\noff 2098-12-27 元旦 / New Year's Day\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.IsWorkday(at(t, "2098-12-27")); err != nil || got {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

func TestParseCalendarRefuses(t *testing.T) {
	const head = "# comment\nyear 2026 通知\n"
	for text, line := range map[string]int{
		"off 2026-01-01 元旦 / New Year's Day":           1,
		"holiday 2026":                                 1,
		"year":                                         1,
		"year 2026":                                    1,
		"year 26 通知":                                   1,
		"year 1999 通知":                                 1,
		"year +026 通知":                                 1,
		head + "year 2026 again":                       3,
		head + "off 2026-01-01":                        3,
		head + "off 2026-01-01 元旦":                     3,
		head + "off 2026-01-01 / New Year":             3,
		head + "off 2026-01-03..2026-01-01 元旦 / N":     3,
		head + "off 2026-01-01..2026-02-01 元旦 / N":     3,
		head + "off 2026-02-29 元旦 / N":                 3,
		head + "off 2026-1-1 元旦 / N":                   3,
		head + "off 2025-11-30 元旦 / N":                 3,
		head + "off 2027-01-01 元旦 / N":                 3,
		head + "off 2026-01-01.. 元旦 / N":               3,
		head + "work 2026-01-05":                       3,
		head + "work 2026-01-04 元旦":                    3,
		head + "work 2026-01-04\n\nwork 2026-01-04":    5,
		head + "work 2026-01-04\noff 2026-01-04 元 / N": 4,
		head + "work 2026-01-04\n-":                    4,
	} {
		if _, err := beijing.ParseCalendar([]byte(text)); errs.KindOf(err) != errs.Invalid || errs.As(err).Line != line || errs.As(err).Code != "calendar.syntax" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := beijing.ParseCalendar([]byte("year 2026 \xff\n")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("%v", err)
	}
}

// The year that the document shows is one, and says what the calendar has.
func TestDocumentedYear(t *testing.T) {
	page, err := os.ReadFile("../../doc/beijing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```conf\n")
	block, _, _ = strings.Cut(block, "```")
	c, err := beijing.ParseCalendar([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	if want := beijing.Official().Notice(2026); !strings.Contains(block, want) {
		t.Errorf("the document lacks %s", want)
	}
	for d := at(t, "2026-01-01"); d.Month() <= time.February; d = d.AddDate(0, 0, 1) {
		got, err := c.IsWorkday(d)
		want, err2 := beijing.Official().IsWorkday(d)
		if got != want || err != nil || err2 != nil {
			t.Errorf("%v: %v, want %v (%v, %v)", d, got, want, err, err2)
		}
	}
}

// FuzzParseCalendar: what is taken answers for its years, and counts as it adds.
func FuzzParseCalendar(f *testing.F) {
	f.Add([]byte("year 2027 通知\noff 2027-01-01..2027-01-03 元旦 / New Year's Day\nwork 2026-12-26\n"))
	f.Add([]byte("year 2000 x\n#\nwork 2000-01-01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := beijing.ParseCalendar(text)
		if err != nil {
			if errs.KindOf(err) != errs.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, year := range c.Years() {
			first := time.Date(year, 1, 1, 0, 0, 0, 0, beijing.Zone)
			day, err := c.AddWorkdays(first, 5)
			if errs.Is(err, errs.Unavailable) {
				continue // the whole year is off
			}
			if err != nil {
				t.Fatal(err)
			}
			if n, err := c.Workdays(first, day); err != nil || n != 5 {
				t.Fatalf("%d: %d, %v", year, n, err)
			}
			if works, err := c.IsWorkday(day); err != nil || !works {
				t.Fatalf("%v: %v, %v", day, works, err)
			}
		}
	})
}

// Spring Festival 2026: the Saturday before it is worked, and nine days are off.
func ExampleCalendar_AddWorkdays() {
	received := time.Date(2026, 2, 13, 16, 30, 0, 0, beijing.Zone) // a Friday
	for n := range 4 {
		day, err := beijing.Official().AddWorkdays(received, n)
		if err != nil {
			panic(err)
		}
		fmt.Println(n, beijing.Date(day), day.Weekday())
	}
	// Output:
	// 0 2026-02-13 Friday
	// 1 2026-02-14 Saturday
	// 2 2026-02-24 Tuesday
	// 3 2026-02-25 Wednesday
}

// National Day 2025: Sunday 28 September and Saturday 11 October are worked, 1 to 8 October are off.
func ExampleCalendar_Deadline() {
	received := time.Date(2025, 9, 26, 9, 0, 0, 0, beijing.Zone) // a Friday
	for _, limit := range []beijing.Limit{
		{N: 5},
		{N: 5, FromReceipt: true},
		{N: 7, Unit: beijing.Days},
		{N: 72, Unit: beijing.Hours},
	} {
		deadline, err := beijing.Official().Deadline(received, limit)
		if err != nil {
			panic(err)
		}
		fmt.Println(beijing.Format(deadline))
	}
	// Output:
	// 2025-10-10T23:59:59.999+08:00
	// 2025-10-09T23:59:59.999+08:00
	// 2025-10-09T23:59:59.999+08:00
	// 2025-09-29T09:00:00.000+08:00
}

// A year that nobody has announced is not guessed; an operator adds it from its notice.
func ExampleParseCalendar() {
	_, err := beijing.Official().IsWorkday(time.Date(2027, 1, 4, 0, 0, 0, 0, beijing.Zone))
	fmt.Println(err)

	_, err = beijing.ParseCalendar([]byte("year 2026 国办发明电〔2025〕7号\nwork 2026-01-05\n"))
	fmt.Println(err)
	// Output:
	// the calendar of working days has no notice for the year 2027
	// line 2: a make-up working day is a Saturday or Sunday
}
