// Package house opens engines, composes services and runs them: one process, one data folder, one port.
//
// Each service has its own database (a SQLite file, or a schema on PostgreSQL), its own message table and, where it
// asks, its own saga engine. The house migrates, makes, listens, runs, and takes everything down in the reverse order.
package house

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/blob"
	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/httpapi/express"
	"github.com/qiongdev/qiong/kit/httpapi/idem"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/kit/lean"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga/barrier"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/signer"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/kit/telemetry"
	"github.com/qiongdev/qiong/kit/tlog"
)

//go:embed tables/*.sql
var tables embed.FS

// House is a running composition of services.
type House struct {
	Config    Config
	Services  []*qiong.Service
	telemetry *telemetry.Telemetry
	clock     *clock
	bus       bus.Bus
	lock      *lock
	keys      *keys.Ring
	signer    *signer.Client // nil: all keys are in the ring
	mux       *http.ServeMux
	api       *httpapi.API
	tokens    *auth.Tokens
	bearer    *auth.Bearer
	who       auth.Authenticator
	audit     *audit.Log
	rooms     []*room
	dbs       []sqldb.DB
	closers   []func() error
	listener  net.Listener
	ready     atomic.Bool
	began     time.Time
}

// room is a service with what it was given.
type room struct {
	service  *qiong.Service
	host     *qiong.Host
	runner   qiong.Runner
	children []*child
}

// Sections lists what a house of these services can be told.
func Sections(services []*qiong.Service) []config.Section {
	all := []config.Section{{Name: "house", Defaults: &Defaults, Source: configSource}}
	for _, s := range services {
		if s.Config != nil {
			all = append(all, config.Section{Name: s.Name, Defaults: s.Config, Source: s.ConfigSource})
		}
	}
	return all
}

// Options are what a house is opened with beyond its configuration.
type Options struct {
	Telemetry *telemetry.Telemetry // required
	Bus       bus.Bus              // default: channels in this process
	Clock     func() time.Time     // the machine's clock; default the real one
}

// Open makes a house: it locks the folder, opens the engines, migrates, makes the services, and listens. Nothing runs
// until Run.
func Open(ctx context.Context, services []*qiong.Service, cfg *config.Config, o Options) (*House, error) {
	h := &House{
		Config: *config.Of[Config](cfg, "house"), Services: services, telemetry: o.Telemetry, clock: newClock(), bus: o.Bus,
		mux: http.NewServeMux(), began: time.Now(),
	}
	if h.bus == nil {
		h.bus = bus.NewLocal()
	}
	h.clock.leapt = h.tellLeap
	if o.Clock != nil {
		h.clock.wall, h.clock.wait = func(time.Time) time.Time { return o.Clock() }, 0
	}
	if err := h.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// tellLeap says that the machine's clock was set ahead.
func (h *House) tellLeap(ahead time.Duration, ok bool) {
	words := "the machine's clock was set ahead, and is not followed until it has stayed there"
	if ok {
		words = "the machine's clock, which was set ahead, is followed"
	}
	h.telemetry.Log.Warn(words, "ahead", ahead, "for", leapWait)
}

func (h *House) open(ctx context.Context, cfg *config.Config) (err error) {
	if err := h.openFolder(); err != nil {
		return err
	}
	if err := h.openTokens(ctx); err != nil {
		return err
	}
	h.routes()
	for _, s := range h.Services {
		if err := h.move(ctx, s, cfg.Get(s.Name)); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	if err := h.graded(); err != nil {
		return err
	}
	if err := h.subscribe(ctx); err != nil {
		return err
	}
	if err := h.raise(); err != nil {
		return err
	}
	h.measure()
	h.measureAudit(meter(h.telemetry.Registry, "house"))
	if err := h.opened(ctx, cfg); err != nil {
		return err
	}
	if h.listener, err = net.Listen("tcp", h.Config.Listen); err != nil {
		return errs.Wrap(err, errs.Conflict, "无法监听 "+h.Config.Listen, "can't listen on "+h.Config.Listen).
			WithField("house.listen").WithHint("换一个端口，或停止占用它的程序", "choose another port, or stop the program that has it")
	}
	return nil
}

func (h *House) openFolder() (err error) {
	dir := h.Config.Data
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		return errs.Wrap(err, errs.Invalid, "无法创建数据目录", "can't make the data folder").WithField("house.data")
	}
	if h.lock, err = lockFolder(dir); err != nil {
		return err
	}
	h.closers = append(h.closers, h.lock.release)
	if err := checkLayout(dir); err != nil {
		return err
	}
	o := keys.Options{MasterFile: h.Config.MasterKey, CreateMaster: h.Config.MasterKey == ""}
	if h.Config.Signer != "" {
		h.signer = signer.NewClient(h.Config.Signer, signer.ClientOptions{})
		h.closers = append(h.closers, h.signer.Close)
		o.Elsewhere = h.signer
	}
	h.keys, err = keys.Open(filepath.Join(dir, "keys"), o)
	return err
}

// openDB opens the database called name and brings its tables up to date.
func (h *House) openDB(ctx context.Context, name string, sets map[string]fs.FS) (db sqldb.DB, err error) {
	if h.Config.Database != "" {
		db, err = postgres.Open(ctx, postgres.Options{URL: h.Config.Database, Schema: name, Conns: h.Config.Connections, Exclusive: true})
	} else {
		db, err = sqlite.Open(filepath.Join(h.Config.Data, "db", name+".db"))
	}
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, db.Close)
	h.dbs = append(h.dbs, db)
	for set, files := range sets {
		if files == nil {
			continue
		}
		if err := db.Migrate(ctx, set, files); err != nil {
			return nil, err
		}
	}
	return db, nil
}

