package booking

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/shard"
)

const base = "/api/booking"

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func (b *Booking) routes() {
	op := func(method, path, id, zh, en string, set ...func(*httpapi.Operation)) httpapi.Operation {
		o := httpapi.Operation{Method: method, Path: base + path, ID: id, Tag: "booking", Summary: lang.T(zh, en)}
		for _, f := range set {
			f(&o)
		}
		return o
	}
	roles := func(r ...auth.Role) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Roles = r } }
	public := func(o *httpapi.Operation) { o.Public = true }
	gives := func(g label.Grade, media string) func(*httpapi.Operation) {
		return func(o *httpapi.Operation) { o.Grade, o.Produces = g, media }
	}
	status := func(code int) func(*httpapi.Operation) { return func(o *httpapi.Operation) { o.Status = code } }
	api, staff := b.host.API, roles(auth.Official, auth.Operator)

	httpapi.Register(api, op("GET", "/spots", "list-spots", "列出景区", "List the spots", public), b.listSpots)
	httpapi.Register(api, op("GET", "/slots", "list-slots", "列出时段与余票", "List slots and what is left", public), b.listSlots)
	httpapi.HandleHot(api, op("POST", "/reserve", "reserve", "预约", "Book", status(http.StatusCreated), gives(label.L1, "application/json"),
		func(o *httpapi.Operation) {
			o.MaxBody, o.Accepts, o.Takes, o.Answers = maxReserve, []string{"application/json"}, typeOf[Reservation](), typeOf[Answer]()
			o.Idempotent, o.KeyNeeded = true, true
		}), b.reserve, ledger.ErrSoldOut, ledger.ErrClosed, ledger.ErrPast, ledger.ErrNoSlot, ledger.ErrKeyReused, shard.ErrTurned, errRoom, errPace)
	httpapi.HandleHot(api, op("POST", "/reserve/batch", "reserve-batch", "批量预约，各自成败", "Book many, each by itself", roles(auth.Agency, auth.Official), gives(label.L1, "application/json"),
		func(o *httpapi.Operation) {
			o.MaxBody, o.Accepts, o.Takes = maxReserves, []string{"application/json"}, typeOf[Reservations]()
		}), b.reserveMany)

	httpapi.Register(api, op("GET", "/bookings", "list-bookings", "我的预约；工作人员可查全部", "My bookings; staff see all"), b.listBookings)
	httpapi.Register(api, op("GET", "/bookings/{id}", "get-booking", "查看预约及其经过", "Show a booking and its history"), b.getBooking)
	httpapi.Register(api, op("POST", "/bookings/{id}/pay", "pay-booking", "支付：取得收银台地址", "Pay: get the cashier's address"), b.postPay)
	httpapi.Register(api, op("POST", "/bookings/{id}/cancel", "cancel-booking", "取消预约", "Cancel a booking"), b.postCancel)
	httpapi.Register(api, op("GET", "/bookings/{id}/receipt", "get-booking-receipts", "预约各事项的回执与原文", "The receipts of a booking's acts, with their originals"), b.getReceipts)
	httpapi.Handle(api, op("POST", "/payments/callback", "payment-callback", "支付回调（SM2 签名）", "A payment provider's callback (signed with SM2)", public,
		status(http.StatusNoContent), gives(label.L1, "")), b.callback)
	httpapi.Handle(api, op("GET", "/ledger", "read-ledger", "预约台账（NDJSON）", "The ledger of bookings (NDJSON)", roles(auth.Operator, auth.Auditor), gives(label.L2, "application/x-ndjson")), b.getLedger)

	httpapi.Register(api, op("POST", "/waitlist", "join-waitlist", "候补", "Join the waitlist of a slot", status(http.StatusCreated), func(o *httpapi.Operation) { o.Idempotent, o.KeyNeeded = true, true }), b.postWait)
	httpapi.Register(api, op("GET", "/waitlist", "list-waitlist", "我的候补", "My places on waitlists"), b.listWaiting)
	httpapi.Register(api, op("DELETE", "/waitlist/{slot}/{entry}", "leave-waitlist", "放弃候补", "Leave a waitlist"), b.deleteWait)

	httpapi.Register(api, op("GET", "/sales", "list-sales", "列出等候室", "List the waiting rooms", public), b.listSales)
	httpapi.Register(api, op("POST", "/sales/{sale}/place", "join-room", "进入等候室", "Join a waiting room"), b.joinRoom)
	httpapi.Register(api, op("GET", "/sales/{sale}/place", "get-place", "查看等候位置", "Show my place"), b.getPlace)
	httpapi.Register(api, op("DELETE", "/sales/{sale}/place", "leave-room", "离开等候室", "Leave a waiting room"), b.leaveRoom)
	httpapi.Handle(api, op("GET", "/sales/{sale}/place/events", "watch-place", "等候位置（SSE）", "Watch my place (server-sent events)", func(o *httpapi.Operation) {
		o.Produces, o.Event = "text/event-stream", typeOf[PlaceView]()
	}), b.watchPlace)
	httpapi.Handle(api, op("GET", "/sales/{sale}/draw", "get-draw", "抽签记录，任何人可复核", "The record of the draw, for anyone to check", public, gives(label.L1, "text/plain; charset=utf-8")), b.getDraw)
	httpapi.Handle(api, op("GET", "/sales/{sale}/draw/list", "get-draw-list", "抽签名单（化名）", "The list that was drawn from (pseudonyms)", public, gives(label.L1, "text/plain; charset=utf-8")), b.getDrawList)
	httpapi.Register(api, op("GET", "/sales/{sale}/place/proof", "get-proof", "我在抽签名单中的证明", "Proof that I am on the list"), b.getProof)

	httpapi.Register(api, op("PUT", "/slots/{slot}/quotas", "set-quotas", "调整各渠道名额", "Change the quotas of a slot", roles(auth.Operator)), b.putQuotas)
	httpapi.Register(api, op("POST", "/slots/{slot}/close", "close-slot", "关闭时段并退款（如恶劣天气）", "Close a slot and pay back, as for weather", roles(auth.Operator)), b.postClose)
	httpapi.Register(api, op("POST", "/slots", "open-slot", "加开时段", "Open a slot besides the calendar's", roles(auth.Operator), status(http.StatusCreated)), b.postSlot)
	httpapi.Register(api, op("GET", "/live", "live", "实时状况", "How things are right now", staff), b.getLive)
}

