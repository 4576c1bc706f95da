package outbox

import (
	"context"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// Dead is a dead letter.
type Dead struct {
	_        struct{} `grade:"L2"`
	Message  int64    `json:"message,string"`
	Consumer string   `json:"consumer"`
	Type     string   `json:"type"`
	Key      string   `json:"key"`
	Attempts int      `json:"attempts"`
	Reason   string   `json:"reason"`
	At       int64    `json:"at"`
}

// ListDead pages through the dead letters in the order of their messages.
func (b *Box) ListDead(ctx context.Context, after int64, limit int) ([]Dead, error) {
	return sqldb.All(ctx, b.DB, func(r sqldb.Scanner) (d Dead, err error) {
		return d, r.Scan(&d.Message, &d.Consumer, &d.Type, &d.Key, &d.Attempts, &d.Reason, &d.At)
	}, `SELECT d.message_id, d.consumer, m.event_type, d.msg_key, d.attempts, d.reason, m.created_at
		FROM local_delivery d JOIN local_message m ON m.id = d.message_id
		WHERE d.status = 3 AND d.message_id > $1 ORDER BY d.message_id LIMIT $2`, after, limit)
}

// Requeue has dead letters sent anew: all of a consumer's, or all where consumer is empty; one message's where id is
// not 0. It returns how many.
func (b *Box) Requeue(ctx context.Context, consumer string, id int64) (int64, error) {
	var n int64
	err := b.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) (err error) {
		n, err = tx.Exec(ctx, `UPDATE local_delivery SET status = 0, attempts = 0, next_at = $1, reason = ''
			WHERE status = 3 AND ($2 = '' OR consumer = $2) AND (CAST($3 AS BIGINT) = 0 OR message_id = $3)`, b.Now().UnixMilli(), consumer, id)
		tx.OnCommit(b.Wake)
		return err
	})
	return n, err
}
