package booking

import (
	"context"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

// bookingList is many bookings.
type bookingList struct {
	Items []BookingView `json:"items"`
}

// bookingRow is a booking in a list.
type bookingRow struct {
	BookingView
	Title, When, Words, Tone, ChannelWords, Price, People string
}

func (b *Booking) row(p pages.Page, v BookingView) bookingRow {
	w := statusWords[v.Status]
	return bookingRow{BookingView: v, Title: b.spotTitle(p, v.Spot), When: b.when(p, v.Slot), Words: w.In(p.Lang), Tone: w.tone,
		ChannelWords: channelWords[v.Channel].In(p.Lang), Price: price(p, v.Amount), People: people(p, v.Quantity)}
}

// when is the day and hours of a slot, which its id tells where nothing else does any more.
func (b *Booking) when(p pages.Page, id string) string {
	if _, slot, err := b.slot(id); err == nil {
		return dayWords(p, time.Unix(slot.Start, 0)) + " " + hourWords(slot)
	}
	spot, _ := spotOf(id)
	t, err := time.ParseInLocation("20060102-1504", strings.TrimPrefix(id, spot+"-"), beijing.Zone)
	if err != nil {
		return id
	}
	return dayWords(p, t) + " " + t.Format("15:04")
}

const bookingsShown = 50

type waitRow struct {
	WaitView
	Title, When, Words, Tone, People string
}

// bookingsPage lists the reader's bookings, newest first, and where they wait.
func (f *front) bookingsPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, pass httplabel.Pass) error {
	b := f.b
	list, next, err := b.listed(r, sought{owner: who.ID}, pass)
	if err != nil {
		return err
	}
	waits, err := b.store.waiting(r.Context(), who.ID)
	if err != nil {
		return err
	}
	p.Title, p.At = p.Say("我的预约", "My bookings"), "bookings"
	d := struct {
		pages.Page
		Bookings []bookingRow
		Waits    []waitRow
		Next     string
	}{Page: p, Next: next}
	for _, v := range list {
		d.Bookings = append(d.Bookings, b.row(p, v))
	}
	for _, v := range waits {
		row := waitRow{WaitView: v, When: b.when(p, v.Slot), People: people(p, v.Quantity), Words: p.Say("候补中", "waiting"), Tone: "busy"}
		spot, _ := spotOf(v.Slot)
		row.Title = b.spotTitle(p, spot)
		switch v.Status {
		case "served":
			row.Words, row.Tone = p.Say("候补成功", "got places"), "good"
		case "left":
			row.Words, row.Tone = p.Say("已放弃", "left"), "idle"
		}
		d.Waits = append(d.Waits, row)
	}
	return templates.Render(w, "bookings", d)
}

// listed returns a page of bookings as the reader may see them, and the cursor of the next.
func (b *Booking) listed(r *http.Request, f sought, pass httplabel.Pass) ([]BookingView, string, error) {
	f.limit = bookingsShown + 1
	if cursor := r.URL.Query().Get("cursor"); cursor != "" {
		before, err := httpapi.DecodeCursor(cursor)
		if err == nil {
			f.before, err = ledger.ParseNumber(before)
		}
		if err != nil {
			return nil, "", errs.New(errs.Invalid, "游标无效", "the cursor is not valid").WithField("cursor")
		}
	}
	rows, err := b.store.list(r.Context(), f)
	if err != nil {
		return nil, "", err
	}
	views := make([]BookingView, len(rows))
	for i := range rows {
		views[i] = b.view(&rows[i])
	}
	page := httpapi.PageOf(views, bookingsShown, func(v BookingView) string { return v.ID })
	shown, err := pass.Show(bookingList{page.Items})
	if err != nil {
		return nil, "", err
	}
	return shown.(bookingList).Items, page.Next, nil
}

// waiting returns where somebody waits or has waited.
func (s store) waiting(ctx context.Context, owner string) ([]WaitView, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (v WaitView, err error) {
		var entry, places, booking, at int64
		err = r.Scan(&v.Slot, &entry, &places, &v.Status, &booking, &at)
		v.Entry, v.Quantity, v.At = int(entry), int(places), beijing.Time(at)
		if booking != 0 {
			v.Booking = ledger.Number(booking).String()
		}
		return v, err
	}, "SELECT slot, entry, places, status, booking, at FROM queue WHERE owner = $1 ORDER BY at DESC LIMIT 100", owner)
}

