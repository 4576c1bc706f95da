package evidence

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

//go:embed tables/*.sql
var tables embed.FS

// New returns the evidence service, with further commands below its own.
func New(more ...*qiong.Tool) *qiong.Service { return NewWithChains(nil, more...) }

// NewWithChains is New for a program with adapters of external main chains, which the targets "chain:NAME" of
// evidence.publish name.
func NewWithChains(chains map[string]Chain, more ...*qiong.Tool) *qiong.Service {
	return &qiong.Service{
		Name:         "evidence",
		Doc:          lang.T("存证：办理的每件事都有回执，任何人可离线核验", "evidence: every act has a receipt that anyone verifies offline"),
		Needs:        qiong.DB | qiong.Keys,
		Lean:         true,
		Tables:       sqldb.Files(tables),
		Config:       &Defaults,
		ConfigSource: configSource,
		Commands:     append(commands(), more...),
		New: func(ctx context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
			return newEvidence(ctx, h, *cfg.(*Config), chains)
		},
	}
}

// Evidence is the service.
type Evidence struct {
	host    *qiong.Host
	cfg     Config
	store   store
	log     *tlog.Log
	keys    atomic.Pointer[receipt.Trust] // of this log
	sealer  *gm.Sealer
	key     *keys.Key // with which this house signs
	own     []string  // this house's name
	wake    chan struct{}
	backlog backlog
	orderer orderer
	metrics metrics
	quiet   quiet

	publisher *publisher
	witness   *tlog.Witness // of other houses; nil where none are witnessed
}

// orderer gets records into the log: alone, or by a council.
type orderer interface {
	// Run orders what waits until ctx ends.
	Run(ctx context.Context) error
	// Put takes in records from another system, all or none. They are safe when it returns.
	Put(ctx context.Context, records []ledger.Submission) error
	// Finds reports whether Put itself finds what is known already: it passes over what is there as it is, and refuses what
	// has the id of something else.
	Finds() bool
	// Ready says why nothing can be ordered at the moment; nil where it can.
	Ready() error
}

type metrics struct {
	records  prometheus.Counter
	waiting  prometheus.GaugeFunc
	size     prometheus.GaugeFunc
	owed     *prometheus.GaugeVec   // records that an agency has not cosigned yet
	liars    *prometheus.CounterVec // wrong roots, by agency
	receipts prometheus.Counter
}

func newEvidence(ctx context.Context, h *qiong.Host, cfg Config, chains map[string]Chain) (*Evidence, error) {
	x := &Evidence{host: h, cfg: cfg, store: store{h.DB}, wake: make(chan struct{}, 1), quiet: quiet{log: h.Log}, own: []string{cfg.Name}}
	var err error
	if x.key, err = h.Keys.Signer("evidence.signing"); err != nil {
		return nil, err
	}
	if len(cfg.Council) > 0 {
		if err := x.gather(); err != nil {
			return nil, err
		}
	}
	for set, files := range map[string]fs.FS{"tlog": tlog.Tables(), "ledger": ledger.Tables()} {
		if err := h.DB.Migrate(ctx, set, files); err != nil {
			return nil, err
		}
	}
	if err := x.store.name(ctx, x.cfg.Origin); err != nil {
		return nil, err
	}
	if x.sealer, err = h.Keys.Sealer("evidence.originals"); err != nil {
		return nil, err
	}
	if err := x.loadTrust(); err != nil {
		return nil, err
	}
	if len(x.cfg.Nodes) == 0 {
		err = x.openAlone(ctx)
	} else {
		err = x.openCouncil(ctx)
	}
	if err != nil {
		return nil, err
	}
	if x.publisher, err = newPublisher(x, chains); err != nil {
		return nil, err
	}
	if err := x.measure(); err != nil {
		return nil, err
	}
	h.Acts("acts", x.take)
	h.Proves(x.prove, x.proveAct)
	x.routes()
	x.pages()
	return x, x.openWitness(ctx)
}

// openAlone makes this house the operator of the log.
func (x *Evidence) openAlone(ctx context.Context) error {
	a, err := newAlone(ctx, x)
	if err != nil {
		return err
	}
	x.log, x.orderer = a.ledger.Log(), a
	return nil
}

// openCouncil makes this house a gateway of a council.
func (x *Evidence) openCouncil(ctx context.Context) (err error) {
	if x.log, err = tlog.Open(ctx, x.host.DB, x.cfg.Origin); err != nil {
		return err
	}
	x.orderer, err = newFollower(x)
	return err
}

