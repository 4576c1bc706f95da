package exchange

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/table"
	"github.com/qiongdev/qiong/kit/telemetry"
)

//go:embed tables/*.sql
var tables embed.FS

// EventAccepted tells that records were accepted.
const EventAccepted = "exchange.transfer.accepted"

var events = []qiong.Event{
	{Type: EventAccepted, Version: 1, Grade: "L2", Act: true, Doc: lang.T("一批数据已接收", "a transfer was accepted")},
}

// AcceptedEvent is the data of EventAccepted: what came in, not the records themselves.
type AcceptedEvent struct {
	Transfer string `json:"transfer"`
	Feed     string `json:"feed"`
	Version  int64  `json:"version"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Day      string `json:"day"`
	Records  int64  `json:"records"`
	Held     int64  `json:"held"` // in quarantine
	Manifest string `json:"manifest,omitempty"`
}

// New returns the exchange service, which reaches other databases by these drivers.
func New(drivers map[string]table.Opener) *qiong.Service {
	return &qiong.Service{
		Name:         "exchange",
		Doc:          lang.T("数据交换：省级 UTF-8 与市县 GB18030 系统互通，逐条校验，可对账", "data exchange between UTF-8 and GB 18030 systems: every record checked, both sides reconciled"),
		Needs:        qiong.DB | qiong.Keys,
		Tables:       sqldb.Files(tables),
		Config:       &Defaults,
		ConfigSource: configSource,
		Events:       events,
		Commands:     commands,
		New: func(ctx context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
			return newExchange(ctx, h, *cfg.(*Config), drivers)
		},
	}
}

// Exchange is the service.
type Exchange struct {
	host    *qiong.Host
	cfg     Config
	drivers map[string]table.Opener
	store   store
	ids     ident.Source
	sealer  *gm.Sealer
	current map[string]*Feed // newest version, by name
	feeds   map[feedKey]*Feed
	wake    map[route]chan struct{}
	metrics metrics

	mu      sync.Mutex
	sending map[string]bool // transfers that a connection is sending now
	open    map[string]table.Table
}

type feedKey struct {
	name    string
	version int64
}

type metrics struct {
	records   *prometheus.CounterVec // by feed and what became of them
	delivered *prometheus.CounterVec // records, by feed and target
	failed    *prometheus.CounterVec // attempts, by feed and target
	waiting   *prometheus.GaugeVec   // chunks, by feed and target
}

func newExchange(ctx context.Context, h *qiong.Host, cfg Config, drivers map[string]table.Opener) (*Exchange, error) {
	x := &Exchange{host: h, cfg: cfg, drivers: drivers, store: store{h.DB}, current: map[string]*Feed{}, feeds: map[feedKey]*Feed{},
		wake: map[route]chan struct{}{}, sending: map[string]bool{}, open: map[string]table.Table{}}
	x.metrics = metrics{
		records:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "records_total", Help: "Records received, by what became of them."}, []string{"feed", "fate"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "delivered_total", Help: "Records delivered."}, []string{"feed", "target"}),
		failed:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "failed_deliveries_total", Help: "Attempts to deliver that failed."}, []string{"feed", "target"}),
		waiting:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waiting_chunks", Help: "Chunks that wait for a target."}, []string{"feed", "target"}),
	}
	for _, c := range []prometheus.Collector{x.metrics.records, x.metrics.delivered, x.metrics.failed, x.metrics.waiting} {
		if err := h.Meter.Register(c); err != nil {
			return nil, err
		}
	}
	var err error
	if x.sealer, err = h.Keys.Sealer("exchange.data"); err != nil {
		return nil, err
	}
	last, err := x.store.lastID(ctx)
	if err != nil {
		return nil, err
	}
	if last != "" {
		n, err := ident.Parse(last)
		if err != nil {
			return nil, err
		}
		x.ids.Seen(n)
	}
	if err := x.loadFeeds(ctx); err != nil {
		return nil, err
	}
	h.Every("clean", time.Hour, x.clean)
	h.Every("waiting", 15*time.Second, x.count)
	x.routes()
	x.pageRoutes()
	return x, nil
}

// loadFeeds reads the feeds on offer and those that transfers were accepted under, and keeps each version.
func (x *Exchange) loadFeeds(ctx context.Context) error {
	offered, err := LoadFeeds(x.cfg.Feeds)
	if err != nil {
		return err
	}
	type kept struct {
		key    feedKey
		sm3    []byte
		source string
	}
	stored, err := sqldb.All(ctx, x.host.DB, func(r sqldb.Scanner) (k kept, err error) {
		return k, r.Scan(&k.key.name, &k.key.version, &k.sm3, &k.source)
	}, "SELECT name, version, sm3, source FROM feed")
	if err != nil {
		return err
	}
	digests := map[feedKey]string{}
	for _, k := range stored {
		f, err := ParseFeed([]byte(k.source))
		if err != nil {
			return fmt.Errorf("stored feed %s version %d: %w", k.key.name, k.key.version, err)
		}
		x.feeds[k.key], digests[k.key] = f, string(k.sm3)
	}
	for _, f := range offered {
		key, digest := feedKey{f.Name, int64(f.Version)}, gm.SM3(f.source)
		switch have, ok := digests[key]; {
		case !ok:
			if err := x.host.DB.Append(ctx, intoFeed.Row(f.Name, int64(f.Version), digest[:], string(f.source), x.host.Now().UnixMilli())); err != nil {
				return err
			}
		case have != string(digest[:]):
			return errs.Newf(errs.Conflict, "数据流 %s 的内容变了而版本号没有变", "the feed %s has changed and its version has not", f.Name).
				WithHint("请把文件中的 version 加一", "raise version in its file by one")
		}
		x.feeds[key], x.current[f.Name] = f, f
		if err := x.reachable(f); err != nil {
			return err
		}
		for i := range f.To {
			x.wake[route{f.Name, f.To[i].Name}] = make(chan struct{}, 1)
		}
	}
	return x.leftOver(ctx)
}

// leftOver adds the routes that no feed on offer has any more, for what still waits on them.
func (x *Exchange) leftOver(ctx context.Context) error {
	lags, err := x.store.lags(ctx)
	for _, l := range lags {
		if r := (route{l.Feed, l.Target}); x.wake[r] == nil {
			x.wake[r] = make(chan struct{}, 1)
		}
	}
	return err
}

// reachable checks that the configuration has the connections that a feed names.
func (x *Exchange) reachable(f *Feed) error {
	names := map[string]bool{}
	if f.From.Table != nil {
		names[f.From.Table.Connection] = true
	}
	for i := range f.To {
		if t := f.To[i].Table; t != nil {
			names[t.Connection] = true
		}
	}
	for name := range names {
		c, ok := x.cfg.Connections[name]
		if !ok {
			return errs.Newf(errs.Invalid, "数据流 %s 所用的连接未配置", "the connection that the feed %s uses is not configured", f.Name).WithField("exchange.connections." + name)
		}
		if x.drivers[c.Driver] == nil {
			return errs.New(errs.Invalid, "没有这种驱动，可用 mysql、postgres", "there is no such driver; there are mysql and postgres").WithField("exchange.connections." + name + ".driver")
		}
	}
	return nil
}

func (x *Exchange) feed(name string, version int64) (*Feed, error) {
	if f := x.feeds[feedKey{name, version}]; f != nil {
		return f, nil
	}
	return nil, errs.Newf(errs.Internal, "数据流 %s 的版本 %d 不存在", "version %[2]d of the feed %[1]s is missing", name, version)
}

func (x *Exchange) offered(name string) (*Feed, error) {
	if f := x.current[name]; f != nil {
		return f, nil
	}
	return nil, errs.New(errs.NotFound, "没有这个数据流", "there is no such feed").WithField("feed").WithCode("exchange.no-feed")
}

// Run implements qiong.Runner: a worker for every target, and a reader for every feed that comes from a table.
func (x *Exchange) Run(ctx context.Context) error {
	defer x.closeTables()
	g, ctx := errgroup.WithContext(ctx)
	for r, wake := range x.wake {
		g.Go(func() error { return x.deliverAll(ctx, r, wake) })
	}
	for _, f := range x.current {
		if f.From.Table != nil {
			g.Go(func() error { return x.readTable(ctx, f) })
		}
	}
	return g.Wait()
}

// table returns the open table of a connection.
func (x *Exchange) table(ctx context.Context, connection string, spec table.Spec) (table.Table, error) {
	key := fmt.Sprint(connection, spec)
	x.mu.Lock()
	have := x.open[key]
	x.mu.Unlock()
	if have != nil {
		return have, nil
	}
	c := x.cfg.Connections[connection]
	opener := x.drivers[c.Driver]
	if opener == nil {
		return nil, errs.Newf(errs.Unavailable, "连接 %s 未配置", "the connection %s is not configured", connection)
	}
	t, err := opener(ctx, c.DSN, spec) // which may take its time: nobody waits for it but who needs it
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if have := x.open[key]; have != nil {
		return have, t.Close()
	}
	x.open[key] = t
	return t, nil
}

func (x *Exchange) closeTables() {
	for _, t := range x.open {
		if err := t.Close(); err != nil {
			x.host.Log.Warn("a table was not closed", "err", err)
		}
	}
}

// route is the way of a feed to one target.
type route struct{ feed, target string }

// String returns the route as pages write it.
func (r route) String() string { return r.feed + "/" + r.target }

func (x *Exchange) wakeUp(r route) {
	if c := x.wake[r]; c != nil {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// newID returns the next id, of a transfer or a record in quarantine.
func (x *Exchange) newID() string { return ident.String(x.ids.Next(x.host.Now())) }

func chunkAAD(transfer string, n int64) []byte {
	return fmt.Appendf(nil, "exchange/chunk/%s/%d", transfer, n)
}
func heldAAD(id string) []byte { return []byte("exchange/held/" + id) }

// hold makes the row of a record that could not be taken, or not be written for a target.
func (x *Exchange) hold(f *Feed, transfer string, seq int64, target string, seg recordio.Segment, err error) *held {
	e := errs.As(err)
	h := &held{ID: x.newID(), Feed: f.Name, Version: int64(f.Version), Transfer: transfer, Seq: seq, Target: target,
		Offset: seg.Offset, Line: seg.Line, Field: e.Field, Code: e.Code, Reason: e.Msg, Status: open, Created: x.host.Now().UnixMilli()}
	if e.HasOffset && target == "" {
		h.Offset += e.Offset // within the record
	}
	h.raw = x.sealer.Seal(seg.Bytes, heldAAD(h.ID))
	return h
}

// accept ends a transfer and hands it to every target, in one transaction with the message that tells of it.
func (x *Exchange) accept(ctx context.Context, f *Feed, t *transfer) error {
	next := *t
	next.Status, next.Ended = accepted, x.host.Now().UnixMilli()
	err := x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if err := x.store.advance(ctx, tx, &next, t.Bad, t.Chunks); err != nil {
			return err
		}
		return x.handOn(ctx, tx, f, &next, "")
	})
	if err == nil {
		*t = next
	}
	return err
}

// handOn gives an accepted transfer to one target, or to all where that is empty, and tells of it.
func (x *Exchange) handOn(ctx context.Context, tx *sqldb.Tx, f *Feed, t *transfer, only string) error {
	for i := range f.To {
		name := f.To[i].Name
		if t.Good == 0 || only != "" && only != name {
			continue
		}
		if err := tx.Insert(ctx, intoDelivery.Row(f.Name, name, t.ID, int64(0), t.Chunks, "pending", int64(0), int64(0), "", int64(0), int64(0), int64(0))); err != nil {
			return err
		}
		tx.OnCommit(func() { x.wakeUp(route{f.Name, name}) })
	}
	e := events[0]
	return x.host.Box.Publish(ctx, tx, outbox.Event{Type: e.Type, Key: t.ID, Act: e.Act, Version: e.Version, Grade: e.Grade, Trace: telemetry.Inject(ctx),
		Data: AcceptedEvent{Transfer: t.ID, Feed: t.Feed, Version: t.Version, Kind: t.Kind, Name: t.Name, Day: t.Day, Records: t.Good, Held: t.Bad, Manifest: t.Manifest}})
}

// refuse ends a transfer without effect. Its chunks are cleaned away later.
func (x *Exchange) refuse(ctx context.Context, t *transfer, cause *errs.Error) error {
	reason, err := json.Marshal(problem{Code: cause.Code, Field: cause.Field, Offset: cause.Offset, ZH: cause.Msg.ZH, EN: cause.Msg.EN})
	if err != nil {
		return err
	}
	next := *t
	next.Status, next.Reason, next.Ended = refused, string(reason), x.host.Now().UnixMilli()
	err = x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error { return x.store.advance(ctx, tx, &next, t.Bad, t.Chunks) })
	if err == nil {
		*t = next
	}
	return err
}

// problem is a reason as it is kept.
type problem struct {
	Code   string `json:"code,omitempty"`
	Field  string `json:"field,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	ZH     string `json:"zh"`
	EN     string `json:"en"`
}