func (h *House) openTokens(ctx context.Context) error {
	db, err := h.openDB(ctx, "house", map[string]fs.FS{"house": sqldb.Files(tables), "tlog": tlog.Tables(), "audit": audit.Tables()})
	if err != nil {
		return err
	}
	store, err := openTokens(ctx, db, h.clock.Now)
	if err != nil {
		return err
	}
	if err := h.openAudit(ctx, db); err != nil {
		return err
	}
	h.tokens = &auth.Tokens{Store: store, Clock: h.clock.Now}
	h.bearer = auth.NewBearer(h.tokens)
	h.who = careful{h.bearer, h.audit}
	return nil
}

// move gives a service its host and makes it.
func (h *House) move(ctx context.Context, s *qiong.Service, cfg any) error {
	host := &qiong.Host{
		Name: s.Name, API: h.api, Mux: h.mux, Who: h.who, Now: h.clock.Now, URL: h.URL, Clearance: s.Clearance,
		Log:   h.telemetry.Log.With("service", s.Name),
		Meter: meter(h.telemetry.Registry, s.Name), Proofs: h.proofs, ProofOfAct: h.proofOfAct,
		Folder: func() (string, error) {
			dir := filepath.Join(h.Config.Data, s.Name)
			return dir, errors.Join(os.MkdirAll(dir, 0o700), folder.Sync(h.Config.Data))
		},
	}
	if host.Clearance == label.Ungraded {
		host.Clearance = label.L2
	}
	r := &room{service: s, host: host}
	h.rooms = append(h.rooms, r)
	if s.Needs.Has(qiong.Keys) {
		host.Keys = h.keys
	}
	if s.Needs.Has(qiong.Blobs) {
		store, err := blob.Open(filepath.Join(h.Config.Data, "blobs", s.Name))
		if err != nil {
			return err
		}
		host.Blobs = store
	}
	if s.Needs.Has(qiong.DB) || s.Needs.Has(qiong.Sagas) {
		if err := h.openMessages(ctx, s, host); err != nil {
			return err
		}
	}
	if s.Needs.Has(qiong.Sagas) {
		var err error
		if host.Sagas, err = engine.Open(ctx, engine.Options{DB: host.DB, Now: host.Now, Log: host.Log}); err != nil {
			return err
		}
	}
	var err error
	r.runner, err = s.New(ctx, host, cfg)
	return err
}

func (h *House) openMessages(ctx context.Context, s *qiong.Service, host *qiong.Host) (err error) {
	sets := map[string]fs.FS{s.Name: s.Tables, "outbox": outbox.Tables(), "idem": idem.Tables(), "barrier": barrier.Tables()}
	if s.Needs.Has(qiong.Sagas) {
		sets["saga"] = engine.Tables()
	}
	if host.DB, err = h.openDB(ctx, strings.ReplaceAll(s.Name, "-", "_"), sets); err != nil {
		return err
	}
	host.Box, err = outbox.Open(ctx, outbox.Options{Producer: s.Name, DB: host.DB, Bus: h.bus, Now: host.Now, Log: host.Log})
	return err
}

