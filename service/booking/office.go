package booking

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/ticket"
)

type slotAnswer struct{ Body SlotView }

func (b *Booking) putQuotas(ctx context.Context, in *struct {
	Slot string `path:"slot" grade:"L1" maxLength:"64"`
	Body struct {
		Quotas map[string]uint32 `json:"quotas" grade:"L1" doc:"各渠道名额；未列出的不变 / by channel; what is left out stays"`
	}
}) (*slotAnswer, error) {
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return nil, err
	}
	change := map[ledger.Channel]uint32{}
	for name, n := range in.Body.Quotas {
		c, ok := ledger.ParseChannel(name)
		if !ok {
			return nil, errs.New(errs.Invalid, "没有此渠道", "there is no such channel").WithField("quotas")
		}
		change[c] = n
	}
	var refused *errs.Error
	err = running.Do(ctx, func(now int64, s *ledger.State, emit ledger.Emit) { refused = setQuotas(now, s, slot, change, emit) })
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return &slotAnswer{slotView(slot)}, nil
}

func (b *Booking) postClose(ctx context.Context, in *struct {
	Slot string `path:"slot" grade:"L1" maxLength:"64"`
	Body struct {
		Reason string `json:"reason" grade:"L1" minLength:"1" maxLength:"80" doc:"原因，会告知游客 / told to visitors"`
	}
}) (*slotAnswer, error) {
	running, slot, err := b.slot(in.Slot)
	if err != nil {
		return nil, err
	}
	var refused *errs.Error
	err = running.Do(ctx, func(now int64, s *ledger.State, emit ledger.Emit) { refused = s.Close(now, slot, in.Body.Reason, emit) })
	if err == nil && refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return &slotAnswer{slotView(slot)}, nil
}

func (b *Booking) postSlot(ctx context.Context, in *struct {
	Body struct {
		_      struct{}          `grade:"L1"`
		Spot   string            `json:"spot" maxLength:"40"`
		Start  beijing.Time      `json:"start"`
		End    beijing.Time      `json:"end"`
		Opens  *beijing.Time     `json:"opens,omitempty" doc:"开售时间，缺省为现在 / default now"`
		Quotas map[string]uint32 `json:"quotas" doc:"各渠道名额 / places by channel"`
	}
}) (*slotAnswer, error) {
	spot := b.spots[in.Body.Spot]
	if spot == nil {
		return nil, errs.New(errs.NotFound, "没有此景区", "there is no such spot").WithField("spot")
	}
	start, end := time.UnixMilli(int64(in.Body.Start)).In(beijing.Zone), time.UnixMilli(int64(in.Body.End))
	for field, t := range map[string]time.Time{"start": start, "end": end} {
		if !t.Truncate(time.Minute).Equal(t) {
			return nil, errs.New(errs.Invalid, "应为整分钟", "must be a whole minute").WithField(field)
		}
	}
	o := &ledger.Opening{ID: fmt.Sprintf("%s-%s", spot.Name, start.Format("20060102-1504")), Spot: spot.Name, Day: ledger.DayOf(start.Unix()), Start: start.Unix(), End: end.Unix(),
		Opens: b.host.Now().Unix(), Rules: spot.rules()}
	if in.Body.Opens != nil {
		o.Opens = int64(*in.Body.Opens) / 1000
	}
	for name, n := range in.Body.Quotas {
		c, ok := ledger.ParseChannel(name)
		if !ok {
			return nil, errs.New(errs.Invalid, "没有此渠道", "there is no such channel").WithField("quotas")
		}
		o.Quotas[c] = n
	}
	if !staffed(o.Quotas) {
		return nil, errStaffed
	}
	running, err := b.seatOf(spot.Name).shard()
	if err != nil {
		return nil, err
	}
	slot, err := b.openSlot(ctx, running, o)
	if err != nil {
		return nil, err
	}
	return &slotAnswer{slotView(slot)}, nil
}

// LiveView is how things are right now.
type LiveView struct {
	_      struct{}     `grade:"L1"`
	At     beijing.Time `json:"at"`
	Shards []ShardView  `json:"shards"`
	Sales  []SaleView   `json:"sales"`
}