// SpotView is a spot as people see it.
type SpotView struct {
	_          struct{}      `grade:"L1"`
	Name       string        `json:"name"`
	Title      lang.Text     `json:"title"`
	RealName   bool          `json:"realName"`
	Identities []string      `json:"identities,omitempty"`
	Products   []ProductView `json:"products"`
	Party      int           `json:"party"`
	Ahead      int           `json:"ahead" doc:"提前几天开售 / days ahead that a sale begins"`
	At         string        `json:"at" doc:"开售时刻 / when on that day"`
	Cancel     int           `json:"cancel" doc:"开始前多少秒截止取消 / seconds before the start when cancelling ends"`
}

// ProductView is a product as people see it.
type ProductView struct {
	_     struct{}  `grade:"L1"`
	Name  string    `json:"name"`
	Title lang.Text `json:"title"`
	Price int64     `json:"price" doc:"分 / fen"`
}

type spotsAnswer struct {
	Body struct {
		Items []SpotView `json:"items"`
	}
}

func (b *Booking) listSpots(context.Context, *struct{}) (*spotsAnswer, error) {
	out := &spotsAnswer{}
	for _, s := range b.sorted() {
		out.Body.Items = append(out.Body.Items, s.view())
	}
	return out, nil
}

func (b *Booking) sorted() []*Spot {
	all := make([]*Spot, 0, len(b.spots))
	for _, s := range b.spots {
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *Spot) int { return x.Code - y.Code })
	return all
}

func (s *Spot) view() SpotView {
	v := SpotView{Name: s.Name, Title: s.Title, RealName: s.RealName, Identities: s.Identities, Party: s.Party, Ahead: s.Sale.Ahead, At: s.Sale.At,
		Cancel: int(time.Duration(s.Cancel) / time.Second)}
	for _, p := range s.Products {
		v.Products = append(v.Products, ProductView{Name: p.Name, Title: p.Title, Price: p.Price})
	}
	return v
}

// SlotView is a slot as people see it.
type SlotView struct {
	_        struct{}       `grade:"L1"`
	ID       string         `json:"id"`
	Spot     string         `json:"spot"`
	Start    beijing.Time   `json:"start"`
	End      beijing.Time   `json:"end"`
	Opens    beijing.Time   `json:"opens" doc:"开售时间 / when its sale begins"`
	Sale     string         `json:"sale" doc:"所属的开售 / the sale it belongs to"`
	Capacity uint64         `json:"capacity" doc:"各渠道名额之和 / places in all channels"`
	Quotas   map[string]int `json:"quotas" doc:"各渠道名额 / places by channel"`
	Left     int            `json:"left" doc:"各渠道余票之和 / places left in all channels"`
	Channels map[string]int `json:"channels" doc:"各渠道余票 / places left by channel"`
	Closed   bool           `json:"closed,omitempty"`
}

