package booking

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// chance is what decides when places that became free are sold again.
func chance() uint64 { return rand.Uint64() }

// WaitView is somebody's place on the waitlist of a slot.
type WaitView struct {
	_        struct{}     `grade:"L2"`
	Slot     string       `json:"slot"`
	Entry    int          `json:"entry"`
	Quantity int          `json:"quantity"`
	Status   string       `json:"state" enum:"waiting,served,left"`
	Booking  string       `json:"booking,omitempty" doc:"候补成功后的预约 / the booking it led to"`
	At       beijing.Time `json:"at"`
}

type waitAnswer struct{ Body WaitView }

func (b *Booking) postWait(ctx context.Context, in *struct{ Body Reservation }) (*waitAnswer, error) {
	call := httpapi.CallFrom(ctx)
	if !validKey(call.Key) {
		return nil, errKey
	}
	running, slot, err := b.slot(in.Body.Slot)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(in.Body)
	if err != nil {
		return nil, err
	}
	var r ledger.Request
	if err := b.request(&r, &in.Body, body, call.Key, call.Principal, slot); err != nil {
		return nil, err
	}
	v := WaitView{Slot: slot.ID, Quantity: r.Places, Status: "waiting"}
	var refused *errs.Error
	err = running.Do(ctx, func(now int64, s *ledger.State, emit ledger.Emit) {
		v.Entry, refused = s.Wait(now, &r, emit)
		v.At = beijing.Time(now)
	})
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err // the writer may still be at it
	}
	return &waitAnswer{v}, nil
}

type waitsAnswer struct {
	Body struct {
		Items []WaitView `json:"items"`
	}
}

func (b *Booking) listWaiting(ctx context.Context, _ *struct{}) (*waitsAnswer, error) {
	all, err := sqldb.All(ctx, b.host.DB, func(r sqldb.Scanner) (v WaitView, err error) {
		var entry, places, booking, at int64
		err = r.Scan(&v.Slot, &entry, &places, &v.Status, &booking, &at)
		v.Entry, v.Quantity, v.At = int(entry), int(places), beijing.Time(at)
		if booking != 0 {
			v.Booking = ledger.Number(booking).String()
		}
		return v, err
	}, "SELECT slot, entry, places, status, booking, at FROM queue WHERE owner = $1 ORDER BY at DESC LIMIT 100", httpapi.CallFrom(ctx).Principal.ID)
	out := &waitsAnswer{}
	out.Body.Items = all
	return out, err
}

func (b *Booking) deleteWait(ctx context.Context, in *struct {
	Slot  string `path:"slot" grade:"L1" maxLength:"64"`
	Entry int    `path:"entry" grade:"L1" minimum:"0"`
}) (*struct{}, error) {
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return nil, err
	}
	var refused *errs.Error
	err = running.Do(ctx, func(now int64, s *ledger.State, emit ledger.Emit) {
		refused = s.Leave(now, slot, in.Entry, httpapi.CallFrom(ctx).Principal.ID, emit)
	})
	if err == nil && refused != nil {
		err = refused
	}
	return nil, err
}

// SaleView is a waiting room as everyone sees it.
type SaleView struct {
	_          struct{} `grade:"L1"`
	Sale       string   `json:"sale"`
	Spot       string   `json:"spot"`
	Opens      string   `json:"opens"`
	People     int      `json:"people"`
	Drawn      bool     `json:"drawn"`
	Engaged    bool     `json:"engaged" doc:"须先进入等候室 / nobody books without a place"`
	Commitment string   `json:"commitment" doc:"抽签种子的 SM3 / SM3 of the seed of the draw"`
}

func (l *lobby) view() SaleView {
	engaged := l.engaged()
	l.mu.RLock()
	defer l.mu.RUnlock()
	return SaleView{Sale: l.sale, Spot: l.spot.Name, Opens: beijingTime(l.opens.UnixMilli()), People: l.room.Len(), Drawn: l.record.Drawn, Engaged: engaged,
		Commitment: hexOf(l.record.Commitment[:])}
}

