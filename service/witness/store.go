package witness

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// store is the voter's memory. It implements lease.Store.
type store struct {
	db       sqldb.DB
	box      *outbox.Box
	now      func() time.Time
	log      *slog.Logger
	promoted prometheus.Counter
}

// EventPromoted tells of a promotion by hand.
const EventPromoted = "witness.replica.promoted"

// promotion is a replica that a person promoted: the data of EventPromoted.
type promotion struct {
	Lease   string         `json:"lease" grade:"L1"`
	Epoch   uint64         `json:"epoch" grade:"L1"`
	Replica string         `json:"replica" grade:"L1" doc:"被提升的副本 / the replica that was promoted"`
	Reason  string         `json:"reason" grade:"L2" doc:"操作者说明的原因 / the reason that was given"`
	Before  lease.Register `json:"before" grade:"L1" doc:"此前的登记：可能丢失已确认记录的来源 / what was in force until then"`
	At      beijing.Time   `json:"at" grade:"L1"`
}

// Load implements lease.Store.
func (s *store) Load(ctx context.Context) (map[string]lease.Record, error) {
	type row struct {
		name   string
		record []byte
	}
	rows, err := sqldb.All(ctx, s.db, func(r sqldb.Scanner) (row, error) {
		var x row
		return x, r.Scan(&x.name, &x.record)
	}, "SELECT name, record FROM lease")
	if err != nil {
		return nil, err
	}
	all := make(map[string]lease.Record, len(rows))
	for _, x := range rows {
		rec, err := lease.ParseRecord(x.record)
		if err != nil {
			return nil, errs.Wrap(err, errs.Internal, "租约记录已损坏："+x.name, "the record of a lease is damaged: "+x.name)
		}
		all[x.name] = rec
	}
	return all, nil
}

const (
	saveRecord = `INSERT INTO lease (name, record) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET record = excluded.record`
	savePromo  = `INSERT INTO promotion (lease, epoch, replica, reason, before, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (lease, epoch) DO NOTHING`
)

// Save implements lease.Store: durably. A promotion by hand is recorded, and told as an act, in the same transaction.
func (s *store) Save(ctx context.Context, name string, r lease.Record) error {
	if r.Register.Forced == "" {
		_, err := s.db.Exec(ctx, sqldb.Durable, saveRecord, name, r.Marshal())
		return err
	}
	return s.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		p := promotion{Lease: name, Epoch: r.Register.Epoch, Replica: r.Register.Holder, Reason: r.Register.Forced, At: beijing.Time(s.now().UnixMilli())}
		if err := s.promote(ctx, tx, p); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, saveRecord, name, r.Marshal())
		return err
	})
}

// promote records a promotion, once.
func (s *store) promote(ctx context.Context, tx *sqldb.Tx, p promotion) error {
	var old []byte
	if err := tx.QueryRow(ctx, "SELECT record FROM lease WHERE name = $1", p.Lease).Scan(&old); err != nil {
		return err // a ballot was promised before
	}
	was, err := lease.ParseRecord(old)
	if err != nil {
		return err
	}
	p.Before = was.Register
	before, err := json.Marshal(p.Before)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, savePromo, p.Lease, int64(p.Epoch), p.Replica, p.Reason, string(before), int64(p.At))
	if err != nil || n == 0 {
		return err
	}
	tx.OnCommit(func() {
		s.promoted.Inc()
		s.log.Warn("a replica was promoted by hand; records that were acknowledged may be lost", "lease", p.Lease, "replica", p.Replica, "epoch", p.Epoch)
	})
	return s.box.Publish(ctx, tx, outbox.Event{Type: EventPromoted, Version: 1, Grade: "L2", Act: true, Key: p.Lease, Trace: telemetry.Inject(ctx), Data: p})
}

// promotions lists what was promoted by hand, the newest first, older than a moment or, of that moment, smaller by name.
func (s *store) promotions(ctx context.Context, at int64, name string, limit int) ([]promotion, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (promotion, error) {
		var p promotion
		var epoch, at int64
		var was string
		if err := r.Scan(&p.Lease, &epoch, &p.Replica, &p.Reason, &was, &at); err != nil {
			return p, err
		}
		p.Epoch, p.At = uint64(epoch), beijing.Time(at)
		return p, json.Unmarshal([]byte(was), &p.Before)
	}, "SELECT lease, epoch, replica, reason, before, at FROM promotion WHERE at < $1 OR at = $1 AND lease < $2 ORDER BY at DESC, lease DESC LIMIT $3", at, name, limit)
}
