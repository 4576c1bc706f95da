package sandbox

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/ident"
	"github.com/qiongdev/qiong/kit/saga/barrier"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of the sandbox's own tables; those of the barrier stand beside them. See Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Migrate brings all tables that a sandbox needs up to date.
func Migrate(ctx context.Context, db sqldb.DB) error {
	if err := db.Migrate(ctx, "sandbox", Tables()); err != nil {
		return err
	}
	return db.Migrate(ctx, "barrier", barrier.Tables())
}

// store keeps what agencies remember. Times are in milliseconds since 1970.
type store struct {
	db  sqldb.DB
	ids *ident.Source
}

// entry is one request as its agency knows it.
type entry struct {
	key
	digest   string
	answer   agency.Answer // what it will be once it is ready
	readyAt  int64
	undone   bool
	callback string
	copies   int64
	attempts int64
	nextAt   int64
}

var (
	intoRequest = sqldb.NewInto("request", "agency", "resource", "request_id", "digest", "answer", "ready_at", "undone", "callback", "copies", "attempts", "next_at")
	intoEffect  = sqldb.NewInto("effect", "id", "agency", "resource", "request_id", "change", "at")
)

const selectEntry = "SELECT agency, resource, request_id, digest, answer, ready_at, undone, callback, copies, attempts, next_at FROM request"

func scanEntry(s sqldb.Scanner) (entry, error) {
	var e entry
	var answer string
	var undone int64
	err := s.Scan(&e.agency, &e.resource, &e.id, &e.digest, &answer, &e.readyAt, &undone, &e.callback, &e.copies, &e.attempts, &e.nextAt)
	if err != nil {
		return e, err
	}
	e.undone = undone != 0
	if answer == "" {
		return e, nil
	}
	return e, json.Unmarshal([]byte(answer), &e.answer)
}

// find returns what is known of a request; false where it was never seen.
func find(ctx context.Context, q sqldb.Querier, k key) (entry, bool, error) {
	e, err := scanEntry(q.QueryRow(ctx, selectEntry+" WHERE agency = $1 AND resource = $2 AND request_id = $3", k.agency, k.resource, k.id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return e, false, nil
	}
	return e, err == nil, err
}

// do lets e take effect, unless the request took effect or was undone before, and returns what stands now.
func (st store) do(ctx context.Context, e entry, now int64) (stands entry, err error) {
	answer, err := json.Marshal(e.answer)
	if err != nil {
		return e, err
	}
	err = st.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		stands = e
		_, again, err := barrier.Do(ctx, tx, e.key.String(), now, func() (string, error) {
			rows := []sqldb.Insert{intoRequest.Row(e.agency, e.resource, e.id, e.digest, string(answer), e.readyAt, int64(0), e.callback, e.copies, int64(0), e.nextAt)}
			if e.answer.Outcome == agency.Done {
				rows = append(rows, st.effect(e.key, 1, now))
			}
			return string(e.answer.Outcome), tx.Insert(ctx, rows...)
		})
		if !again && !errors.Is(err, barrier.ErrUndone) {
			return err
		}
		stands, _, err = find(ctx, tx, e.key)
		return err
	})
	return stands, err
}

// errIrrevocable is why undo fails where an irrevocable resource is done.
var errIrrevocable = errs.New(errs.Conflict, "已办结且不可撤销", "it is done and irrevocable").WithCode("irrevocable")

// undo reverses what a request did, or bars it from ever taking effect.
func (st store) undo(ctx context.Context, k key, revocable bool, now int64) error {
	return st.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		_, err := barrier.Undo(ctx, tx, k.String(), now, func(outcome string) error {
			if outcome != string(agency.Done) {
				return nil
			}
			e, _, err := find(ctx, tx, k)
			if err != nil {
				return err
			}
			if !revocable && e.readyAt <= now {
				return errIrrevocable
			}
			return tx.Insert(ctx, st.effect(k, -1, now))
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, intoRequest.SQL()+" ON CONFLICT (agency, resource, request_id) DO UPDATE SET undone = 1, next_at = 0",
			k.agency, k.resource, k.id, "", "", int64(0), int64(1), "", int64(0), int64(0), int64(0))
		return err
	})
}

func (st store) effect(k key, change, now int64) sqldb.Insert {
	return intoEffect.Row(st.ids.Next(fromMilli(now)), k.agency, k.resource, k.id, change, now)
}

// strike reports whether the scenario's fault strikes this request for the first time.
func (st store) strike(ctx context.Context, k key, op string) (bool, error) {
	var fresh bool
	err := st.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO struck (agency, resource, request_id, op) VALUES ($1, $2, $3, $4)
			ON CONFLICT (agency, resource, request_id, op) DO NOTHING`, k.agency, k.resource, k.id, op)
		fresh = n == 1
		return err
	})
	return fresh, err
}

// owed returns up to limit requests with a callback owed, the earliest first.
func (st store) owed(ctx context.Context, limit int) ([]entry, error) {
	return sqldb.All(ctx, st.db, scanEntry, selectEntry+" WHERE next_at > 0 ORDER BY next_at, request_id LIMIT $1", int64(limit))
}

// postpone sets when the callback of a request is due again, 0 for never, unless an undo has cancelled it. It may be
// lost in a power cut: the callback then comes again.
func (st store) postpone(ctx context.Context, k key, attempts, nextAt int64) error {
	return st.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE request SET attempts = $1, next_at = $2
			WHERE agency = $3 AND resource = $4 AND request_id = $5 AND next_at > 0`, attempts, nextAt, k.agency, k.resource, k.id)
		return err
	})
}

// forget empties every table. The barrier's rows go too: they guard effects that are forgotten with them.
func (st store) forget(ctx context.Context) error {
	return st.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, table := range []string{"request", "effect", "struck", "saga_barrier"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		return nil
	})
}