type salesAnswer struct {
	Body struct {
		Items []SaleView `json:"items"`
	}
}

func (b *Booking) listSales(context.Context, *struct{}) (*salesAnswer, error) {
	out := &salesAnswer{}
	b.lobbies.mu.RLock()
	all := make([]*lobby, 0, len(b.lobbies.bySale))
	for _, l := range b.lobbies.bySale {
		all = append(all, l)
	}
	b.lobbies.mu.RUnlock()
	for _, l := range all {
		out.Body.Items = append(out.Body.Items, l.view())
	}
	slices.SortFunc(out.Body.Items, func(x, y SaleView) int { return strings.Compare(x.Sale, y.Sale) })
	return out, nil
}

type saleID struct {
	Sale string `path:"sale" grade:"L1" maxLength:"64"`
}

func (b *Booking) findRoom(sale string) (*lobby, error) {
	if l := b.lobby(sale); l != nil {
		return l, nil
	}
	return nil, errNoRoom
}

type placeAnswer struct{ Body PlaceView }

func (b *Booking) joinRoom(ctx context.Context, in *struct {
	Sale string `path:"sale" grade:"L1" maxLength:"64"`
	Body struct {
		Token string `json:"token,omitempty" grade:"L2" maxLength:"200" doc:"此前取得的位置凭证，可不填 / of a place that was given before"`
	}
}) (*placeAnswer, error) {
	l, err := b.findRoom(in.Sale)
	if err != nil {
		return nil, err
	}
	v, err := l.join(httpapi.CallFrom(ctx).Principal.ID, in.Body.Token)
	return &placeAnswer{v}, err
}

func (b *Booking) getPlace(ctx context.Context, in *saleID) (*placeAnswer, error) {
	l, err := b.findRoom(in.Sale)
	if err != nil {
		return nil, err
	}
	v, err := l.place(httpapi.CallFrom(ctx).Principal.ID)
	return &placeAnswer{v}, err
}

func (b *Booking) leaveRoom(ctx context.Context, in *saleID) (*struct{}, error) {
	l, err := b.findRoom(in.Sale)
	if err != nil {
		return nil, err
	}
	return nil, l.leave(httpapi.CallFrom(ctx).Principal.ID)
}

// watchPlace sends somebody's place whenever the queue moves.
func (b *Booking) watchPlace(w http.ResponseWriter, r *http.Request) error {
	l, err := b.findRoom(r.PathValue("sale"))
	if err != nil {
		return err
	}
	who := auth.From(r.Context()).ID
	if _, err := l.place(who); err != nil {
		return err
	}
	return httpapi.Stream(w, r, func(ctx context.Context, send httpapi.SendFunc) error {
		var last PlaceView
		for {
			moved := l.next()
			v, err := l.place(who)
			if err != nil {
				return err
			}
			if v != last {
				if err := send("", "place", v); err != nil {
					return err
				}
				last = v
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// ProofView proves that somebody was in a draw.
type ProofView struct {
	_     struct{}      `grade:"L1"`
	Index uint64        `json:"index"`
	Path  []merkle.Hash `json:"path"`
}

func (b *Booking) getProof(ctx context.Context, in *saleID) (*struct{ Body ProofView }, error) {
	l, err := b.findRoom(in.Sale)
	if err != nil {
		return nil, err
	}
	l.mu.RLock()
	number, ok := l.room.Find([]byte(httpapi.CallFrom(ctx).Principal.ID))
	tree := l.tree
	l.mu.RUnlock()
	if !ok || tree == nil {
		return nil, errs.New(errs.NotFound, "您不在抽签名单中", "you are not on the list of the draw").WithCode("booking.no-place")
	}
	proof, err := tree.Prove(number)
	return &struct{ Body ProofView }{ProofView{Index: proof.Index, Path: proof.Path}}, err
}