func problemOf(err error) string {
	e := errs.As(err)
	encoded, marshalError := json.Marshal(problem{Code: e.Code, Field: e.Field, ZH: e.Msg.ZH, EN: e.Msg.EN})
	if marshalError != nil {
		return "{}"
	}
	return string(encoded)
}

// words returns a kept reason in words; empty where there is none.
func words(kept string, l lang.Lang) string {
	var p problem
	if kept == "" || json.Unmarshal([]byte(kept), &p) != nil {
		return ""
	}
	text := lang.T(p.ZH, p.EN).In(l)
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Offset > 0 {
		text += fmt.Sprintf(" (%d)", p.Offset)
	}
	return text
}

// count sets the gauge of what waits.
func (x *Exchange) count(ctx context.Context) error {
	lags, err := x.store.lags(ctx)
	if err != nil {
		return err
	}
	for r := range x.wake {
		x.metrics.waiting.WithLabelValues(r.feed, r.target).Set(0)
	}
	for _, l := range lags {
		x.metrics.waiting.WithLabelValues(l.Feed, l.Target).Set(float64(l.Chunks))
	}
	return nil
}

// abandon refuses the files that were announced longer than the retention ago and never came whole.
func (x *Exchange) abandon(ctx context.Context, before int64) error {
	reason := problemOf(errs.New(errs.Invalid, "逾期未收完", "it never came whole").WithCode("exchange.abandoned"))
	_, err := x.host.DB.Exec(ctx, sqldb.Relaxed, "UPDATE transfer SET status = 'refused', reason = $1, ended_at = $2 WHERE status = 'receiving' AND created_at < $3",
		reason, x.host.Now().UnixMilli(), before)
	return err
}

// clean drops the chunks of refused transfers, and those that every target has had for as long as the retention, in
// small writes.
func (x *Exchange) clean(ctx context.Context) error {
	before := x.host.Now().Add(-x.cfg.Retention).UnixMilli()
	if err := x.abandon(ctx, before); err != nil {
		return err
	}
	ids, err := sqldb.All(ctx, x.host.DB, func(r sqldb.Scanner) (id string, err error) { return id, r.Scan(&id) },
		`SELECT t.id FROM transfer t WHERE EXISTS (SELECT 1 FROM chunk c WHERE c.transfer = t.id) AND (t.status = 'refused'
			OR t.status = 'accepted' AND t.ended_at < $1 AND NOT EXISTS
				(SELECT 1 FROM delivery d WHERE d.transfer = t.id AND (d.status = 'pending' OR d.ended_at >= $1))) ORDER BY t.id`, before)
	if err != nil {
		return err
	}
	for _, id := range ids {
		for n := int64(1); n > 0; {
			n, err = x.host.DB.Exec(ctx, sqldb.Relaxed, "DELETE FROM chunk WHERE transfer = $1 AND n < (SELECT min(n) + 50 FROM chunk WHERE transfer = $1)", id)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