func slotView(s *ledger.Slot) SlotView {
	v := SlotView{ID: s.ID, Spot: s.Spot, Start: beijing.Time(s.Start * 1000), End: beijing.Time(s.End * 1000), Opens: beijing.Time(s.Opens * 1000),
		Sale: saleOf(s), Quotas: map[string]int{}, Channels: map[string]int{}, Closed: s.Closed()}
	quotas := s.Capacity()
	v.Capacity = quotas.Total()
	for c := range ledger.Channel(ledger.Channels) {
		n := s.Left(c)
		v.Quotas[c.String()], v.Channels[c.String()] = int(quotas[c]), n
		v.Left += n
	}
	return v
}

type slotsAnswer struct{ Body httpapi.Page[SlotView] }

func (b *Booking) listSlots(_ context.Context, in *struct {
	Spot string `query:"spot" grade:"L1" maxLength:"40" doc:"只列此景区 / only of this spot"`
	Date string `query:"date" grade:"L1" maxLength:"10" doc:"只列此日，如 2026-10-01 / only of this day"`
}) (*slotsAnswer, error) {
	day := int32(-1)
	if in.Date != "" {
		t, err := beijing.ParseDate(in.Date)
		if err != nil {
			return nil, errs.New(errs.Invalid, "应为 2026-10-01 这样的日期", "must be a date such as 2026-10-01").WithField("date")
		}
		day = ledger.DayOf(t.Unix())
	}
	out := &slotsAnswer{}
	for _, s := range b.slots(in.Spot, day) {
		out.Body.Items = append(out.Body.Items, slotView(s))
	}
	return out, nil
}

