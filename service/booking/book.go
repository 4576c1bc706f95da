package booking

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/payment"
	"github.com/qiongdev/qiong/service/booking/payment/sandbox"
	"github.com/qiongdev/qiong/service/booking/shard"
)

//go:embed tables/*.sql
var tables embed.FS

// The events. A batch stands for what happened to many bookings: its data says which records of the log.
const (
	EventBatch  = "booking.batch.sealed"
	EventClosed = "booking.slot.closed"
	EventListed = "booking.sale.listed"
)

var events = []qiong.Event{
	{Type: EventBatch, Version: 1, Grade: "L1", Act: true, Doc: lang.T("一批预约事项", "many acts of bookings")},
	{Type: EventListed, Version: 1, Grade: "L1", Act: true, Doc: lang.T("一场开售的抽签名单已定", "the list of a sale's draw is fixed")},
	{Type: EventClosed, Version: 1, Grade: "L1", Act: true, Doc: lang.T("时段关闭", "a slot was closed")},
}

// Service is booking in a house, paid for in the sandbox.
var Service = NewService(nil)

// NewService returns booking in a house of a program that brings payment providers, by the names that booking.payment
// gives them. Each is made once its house is.
func NewService(providers map[string]Provide) *qiong.Service {
	return &qiong.Service{
		Name:         "booking",
		Doc:          lang.T("景区分时预约：开抢不超售，回执可核验", "bookings of scenic spots: a rush that never oversells, with receipts"),
		Needs:        qiong.DB | qiong.Keys,
		Tables:       sqldb.Files(tables),
		Config:       &Defaults,
		ConfigSource: configSource,
		Events:       events,
		Commands:     commands,
		New: func(ctx context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
			return open(ctx, h, *cfg.(*Config), providers)
		},
	}
}

// Booking is the service.
type Booking struct {
	host     *qiong.Host
	cfg      Config
	folder   string
	store    store
	spots    map[string]*Spot
	sealer   *gm.Sealer
	key      *keys.Key // signs the codes for gates
	people   *gm.MAC   // of pseudonyms
	salts    *gm.MAC   // of what acts commit to
	leases   *lease.Client
	seats    []*seat
	pace     pace
	networks networks
	batches  atomic.Int32 // that are under way
	lobbies  lobbies
	gates    gates
	pair     *pair // nil where this server has the bookings alone

	sandbox  *sandbox.Sandbox // nil where another provider is paid
	payments func() *payment.Book
}

