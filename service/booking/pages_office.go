package booking

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// gatePage is where an official lets people in.
func (f *front) gatePage(w http.ResponseWriter, _ *http.Request, p pages.Page, _ *auth.Principal, _ httplabel.Pass) error {
	p.Title, p.At, p.Script = p.Say("检票", "Gate"), "gate", "/booking/gate.js"
	return templates.Render(w, "gate", spotsData{p, f.spotRows(p)})
}

// spotsData is a page that knows the spots.
type spotsData struct {
	pages.Page
	Spots []kindRow
}

func (f *front) spotRows(p pages.Page) (rows []kindRow) {
	for _, s := range f.b.sorted() {
		rows = append(rows, kindRow{Name: s.Name, Title: s.Title.In(p.Lang)})
	}
	return rows
}

// livePage shows the load as it is.
func (f *front) livePage(w http.ResponseWriter, _ *http.Request, p pages.Page, _ *auth.Principal, _ httplabel.Pass) error {
	p.Title, p.At, p.Script = p.Say("实况", "Live"), "live", "/booking/live.js"
	return templates.Render(w, "live", spotsData{p, f.spotRows(p)})
}

// officeRow is a slot as staff see it.
type officeRow struct {
	slotRow
	Name   string
	Taken  uint64
	Share  int // of the capacity that is taken, in percent
	Closed bool
	Over   bool
	Quotas []quotaRow
}

type quotaRow struct {
	Name, Words string
	Quota       uint32
	Left, Taken int
}

type officeData struct {
	pages.Page
	Spots           []choice
	Spot, Date, Day string
	Before, After   string
	Rows            []officeRow
	Operator        bool
	Problem, Done   string
}

// officePage shows the slots of a spot and day, or goes to a booking that was asked for.
func (f *front) officePage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	if id := strings.TrimSpace(r.URL.Query().Get("booking")); id != "" {
		if _, err := f.b.load(r.Context(), who, id); err == nil {
			http.Redirect(w, r, "/booking/bookings/"+url.PathEscape(id), http.StatusSeeOther)
			return nil
		} else if !errs.Is(err, errs.NotFound) {
			return err
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return f.office(w, r, p, who, ledger.ErrNoBooking)
	}
	return f.office(w, r, p, who, nil)
}

func (f *front) office(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, problem *errs.Error) error {
	b, q := f.b, r.URL.Query()
	spots := b.sorted()
	if len(spots) == 0 {
		return errs.New(errs.NotFound, "还没有景区", "there is no spot yet")
	}
	spot, day := spots[0], midnight(b.host.Now())
	if s := b.spots[q.Get("spot")]; s != nil {
		spot = s
	}
	if date := q.Get("date"); date != "" {
		var err error
		if day, err = beijing.ParseDate(date); err != nil {
			return errs.New(errs.Invalid, "应为 2026-10-01 这样的日期", "must be a date such as 2026-10-01").WithField("date")
		}
	}
	link := func(s *Spot, t time.Time) string {
		return "?" + url.Values{"spot": {s.Name}, "date": {t.Format(time.DateOnly)}}.Encode()
	}
	p.Title, p.At = p.Say("管理", "Office"), "office"
	d := officeData{Page: p, Spot: spot.Name, Date: day.Format(time.DateOnly), Day: dayWords(p, day), Operator: who.Is(auth.Operator),
		Before: link(spot, day.AddDate(0, 0, -1)), After: link(spot, day.AddDate(0, 0, 1))}
	for _, s := range spots {
		d.Spots = append(d.Spots, choice{link(s, day), s.Title.In(p.Lang), s == spot})
	}
	if problem != nil {
		d.Problem = said(p, problem)
	}
	var err error
	if d.Rows, err = b.officeRows(r.Context(), p, spot, day); err != nil {
		return err
	}
	return templates.Render(w, "office", d)
}

