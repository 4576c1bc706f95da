// Package barrier keeps a participant of sagas right whatever the network does to its requests: each takes effect once
// however often it comes (duplicates), an undo of what never happened does nothing (empty compensation), and a request
// that arrives after its undo has no effect any more (hanging).
//
// Both functions run in the transaction of the effect itself; that is the whole trick.
package barrier

import (
	"context"
	"embed"
	"errors"
	"io/fs"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of the barrier's table, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// ErrUndone answers a request that comes after its undo.
var ErrUndone = errs.New(errs.Conflict, "该请求已被撤销，不再办理", "the request was undone and will not take effect").WithCode("saga.undone")

// Do runs effect unless the request was answered before, and returns its answer, or the one given then. now is in
// milliseconds since 1970.
func Do(ctx context.Context, tx *sqldb.Tx, requestID string, now int64, effect func() (answer string, err error)) (answer string, again bool, err error) {
	fresh, err := claim(ctx, tx, requestID, "do", now)
	if err != nil {
		return "", false, err
	}
	if !fresh {
		given, err := Answer(ctx, tx, requestID)
		return given, true, err
	}
	if answer, err = effect(); err != nil {
		return "", false, err
	}
	return answer, false, keep(ctx, tx, requestID, "do", answer)
}

// Undo runs reverse with the answer that was given to the request, unless it was undone before or never took effect;
// done says whether there was an effect to reverse, now or then.
func Undo(ctx context.Context, tx *sqldb.Tx, requestID string, now int64, reverse func(answer string) error) (done bool, err error) {
	fresh, err := claim(ctx, tx, requestID, "undo", now)
	if err != nil {
		return false, err
	}
	if !fresh {
		_, err := Answer(ctx, tx, requestID)
		return !errors.Is(err, ErrUndone), ignore(err)
	}
	empty, err := claim(ctx, tx, requestID, "do", now)
	if err != nil || empty {
		return false, err
	}
	answer, err := Answer(ctx, tx, requestID)
	if err != nil {
		return false, err
	}
	return true, reverse(answer)
}

func ignore(err error) error {
	if errors.Is(err, ErrUndone) {
		return nil
	}
	return err
}

// Answer returns what was answered to a request: sqldb.ErrNoRows where it never came, ErrUndone where its undo came first.
func Answer(ctx context.Context, q sqldb.Querier, requestID string) (string, error) {
	var answer *string
	err := q.QueryRow(ctx, "SELECT answer FROM saga_barrier WHERE request_id = $1 AND op = 'do'", requestID).Scan(&answer)
	if err == nil && answer == nil {
		return "", ErrUndone
	}
	if err != nil {
		return "", err
	}
	return *answer, nil
}

// Undone reports whether a request was undone, before or after it came.
func Undone(ctx context.Context, q sqldb.Querier, requestID string) (bool, error) {
	n, err := sqldb.Value[int64](ctx, q, "SELECT count(*) FROM saga_barrier WHERE request_id = $1 AND op = 'undo'", requestID)
	return n > 0, err
}

func claim(ctx context.Context, tx *sqldb.Tx, requestID, op string, now int64) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO saga_barrier (request_id, op, at) VALUES ($1, $2, $3)
		ON CONFLICT (request_id, op) DO NOTHING`, requestID, op, now)
	return n == 1, err
}

func keep(ctx context.Context, tx *sqldb.Tx, requestID, op, answer string) error {
	_, err := tx.Exec(ctx, "UPDATE saga_barrier SET answer = $1 WHERE request_id = $2 AND op = $3", answer, requestID, op)
	return err
}
