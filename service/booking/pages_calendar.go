package booking

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// phase is where a slot stands for somebody who would book online.
type phase int

const (
	over   phase = iota // nothing can be done any more
	closed              // by the spot
	soon                // its sale has not begun
	full
	bookable
)

func (b *Booking) phaseOf(s *ledger.Slot) phase {
	now := b.host.Now().Unix()
	switch {
	case s.Closed():
		return closed
	case now >= s.End:
		return over
	case now < s.Opens:
		return soon
	case s.Left(ledger.Online) <= 0:
		return full
	}
	return bookable
}

var phaseWords = [...]wording{
	over: {lang.T("已结束", "over"), "idle"}, closed: {lang.T("已关闭", "closed"), "bad"}, soon: {lang.T("待开售", "not on sale yet"), "busy"},
	full: {lang.T("已约满", "sold out"), "bad"}, bookable: {lang.T("可预约", "available"), "good"},
}

// choice is one of several links, one of which is chosen.
type choice struct {
	Link, Text string
	Chosen     bool
}

// dayCell is a day of the calendar.
type dayCell struct {
	Link, Number, Before, Words, After, Tone, Label string // the words around a number are for wide screens
	Chosen, Today                                   bool
}

// slotRow is a slot of the day.
type slotRow struct {
	ID, Hours, Words, Tone, Note, Opens, OpensAt string
	Left, Wait                                   int
	Capacity                                     uint64
	Channels                                     []channelRow
	Book, Queue, Soon                            bool
}

type channelRow struct {
	Name        string
	Left, Quota int
}

type calendarData struct {
	pages.Page
	Spots    []choice
	Spot     SpotView
	Products []productRow
	Weekdays []string
	Weeks    [][]dayCell
	Later    string
	Earlier  string
	Day      string
	Slots    []slotRow
	Room     string // of the day's sale
	Sales    string // when they begin, in words
	Now      int64
}

// weeksShown is how many weeks the calendar has at a time.
const weeksShown = 5

func (f *front) calendarPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal, _ httplabel.Pass) error {
	b, q := f.b, r.URL.Query()
	spots := b.sorted()
	if len(spots) == 0 {
		return errs.New(errs.NotFound, "还没有景区", "there is no spot yet")
	}
	spot := spots[0]
	if name := q.Get("spot"); name != "" {
		if spot = b.spots[name]; spot == nil {
			return errs.New(errs.NotFound, "没有此景区", "there is no such spot").WithField("spot")
		}
	}
	p.Title, p.At, p.Script = p.Say("预约", "Book"), "calendar", "/booking/calendar.js"
	data := calendarData{Page: p, Spot: spot.view(), Products: productRows(p, spot), Now: b.host.Now().UnixMilli()}
	data.Sales = fmt.Sprintf(p.Say("绿色的数字是线上余票；提前 %d 天、%s 开售。", "Green: places left online. Sales begin %d days ahead, at %s."), spot.Sale.Ahead, spot.Sale.At)
	for _, s := range spots {
		data.Spots = append(data.Spots, choice{"?spot=" + url.QueryEscape(s.Name), s.Title.In(p.Lang), s == spot})
	}
	byDay := map[int32][]*ledger.Slot{}
	for _, s := range b.slots(spot.Name, -1) {
		byDay[s.Day] = append(byDay[s.Day], s)
	}
	today := midnight(b.host.Now())
	day, err := b.chosenDay(q.Get("date"), today, byDay)
	if err != nil {
		return err
	}
	b.calendar(&data, spot, today, day, byDay)
	data.Day = dayWords(p, day)
	if data.Slots, err = b.dayRows(r.Context(), p, byDay[ledger.DayOf(day.Unix())]); err != nil {
		return err
	}
	for _, s := range byDay[ledger.DayOf(day.Unix())] {
		if l := b.lobby(saleOf(s)); l != nil && l.engaged() {
			data.Room = saleOf(s)
		}
	}
	return templates.Render(w, "calendar", data)
}

// chosenDay is the day that was asked for, or else the first on which something can be booked.
func (b *Booking) chosenDay(date string, today time.Time, byDay map[int32][]*ledger.Slot) (time.Time, error) {
	if date != "" {
		day, err := beijing.ParseDate(date)
		if err != nil {
			return day, errs.New(errs.Invalid, "应为 2026-10-01 这样的日期", "must be a date such as 2026-10-01").WithField("date")
		}
		return day, nil
	}
	for d := range 367 {
		day := today.AddDate(0, 0, d)
		for _, s := range byDay[ledger.DayOf(day.Unix())] {
			if b.phaseOf(s) == bookable {
				return day, nil
			}
		}
	}
	return today, nil
}

