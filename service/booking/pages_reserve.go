package booking

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/shard"
)

// book does for a form what reserve does for a program.
func (b *Booking) book(ctx context.Context, who *auth.Principal, remote, key string, in *Reservation) (v ledger.View, err error) {
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return v, err
	}
	if !who.Is(auth.Official, auth.Agency) && !b.pace.allow(who.ID, b.host.Now()) {
		return v, errPace
	}
	ask := shard.NewAsk(1)
	if err := b.formRequest(ask.Request(0), in, key, who, slot); err != nil {
		ask.Release()
		return v, err
	}
	result, err := b.one(ctx, running, ask, slot, in, who, remote)
	return result.View, err
}

// formRequest is request for what came as a form. An admission is not part of what a key stands for: it is new each time
// that a place is looked at.
func (b *Booking) formRequest(r *ledger.Request, in *Reservation, key string, who *auth.Principal, slot *ledger.Slot) error {
	bare := *in
	bare.Admission = ""
	body, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	return b.request(r, in, body, key, who, slot)
}

// queueUp puts somebody on the waitlist of a slot.
func (b *Booking) queueUp(ctx context.Context, who *auth.Principal, key string, in *Reservation) error {
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return err
	}
	var r ledger.Request
	if err := b.formRequest(&r, in, key, who, slot); err != nil {
		return err
	}
	var refused *errs.Error
	err = running.Do(ctx, func(now int64, s *ledger.State, emit ledger.Emit) { _, refused = s.Wait(now, &r, emit) })
	if err == nil && refused != nil {
		err = refused
	}
	return err
}

var visitorField = regexp.MustCompile(`^visitors\[(\d+)\](?:\.(\w+))?$`)

// tell puts what is wrong beside the field that it is about.
func (d *slotData) tell(e *errs.Error) {
	for _, e := range append([]*errs.Error{e}, e.Also...) {
		words := said(d.Page, e)
		if e.Code == ledger.ErrKeyReused.Code {
			words = d.Say("此表单已预约成功过一次，请先看“我的预约”；再次提交将另约一次。", "This form has booked once already: see My bookings first. Sending it again books another time.")
		}
		at := visitorField.FindStringSubmatch(e.Field)
		switch n := -1; {
		case at != nil:
			if n, _ = strconv.Atoi(at[1]); n < len(d.Visitors) {
				row := &d.Visitors[n]
				field := map[string]*string{"kind": &row.ForKind, "number": &row.ForNumber, "name": &row.ForName}[at[2]]
				if field == nil {
					field = &row.For
				}
				*field = words
				break
			}
			d.Problem = words
		case e.Field == "visitors":
			d.ForVisitors = words
		case e.Field == "quantity":
			d.ForQuantity = words
		case e.Field == "product":
			d.ForProduct = words
		case e.Field == "channel":
			d.ForChannel = words
		default:
			d.Problem = words
		}
	}
	if d.Problem == "" {
		d.Problem = d.Say("请改正标出的各项。", "Please correct what is marked.")
	}
}

// Nth counts visitors as people do.
func (d *slotData) Nth(n int) int { return n + 1 }
