package booking

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label/httplabel"
	"github.com/qiongdev/qiong/kit/pages"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// payPost leads to the cashier.
func (f *front) payPost(w http.ResponseWriter, r *http.Request, _ pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	k, err := f.b.load(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := f.b.act(r.Context(), k.number, func(_ int64, s *ledger.State, _ ledger.Emit) (ledger.View, *errs.Error) {
		v, ok := s.Look(k.number)
		if !ok {
			return v, ledger.ErrNoBooking
		}
		return v, nil
	})
	if err != nil {
		return err
	}
	next := "/booking/bookings/" + k.number.String()
	if v.Status == ledger.Held {
		paid, err := f.b.order(r.Context(), v)
		if err != nil {
			return err
		}
		// A form may lead to this house alone (see its Content-Security-Policy): the sandbox is here, by whatever name the
		// reader knows it. To another provider the booking's page has a link.
		if path := strings.TrimPrefix(paid.Cashier, f.b.host.URL()); strings.HasPrefix(path, cashPath+"/") {
			next = path
		}
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// cancelPost gives a booking up.
func (f *front) cancelPost(w http.ResponseWriter, r *http.Request, _ pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	k, err := f.b.load(r.Context(), who, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !mine(who, k.owner) {
		return errs.New(errs.Forbidden, "只能取消自己的预约", "only one's own bookings can be cancelled")
	}
	v, err := f.b.cancel(r.Context(), who, &k, "")
	if err != nil {
		return err
	}
	f.b.shown(r.Context(), v.Slot.Spot)
	http.Redirect(w, r, "/booking/bookings/"+k.number.String(), http.StatusSeeOther)
	return nil
}

// shown waits a moment until the tables have what was done at a spot, so that the next page shows it.
func (b *Booking) shown(ctx context.Context, spot string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = b.seatOf(spot).caughtUp(ctx) // then the page shows it when it is looked at again
}

// leavePost takes somebody off a waitlist.
func (f *front) leavePost(w http.ResponseWriter, r *http.Request, _ pages.Page, who *auth.Principal, _ httplabel.Pass) error {
	running, slot, err := f.b.slot(r.PathValue("slot"))
	if err != nil {
		return err
	}
	entry, err := strconv.Atoi(r.PathValue("entry"))
	if err != nil || entry < 0 {
		return ledger.ErrNoBooking
	}
	var refused *errs.Error
	err = running.Do(r.Context(), func(now int64, s *ledger.State, emit ledger.Emit) {
		refused = s.Leave(now, slot, entry, who.ID, emit)
	})
	if err == nil && refused != nil {
		err = refused
	}
	if err == nil {
		f.b.shown(r.Context(), slot.Spot)
		http.Redirect(w, r, "/booking/bookings", http.StatusSeeOther)
	}
	return err
}