func open(ctx context.Context, h *qiong.Host, cfg Config, providers map[string]Provide) (*Booking, error) {
	b := &Booking{host: h, cfg: cfg, store: store{db: h.DB, ids: &sync.Map{}}, spots: map[string]*Spot{}}
	spots, err := LoadSpots(cfg.Spots)
	if err != nil {
		return nil, err
	}
	for _, s := range spots {
		b.spots[s.Name] = s
	}
	if b.folder, err = h.Folder(); err != nil {
		return nil, err
	}
	if b.sealer, err = h.Keys.Sealer("booking.visitors"); err != nil {
		return nil, err
	}
	if b.key, err = h.Keys.Signer("booking.tickets"); err != nil {
		return nil, err
	}
	for name, mac := range map[string]**gm.MAC{"booking.persons": &b.people, "booking.salts": &b.salts} {
		key, err := h.Keys.Secret(name, 32)
		if err != nil {
			return nil, err
		}
		*mac = gm.NewMAC(key)
	}
	if err := b.fixShards(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func() error{b.openLobbies, b.gateRoutes, b.measure, b.openPair} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := b.openPayments(providers); err != nil {
		return nil, err
	}
	b.pace.limit = cfg.Attempts
	h.Every("calendar", calendarEvery, b.openSlots)
	h.Every("erase", eraseEvery, b.erase)
	b.routes()
	b.pageRoutes()
	return b, nil
}

// fixShards makes the seats, as many as when the first slot was opened.
func (b *Booking) fixShards(ctx context.Context) error {
	made, err := sqldb.All(ctx, b.host.DB, func(r sqldb.Scanner) (name string, err error) { return name, r.Scan(&name) },
		"SELECT name FROM progress WHERE name LIKE 'rows/%'")
	if err != nil {
		return err
	}
	if len(made) > 0 && len(made) != b.cfg.Shards {
		return errs.Newf(errs.Conflict, "已有 %d 个分片，不可更改", "there are %d shards already, which cannot change", len(made)).WithField("booking.shards")
	}
	for i := range b.cfg.Shards {
		b.seats = append(b.seats, &seat{b: b, number: uint16(i), folder: filepath.Join(b.folder, fmt.Sprintf("shard-%03d", i))})
	}
	return nil
}

// Run implements qiong.Runner.
func (b *Booking) Run(ctx context.Context) (err error) {
	g, ctx := errgroup.WithContext(ctx)
	if b.sandbox != nil {
		g.Go(func() error { return b.sandbox.Run(ctx) })
	}
	if b.pair != nil {
		g.Go(func() error { return b.pair.run(ctx) })
		return g.Wait()
	}
	g.Go(func() error { return b.alone(ctx) })
	return g.Wait()
}

// alone runs the bookings of a server that shares them with none.
func (b *Booking) alone(ctx context.Context) (err error) {
	if b.leases, err = lease.Alone(ctx, filepath.Join(b.folder, "lease"), "self"); err != nil {
		return err
	}
	defer b.leases.Close()
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range b.seats {
		g.Go(func() error { return s.run(ctx) })
	}
	g.Go(func() error { return b.usher(ctx) })
	g.Go(func() error { return b.collect(ctx) })
	return g.Wait()
}

// Ready implements qiong.Readier.
func (b *Booking) Ready() error {
	if p := b.pair; p != nil && !p.leads() {
		return p.ready()
	}
	for _, s := range b.seats {
		if _, err := s.shard(); err != nil {
			return err
		}
	}
	return nil
}

// seatOf returns the seat of a spot.
func (b *Booking) seatOf(spot string) *seat {
	h := fnv.New32a()
	_, _ = h.Write([]byte(spot))
	return b.seats[h.Sum32()%uint32(len(b.seats))]
}

// slot finds a slot, and the shard that has it.
func (b *Booking) slot(id string) (*shard.Shard, *ledger.Slot, error) {
	spot, ok := spotOf(id)
	if !ok || b.spots[spot] == nil {
		return nil, nil, ledger.ErrNoSlot
	}
	s, err := b.seatOf(spot).shard()
	if err != nil {
		return nil, nil, err
	}
	slot := s.State().Slot(id)
	if slot == nil {
		return nil, nil, ledger.ErrNoSlot
	}
	return s, slot, nil
}

// spotOf returns the spot in a slot's id: what stands before day and hour.
func spotOf(slot string) (string, bool) {
	const rest = len("-20261001-0800")
	if len(slot) <= rest || slot[len(slot)-rest] != '-' {
		return "", false
	}
	return slot[:len(slot)-rest], true
}

// of returns the shard that has a booking.
func (b *Booking) of(n ledger.Number) (*shard.Shard, error) {
	if int(n.Shard()) >= len(b.seats) {
		return nil, ledger.ErrNoBooking
	}
	return b.seats[n.Shard()].shard()
}

const calendarEvery = time.Minute

// openSlots opens the slots of the days ahead, one day before their sale begins at the latest, so that people can see
// what is coming.
func (b *Booking) openSlots(ctx context.Context) error {
	today := midnight(b.host.Now())
	for _, spot := range b.spots {
		s, err := b.seatOf(spot.Name).shard()
		if err != nil {
			continue // it opens them itself, when it runs
		}
		for d := range spot.Sale.Ahead + 2 {
			for _, o := range spot.slots(today.AddDate(0, 0, d)) {
				if s.State().Slot(o.ID) != nil || !b.host.Now().Before(time.Unix(o.End, 0)) {
					continue
				}
				if _, err := b.openSlot(ctx, s, o); err != nil && !errs.Is(err, errs.Conflict) {
					return err
				}
			}
		}
	}
	return nil
}

func (b *Booking) openSlot(ctx context.Context, s *shard.Shard, o *ledger.Opening) (*ledger.Slot, error) {
	var slot *ledger.Slot
	var refused *errs.Error
	err := s.Do(ctx, func(now int64, st *ledger.State, emit ledger.Emit) { slot, refused = st.Open(now, o, emit) })
	switch {
	case err != nil:
		return nil, err // the writer may still be at it
	case refused != nil:
		return nil, refused
	}
	return slot, nil
}

// act has the shard of a booking do something to it, and returns what it then is.
func (b *Booking) act(ctx context.Context, n ledger.Number, do func(now int64, s *ledger.State, emit ledger.Emit) (ledger.View, *errs.Error)) (ledger.View, error) {
	s, err := b.of(n)
	if err != nil {
		return ledger.View{}, err
	}
	var v ledger.View
	var refused *errs.Error
	if err := s.Do(ctx, func(now int64, st *ledger.State, emit ledger.Emit) { v, refused = do(now, st, emit) }); err != nil {
		return ledger.View{}, err // the writer may still be at it
	}
	if refused != nil {
		return v, refused
	}
	return v, nil
}

// pseudonym returns the keyed digest by which somebody is known.
func (b *Booking) pseudonym(who string) [32]byte { return b.people.Sum([]byte(who)) }

// mine reports whether somebody may see and change a booking of an owner.
func mine(p *auth.Principal, owner string) bool {
	return p != nil && (p.ID == owner || p.Is(auth.Official, auth.Operator))
}

func (s *seat) String() string { return "booking/" + strconv.Itoa(int(s.number)) }