// calendar fills in the weeks around a day.
func (b *Booking) calendar(data *calendarData, spot *Spot, today, chosen time.Time, byDay map[int32][]*ledger.Slot) {
	monday := func(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }
	first, last := monday(today), today.AddDate(0, 0, spot.Sale.Ahead+1)
	for i := range 7 {
		data.Weekdays = append(data.Weekdays, dayNames[(i+1)%7].In(data.Lang))
	}
	for !chosen.Before(first.AddDate(0, 0, 7*weeksShown)) && !first.AddDate(0, 0, 7*weeksShown).After(last) {
		first = first.AddDate(0, 0, 7*weeksShown)
	}
	link := func(day time.Time) string {
		return "?" + url.Values{"spot": {spot.Name}, "date": {day.Format(time.DateOnly)}}.Encode()
	}
	if first.After(today) {
		data.Earlier = link(first.AddDate(0, 0, -1))
	}
	for week := range weeksShown {
		from := first.AddDate(0, 0, 7*week)
		if from.After(last) {
			break
		}
		var cells []dayCell
		for d := range 7 {
			day := from.AddDate(0, 0, d)
			cell := b.cell(data.Page, spot, day, byDay[ledger.DayOf(day.Unix())])
			cell.Chosen, cell.Today = day.Equal(chosen), day.Equal(today)
			if !day.Before(today) && !day.After(last) {
				cell.Link = link(day)
			} else {
				cell.Words = ""
			}
			cells = append(cells, cell)
		}
		data.Weeks = append(data.Weeks, cells)
	}
	if next := first.AddDate(0, 0, 7*weeksShown); !next.After(last) {
		data.Later = link(next)
	}
}

// cell says how a day stands: how many places are left online, or why there are none.
func (b *Booking) cell(p pages.Page, spot *Spot, day time.Time, slots []*ledger.Slot) dayCell {
	c := dayCell{Number: strconv.Itoa(day.Day()), Tone: "idle", Words: p.Say("未放票", "later")}
	if !spot.open(day) {
		c.Words = p.Say("闭园", "shut")
	}
	best, left := over, 0
	for _, s := range slots {
		ph := b.phaseOf(s)
		best = max(best, ph)
		if ph == bookable {
			left += s.Left(ledger.Online)
		}
	}
	if len(slots) > 0 {
		short := [...]lang.Text{over: lang.T("已过", "over"), closed: lang.T("关闭", "closed"), soon: lang.T("待开售", "soon"), full: lang.T("约满", "full")}
		c.Tone = phaseWords[best].tone
		if best == bookable {
			c.Words = strconv.Itoa(left)
			if c.Before = "余 "; p.Lang == lang.EN {
				c.Before, c.After = "", " left"
			}
		} else {
			c.Words = short[best].In(p.Lang)
		}
	}
	c.Label = dayWords(p, day) + ", " + c.Before + c.Words + c.After
	return c
}

// dayRows are the slots of a day as the page shows them.
func (b *Booking) dayRows(ctx context.Context, p pages.Page, slots []*ledger.Slot) (rows []slotRow, err error) {
	notes := map[string]string{}
	for _, s := range slots {
		ph := b.phaseOf(s)
		if ph == closed && len(notes) == 0 {
			if notes, err = b.store.closings(ctx, s.Spot, s.Day); err != nil {
				return nil, err
			}
		}
		row := slotRow{ID: s.ID, Hours: hourWords(s), Words: phaseWords[ph].In(p.Lang), Tone: phaseWords[ph].tone, Note: notes[s.ID],
			Left: s.Left(ledger.Online), Capacity: s.Capacity().Total(), Wait: s.Rules.Waitlist, Book: ph == bookable, Queue: ph == full && s.Rules.Waitlist > 0, Soon: ph == soon}
		if row.Soon {
			opens := time.Unix(s.Opens, 0)
			row.Opens, row.OpensAt = momentWords(p, opens), strconv.FormatInt(opens.UnixMilli(), 10)
		}
		for c := ledger.Window; c < ledger.Channels; c++ {
			if n := s.Left(c); n > 0 && ph > closed {
				row.Channels = append(row.Channels, channelRow{Name: channelWords[c.String()].In(p.Lang), Left: n})
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// closings returns why slots of a day were closed, by slot.
func (s store) closings(ctx context.Context, spot string, day int32) (map[string]string, error) {
	notes := map[string]string{}
	_, err := sqldb.All(ctx, s.db, func(r sqldb.Scanner) (struct{}, error) {
		var id, note string
		err := r.Scan(&id, &note)
		notes[id] = note
		return struct{}{}, err
	}, "SELECT id, note FROM slot WHERE spot = $1 AND day = $2 AND status = 'closed'", spot, int64(day))
	return notes, err
}

// productRow is a product with its price.
type productRow struct {
	Name, Title, Price string
	Fen                int64
	Chosen             bool
}

func productRows(p pages.Page, spot *Spot) (rows []productRow) {
	for _, product := range spot.Products {
		rows = append(rows, productRow{Name: product.Name, Title: product.Title.In(p.Lang), Price: price(p, product.Price), Fen: product.Price})
	}
	return rows
}
