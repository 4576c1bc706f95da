package booking

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/room"
	"github.com/qiongdev/qiong/service/booking/shard"
)

// lobby is the waiting room of one sale, with what moves it.
type lobby struct {
	b     *Booking
	spot  *Spot
	sale  string
	opens time.Time

	coming *step // that nobody has seen yet; the usher's own

	mu     sync.RWMutex // for writing where the room changes
	room   *room.Room
	tree   *room.Tree    // of the list, once it is shown
	record room.Record   // as it is shown
	moved  chan struct{} // closed, and made anew, when the queue moves
	saved  time.Time
	dirty  bool
	busy   time.Time // when the writer last had more to do than it could
	uses   uses
}

// lobbies are the waiting rooms that are open, by sale.
type lobbies struct {
	mu      sync.RWMutex
	bySale  map[string]*lobby
	key     []byte
	checker *room.Checker
	past    chan struct{} // held by who has the list of a closed room in memory
}

const (
	roomBefore = 24 * time.Hour // a room opens so long before its sale,
	roomAfter  = 24 * time.Hour // and closes so long after
	roomTick   = 200 * time.Millisecond
	roomSave   = 5 * time.Second
	calm       = 10 * time.Second // a sale needs no room when the writer had rest for so long
	pastLists  = 2                // of closed rooms in memory at a time: 24 MB each, where a million waited
)

func (b *Booking) openLobbies() (err error) {
	b.lobbies.bySale, b.lobbies.past = map[string]*lobby{}, make(chan struct{}, pastLists)
	if b.lobbies.key, err = b.host.Keys.Secret("booking.rooms", 32); err != nil {
		return err
	}
	b.lobbies.checker, err = room.NewChecker(b.lobbies.key)
	return err
}

// clearRooms forgets the rooms of an earlier time of being in charge.
func (b *Booking) clearRooms() {
	b.lobbies.mu.Lock()
	defer b.lobbies.mu.Unlock()
	clear(b.lobbies.bySale)
}

// lobby returns the waiting room of a sale; nil where it has none.
func (b *Booking) lobby(sale string) *lobby {
	b.lobbies.mu.RLock()
	defer b.lobbies.mu.RUnlock()
	return b.lobbies.bySale[sale]
}

var errRoom = errs.New(errs.TooMany, "预约人数较多，请先进入等候室", "many are booking: join the waiting room first").
	WithCode("booking.room").WithField("admission").WithRetryAfter(2 * time.Second)

// mayEnter holds people to the waiting room of a sale that has one. Windows, travel agencies and the channel for the
// elderly have places of their own and no room. The claim is to be ended.
func (b *Booking) mayEnter(slot *ledger.Slot, admission string, p *auth.Principal, r *ledger.Request) (claim, error) {
	if r.Channel != ledger.Online || b.spots[slot.Spot].Sale.Room == roomOff {
		return claim{}, nil
	}
	l := b.lobby(saleOf(slot))
	switch {
	case l == nil && b.spots[slot.Spot].Sale.Room == roomOn && roomTime(time.Unix(slot.Opens, 0), b.host.Now()):
		return claim{}, errRoom // it is about to be opened, or restored
	case l == nil || admission == "" && !l.engaged():
		return claim{}, nil
	case admission == "":
		return claim{}, errRoom
	}
	now := b.host.Now()
	number, err := b.lobbies.checker.Check(admission, l.sale, []byte(p.ID), now)
	if err != nil {
		return claim{}, err
	}
	return l.admitted(number, r.Key, now)
}

