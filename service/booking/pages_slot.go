package booking

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// visitorRow is a visitor on the form.
type visitorRow struct {
	Visitor
	N                                int
	ForKind, ForNumber, ForName, For string // what is wrong with a field, in words
}

// slotData is the form of a slot.
type slotData struct {
	pages.Page
	Spot     SpotView
	Title    string
	Slot     slotRow
	Day      string
	DayLink  string
	Sale     string
	Closed   bool // nothing can be booked and nobody can wait
	Free     bool
	SignedIn bool

	Key, Admission string
	Kinds          []kindRow
	Products       []productRow
	Channels       []kindRow
	Channel        string
	Quantity       int
	Quantities     []int
	Visitors       []visitorRow
	Add, Drop      bool
	Focus          int // the visitor that was added; -1: none
	Children       Children
	Elderly        int
	Problem        string
	ForQuantity    string
	ForVisitors    string
	ForProduct     string
	ForChannel     string
}

type kindRow struct {
	Name, Title string
	Chosen      bool
}

// slotPage shows the form of a slot.
func (f *front) slotPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	_, slot, err := f.b.slot(r.PathValue("slot"))
	if err != nil {
		return err
	}
	in := Reservation{Slot: slot.ID, Quantity: 1, Visitors: []Visitor{{}}}
	data, err := f.slotData(r.Context(), p, who, slot, &in, rand.Text())
	if err != nil {
		return err
	}
	return templates.Render(w, "slot", data)
}

// slotData is the form with what was filled in.
func (f *front) slotData(ctx context.Context, p pages.Page, who *auth.Principal, slot *ledger.Slot, in *Reservation, key string) (*slotData, error) {
	b := f.b
	spot := b.spots[slot.Spot]
	rows, err := b.dayRows(ctx, p, []*ledger.Slot{slot})
	if err != nil {
		return nil, err
	}
	start := time.Unix(slot.Start, 0)
	p.Title, p.At, p.Script = spot.Title.In(p.Lang)+" "+rows[0].Hours, "calendar", "/booking/slot.js"
	d := &slotData{Page: p, Spot: spot.view(), Title: spot.Title.In(p.Lang), Slot: rows[0], Day: dayWords(p, start), SignedIn: who != nil,
		DayLink: "/booking/?" + url.Values{"spot": {spot.Name}, "date": {midnight(start).Format(time.DateOnly)}}.Encode(),
		Key:     key, Admission: in.Admission, Channel: in.Channel, Quantity: in.Quantity, Focus: -1, Children: spot.Children, Elderly: spot.Elderly.From}
	d.Closed = !d.Slot.Book && !d.Slot.Queue
	for _, name := range spot.Identities {
		d.Kinds = append(d.Kinds, kindRow{Name: name, Title: kinds[name].title.In(p.Lang)})
	}
	d.Products = productRows(p, spot)
	for i := range d.Products {
		d.Products[i].Chosen = d.Products[i].Name == in.Product || in.Product == "" && i == 0
	}
	for _, c := range f.channelsOf(who, slot) {
		d.Channels = append(d.Channels, kindRow{c.String(), fmt.Sprintf("%s (%s %d)", channelWords[c.String()].In(p.Lang), p.Say("余", "left:"), slot.Left(c)), c.String() == in.Channel})
	}
	for n := range spot.Party {
		d.Quantities = append(d.Quantities, n+1)
	}
	for i, v := range in.Visitors {
		d.Visitors = append(d.Visitors, visitorRow{Visitor: v, N: i})
	}
	d.Add, d.Drop = len(in.Visitors) < spot.Party, len(in.Visitors) > 1
	if l := b.lobby(saleOf(slot)); l != nil && l.engaged() {
		d.Sale = saleOf(slot)
		if d.Admission == "" && who != nil {
			if place, err := l.place(who.ID); err == nil {
				d.Admission = place.Admission
			}
		}
	}
	if len(d.Channels) > 1 { // staff and agencies have channels that are open when online is not
		d.Closed = d.Slot.Soon || !d.Slot.Book && slot.Closed() || b.phaseOf(slot) == over
	}
	return d, nil
}