// slots returns the slots of a spot and day, all where they are not given, in order.
func (b *Booking) slots(spot string, day int32) (all []*ledger.Slot) {
	for _, seat := range b.seats {
		running, err := seat.shard()
		if err != nil {
			continue
		}
		for _, s := range running.State().Slots() {
			if (spot == "" || s.Spot == spot) && (day < 0 || s.Day == day) {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y *ledger.Slot) int {
		if x.Start != y.Start {
			return int(x.Start - y.Start)
		}
		return strings.Compare(x.ID, y.ID)
	})
	return all
}

// BookingView is a booking as its owner and staff see it.
type BookingView struct {
	_        struct{}      `grade:"L2"`
	ID       string        `json:"id"`
	Slot     string        `json:"slot"`
	Spot     string        `json:"spot"`
	Start    beijing.Time  `json:"start"`
	Status   string        `json:"state"`
	Channel  string        `json:"channel"`
	Product  string        `json:"product"`
	Quantity int           `json:"quantity"`
	Entered  int           `json:"entered,omitempty"`
	Amount   int64         `json:"amount" doc:"分 / fen"`
	Refund   int64         `json:"refund,omitempty" doc:"已退或在退，分 / paid back or on its way, fen"`
	Until    *beijing.Time `json:"until,omitempty"`
	Made     beijing.Time  `json:"made"`
	Changed  beijing.Time  `json:"changed"`
	Payment  *PaymentView  `json:"payment,omitempty"`
	Visitors []Visitor     `json:"visitors,omitempty" grade:"L3"`
	History  []Step        `json:"history,omitempty"`
	Code     string        `json:"code,omitempty" doc:"入园码 / code for the gate"`
}

// PaymentView is a payment as its payer sees it.
type PaymentView struct {
	_       struct{} `grade:"L2"`
	Phase   string   `json:"phase"`
	Paid    int64    `json:"paid"`
	Back    int64    `json:"back" doc:"已退，分 / gone back, fen"`
	Cashier string   `json:"cashier,omitempty"`
}

// Step is one thing that happened to a booking.
type Step struct {
	_      struct{}     `grade:"L2"`
	At     beijing.Time `json:"at"`
	What   string       `json:"what"`
	Status string       `json:"state"`
	Note   string       `json:"note,omitempty"`
}

func (b *Booking) view(k *kept) BookingView {
	v := BookingView{ID: k.number.String(), Slot: k.slot, Status: k.status.String(), Channel: k.channel.String(), Quantity: k.places, Entered: k.entered,
		Amount: k.amount, Refund: k.refund, Made: beijing.Time(k.made), Changed: beijing.Time(k.changed)}
	if k.status == ledger.Held {
		until := beijing.Time(k.until)
		v.Until = &until
	}
	v.Spot, _ = spotOf(k.slot)
	if _, slot, err := b.slot(k.slot); err == nil {
		v.Start = beijing.Time(slot.Start * 1000)
		v.Product = slot.Rules.Products[k.product].Name
	}
	return v
}

type bookingsAnswer struct{ Body httpapi.Page[BookingView] }

func (b *Booking) listBookings(ctx context.Context, in *struct {
	httpapi.PageQuery
	Slot   string `query:"slot" grade:"L1" maxLength:"64" doc:"只列此时段 / only of this slot"`
	Status string `query:"state" grade:"L1" enum:"held,confirmed,used,expired,cancelled,refunded,missed" doc:"只列此状态 / only of this state"`
}) (*bookingsAnswer, error) {
	p := httpapi.CallFrom(ctx).Principal
	f := sought{limit: in.Limit + 1}
	if before, err := in.Position(); err != nil {
		return nil, err
	} else if before != "" {
		if f.before, err = ledger.ParseNumber(before); err != nil {
			return nil, errs.New(errs.Invalid, "游标无效", "the cursor is not valid").WithField("cursor")
		}
	}
	if !p.Is(auth.Official, auth.Operator) {
		f.owner = p.ID
	}
	if in.Slot != "" {
		_, slot, err := b.slot(in.Slot)
		if err != nil {
			return nil, err
		}
		first := ledger.NumberOf(b.seatOf(slot.Spot).number, slot.Index, 0)
		f.slot = &first
	}
	for s := ledger.Held; s <= ledger.Missed; s++ {
		if in.Status == s.String() {
			f.status = s
		}
	}
	rows, err := b.store.list(ctx, f)
	if err != nil {
		return nil, err
	}
	views := make([]BookingView, len(rows))
	for i := range rows {
		views[i] = b.view(&rows[i])
	}
	return &bookingsAnswer{httpapi.PageOf(views, in.Limit, func(v BookingView) string { return v.ID })}, nil
}

type bookingID struct {
	ID string `path:"id" grade:"L1" maxLength:"20"`
}

// load returns a booking that the caller may see. One that was just made is waited for: the tables are a moment behind.
func (b *Booking) load(ctx context.Context, p *auth.Principal, id string) (kept, error) {
	n, err := ledger.ParseNumber(id)
	if err != nil {
		return kept{}, ledger.ErrNoBooking
	}
	k, err := b.store.booking(ctx, n)
	for wait := 10 * time.Millisecond; err == ledger.ErrNoBooking && wait < time.Second && b.remembers(ctx, n); wait *= 2 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return kept{}, ctx.Err()
		}
		k, err = b.store.booking(ctx, n)
	}
	if err == nil && !mine(p, k.owner) && !p.Is(auth.Auditor) {
		err = ledger.ErrNoBooking // whether there is one is nobody else's business
	}
	return k, err
}

// remembers reports whether the ledger has a booking.
func (b *Booking) remembers(ctx context.Context, n ledger.Number) bool {
	_, err := b.act(ctx, n, func(_ int64, s *ledger.State, _ ledger.Emit) (ledger.View, *errs.Error) {
		v, ok := s.Look(n)
		if !ok {
			return v, ledger.ErrNoBooking
		}
		return v, nil
	})
	return err == nil
}

type bookingAnswer struct{ Body BookingView }

func (b *Booking) getBooking(ctx context.Context, in *bookingID) (*bookingAnswer, error) {
	k, err := b.load(ctx, httpapi.CallFrom(ctx).Principal, in.ID)
	if err != nil {
		return nil, err
	}
	v, err := b.whole(ctx, &k)
	return &bookingAnswer{v}, err
}

