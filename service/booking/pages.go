package booking

import (
	"embed"
	"net/http"
	"reflect"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/access"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/pages"
)

//go:embed pages
var pageFiles embed.FS

var templates = pages.Parse(pageFiles, "calendar", "slot", "room", "bookings", "booking", "gate", "office", "party", "live", "problem")

// front is the pages of the service: what visitors see, and beside it what staff see.
type front struct {
	b                              *Booking
	visitors, operators, officials *pages.Site
}

func (b *Booking) pageRoutes() {
	f := &front{b: b}
	nav := []pages.Link{
		{Name: "calendar", Path: "/booking/", Text: lang.T("预约", "Book")},
		{Name: "bookings", Path: "/booking/bookings", Text: lang.T("我的预约", "My bookings")},
	}
	f.visitors = &pages.Site{Brand: lang.T("景区预约", "Booking"), Home: "/booking/", Who: b.host.Who, Fail: b.host.API.Fail, Nav: nav}
	operators, officials := *f.visitors, *f.visitors
	operators.Nav = append(nav[:2:2],
		pages.Link{Name: "office", Path: "/booking/office", Text: lang.T("管理", "Office")},
		pages.Link{Name: "live", Path: "/booking/live", Text: lang.T("实况", "Live")})
	officials.Nav = append(operators.Nav[:4:4], pages.Link{Name: "gate", Path: "/booking/gate", Text: lang.T("检票", "Gate")})
	f.operators, f.officials = &operators, &officials

	l1, whole := httplabel.Route{Grade: label.L1}, httplabel.Route{Out: reflect.TypeFor[BookingView](), Policy: access.Mask}
	list := httplabel.Route{Out: reflect.TypeFor[bookingList](), Policy: access.Mask}
	form := httplabel.Route{In: reflect.TypeFor[Reservation](), Grade: label.L1}
	f.open("GET /booking/{$}", l1, f.calendarPage)
	f.open("GET /booking/slots/{slot}", l1, f.slotPage)
	f.handle("POST /booking/slots/{slot}", form, f.slotPost)
	f.handle("GET /booking/sales/{sale}", httplabel.Route{Grade: label.L2}, f.roomPage)
	f.handle("POST /booking/sales/{sale}", l1, f.roomPost)
	f.handle("GET /booking/bookings", list, f.bookingsPage)
	f.handle("GET /booking/bookings/{id}", whole, f.bookingPage)
	f.handle("POST /booking/bookings/{id}/pay", l1, f.payPost)
	f.handle("POST /booking/bookings/{id}/cancel", l1, f.cancelPost)
	f.handle("POST /booking/waits/{slot}/{entry}/leave", l1, f.leavePost)
	f.handle("GET /booking/gate", l1, f.gatePage, auth.Official)
	f.handle("GET /booking/office", l1, f.officePage, auth.Official, auth.Operator)
	f.handle("GET /booking/office/slots/{slot}", list, f.partyPage, auth.Official, auth.Operator)
	f.handle("POST /booking/office/slots/{slot}/quotas", l1, f.quotasPost, auth.Operator)
	f.handle("POST /booking/office/slots/{slot}/close", l1, f.closePost, auth.Operator)
	f.handle("GET /booking/live", l1, f.livePage, auth.Official, auth.Operator)
	b.fileRoutes()
	for _, name := range []string{"booking.css", "calendar.js", "slot.js", "room.js", "booking.js", "gate.js", "live.js", "count.js"} {
		b.host.Mux.HandleFunc("GET /booking/"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=300")
			http.ServeFileFS(w, r, pageFiles, "pages/"+name)
		})
	}
}

// graded is a page behind a gate.
type graded func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal, pass httplabel.Pass) error

// handle serves a page to who is signed in and has one of the roles, or to all where there are none.
func (f *front) handle(pattern string, route httplabel.Route, show graded, roles ...auth.Role) {
	f.b.host.Mux.HandleFunc(pattern, f.visitors.Handle(f.behind(pattern, route, show, roles)))
}

// open serves a page to everybody, whether they are signed in or not.
func (f *front) open(pattern string, route httplabel.Route, show graded) {
	behind := f.behind(pattern, route, show, nil)
	known, anyone := f.visitors.Handle(behind), f.visitors.Public(behind)
	f.b.host.Mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			if _, err := r.Cookie(auth.CookieName); err != nil {
				anyone(w, r)
				return
			}
		}
		known(w, r)
	})
}

// behind puts a page behind the gate of its route: pages show no more than the API does. What people can do something
// about is told as a page; the rest is the house's to log.
func (f *front) behind(pattern string, route httplabel.Route, show graded, roles []auth.Role) pages.Show {
	route.Name = pattern
	gate := f.b.host.API.Gate(route)
	return func(w http.ResponseWriter, r *http.Request, p pages.Page, who *auth.Principal) error {
		switch {
		case who.Is(auth.Official):
			p.Site = f.officials
		case who.Is(auth.Operator):
			p.Site = f.operators
		}
		err := error(nil)
		if len(roles) > 0 {
			err = auth.Require(r.Context(), roles...)
		}
		var pass httplabel.Pass
		if err == nil {
			pass, err = gate.Enter(r.Context(), w.Header())
		}
		if err == nil {
			err = show(w, r, p, who, pass)
		}
		if err == nil || errs.Is(err, errs.Internal) {
			return err
		}
		return problem(w, p, errs.As(err))
	}
}

// problem tells what went wrong as a page.
func problem(w http.ResponseWriter, p pages.Page, e *errs.Error) error {
	p.Title, p.Script = p.Say("办不了", "It did not work"), ""
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(e.Kind.HTTP())
	return templates.Render(w, "problem", struct {
		pages.Page
		Words, Hint string
		Again       bool
	}{p, said(p, e), e.Hint.In(p.Lang), e.Kind == errs.TooMany || e.Kind == errs.Unavailable})
}

// said is an error in words for a page, which has no use for the names of fields.
func said(p pages.Page, e *errs.Error) string {
	words := e.Msg.In(p.Lang)
	if p.Lang == lang.EN && words != "" {
		words = strings.ToUpper(words[:1]) + words[1:] + "."
	} else {
		words += "。"
	}
	return words
}