// ShardView is how a shard is right now.
type ShardView struct {
	_        struct{} `grade:"L1"`
	Shard    int      `json:"shard"`
	Problem  string   `json:"problem,omitempty"`
	Waiting  int      `json:"waiting" doc:"排队请求 / requests before the writer"`
	Intake   int      `json:"intake"`
	Booked   uint64   `json:"booked" doc:"启动以来 / since the start, as below"`
	Replayed uint64   `json:"replayed"`
	SoldOut  uint64   `json:"soldOut"`
	Refused  uint64   `json:"refused"`
	Turned   uint64   `json:"turned" doc:"因排队已满被婉拒 / turned away before the full intake"`
	Batches  uint64   `json:"batches"`
	Durable  uint64   `json:"durable" doc:"日志已落盘到 / last durable record of the log"`
}

func (b *Booking) getLive(ctx context.Context, _ *struct{}) (*struct{ Body LiveView }, error) {
	v, err := b.live(ctx)
	return &struct{ Body LiveView }{v}, err
}

func (b *Booking) live(ctx context.Context) (LiveView, error) {
	v := LiveView{At: beijing.At(b.host.Now())}
	for _, seat := range b.seats {
		s := ShardView{Shard: int(seat.number)}
		running, err := seat.shard()
		if err != nil {
			s.Problem = errs.As(err).In(httpapi.CallFrom(ctx).Lang)
			v.Shards = append(v.Shards, s)
			continue
		}
		c := running.Counts()
		s.Waiting, s.Intake = running.Waiting()
		s.Booked, s.Replayed, s.SoldOut, s.Refused = c.Booked.Load(), c.Replayed.Load(), c.SoldOut.Load(), c.Refused.Load()
		s.Turned, s.Batches, s.Durable = c.Turned.Load(), c.Batches.Load(), running.Durable()
		v.Shards = append(v.Shards, s)
	}
	sales, err := b.listSales(ctx, nil)
	if err == nil {
		v.Sales = sales.Body.Items
	}
	return v, err
}

// measure registers what is counted.
func (b *Booking) measure() error {
	sum := func(of func(*ShardView) uint64) func() float64 {
		return func() (n float64) {
			v, _ := b.live(context.Background())
			for i := range v.Shards {
				n += float64(of(&v.Shards[i]))
			}
			return n
		}
	}
	counter := func(name, help string, of func(*ShardView) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, sum(of))
	}
	for _, c := range []prometheus.Collector{
		counter("booked_total", "Bookings made.", func(s *ShardView) uint64 { return s.Booked }),
		counter("replayed_total", "Requests whose key had made a booking before.", func(s *ShardView) uint64 { return s.Replayed }),
		counter("sold_out_total", "Requests refused for want of places.", func(s *ShardView) uint64 { return s.SoldOut }),
		counter("refused_total", "Requests refused for another reason.", func(s *ShardView) uint64 { return s.Refused }),
		counter("turned_away_total", "Requests turned away before a full intake.", func(s *ShardView) uint64 { return s.Turned }),
		counter("batches_total", "Batches written to the logs.", func(s *ShardView) uint64 { return s.Batches }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waiting_requests", Help: "Requests that wait before the writers."}, sum(func(s *ShardView) uint64 { return uint64(s.Waiting) })),
	} {
		if err := b.host.Meter.Register(c); err != nil {
			return err
		}
	}
	return nil
}

const (
	eraseEvery = time.Hour
	erasePiece = 10_000
)

// erase drops the documents of visitors whose visit is over from the tables, and from the logs what is as old as that.
func (b *Booking) erase(ctx context.Context) error {
	slots, err := b.store.filled(ctx, b.host.Now().Add(-b.cfg.Erase).UnixMilli())
	if err != nil {
		return err
	}
	for _, slot := range slots {
		all, err := b.projected(ctx, slot.shard)
		if err != nil {
			return err
		}
		if err := b.store.erase(ctx, slot); err != nil {
			return err
		}
		if !all { // more of its bookings may come into the tables
			continue
		}
		if err := b.store.empty(ctx, slot); err != nil {
			return err
		}
	}
	for _, seat := range b.seats {
		if err := seat.trim(ctx); err != nil {
			return err
		}
	}
	return nil
}

// projected reports whether the tables have all that a shard's log, or this server's copy of it, holds at this moment.
func (b *Booking) projected(ctx context.Context, shard uint16) (bool, error) {
	if int(shard) >= len(b.seats) {
		return false, nil
	}
	durable, ok := b.durable(int(shard))
	if !ok {
		return false, nil // nobody knows
	}
	at, err := b.store.progress(ctx, reader("rows", shard))
	return at >= durable, err
}