// stepRow is one entry of a booking's time line.
type stepRow struct{ Words, Tone, At, Note string }

type visitorLine struct{ Kind, Number, Name string }

type bookingData struct {
	pages.Page
	Booking               bookingRow
	Spot                  *Spot
	Own                   bool
	Product               string
	Until                 int64
	UntilWords            string
	Now                   int64
	Picture               template.HTML
	Visitors              []visitorLine
	Line                  []stepRow
	Receipts              []proofRow
	Signed, Unsigned      bool // some receipts are there; some are not
	Pay, Cancel, LateNote bool
	CancelBy              string
	Paid, Back            string
}

// bookingPage shows a booking with all that can be done about it.
func (f *front) bookingPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, pass httplabel.Pass) error {
	b := f.b
	k, err := b.load(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := b.whole(r.Context(), &k)
	if err != nil {
		return err
	}
	shown, err := pass.Show(v)
	if err != nil {
		return err
	}
	v = shown.(BookingView)
	p.Title, p.At = b.spotTitle(p, v.Spot), "bookings"
	d := bookingData{Page: p, Booking: b.row(p, v), Spot: b.spots[v.Spot], Own: k.owner == who.ID, Product: b.productTitle(p, v.Spot, v.Product), Now: b.host.Now().UnixMilli()}
	if !d.Own {
		d.At = "office"
	}
	if v.Code != "" && (d.Own || who.Is(auth.Official)) { // whoever has the code comes in with it
		picture, err := ticket.SVG(v.Code, p.Say("入园码", "entry code"))
		if err != nil {
			return err
		}
		d.Picture = template.HTML(picture) //nolint:gosec // made of squares by ticket
	}
	for _, person := range v.Visitors {
		line := visitorLine{Kind: kinds[person.Kind].title.In(p.Lang), Number: person.Number, Name: person.Name}
		if person.Child {
			line.Kind = strings.TrimSpace(p.Say("儿童 ", "child ") + line.Kind)
		}
		d.Visitors = append(d.Visitors, line)
	}
	for _, s := range v.History {
		d.Line = append(d.Line, b.step(p, s))
	}
	b.stands(&d, &k, who)
	d.Receipts = b.proofRows(r.Context(), p, &k)
	for _, proof := range d.Receipts {
		d.Signed, d.Unsigned = d.Signed || proof.Receipt, d.Unsigned || !proof.Receipt
	}
	if k.status == ledger.Held || d.Unsigned {
		d.Script = "/booking/booking.js"
	}
	return templates.Render(w, "booking", d)
}

// stands fills in what can be done about a booking, and what has been paid.
func (b *Booking) stands(d *bookingData, k *kept, who *auth.Principal) {
	if k.status == ledger.Held {
		d.Pay, d.Until, d.UntilWords = d.Own, k.until, momentWords(d.Page, beijing.FromMilli(k.until))
	}
	if paid := d.Booking.Payment; paid != nil && paid.Paid > 0 {
		d.Paid = yuan(paid.Paid)
	}
	if k.refund > 0 {
		d.Back = yuan(k.refund)
	}
	_, slot, err := b.slot(k.slot)
	if err != nil || (k.status != ledger.Held && k.status != ledger.Confirmed) || slot.Closed() {
		return
	}
	cutoff := time.Unix(slot.Start-slot.Rules.Cutoff, 0)
	late := !b.host.Now().Before(cutoff)
	d.CancelBy = momentWords(d.Page, cutoff)
	d.Cancel = mine(who, k.owner) && (!late || who.Is(auth.Official, auth.Operator))
	d.LateNote = late
}

// step is what happened in words.
func (b *Booking) step(p pages.Page, s Step) stepRow {
	w := actWords[s.What]
	row := stepRow{Words: w.In(p.Lang), Tone: w.tone, At: pages.Clock(int64(s.At))}
	if s.What == ledger.Booked.String() && s.Status == ledger.Held.String() {
		row.Words = p.Say("提交预约，名额已保留", "Booked, places held")
	}
	if s.What == ledger.Ended.String() {
		ended := statusWords[s.Status]
		row.Words, row.Tone = ended.In(p.Lang), ended.tone
		if p.Lang == "en" && row.Words != "" {
			row.Words = strings.ToUpper(row.Words[:1]) + row.Words[1:]
		}
		row.Note = s.Note
	}
	return row
}