// channelsOf returns the channels that somebody may choose from.
func (f *front) channelsOf(who *auth.Principal, slot *ledger.Slot) (all []ledger.Channel) {
	for c := range ledger.Channel(ledger.Channels) {
		switch {
		case c == ledger.Elderly && (f.b.spots[slot.Spot].Elderly.From == 0 || slot.Left(c) == 0 && !who.Is(auth.Official)):
		case who == nil && c > ledger.Online && c < ledger.Elderly:
		default:
			if _, err := channelOf(c.String(), who); err == nil {
				all = append(all, c)
			}
		}
	}
	return all
}

// maxForm is the size of a form; fifty visitors fit.
const maxForm = 64 << 10

// readForm reads what was filled in. Visitors of whom nothing was filled in are left out, but for the first.
func readForm(w http.ResponseWriter, r *http.Request, slot *ledger.Slot) (*Reservation, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, errs.New(errs.Invalid, "表单无法读取", "the form cannot be read")
	}
	in := &Reservation{Slot: slot.ID, Channel: r.PostForm.Get("channel"), Product: r.PostForm.Get("product"), Admission: r.PostForm.Get("admission")}
	if !slot.Rules.RealName {
		in.Quantity, _ = strconv.Atoi(r.PostForm.Get("quantity")) // what is no number is no quantity either
		return in, nil
	}
	keepEmpty := strings.HasPrefix(r.PostForm.Get("act"), "add")
	for i := range slot.Rules.Party {
		field := func(name string) string { return strings.TrimSpace(r.PostForm.Get(fmt.Sprintf("%s-%d", name, i))) }
		v := Visitor{Kind: field("kind"), Number: strings.ToUpper(field("number")), Name: field("name"), Child: field("child") != ""}
		if v.Child && v.Number == "" {
			v.Kind = ""
		}
		_, there := r.PostForm[fmt.Sprintf("kind-%d", i)]
		if there && (i == 0 || keepEmpty || v.Number != "" || v.Name != "" || v.Child) {
			in.Visitors = append(in.Visitors, v)
		}
	}
	return in, nil
}

// slotPost books, puts somebody on the waitlist, or changes how many visitors the form has room for.
func (f *front) slotPost(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	_, slot, err := f.b.slot(r.PathValue("slot"))
	if err != nil {
		return err
	}
	in, err := readForm(w, r, slot)
	if err != nil {
		return err
	}
	key, act := r.PostForm.Get("key"), r.PostForm.Get("act")
	if !validKey(key) {
		key = rand.Text()
	}
	again := func(e *errs.Error, key string) error {
		data, err := f.slotData(r.Context(), p, who, slot, in, key)
		if err != nil {
			return err
		}
		if act == "add" {
			data.Focus = len(in.Visitors) - 1
		}
		if e != nil {
			data.tell(e)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(e.Kind.HTTP())
		}
		return templates.Render(w, "slot", data)
	}
	switch {
	case act == "add":
		if len(in.Visitors) < slot.Rules.Party {
			in.Visitors = append(in.Visitors, Visitor{})
		}
		return again(nil, key)
	case strings.HasPrefix(act, "drop-"):
		if n, err := strconv.Atoi(act[len("drop-"):]); err == nil && n >= 0 && n < len(in.Visitors) && len(in.Visitors) > 1 {
			in.Visitors = append(in.Visitors[:n], in.Visitors[n+1:]...)
		}
		return again(nil, key)
	case act == "wait":
		err = f.b.queueUp(r.Context(), who, key, in)
		if err == nil {
			f.b.shown(r.Context(), slot.Spot)
			http.Redirect(w, r, "/booking/bookings", http.StatusSeeOther)
			return nil
		}
	default:
		var v ledger.View
		if v, err = f.b.book(r.Context(), who, r.RemoteAddr, key, in); err == nil {
			http.Redirect(w, r, "/booking/bookings/"+v.Number.String(), http.StatusSeeOther)
			return nil
		}
	}
	e := errs.As(err)
	switch {
	case e.Kind == errs.Internal:
		return err
	case e.Code == errRoom.Code:
		http.Redirect(w, r, "/booking/sales/"+url.PathEscape(saleOf(slot)), http.StatusSeeOther)
		return nil
	case e.Code == ledger.ErrKeyReused.Code:
		key = rand.Text() // the form has booked once; whoever sends it again means another
	}
	return again(e, key)
}
