package house

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/saga/engine"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// meter returns a registerer that puts the service's name before its metrics.
func meter(r *prometheus.Registry, service string) prometheus.Registerer {
	return prometheus.WrapRegistererWithPrefix("qiong_"+service+"_", r)
}

// measure registers what the mechanisms of every room count.
func (h *House) measure() {
	for _, r := range h.rooms {
		m := r.host.Meter
		if r.host.DB != nil {
			measureDB(m, r.host.DB)
			measureBox(m, r.host.Box)
		}
		if r.host.Sagas != nil {
			measureSagas(m, r.host)
		}
		if len(r.children) > 0 {
			m.MustRegister(childCollector(r.children))
		}
	}
}

func counter(m prometheus.Registerer, name, help string, value func() float64) {
	m.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
}

func gauge(m prometheus.Registerer, name, help string, value func() float64) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func measureDB(m prometheus.Registerer, db sqldb.DB) {
	of := func(f func(sqldb.Stats) float64) func() float64 { return func() float64 { return f(db.Stats()) } }
	counter(m, "db_writes_total", "Writes committed.", of(func(s sqldb.Stats) float64 { return float64(s.Writes) }))
	counter(m, "db_commits_total", "Transactions those writes took.", of(func(s sqldb.Stats) float64 { return float64(s.Commits) }))
	counter(m, "db_failed_total", "Writes refused or undone.", of(func(s sqldb.Stats) float64 { return float64(s.Failed) }))
	gauge(m, "db_waiting", "Writes waiting now.", of(func(s sqldb.Stats) float64 { return float64(s.Waiting) }))
}

func measureBox(m prometheus.Registerer, b *outbox.Box) {
	of := func(f func(outbox.Stats) float64) func() float64 { return func() float64 { return f(b.Stats()) } }
	counter(m, "messages_sent_total", "Sendings of messages.", of(func(s outbox.Stats) float64 { return float64(s.Sent) }))
	counter(m, "messages_acknowledged_total", "Messages acknowledged.", of(func(s outbox.Stats) float64 { return float64(s.Acknowledged) }))
	counter(m, "messages_dead_total", "Messages that became dead letters.", of(func(s outbox.Stats) float64 { return float64(s.Dead) }))
}

func measureSagas(m prometheus.Registerer, host *qiong.Host) {
	of := func(f func(engine.Stats) float64) func() float64 {
		return func() float64 { return f(host.Sagas.Stats()) }
	}
	counter(m, "sagas_started_total", "Sagas begun.", of(func(s engine.Stats) float64 { return float64(s.Started) }))
	counter(m, "sagas_ended_total", "Sagas ended.", of(func(s engine.Stats) float64 { return float64(s.Ended) }))
	counter(m, "sagas_calls_total", "Calls to participants.", of(func(s engine.Stats) float64 { return float64(s.Calls) }))
	counter(m, "sagas_retries_total", "Calls that got no answer and are made again.", of(func(s engine.Stats) float64 { return float64(s.Retries) }))
	counter(m, "sagas_parked_total", "Steps parked for a person.", of(func(s engine.Stats) float64 { return float64(s.Parked) }))
	gauge(m, "sagas_active", "Sagas driven at the moment.", of(func(s engine.Stats) float64 { return float64(s.Active) }))
	gauge(m, "sagas_backlog", "Sagas begun and not ended.", of(func(s engine.Stats) float64 { return float64(s.Backlog) }))
}