// engaged reports whether nobody may book without an admission.
func (l *lobby) engaged() bool {
	if l.spot.Sale.Room == roomOn {
		return true
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.room.Len() > 0 || l.b.host.Now().Sub(l.busy) < calm && !l.busy.IsZero()
}

// usher opens rooms, draws, and lets people in, until ctx ends.
func (b *Booking) usher(ctx context.Context) error {
	ticker := time.NewTicker(roomTick)
	defer ticker.Stop()
	next := time.Time{}
	for {
		if now := b.host.Now(); !now.Before(next) {
			next = now.Add(time.Second)
			if err := b.furnish(ctx, now); err != nil && ctx.Err() == nil {
				b.host.Log.ErrorContext(ctx, "waiting rooms", "err", err)
			}
		}
		b.lobbies.mu.RLock()
		all := make([]*lobby, 0, len(b.lobbies.bySale))
		for _, l := range b.lobbies.bySale {
			all = append(all, l)
		}
		b.lobbies.mu.RUnlock()
		for _, l := range all {
			if err := l.move(ctx); err != nil && ctx.Err() == nil {
				b.host.Log.ErrorContext(ctx, "waiting room", "sale", l.sale, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return b.saveRooms(context.WithoutCancel(ctx), all)
		case <-ticker.C:
		}
	}
}

func (b *Booking) saveRooms(ctx context.Context, all []*lobby) (err error) {
	for _, l := range all {
		err = errors.Join(err, l.save(ctx))
	}
	return err
}

// furnish opens the rooms of sales that come near, and closes those that are long over.
func (b *Booking) furnish(ctx context.Context, now time.Time) error {
	sales := map[string]*ledger.Slot{}
	for _, seat := range b.seats {
		s, err := seat.shard()
		if err != nil {
			continue
		}
		for _, slot := range s.State().Slots() {
			if spot := b.spots[slot.Spot]; spot != nil && spot.Sale.Room != roomOff {
				sales[saleOf(slot)] = slot
			}
		}
	}
	var failed error
	for sale, slot := range sales {
		if b.lobby(sale) == nil && roomTime(time.Unix(slot.Opens, 0), now) {
			failed = errors.Join(failed, b.openRoom(ctx, sale, slot))
		}
	}
	b.lobbies.mu.Lock()
	defer b.lobbies.mu.Unlock()
	for sale, l := range b.lobbies.bySale {
		l.mu.RLock()
		empty := l.room.Len() == 0
		l.mu.RUnlock()
		if now.After(l.opens.Add(roomAfter)) && empty {
			delete(b.lobbies.bySale, sale)
		}
	}
	return failed
}

// roomTime reports whether a sale may have a room, by when it opens.
func roomTime(opens, now time.Time) bool {
	return now.After(opens.Add(-roomBefore)) && now.Before(opens.Add(roomAfter))
}

// openRoom makes the room of a sale, or restores it. Its seed is on the disk, here and wherever somebody may take over,
// before its commitment can be seen: until then there is no room, and the next call looks again.
func (b *Booking) openRoom(ctx context.Context, sale string, slot *ledger.Slot) error {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	opens := time.Unix(slot.Opens, 0)
	first := room.Record{Sale: sale, Opens: opens, Commitment: gm.SM3(seed[:])}.Text()
	if _, err := b.host.DB.Exec(ctx, sqldb.Durable, `INSERT INTO room (sale, spot, opens_at, seed, record, export, saved_at) VALUES ($1, $2, $3, $4, $5, $6, 0)
		ON CONFLICT (sale) DO NOTHING`, sale, slot.Spot, opens.UnixMilli(), b.sealer.Seal(seed[:], []byte("room/"+sale)), string(first), []byte{}); err != nil {
		return err
	}
	var kept, export []byte
	var record string
	var saved int64
	if err := b.host.DB.QueryRow(ctx, "SELECT seed, record, export, saved_at FROM room WHERE sale = $1", sale).Scan(&kept, &record, &export, &saved); err != nil {
		return err
	}
	if !b.copied(sale, opens, time.UnixMilli(saved)) {
		return nil
	}
	plain, err := b.sealer.Open(kept, []byte("room/"+sale))
	if err != nil {
		return err
	}
	copy(seed[:], plain)
	cfg := room.Config{Sale: sale, Opens: opens, Key: b.lobbies.key, Seed: seed, Limit: b.cfg.Room, Gap: 10_000,
		Inlet: room.Inlet{Target: max(b.cfg.Intake/4, 1)}}
	l := &lobby{b: b, spot: b.spots[slot.Spot], sale: sale, opens: opens, moved: make(chan struct{})}
	if len(export) > 0 {
		l.room, err = room.Restore(cfg, export)
	} else {
		cfg.Gap = 0
		l.room, err = room.New(cfg)
	}
	if err != nil {
		return err
	}
	if err := l.resume([]byte(record)); err != nil {
		return err
	}
	b.lobbies.mu.Lock()
	defer b.lobbies.mu.Unlock()
	b.lobbies.bySale[sale] = l
	return nil
}

// move draws when the sale opens, and lets people in after it.
func (l *lobby) move(ctx context.Context) error {
	now := l.b.host.Now()
	if now.Before(l.opens) {
		return l.saveNow(ctx, now, roomSave)
	}
	if !l.record.Drawn {
		return l.advance(ctx, now)
	}
	running, err := l.b.seatOf(l.spot.Name).shard()
	if err != nil {
		return nil // nobody goes in while bookings are being recovered
	}
	signal := l.signal(running)
	l.mu.Lock()
	if depth, of := running.Waiting(); depth > of/2 {
		l.busy = now
	}
	in := l.room.Admit(now, signal)
	if len(in) > 0 {
		l.dirty = true
		close(l.moved)
		l.moved = make(chan struct{})
	}
	l.mu.Unlock()
	return l.saveNow(ctx, now, roomSave)
}

// signal is what the writer says of itself, and the stock of the sale.
func (l *lobby) signal(running *shard.Shard) room.Signal {
	depth, _ := running.Waiting()
	c := running.Counts()
	s := room.Signal{Depth: depth, Served: c.Booked.Load() + c.Refused.Load() + c.SoldOut.Load() + c.Replayed.Load()}
	for _, slot := range running.State().Slots() {
		if slot.Spot == l.spot.Name && saleOf(slot) == l.sale && !slot.Closed() {
			s.Stock += slot.Left(ledger.Online)
		}
	}
	return s
}

func (l *lobby) saveNow(ctx context.Context, now time.Time, every time.Duration) error {
	l.mu.RLock()
	due := l.dirty && now.Sub(l.saved) >= every
	l.mu.RUnlock()
	if !due {
		return nil
	}
	return l.save(ctx)
}

// save keeps the room, and the record as it is or is to be shown.
func (l *lobby) save(ctx context.Context) error {
	l.mu.Lock()
	export, record, now := l.room.Export(), l.record, l.b.host.Now()
	l.saved, l.dirty = now, false
	l.mu.Unlock()
	if l.coming != nil {
		record = l.coming.record()
	}
	_, err := l.b.host.DB.Exec(ctx, sqldb.Durable, "UPDATE room SET record = $1, export = $2, saved_at = $3 WHERE sale = $4", string(record.Text()), export, now.UnixMilli(), l.sale)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dirty = true
	}
	return err
}

// PlaceView is somebody's place in a waiting room.
type PlaceView struct {
	_         struct{} `grade:"L2"`
	Sale      string   `json:"sale"`
	Number    uint32   `json:"number" doc:"序号 / number of the place"`
	State     string   `json:"state" enum:"in-draw,waiting,admitted,used,expired,left,sold-out"`
	Ahead     int      `json:"ahead" doc:"前面还有多少人 / who goes in first"`
	Total     int      `json:"total"`
	Wait      int      `json:"wait" doc:"预计秒数，-1 为未知 / estimated seconds; -1: not known"`
	Opens     string   `json:"opens"`
	Alias     string   `json:"alias,omitempty" doc:"在公布名单中的化名 / the name on the published list"`
	Token     string   `json:"token,omitempty" doc:"服务重启后凭此恢复位置 / brings the place back after a restart"`
	Admission string   `json:"admission,omitempty" doc:"预约时填写 / goes into the reservation"`
	Until     string   `json:"until,omitempty" doc:"入场凭证的有效期 / until when the admission holds"`
}

// join gives somebody their place.
func (l *lobby) join(who, token string) (PlaceView, error) {
	now := l.b.host.Now()
	l.mu.Lock()
	var place room.Place
	var err error
	if token != "" {
		place, err = l.room.Resume(now, []byte(who), token)
	} else {
		place, err = l.room.Join(now, []byte(who))
	}
	l.dirty = l.dirty || place.New
	l.mu.Unlock()
	if err != nil {
		return PlaceView{}, err
	}
	v, err := l.place(who)
	v.Token, v.Alias = place.Token, hexOf(place.Alias[:])
	return v, err
}

// place returns where somebody stands.
func (l *lobby) place(who string) (PlaceView, error) {
	now := l.b.host.Now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	number, ok := l.room.Find([]byte(who))
	if !ok {
		return PlaceView{}, errs.New(errs.NotFound, "您不在等候室中", "you are not in the waiting room").WithCode("booking.no-place")
	}
	st, err := l.room.Status(now, number)
	if err != nil {
		return PlaceView{}, err
	}
	v := PlaceView{Sale: l.sale, Number: number, State: st.State.String(), Ahead: st.Ahead, Total: st.Total, Wait: -1, Opens: beijingTime(l.opens.UnixMilli())}
	if st.Wait >= 0 {
		v.Wait = int((st.Wait + time.Second - 1) / time.Second)
	}
	if token, until, ok := l.room.Admission(now, number, []byte(who)); ok {
		v.Admission, v.Until = token, beijingTime(until.UnixMilli())
	}
	return v, nil
}

func (l *lobby) leave(who string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	number, ok := l.room.Find([]byte(who))
	if !ok {
		return nil
	}
	l.dirty = true
	return l.room.Leave(number)
}

// next returns a channel that is closed when the queue moves.
func (l *lobby) next() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.moved
}
