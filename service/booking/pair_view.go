package booking

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// PairView is a server's part in the bookings, as it sees it itself.
type PairView struct {
	_        struct{}      `grade:"L1"`
	Server   string        `json:"server,omitempty" doc:"本机名称 / name of this server"`
	Role     string        `json:"role" enum:"alone,leader,standby" doc:"alone 独自承担，leader 主，standby 备 / its part"`
	Leader   string        `json:"leader,omitempty" doc:"由谁负责；空为未知 / who leads, where it is known"`
	Epoch    uint64        `json:"epoch,omitempty" doc:"主的任期 / the leader's epoch"`
	InSync   []string      `json:"inSync,omitempty" doc:"持有全部已确认记录、可接管的服务器（主机可见）/ who has every acknowledged record and may take over; the leader knows"`
	Standbys []StandbyView `json:"standbys,omitempty" doc:"备机（主机可见）/ the standbys; the leader knows"`
	Logs     []CopyView    `json:"logs,omitempty" doc:"本机的日志 / the logs of this server"`
	Problem  string        `json:"problem,omitempty"`
}

// StandbyView is a standby as the leader sees it.
type StandbyView struct {
	_         struct{} `grade:"L1"`
	Name      string   `json:"name"`
	Connected bool     `json:"connected"`
	InSync    bool     `json:"inSync"`
	Lag       uint64   `json:"lag" doc:"落后的记录数，取最落后的分片 / records behind, in the shard furthest behind"`
	Lies      int      `json:"lies,omitempty" doc:"不实确认的次数 / how often it acknowledged what it cannot have"`
	CutOff    bool     `json:"cutOff,omitempty" doc:"因不实确认已断开，待 pardon / cut off for that, until it is pardoned"`
	Problem   string   `json:"problem,omitempty" doc:"上次断开的原因 / why the last connection ended"`
}

// CopyView is a log of this server.
type CopyView struct {
	_       struct{} `grade:"L1"`
	Shard   int      `json:"shard"`
	Last    uint64   `json:"last" doc:"已落盘的最后一条记录；主机为已确认的 / last record on this disk; the leader's: acknowledged"`
	Durable uint64   `json:"durable" doc:"其中已知确认的 / of these, known to be acknowledged"`
}

func (b *Booking) pairRoutes() {
	status := httpapi.Operation{Method: "GET", Path: pairBase, ID: "booking-pair", Tag: "booking", Roles: []auth.Role{auth.Operator, auth.Auditor},
		Summary: lang.T("双机状况：谁负责、谁同步、落后多少", "The pair: who leads, who is in sync, how far behind")}
	httpapi.Register(b.host.API, status, func(ctx context.Context, _ *struct{}) (*struct{ Body PairView }, error) {
		return &struct{ Body PairView }{b.pair.view(httpapi.CallFrom(ctx).Lang)}, nil
	})
	pardon := httpapi.Operation{Method: "POST", Path: pairBase + "/standbys/{name}/pardon", ID: "pardon-standby", Tag: "booking", Roles: []auth.Role{auth.Operator},
		Summary: lang.T("准许因不实确认而断开的备机重新连接", "Let a standby connect again that was cut off for an acknowledgement it could not give")}
	httpapi.Register(b.host.API, pardon, func(ctx context.Context, in *struct {
		Name string `path:"name" grade:"L1" maxLength:"40"`
	}) (*struct{}, error) {
		return nil, b.pair.pardon(ctx, in.Name)
	})
}

// view returns this server's part.
func (p *pair) view(l lang.Lang) PairView {
	if p == nil {
		return PairView{Role: "alone"}
	}
	p.mu.Lock()
	t, s, leader, wrong := p.term, p.stand, p.leader, p.trouble()
	p.mu.Unlock()
	v := PairView{Server: p.me, Role: "standby"}
	if wrong != nil {
		v.Problem = errs.As(wrong).In(l)
	}
	switch {
	case t != nil && t.holder.Valid():
		v.Role, v.Leader, v.Epoch, v.InSync = "leader", p.me, t.holder.Epoch(), t.holder.InSync()
		v.Standbys = t.views(l)
		for i, log := range t.logs {
			v.Logs = append(v.Logs, CopyView{Shard: i, Last: log.Durable(), Durable: log.Durable()})
		}
	case leader != nil:
		v.Leader, v.Epoch = leader.name, leader.epoch
	}
	if s != nil && t == nil {
		for i, log := range s.logs {
			v.Logs = append(v.Logs, CopyView{Shard: i, Last: log.Last(), Durable: log.Durable()})
		}
	}
	return v
}

func (t *term) views(l lang.Lang) (all []StandbyView) {
	t.mu.Lock()
	for name, f := range t.standbys {
		all = append(all, StandbyView{Name: name, InSync: f.inSync})
	}
	t.mu.Unlock()
	for i := range all {
		v, c := &all[i], t.condition(all[i].Name)
		v.Connected, v.Lag, v.Lies, v.CutOff = c.connected, c.behind, c.lies, c.cutOff
		if c.err != nil && !c.connected {
			v.Problem = errs.As(c.err).In(l)
		}
	}
	slices.SortFunc(all, func(x, y StandbyView) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// pardon lets a standby connect again.
func (p *pair) pardon(ctx context.Context, name string) error {
	if p == nil {
		return errs.New(errs.Conflict, "本机独自承担预约，没有备机", "this server has the bookings alone, and no standby").WithCode("booking.alone")
	}
	p.mu.Lock()
	t := p.term
	p.mu.Unlock()
	if t == nil {
		return errs.New(errs.Conflict, "本机不是主机，请在主机上操作", "this server does not lead; ask the one that does").WithCode("booking.not-leader")
	}
	if p.known[name] == nil {
		return errs.New(errs.NotFound, "没有这台备机", "there is no such standby").WithField("name")
	}
	for _, log := range t.logs {
		log.Pardon(name)
	}
	p.b.host.Log.WarnContext(ctx, "a standby was pardoned", "standby", name, "by", auth.From(ctx).ID)
	return nil
}

// pairCounts are what a pair counts.
type pairCounts struct{ terms, lies, passed prometheus.Counter }

// measure registers what is counted and seen of a pair.
func (p *pair) measure() error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, of func(*PairView) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { v := p.view(lang.EN); return of(&v) })
	}
	p.counts = pairCounts{counter("pair_terms_total", "Times that this server began to lead."),
		counter("pair_lies_total", "Acknowledgements of standbys that could not be true."),
		counter("pair_passed_total", "Requests handed to the leader.")}
	for _, c := range []prometheus.Collector{p.counts.terms, p.counts.lies, p.counts.passed,
		gauge("pair_leads", "Whether this server leads.", func(v *PairView) float64 { return float64(flag(v.Role == "leader")) }),
		gauge("pair_epoch", "Epoch of the leader that this server knows; 0: none.", func(v *PairView) float64 { return float64(v.Epoch) }),
		gauge("pair_in_sync", "Servers that may take over, as the leader knows, itself among them; 0: this is a standby.", func(v *PairView) float64 { return float64(len(v.InSync)) }),
		gauge("pair_lag_records", "Records that the standby furthest behind lacks, as the leader knows.", func(v *PairView) (most float64) {
			for _, s := range v.Standbys {
				most = max(most, float64(s.Lag))
			}
			return most
		}),
	} {
		if err := p.b.host.Meter.Register(c); err != nil {
			return err
		}
	}
	return nil
}
