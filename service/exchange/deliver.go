package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/table"
)

// shipment is what a target is given at once: a chunk's records, written as it wants them.
type shipment struct {
	name string // the same whenever the same chunk is sent to the same target again, and no other
	feed *Feed
	to   *Target
	day  string
	rows [][]recordio.Value
	seqs []int64
	here [][]byte // the records as they are kept here, packed

	refused []refusal
}

// refusal is a record that can't be written as its target wants it.
type refusal struct {
	seq  int64
	here []byte
	err  error
}

// connector brings shipments to a target. A *table.RowError says that one row can't be taken there.
type connector interface {
	deliver(ctx context.Context, s *shipment) error
}

// firstPause is the pause after the first failure; it doubles up to the configured one.
const firstPause = time.Second

// deliverAll brings a target whatever is for it, oldest first, until ctx ends. A target that fails is tried again with
// growing pauses; nothing overtakes.
func (x *Exchange) deliverAll(ctx context.Context, r route, wake <-chan struct{}) error {
	for {
		pause := time.Minute // polling repairs a wake-up that was lost with a killed process
		d, err := x.store.next(ctx, r)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			x.host.Log.ErrorContext(ctx, "deliveries can't be read", "route", r.String(), "err", err)
			pause = firstPause
		case d != nil && d.Due > x.host.Now().UnixMilli():
			pause = time.Duration(d.Due-x.host.Now().UnixMilli()) * time.Millisecond
		case d != nil:
			if err := x.deliverNext(ctx, d); err == nil {
				continue
			} else if ctx.Err() == nil {
				x.postpone(ctx, d, err)
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-time.After(pause):
		}
	}
}

// postpone keeps why a delivery failed and when it is tried again.
func (x *Exchange) postpone(ctx context.Context, d *delivery, cause error) {
	pause := min(firstPause<<min(d.Attempts, 20), x.cfg.Pause)
	d.Attempts++
	d.Due, d.Reason = x.host.Now().Add(pause).UnixMilli(), problemOf(cause)
	x.metrics.failed.WithLabelValues(d.Feed, d.Target).Inc()
	x.host.Log.WarnContext(ctx, "a delivery failed", "feed", d.Feed, "target", d.Target, "transfer", d.Transfer, "attempts", d.Attempts, "err", cause)
	err := x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return x.store.saveDelivery(ctx, tx, d) })
	if err != nil && ctx.Err() == nil {
		x.host.Log.ErrorContext(ctx, "a failed delivery can't be kept", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(firstPause):
		}
	}
}

// deliverNext brings the next chunk of d to its target and keeps that it did, together with what could not go along.
func (x *Exchange) deliverNext(ctx context.Context, d *delivery) error {
	t, err := x.store.transfer(ctx, x.host.DB, d.Transfer)
	if err != nil {
		return err
	}
	f, err := x.feed(t.Feed, t.Version)
	if err != nil {
		return err
	}
	to := f.target(d.Target)
	if to == nil {
		return errs.Newf(errs.Internal, "数据流 %s 的版本 %d 没有目标 %s", "version %[2]d of the feed %[1]s has no target %[3]s", f.Name, f.Version, d.Target)
	}
	s, err := x.prepare(ctx, f, to, t, d.Next)
	if err != nil {
		return err
	}
	var refused []*held
	for _, r := range s.refused {
		refused = append(refused, x.hold(f, t.ID, r.seq, to.Name, recordio.Segment{Bytes: r.here}, r.err))
	}
	for len(s.rows) > 0 {
		c, err := x.connector(ctx, f, to)
		if err != nil {
			return err
		}
		err = c.deliver(ctx, s)
		var row *table.RowError
		if errors.As(err, &row) && row.Row < len(s.rows) {
			refused = append(refused, s.without(x, t, row.Row, row.Err))
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	next := *d
	next.Next++
	next.Attempts, next.Due, next.Reason = 0, 0, ""
	next.Delivered += int64(len(s.rows))
	next.Quarantined += int64(len(refused))
	if next.Next >= next.Chunks {
		next.Status, next.Ended = "done", x.host.Now().UnixMilli()
	}
	err = x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, h := range refused {
			row, err := h.row()
			if err != nil {
				return err
			}
			if err := tx.Insert(ctx, row); err != nil {
				return err
			}
		}
		return x.store.saveDelivery(ctx, tx, &next)
	})
	if err == nil {
		x.metrics.delivered.WithLabelValues(d.Feed, d.Target).Add(float64(len(s.rows)))
	}
	return err
}

// prepare opens a chunk and writes its records as the target wants them. What it can't have stands apart.
func (x *Exchange) prepare(ctx context.Context, f *Feed, to *Target, t *transfer, n int64) (*shipment, error) {
	s := &shipment{name: fmt.Sprintf("%s-%s-%s-%d", f.Name, to.Name, t.ID, n), feed: f, to: to, day: t.Day}
	err := x.records(ctx, f, t.ID, n, func(seq int64, values []recordio.Value) error {
		out := make([]recordio.Value, len(values))
		here := pack(nil, seq, values)
		if _, err := to.view(nil, f, values, out); err != nil {
			s.refused = append(s.refused, refusal{seq, here, err})
			return nil
		}
		s.rows, s.seqs, s.here = append(s.rows, out), append(s.seqs, seq), append(s.here, here)
		return nil
	})
	return s, err
}

// without takes a row out of the shipment, into quarantine.
func (s *shipment) without(x *Exchange, t *transfer, i int, cause error) *held {
	h := x.hold(s.feed, t.ID, s.seqs[i], s.to.Name, recordio.Segment{Bytes: s.here[i]}, cause)
	s.rows = append(s.rows[:i], s.rows[i+1:]...)
	s.seqs = append(s.seqs[:i], s.seqs[i+1:]...)
	s.here = append(s.here[:i], s.here[i+1:]...)
	return h
}

// records calls visit for each record of a chunk. A chunk without a good record was never written.
func (x *Exchange) records(ctx context.Context, f *Feed, transfer string, n int64, visit func(seq int64, values []recordio.Value) error) error {
	sealed, err := x.store.chunk(ctx, transfer, n)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	packed, err := x.sealer.Open(sealed, chunkAAD(transfer, n))
	if err != nil {
		return fmt.Errorf("transfer %s, chunk %d: %w", transfer, n, err)
	}
	return unpack(packed, len(f.Fields), visit)
}

func (f *Feed) target(name string) *Target {
	for i := range f.To {
		if f.To[i].Name == name {
			return &f.To[i]
		}
	}
	return nil
}

// column returns what the target calls a field.
func (t *Target) column(field string) string {
	if c := t.Columns[field]; c != "" {
		return c
	}
	return field
}

// columns returns what the target calls the fields.
func (t *Target) columns(f *Feed) []string {
	names := make([]string, len(f.Fields))
	for i := range f.Fields {
		names[i] = t.column(f.Fields[i].Name)
	}
	return names
}

func (x *Exchange) connector(ctx context.Context, f *Feed, to *Target) (connector, error) {
	switch {
	case to.Table != nil:
		t, err := x.table(ctx, to.Table.Connection, to.spec(f))
		return tableConnector{t}, err
	case to.File != nil:
		return fileConnector{}, nil
	}
	return pushConnector{x}, nil
}