func (b *Booking) officeRows(ctx context.Context, p pages.Page, spot *Spot, day time.Time) (rows []officeRow, err error) {
	slots := b.slots(spot.Name, ledger.DayOf(day.Unix()))
	if len(slots) == 0 {
		return nil, nil
	}
	running, err := b.seatOf(spot.Name).shard()
	if err != nil {
		return nil, err
	}
	quotas := make([]ledger.Quotas, len(slots))
	err = running.Do(ctx, func(int64, *ledger.State, ledger.Emit) {
		for i, s := range slots {
			quotas[i] = s.Quotas()
		}
	})
	if err != nil {
		return nil, err
	}
	plain, err := b.dayRows(ctx, p, slots)
	if err != nil {
		return nil, err
	}
	for i, s := range slots {
		row := officeRow{slotRow: plain[i], Name: s.ID, Closed: s.Closed(), Over: b.phaseOf(s) == over}
		left := 0
		for c := range ledger.Channel(ledger.Channels) {
			n := s.Left(c)
			left += n
			row.Quotas = append(row.Quotas, quotaRow{Name: c.String(), Words: channelWords[c.String()].In(p.Lang), Quota: quotas[i][c], Left: n, Taken: max(int(quotas[i][c])-n, 0)})
		}
		if total := quotas[i].Total(); total > 0 {
			row.Taken = total - min(uint64(left), total)
			row.Share = int(row.Taken * 100 / total)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// partyPage lists the bookings of a slot.
func (f *front) partyPage(w http.ResponseWriter, r *http.Request, p pages.Page, _ *auth.Principal, pass httplabel.Pass) error {
	b := f.b
	_, slot, err := b.slot(r.PathValue("slot"))
	if err != nil {
		return err
	}
	first := ledger.NumberOf(b.seatOf(slot.Spot).number, slot.Index, 0)
	list, next, err := b.listed(r, sought{slot: &first}, pass)
	if err != nil {
		return err
	}
	p.Title, p.At = b.spotTitle(p, slot.Spot)+" "+hourWords(slot), "office"
	d := struct {
		pages.Page
		Day, Back string
		Bookings  []bookingRow
		Next      string
	}{Page: p, Day: dayWords(p, time.Unix(slot.Start, 0)), Back: officeLink(slot), Next: next}
	for _, v := range list {
		d.Bookings = append(d.Bookings, b.row(p, v))
	}
	return templates.Render(w, "party", d)
}

// officeLink leads to the day of a slot.
func officeLink(slot *ledger.Slot) string {
	return "/booking/office?" + url.Values{"spot": {slot.Spot}, "date": {midnight(time.Unix(slot.Start, 0)).Format(time.DateOnly)}}.Encode()
}

// quotasPost changes how many places each channel has.
func (f *front) quotasPost(w http.ResponseWriter, r *http.Request, _ pages.Page, _ *auth.Principal, _ httplabel.Pass) error {
	change := map[ledger.Channel]uint32{}
	for c := range ledger.Channel(ledger.Channels) {
		if text := r.PostFormValue(c.String()); text != "" {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return errs.New(errs.Invalid, "名额应为不小于 0 的整数", "places are a whole number, 0 or more").WithField("quotas")
			}
			change[c] = uint32(n)
		}
	}
	return f.change(w, r, func(now int64, s *ledger.State, slot *ledger.Slot, emit ledger.Emit) *errs.Error {
		return setQuotas(now, s, slot, change, emit)
	})
}

// closePost closes a slot, whose bookings are then paid back.
func (f *front) closePost(w http.ResponseWriter, r *http.Request, _ pages.Page, _ *auth.Principal, _ httplabel.Pass) error {
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if reason == "" || len(reason) > ledger.MaxText {
		return errs.New(errs.Invalid, "请写明原因，至多 80 字", "please give a reason, of 250 bytes at most").WithField("reason")
	}
	if r.PostFormValue("sure") == "" {
		return errs.New(errs.Invalid, "请勾选确认后再关闭", "tick the box to confirm").WithField("sure")
	}
	return f.change(w, r, func(now int64, s *ledger.State, slot *ledger.Slot, emit ledger.Emit) *errs.Error {
		return s.Close(now, slot, reason, emit)
	})
}

// change has the shard do something to a slot, and goes back to its day.
func (f *front) change(w http.ResponseWriter, r *http.Request, do func(int64, *ledger.State, *ledger.Slot, ledger.Emit) *errs.Error) error {
	running, slot, err := f.b.slot(r.PathValue("slot"))
	if err != nil {
		return err
	}
	var refused *errs.Error
	err = running.Do(r.Context(), func(now int64, s *ledger.State, emit ledger.Emit) { refused = do(now, s, slot, emit) })
	if err == nil && refused != nil {
		err = refused
	}
	if err == nil {
		f.b.shown(r.Context(), slot.Spot)
		http.Redirect(w, r, officeLink(slot), http.StatusSeeOther)
	}
	return err
}