// whole is view with everything that a list leaves out.
func (b *Booking) whole(ctx context.Context, k *kept) (BookingView, error) {
	v := b.view(k)
	visitors, err := unpackVisitors(k.visitors)
	if err != nil {
		return v, err
	}
	for _, s := range visitors {
		if len(s.Sealed) == 0 {
			continue
		}
		visitor, err := b.unseal(s.Sealed, k.slot)
		if err != nil {
			return v, err
		}
		v.Visitors = append(v.Visitors, visitor)
	}
	acts, err := b.store.acts(ctx, k.number)
	if err != nil {
		return v, err
	}
	for _, a := range acts {
		v.History = append(v.History, Step{At: beijing.Time(a.at), What: a.kind.String(), Status: a.status.String(), Note: a.words()})
	}
	if paid, err := b.payments().Store.Get(ctx, k.number.String()); err == nil {
		v.Payment = &PaymentView{Phase: string(paid.Phase), Paid: paid.Paid, Back: paid.Returned()}
		if k.status == ledger.Held {
			v.Payment.Cashier = paid.Cashier
		}
	} else if !errs.Is(err, errs.NotFound) {
		return v, err
	}
	if k.status == ledger.Confirmed || k.status == ledger.Entered {
		v.Code, err = b.code(k)
	}
	return v, err
}

type payAnswer struct{ Body PaymentView }

func (b *Booking) postPay(ctx context.Context, in *bookingID) (*payAnswer, error) {
	k, err := b.load(ctx, httpapi.CallFrom(ctx).Principal, in.ID)
	if err != nil {
		return nil, err
	}
	v, err := b.act(ctx, k.number, func(_ int64, s *ledger.State, _ ledger.Emit) (ledger.View, *errs.Error) {
		v, ok := s.Look(k.number)
		switch {
		case !ok:
			return v, ledger.ErrNoBooking
		case v.Status != ledger.Held:
			return v, ledger.ErrLapsed
		}
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	paid, err := b.order(ctx, v)
	if err != nil {
		return nil, err
	}
	return &payAnswer{PaymentView{Phase: string(paid.Phase), Paid: paid.Paid, Cashier: paid.Cashier}}, nil
}

func (b *Booking) postCancel(ctx context.Context, in *struct {
	ID   string `path:"id" grade:"L1" maxLength:"20"`
	Body struct {
		Reason string `json:"reason,omitempty" grade:"L1" maxLength:"80" doc:"原因，可不填 / may be left out"`
	}
}) (*bookingAnswer, error) {
	p := httpapi.CallFrom(ctx).Principal
	k, err := b.load(ctx, p, in.ID)
	if err != nil {
		return nil, err
	}
	v, err := b.cancel(ctx, p, &k, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	k.status = v.Status
	return &bookingAnswer{b.view(&k)}, nil
}

// cancel gives a booking up. Staff may do so after the cut-off.
func (b *Booking) cancel(ctx context.Context, p *auth.Principal, k *kept, reason string) (ledger.View, error) {
	return b.act(ctx, k.number, func(now int64, s *ledger.State, emit ledger.Emit) (ledger.View, *errs.Error) {
		return s.Cancel(now, k.number, reason, p.Is(auth.Official, auth.Operator), chance(), emit)
	})
}

// getLedger writes the bookings in the order of their numbers, as the tables have them: what is checked against what
// callers were told.
func (b *Booking) getLedger(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := sought{oldest: true, limit: maxLines}
	if after := q.Get("after"); after != "" {
		n, err := ledger.ParseNumber(after)
		if err != nil {
			return errs.New(errs.Invalid, "应为预约编号", "must be the id of a booking").WithField("after")
		}
		f.after = n
	}
	if limit := q.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > maxLines {
			return errs.Newf(errs.Invalid, "应为 1 至 %d", "must be 1 to %d", maxLines).WithField("limit")
		}
		f.limit = n
	}
	if err := b.settled(r.Context()); err != nil {
		return err
	}
	rows, err := b.store.list(r.Context(), f)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if len(rows) == f.limit {
		w.Header().Set("Next-After", rows[len(rows)-1].number.String())
	}
	out := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(out)
	for i := range rows {
		k := &rows[i]
		if err := lines.Encode(LedgerLine{ID: k.number.String(), Key: k.key, Slot: k.slot, Channel: k.channel.String(), Quantity: k.places, Status: k.status.String()}); err != nil {
			return err
		}
	}
	return out.Flush()
}

// maxLines is how many bookings one answer of the ledger has at most.
const maxLines = 50_000

// LedgerLine is a booking in the ledger.
type LedgerLine struct {
	ID       string `json:"id"`
	Key      string `json:"key"`
	Slot     string `json:"slot"`
	Channel  string `json:"channel"`
	Quantity int    `json:"quantity"`
	Status   string `json:"state"`
}

// settled waits until the tables have what the logs had when it was called.
func (b *Booking) settled(ctx context.Context) error {
	for _, seat := range b.seats {
		if err := seat.caughtUp(ctx); err != nil {
			return err
		}
	}
	return nil
}