// subscribe tells every producer who handles its events.
func (h *House) subscribe(ctx context.Context) error {
	producers := map[string]*outbox.Box{}
	for _, r := range h.rooms {
		for _, e := range r.service.Events {
			producers[e.Type] = r.host.Box
		}
	}
	for _, r := range h.rooms {
		for _, sub := range h.subscriptions(r) {
			box := producers[sub.Event]
			if box == nil { // its producer does not live here
				continue
			}
			if err := box.Subscribe(ctx, sub.Event, sub.Consumer, sub.Blocks); err != nil {
				return err
			}
		}
	}
	return nil
}

// subscriptions returns those of a room, with every act spelled out.
func (h *House) subscriptions(r *room) (all []qiong.Subscription) {
	subs, _ := r.host.Registered()
	for _, sub := range subs {
		if sub.Event != "" {
			all = append(all, sub)
			continue
		}
		for _, s := range h.Services {
			for _, e := range s.Events {
				if e.Act {
					sub.Event = e.Type
					all = append(all, sub)
				}
			}
		}
	}
	return all
}

// proofs asks the service that proves acts, if one lives here.
func (h *House) proofs(ctx context.Context, producer, key string) ([]qiong.Proof, error) {
	for _, r := range h.rooms {
		if prove, _ := r.host.Proved(); prove != nil {
			return prove(ctx, producer, key)
		}
	}
	return nil, noEvidence()
}

// proofOfAct is proofs for one act of a batch.
func (h *House) proofOfAct(ctx context.Context, record string, n uint64) ([]byte, bool, error) {
	for _, r := range h.rooms {
		if _, prove := r.host.Proved(); prove != nil {
			return prove(ctx, record, n)
		}
	}
	return nil, false, noEvidence()
}

func noEvidence() error {
	return errs.New(errs.Unavailable, "本系统没有存证服务", "no service of this house keeps evidence").WithCode("evidence.absent")
}

// URL returns where the house is reached.
func (h *House) URL() string {
	if h.Config.URL != "" {
		return strings.TrimSuffix(h.Config.URL, "/")
	}
	return h.localURL()
}

// localURL returns where this machine reaches the house.
func (h *House) localURL() string {
	if h.listener == nil {
		return "http://" + h.Config.Listen
	}
	addr := h.listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Run serves until ctx ends or something fails, and returns when nothing runs any more. It closes the house.
func (h *House) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, h.Close()) }()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, life := errgroup.WithContext(life)
	sagas, endSagas := context.WithCancel(life)
	defer endSagas()
	server := httpapi.NewServer("", h.handler(), h.telemetry.Log)
	listener, err := express.Listen(h.listener, server, h.api.Hot())
	if err != nil {
		return err
	}
	g.Go(func() error { // unlabelled: goroutines of connections would inherit its labels
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("http: %w", err)
		}
		return nil
	})
	audits := h.telemetry.Labels.Task(leak.Job, "house.audit", "house")
	g.Go(func() error { return audits.Run(life, h.audit.Run) })
	g.Go(func() error {
		return audits.Run(life, func(ctx context.Context) error { return h.audit.Watch(ctx, auditCheck) })
	})
	for _, r := range h.rooms {
		h.runRoom(life, sagas, g, r)
	}
	h.every(life, g, "house", "tokens", time.Hour, h.tokens.Store.(*tokens).clean)
	h.every(life, g, "house", "audit", time.Hour, h.audit.Keep)
	h.ready.Store(true)
	go h.settle()
	select {
	case <-ctx.Done():
	case <-life.Done(): // something failed
	}
	h.ready.Store(false)
	endSagas() // they call agencies, perhaps this very house; what is under way goes on at the next start
	h.drain(server, listener)
	end()
	return errors.Join(g.Wait(), h.ended())
}

// settle gives back what was only needed to start, of which the migrations leave 16 MB, so that the first load is not
// paced by it.
func (h *House) settle() {
	if err := lean.Started(); err != nil {
		h.telemetry.Log.Debug("the pages of the program were not given back", "err", err)
	}
}