func (x *Evidence) measure() error {
	x.metrics = metrics{
		records:  prometheus.NewCounter(prometheus.CounterOpts{Name: "records_total", Help: "Records put into the log."}),
		receipts: prometheus.NewCounter(prometheus.CounterOpts{Name: "receipts_total", Help: "Receipts handed out."}),
		owed:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "owed_records", Help: "Records that a name has not cosigned yet."}, []string{"name"}),
		liars:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wrong_roots_total", Help: "Signed roots that are not the log's."}, []string{"name"}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waiting_records", Help: "Records that wait to be ordered."}, func() float64 {
			n, err := x.store.countWaiting(context.Background())
			if err != nil {
				return -1
			}
			return float64(n)
		}),
		size: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "log_size", Help: "Records in the log."}, func() float64 { return float64(x.log.Last().Size) }),
	}
	for _, c := range []prometheus.Collector{x.metrics.records, x.metrics.receipts, x.metrics.owed, x.metrics.liars, x.metrics.waiting, x.metrics.size} {
		if err := x.host.Meter.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// take takes in an act of the house, in the transaction that records its message.
func (x *Evidence) take(_ context.Context, m outbox.Message) ([]sqldb.Insert, func(), error) {
	id := m.Producer + "-" + strings.ToLower(ident.String(m.ID))
	typ := fmt.Sprintf("%s/%d", m.Type, m.Version)
	a := act{id: id, producer: m.Producer, key: m.Key, typ: typ, acceptedAt: x.host.Now().UnixMilli(),
		submission: ledger.Submission{ID: id, Type: typ, Time: beijing.Time(m.At)}}
	acts, err := m.Acts()
	if err != nil {
		return nil, nil, err
	}
	if len(acts) > 0 {
		return x.takeBatch(&a, acts)
	}
	o := receipt.Original{Data: m.Payload}
	if _, err := rand.Read(o.Salt[:]); err != nil {
		return nil, nil, err
	}
	a.submission.Commitment, a.original = o.Commitment(), x.sealer.Seal(o.Marshal(), []byte("evidence/"+id))
	if _, err := x.fits(&a.submission, nil); err != nil {
		return nil, nil, err
	}
	row, err := a.row()
	if err != nil {
		return nil, nil, err
	}
	return []sqldb.Insert{row}, x.nudge, nil
}

// fits returns an error where a submission can be a record of no log. What it writes behind scratch is of no use after.
func (x *Evidence) fits(s *ledger.Submission, scratch []byte) ([]byte, error) {
	r := receipt.Record{ID: s.ID, Type: s.Type, Commitment: s.Commitment, Time: s.Time, Needs: x.own, Batch: s.Batch}
	return r.Append(scratch)
}

// nudge wakes the orderer.
func (x *Evidence) nudge() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// eraseOld erases originals that were kept long enough: when the house starts, and each hour.
func (x *Evidence) eraseOld(ctx context.Context) error {
	if x.cfg.Originals == 0 {
		return nil
	}
	for ctx.Err() == nil {
		n, err := x.store.eraseBefore(ctx, x.host.Now().Add(-x.cfg.Originals).UnixMilli())
		if n > 0 {
			x.host.Log.Info("originals were erased", "count", n)
		}
		if err != nil {
			x.quiet.warn("originals could not be erased", "", "", err)
		}
		wait(ctx, time.Hour)
	}
	return nil
}

// Run implements qiong.Runner.
func (x *Evidence) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{x.orderer.Run, x.watch, x.publisher.Run, x.reloadTrust, x.eraseOld} {
		g.Go(func() error { return run(ctx) })
	}
	err := g.Wait()
	if x.witness != nil {
		err = errors.Join(err, x.witness.Close())
	}
	return err
}

// Ready implements qiong.Readier.
func (x *Evidence) Ready() error { return nil } // acts wait in the table while nobody orders

// signers are the names whose cosignatures this log can have.
func (x *Evidence) signers() []string {
	names := slices.Clone(x.council())
	if len(names) == 0 {
		names = []string{x.cfg.Name}
	}
	for _, k := range x.trust().Keys() {
		if k.Origin == x.cfg.Origin && k.Role == receipt.Witness && !slices.Contains(names, k.Name) {
			names = append(names, k.Name)
		}
	}
	return names
}

// watch keeps the gauges of what is owed.
func (x *Evidence) watch(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, name := range x.signers() {
			if upTo, err := x.log.CosignedUpTo(ctx, name); err == nil {
				x.metrics.owed.WithLabelValues(name).Set(float64(x.log.Last().Size - upTo))
			}
		}
	}
}
