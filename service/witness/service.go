package witness

import (
	"context"
	"embed"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Service is the witness in a house.
var Service = &qiong.Service{
	Name:         "witness",
	Doc:          lang.T("见证投票：与其他机器一起决定谁可以写入", "a vote on who may write, with other machines"),
	Needs:        qiong.DB | qiong.Keys,
	Lean:         true,
	Tables:       sqldb.Files(tables),
	Config:       &Defaults,
	ConfigSource: configSource,
	Events: []qiong.Event{
		{Type: EventPromoted, Version: 1, Grade: "L2", Act: true, Doc: lang.T("人工提升了副本", "a replica was promoted by hand")},
	},
	Commands: []*qiong.Tool{statusTool, promoteTool},
	New: func(ctx context.Context, h *qiong.Host, cfg any) (qiong.Runner, error) {
		return open(ctx, h, *cfg.(*Config))
	},
}

// Witness is the service.
type Witness struct {
	host    *qiong.Host
	cfg     Config
	key     *keys.Key
	store   *store
	voter   *lease.Voter
	handler *lease.Handler
}

func open(ctx context.Context, h *qiong.Host, cfg Config) (*Witness, error) {
	promoted := prometheus.NewCounter(prometheus.CounterOpts{Name: "promotions_total", Help: "Replicas promoted by hand."})
	x := &Witness{host: h, cfg: cfg, store: &store{db: h.DB, box: h.Box, now: h.Now, log: h.Log, promoted: promoted}}
	var err error
	if x.key, err = h.Keys.Signer(lease.OwnKey); err != nil {
		return nil, err
	}
	replicas := lease.Keys{}
	for _, name := range cfg.Replicas {
		if replicas[name] = x.key.PublicKey(); name == cfg.Name {
			continue
		}
		if replicas[name], err = lease.Trusted(h.Keys, name); err != nil {
			return nil, err
		}
	}
	if x.voter, err = lease.OpenVoter(ctx, lease.VoterOptions{Store: x.store, Max: cfg.Limit, Allow: x.cfg.allows}); err != nil {
		return nil, err
	}
	x.handler = lease.NewHandler(x.voter, cfg.Name, x.key, replicas)
	if err := x.measure(promoted); err != nil {
		return nil, err
	}
	x.routes()
	return x, nil
}

func (x *Witness) measure(promoted prometheus.Counter) error {
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "Requests by what was asked and what came of it."}, []string{"kind", "outcome"})
	x.handler.Observe = func(kind, outcome string) { asked.WithLabelValues(kind, outcome).Inc() }
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "leases_held", Help: "Leases that somebody holds."}, func() float64 {
		all, err := x.voter.List(context.Background())
		if err != nil {
			return -1
		}
		n := 0
		for _, s := range all {
			if s.Left > 0 {
				n++
			}
		}
		return float64(n)
	})
	for _, c := range []prometheus.Collector{promoted, asked, held} {
		if err := x.host.Meter.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// Run implements qiong.Runner: it answers who asks.
func (x *Witness) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