// drain stops intake: no new requests, and those under way may finish.
func (h *House) drain(server *http.Server, listener *express.Listener) {
	ctx, cancel := context.WithTimeout(context.Background(), h.Config.Grace)
	defer cancel()
	for _, r := range h.rooms {
		if d, ok := r.runner.(qiong.Drainer); ok {
			if err := d.Drain(ctx); err != nil {
				h.telemetry.Log.Warn("a service did not drain", "service", r.service.Name, "err", err)
			}
		}
	}
	if err := cmp.Or(server.Shutdown(ctx), listener.Wait(ctx)); err != nil {
		h.telemetry.Log.Warn("requests were cut off", "err", err)
		_ = server.Close() // Shutdown has said what there is to say
	}
}

// runRoom runs what belongs to a service: its message table, its sagas, its consumers, its jobs, itself. Each runs under
// labels of its own, so that a leak can be traced to it.
func (h *House) runRoom(ctx, sagas context.Context, g *errgroup.Group, r *room) {
	name := r.service.Name
	labels := h.telemetry.Labels
	run := func(ctx context.Context, what string, task *leak.Task, f func(context.Context) error) {
		g.Go(func() error {
			if err := task.Run(ctx, f); err != nil {
				return fmt.Errorf("%s: %s: %w", name, what, err)
			}
			return nil
		})
	}
	if r.host.Box != nil {
		run(ctx, "relay", labels.Task(leak.Job, name+".relay", name), r.host.Box.Run)
	}
	if r.host.Sagas != nil {
		run(sagas, "sagas", labels.Task(leak.Job, name+".sagas", name), r.host.Sagas.Run)
	}
	_, jobs := r.host.Registered()
	for consumer, c := range byConsumer(h.subscriptions(r)) {
		task := labels.Task(leak.Consumer, consumer, name)
		in := &outbox.Inbox{Consumer: consumer, DB: r.host.DB, Bus: h.bus, Now: r.host.Now, Log: r.host.Log, Handle: c.handle, Rows: c.rows, Clearance: c.clearance,
			Context: func(ctx context.Context, m outbox.Message) context.Context {
				task.Did()
				return telemetry.Extract(ctx, m.Trace)
			}}
		run(ctx, "consumer "+consumer, task, in.Run)
	}
	for _, j := range jobs {
		h.every(ctx, g, name, j.Name, j.Period, j.Run)
	}
	for _, c := range r.children {
		run(ctx, "child "+c.Name, labels.Task(leak.Job, name+".child."+c.Name, name), c.run)
	}
	if r.host.DB != nil {
		h.every(ctx, g, name, "idempotency", time.Hour, func(ctx context.Context) error { return idem.Clean(ctx, r.host.DB, h.clock.Now()) })
	}
	run(ctx, "service", labels.Task(leak.Service, name, name), r.runner.Run)
}

// consumer is what the subscriptions of one name come to.
type consumer struct {
	handle    map[string]outbox.Handler // by event type
	rows      map[string]outbox.Rows    // by event type
	clearance label.Grade
}

func byConsumer(subs []qiong.Subscription) map[string]consumer {
	m := map[string]consumer{}
	for _, s := range subs {
		c, ok := m[s.Consumer]
		if !ok {
			c = consumer{map[string]outbox.Handler{}, map[string]outbox.Rows{}, s.Clearance}
		}
		if c.clearance = min(c.clearance, s.Clearance); s.Rows != nil {
			c.rows[s.Event] = s.Rows
		} else {
			c.handle[s.Event] = s.Handle
		}
		m[s.Consumer] = c
	}
	return m
}

// every runs a service's job f each period; what goes wrong is logged, and tried again a period later.
func (h *House) every(ctx context.Context, g *errgroup.Group, service, job string, period time.Duration, f func(context.Context) error) {
	name := service + "." + job
	task := h.telemetry.Labels.Task(leak.Job, name, service)
	g.Go(func() error {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if err := task.Run(ctx, f); err != nil && ctx.Err() == nil {
				h.telemetry.Log.Error("a job failed", "job", name, "err", err)
			}
		}
	})
}

// Close gives back what Open has taken, in the reverse order. It may be called again.
func (h *House) Close() error {
	var all []error
	if h.listener != nil {
		_ = h.listener.Close() // the server has closed it already, or never had it
	}
	for i := len(h.closers) - 1; i >= 0; i-- {
		all = append(all, h.closers[i]())
	}
	h.closers = nil
	return errors.Join(all...)
}
