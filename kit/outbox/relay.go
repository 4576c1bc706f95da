package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// page is how many deliveries the relay takes at a time.
const page = 500

func consumerTopic(consumer string) string { return "to/" + consumer }
func ackTopic(producer string) string      { return "ack/" + producer }

// ack is a consumer's answer to a delivery.
type ack struct {
	ID       int64  `json:"id"`
	Consumer string `json:"consumer"`
	Failed   bool   `json:"failed,omitempty"`
	Final    bool   `json:"final,omitempty"`  // trying again is no use
	Reason   string `json:"reason,omitempty"` // of a failure
}

// due is a delivery to be sent.
type due struct {
	Message
	consumer string
	attempts int
	reason   string
}

// Run relays until ctx ends.
func (b *Box) Run(ctx context.Context) error {
	cancel, err := b.Bus.Subscribe(ackTopic(b.Producer), "box", func(ctx context.Context, m bus.Message) {
		var acks []ack
		if err := json.Unmarshal(m.Body, &acks); err != nil {
			b.Log.Error("an acknowledgement can't be read", "producer", b.Producer, "err", err)
			return
		}
		select {
		case b.acks <- acks:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	defer cancel()
	timer, clean := time.NewTimer(0), time.NewTicker(time.Hour)
	defer timer.Stop()
	defer clean.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case acks := <-b.acks:
			err = b.acknowledge(ctx, acks)
		case <-b.wake:
		case <-timer.C:
		case <-clean.C:
			err = b.Clean(ctx)
		}
		wait := b.Poll
		if err == nil {
			wait, err = b.relay(ctx)
		}
		if err != nil && ctx.Err() == nil {
			b.Log.Error("can't relay; trying again", "producer", b.Producer, "err", err)
		}
		timer.Reset(wait)
	}
}

// relay sends what is due, and returns when to look again.
func (b *Box) relay(ctx context.Context) (time.Duration, error) {
	list, err := b.due(ctx)
	if err != nil || len(list) == 0 {
		return b.pause(ctx), err
	}
	if err := b.mark(ctx, list); err != nil {
		return b.Poll, err
	}
	for _, d := range list {
		if d.attempts >= b.Attempts {
			continue
		}
		body, err := json.Marshal(d.Message)
		if err != nil {
			return b.Poll, fmt.Errorf("message %d: %w", d.ID, err)
		}
		m := bus.Message{Key: d.Key, Header: map[string]string{label.Header: d.Grade, "traceparent": d.Trace, "producer": d.Producer}, Body: body}
		if err := b.Bus.Publish(ctx, consumerTopic(d.consumer), m); err != nil {
			return b.Poll, fmt.Errorf("message %d to %s: %w", d.ID, d.consumer, err)
		}
		b.counts.sent.Add(1)
	}
	if len(list) == page {
		return 0, nil
	}
	return b.pause(ctx), nil
}

// pause returns how long until the next delivery is due, at most Poll.
func (b *Box) pause(ctx context.Context) time.Duration {
	var at *int64
	err := b.DB.QueryRow(ctx, "SELECT min(next_at) FROM local_delivery WHERE status < 2 AND next_at > $1", b.Now().UnixMilli()).Scan(&at)
	if err != nil || at == nil {
		return b.Poll
	}
	return min(b.Poll, max(time.Duration(*at-b.Now().UnixMilli())*time.Millisecond, time.Millisecond))
}

// due reads the deliveries to send: per consumer and key only the first that is open.
func (b *Box) due(ctx context.Context) ([]due, error) {
	return sqldb.All(ctx, b.DB, func(r sqldb.Scanner) (d due, err error) {
		var act int64
		var body string
		err = r.Scan(&d.ID, &d.Type, &d.Key, &d.Seq, &act, &d.Version, &d.Producer, &d.Grade, &d.Trace, &body, &d.At,
			&d.consumer, &d.attempts, &d.reason)
		d.Act, d.Payload = act == 1, json.RawMessage(body)
		return d, err
	}, `SELECT m.id, m.event_type, m.msg_key, m.seq, m.act, m.version, m.producer, m.grade, m.trace, m.payload, m.created_at,
			d.consumer, d.attempts, d.reason
		FROM local_delivery d JOIN local_message m ON m.id = d.message_id
		WHERE d.status < 2 AND d.next_at <= $1 AND NOT EXISTS (
			SELECT 1 FROM local_delivery e WHERE e.consumer = d.consumer AND e.msg_key = d.msg_key AND e.seq < d.seq
				AND e.status <> 2 AND (e.status < 2 OR e.blocks = 1))
		ORDER BY d.next_at LIMIT $2`, b.Now().UnixMilli(), page)
}

// mark records the sending before it happens, so that what a crash swallows is sent again, or buries what was sent
// often enough.
func (b *Box) mark(ctx context.Context, list []due) error {
	now := b.Now().UnixMilli()
	buried := uint64(0)
	err := b.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		buried = 0
		for _, d := range list {
			var n int64
			var err error
			if d.attempts >= b.Attempts {
				reason := d.reason
				if reason == "" {
					reason = fmt.Sprintf("not acknowledged after %d attempts", d.attempts)
				}
				n, err = b.bury(ctx, tx, d.ID, d.consumer, reason)
			} else {
				_, err = tx.Exec(ctx, `UPDATE local_delivery SET status = 1, attempts = attempts + 1, next_at = $1
					WHERE message_id = $2 AND consumer = $3 AND status < 2`, now+b.backoff(d.attempts).Milliseconds(), d.ID, d.consumer)
			}
			if err != nil {
				return err
			}
			buried += uint64(n)
		}
		return nil
	})
	if err == nil {
		b.counts.dead.Add(buried)
	}
	return err
}