// durable returns the last record of a shard that is on this server's disk.
func (b *Booking) durable(shard int) (uint64, bool) {
	if running, err := b.seats[shard].shard(); err == nil {
		return running.Durable(), true
	}
	if b.pair == nil {
		return 0, false
	}
	b.pair.mu.Lock()
	defer b.pair.mu.Unlock()
	if b.pair.stand == nil {
		return 0, false
	}
	return b.pair.stand.logs[shard].Durable(), true
}

// code returns what lets the people of a booking in.
func (b *Booking) code(k *kept) (string, error) {
	_, slot, err := b.slot(k.slot)
	if err != nil {
		return "", nil // long over
	}
	r := &slot.Rules
	t := ticket.Ticket{Booking: uint64(k.number), Slot: slot.Index, Spot: uint16(b.spots[slot.Spot].Code), Party: uint16(k.places),
		From: time.Unix(slot.Start-r.Early, 0), Until: time.Unix(slot.End+r.Late, 0)}
	if r.RealName {
		t.Flags |= ticket.RealName
	}
	if k.channel == ledger.Elderly {
		t.Flags |= ticket.Elderly
	}
	people, err := unpackVisitors(k.visitors)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(people, func(v ledger.Visitor) bool { return v.Child }) {
		t.Flags |= ticket.Child
	}
	sum := gm.SM3(k.visitors)
	copy(t.Digest[:], sum[:])
	return ticket.Sign(b.key, t)
}

// ActReceipt is the receipt of one act.
type ActReceipt struct {
	_        struct{} `grade:"L2"`
	Act      string   `json:"act"`
	Record   string   `json:"record,omitempty" doc:"所在批次的存证记录 / record of its batch"`
	Receipt  string   `json:"receipt,omitempty" doc:"回执文件，两级 / the receipt's file, of two levels"`
	Original string   `json:"original" doc:"原文文件（十六进制以外的原样文本）/ the file that the receipt commits to"`
	Complete bool     `json:"complete"`
}

func (b *Booking) getReceipts(ctx context.Context, in *bookingID) (*struct {
	Body struct {
		Items []ActReceipt `json:"items"`
	}
}, error) {
	k, err := b.load(ctx, httpapi.CallFrom(ctx).Principal, in.ID)
	if err != nil {
		return nil, err
	}
	out := &struct {
		Body struct {
			Items []ActReceipt `json:"items"`
		}
	}{}
	out.Body.Items, err = b.receipts(ctx, k.number)
	return out, err
}

// receipts returns the receipts of a booking's acts. One whose batch is not sealed or not ordered yet has no file.
func (b *Booking) receipts(ctx context.Context, n ledger.Number) ([]ActReceipt, error) {
	acts, err := b.store.acts(ctx, n)
	if err != nil {
		return nil, err
	}
	all := make([]ActReceipt, 0, len(acts))
	for _, a := range acts {
		v := ActReceipt{Act: a.kind.String(), Original: string(b.original(n.Shard(), a.lsn, n, a).Marshal())}
		first, lsns, err := b.store.batchOf(ctx, n.Shard(), a.lsn)
		if errors.Is(err, sqldb.ErrNoRows) {
			all = append(all, v)
			continue
		}
		if err != nil {
			return nil, err
		}
		if v.Record, v.Receipt, v.Complete, err = b.receipt(ctx, n.Shard(), first, lsns, a.lsn); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (b *Booking) receipt(ctx context.Context, shard uint16, first uint64, lsns []byte, lsn uint64) (record, text string, complete bool, err error) {
	index, ok := placeIn(lsns, first, lsn)
	if !ok {
		return "", "", false, nil // not an act of this batch
	}
	proofs, err := b.host.Proofs(ctx, b.host.Name, batchKey(shard, first))
	if err != nil || len(proofs) == 0 {
		if errs.Is(err, errs.Unavailable) {
			err = nil
		}
		return "", "", false, err
	}
	file, complete, err := b.host.ProofOfAct(ctx, proofs[0].Record, index)
	return proofs[0].Record, string(file), complete, err
}

// placeIn returns the place of a record among the acts of a batch.
func placeIn(lsns []byte, first, lsn uint64) (index uint64, ok bool) {
	at := first - 1
	for len(lsns) > 0 {
		step, n := binary.Uvarint(lsns)
		if n <= 0 {
			return 0, false
		}
		at += step
		lsns = lsns[n:]
		if at == lsn {
			return index, true
		}
		index++
	}
	return 0, false
}
