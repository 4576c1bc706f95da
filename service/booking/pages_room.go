package booking

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/pages"
)

type roomData struct {
	pages.Page
	Sale        SaleView
	Title, Day  string
	In          bool // the reader has a place
	Place       PlaceView
	Words, Tone string
	Waits       string // in words
	Rejoin      bool
	Open        bool // the sale has begun
	Drawn       bool
	Listed      bool // the reader stands on the list that was drawn from
	Until       int64
	UntilWords  string
	Opens       string
	OpensAt     int64
	Now         int64
	Slots       []slotRow
}

// roomPage shows a waiting room, and the reader's place in it.
func (f *front) roomPage(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	b := f.b
	l, err := b.findRoom(r.PathValue("sale"))
	if err != nil {
		return err
	}
	now := b.host.Now()
	p.Title, p.At, p.Script = p.Say("等候室", "Waiting room"), "calendar", "/booking/room.js"
	d := roomData{Page: p, Sale: l.view(), Title: l.spot.Title.In(p.Lang), Opens: momentWords(p, l.opens), OpensAt: l.opens.UnixMilli(), Now: now.UnixMilli(), Open: !now.Before(l.opens)}
	d.Drawn = d.Sale.Drawn
	for _, s := range b.slots(l.spot.Name, -1) {
		if saleOf(s) != l.sale {
			continue
		}
		d.Day = dayWords(p, time.Unix(s.Start, 0))
		rows, err := b.dayRows(r.Context(), p, b.slots(l.spot.Name, s.Day))
		if err != nil {
			return err
		}
		d.Slots = rows
		break
	}
	place, err := l.place(who.ID)
	switch {
	case err == nil && place.State != "left" && place.State != "used" && place.State != "expired":
		if place, err = l.join(who.ID, ""); err != nil { // changes nothing, and tells the name on the list
			return err
		}
		d.In = true
	case err != nil && !errs.Is(err, errs.NotFound):
		return err
	}
	d.Place, d.Words, d.Tone = place, placeWords[place.State].In(p.Lang), placeWords[place.State].tone
	d.Rejoin = place.State != "" && !d.In
	d.Waits, d.Listed = waitWords(p, place), d.In && l.listed(place.Number)
	if until, err := beijing.Parse(place.Until); err == nil {
		d.Until, d.UntilWords = until.UnixMilli(), until.Format("15:04")
	}
	return templates.Render(w, "room", d)
}

// listed reports whether the place of a number was in the draw: those who came after it only queue.
func (l *lobby) listed(number uint32) bool {
	l.mu.RLock()
	tree := l.tree
	l.mu.RUnlock()
	if tree == nil {
		return false
	}
	_, err := tree.Prove(number)
	return err == nil
}

// waitWords is how long somebody still waits.
func waitWords(p pages.Page, v PlaceView) string {
	switch {
	case v.State != "waiting" || v.Wait < 0:
		return p.Say("暂无估计", "not known yet")
	case v.Wait < 60:
		return p.Say("不到 1 分钟", "less than a minute")
	}
	return p.Say("约 ", "about ") + strconv.Itoa((v.Wait+59)/60) + p.Say(" 分钟", " min")
}

// roomPost joins a waiting room, or leaves it.
func (f *front) roomPost(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	l, err := f.b.findRoom(r.PathValue("sale"))
	if err != nil {
		return err
	}
	if r.PostFormValue("act") == "leave" {
		err = l.leave(who.ID)
	} else {
		_, err = l.join(who.ID, "")
	}
	if err == nil {
		http.Redirect(w, r, "/booking/sales/"+url.PathEscape(l.sale), http.StatusSeeOther)
	}
	return err
}
