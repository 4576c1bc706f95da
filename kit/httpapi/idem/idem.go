// Package idem keeps the answers of requests that carried an Idempotency-Key, so that a repeated request is answered
// again and acts once. The row is written in the transaction of what the request changed; it is no middleware, since
// an answer kept elsewhere could be lost while its effect stays, or stay while its effect is lost.
package idem

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of the table, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Retention is how long an answer is kept.
const Retention = 7 * 24 * time.Hour

var into = sqldb.NewInto("idempotency", "principal", "route", "idem_key", "body_sm3", "answer", "created_at")

// Rows returns the row that keeps the answer of call, or none where it carried no key.
func Rows(call httpapi.Call, answer httpapi.Stored, now time.Time) []sqldb.Insert {
	if call.Key == "" {
		return nil
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("idem: %v", err)) // strings, numbers and bytes
	}
	return []sqldb.Insert{into.Row(principal(call), call.Route, call.Key, call.BodySM3[:], string(encoded), now.UnixMilli())}
}

// Find returns nil where call is new or carried no key; the error that sends the kept answer again where it is not; and
// a Conflict where its key was used with another body.
func Find(ctx context.Context, q sqldb.Querier, call httpapi.Call) error {
	if call.Key == "" {
		return nil
	}
	var body []byte
	var encoded string
	err := q.QueryRow(ctx, "SELECT body_sm3, answer FROM idempotency WHERE principal = $1 AND route = $2 AND idem_key = $3",
		principal(call), call.Route, call.Key).Scan(&body, &encoded)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(body, call.BodySM3[:]) {
		return errs.New(errs.Conflict, "同一幂等键已用于内容不同的请求", "the key was used with another body").
			WithCode("idempotency.conflict").WithField("Idempotency-Key").
			WithHint("请换用新的幂等键", "use a new key")
	}
	var answer httpapi.Stored
	if err := json.Unmarshal([]byte(encoded), &answer); err != nil {
		return fmt.Errorf("idempotency row: %w", err)
	}
	return httpapi.Resend(answer)
}

// Clean deletes what is older than the retention.
func Clean(ctx context.Context, db sqldb.DB, now time.Time) error {
	return db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM idempotency WHERE created_at < $1", now.Add(-Retention).UnixMilli())
		return err
	})
}

func principal(call httpapi.Call) string {
	if call.Principal == nil {
		return ""
	}
	return call.Principal.ID
}