// bury makes a delivery a dead letter, and returns how many that were: none where it was one already, as where two
// sendings were refused.
func (b *Box) bury(ctx context.Context, tx *sqldb.Tx, id int64, consumer, reason string) (int64, error) {
	n, err := tx.Exec(ctx, "UPDATE local_delivery SET status = 3, reason = $1 WHERE message_id = $2 AND consumer = $3 AND status < 2",
		reason, id, consumer)
	if n > 0 {
		b.Log.Error("dead letter", "producer", b.Producer, "message", id, "consumer", consumer, "reason", reason)
	}
	return n, err
}

// backoff doubles from Initial to Max with a fifth of jitter either way.
func (b *Box) backoff(attempts int) time.Duration {
	wait := b.Max
	if attempts < 30 {
		wait = min(b.Initial<<attempts, b.Max)
	}
	return wait + time.Duration((rand.Float64()-0.5)*0.4*float64(wait))
}

// acknowledge records the answers that have come, in one write.
func (b *Box) acknowledge(ctx context.Context, acks []ack) error {
	for more := true; more; {
		select {
		case next := <-b.acks:
			acks = append(acks, next...)
		default:
			more = false
		}
	}
	var acked, buried uint64
	err := b.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		acked, buried = 0, 0
		for _, a := range acks {
			var n int64
			var err error
			switch {
			case a.Final:
				n, err = b.bury(ctx, tx, a.ID, a.Consumer, a.Reason)
				buried += uint64(n)
			case a.Failed:
				_, err = tx.Exec(ctx, "UPDATE local_delivery SET reason = $1 WHERE message_id = $2 AND consumer = $3 AND status < 2",
					a.Reason, a.ID, a.Consumer)
			default:
				n, err = tx.Exec(ctx, "UPDATE local_delivery SET status = 2, reason = '' WHERE message_id = $1 AND consumer = $2 AND status <> 2",
					a.ID, a.Consumer)
				acked += uint64(n)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.counts.acked.Add(acked)
		b.counts.dead.Add(buried)
	}
	return err
}

// Clean deletes what has been acknowledged by everyone, and handled, for longer than the retention. It deletes in small
// writes, so that others get their turn.
func (b *Box) Clean(ctx context.Context) error {
	before := b.Now().Add(-b.Retention).UnixMilli()
	for {
		var n int64
		err := b.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) (err error) {
			old := `SELECT id FROM local_message m WHERE created_at < $1 AND NOT EXISTS (
				SELECT 1 FROM local_delivery d WHERE d.message_id = m.id AND d.status <> 2) ORDER BY created_at LIMIT 1000`
			if _, err = tx.Exec(ctx, "DELETE FROM local_delivery WHERE message_id IN ("+old+")", before); err != nil {
				return err
			}
			n, err = tx.Exec(ctx, "DELETE FROM local_message WHERE id IN ("+old+")", before)
			return err
		})
		if err != nil {
			return fmt.Errorf("outbox: clean: %w", err)
		}
		if n < 1000 {
			break
		}
	}
	// An inbox row must outlive every sending of its message.
	return b.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM local_inbox WHERE handled_at < $1", before-b.Retention.Milliseconds())
		return err
	})
}
