package evidence

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// act is a row of that table.
type act struct {
	id, producer, key, typ string
	submission             ledger.Submission
	original               []byte // sealed
	acceptedAt, placedAt   int64
	refused                string
}

type store struct{ db sqldb.DB }

var intoAct = sqldb.NewInto("act", "id", "producer", "akey", "type", "submission", "commitment", "original", "accepted_at", "placed_at", "refused")

func (a *act) row() (sqldb.Insert, error) {
	text, err := json.Marshal(a.submission)
	if err != nil {
		return sqldb.Insert{}, err
	}
	original := a.original
	if original == nil {
		original = []byte{}
	}
	return intoAct.Row(a.id, a.producer, a.key, a.typ, string(text), a.submission.Commitment[:], original, a.acceptedAt, a.placedAt, a.refused), nil
}

const actColumns = "id, producer, akey, type, submission, original, accepted_at, placed_at, refused"

func scanAct(s sqldb.Scanner) (a act, err error) {
	var text string
	if err := s.Scan(&a.id, &a.producer, &a.key, &a.typ, &text, &a.original, &a.acceptedAt, &a.placedAt, &a.refused); err != nil {
		return a, err
	}
	return a, json.Unmarshal([]byte(text), &a.submission)
}

// name gives the log its name for good.
func (s store) name(ctx context.Context, origin string) error {
	if _, err := s.db.Exec(ctx, sqldb.Durable, "INSERT INTO log_name (id, origin) VALUES (1, $1) ON CONFLICT (id) DO NOTHING", origin); err != nil {
		return err
	}
	have, err := sqldb.Value[string](ctx, s.db, "SELECT origin FROM log_name WHERE id = 1")
	if err == nil && have != origin {
		err = errs.New(errs.Conflict, "日志名称与数据目录中的不同，不能更改", "the log in the data folder has another name, which cannot be changed").WithField("evidence.origin")
	}
	return err
}

// position is where a walk through what waits has come to.
type position struct {
	at int64
	id string
}

// waiting returns what is not in the log yet, beyond a position, in the order it was accepted.
func (s store) waiting(ctx context.Context, after position, limit int) ([]ledger.Submission, position, error) {
	all, err := sqldb.All(ctx, s.db, func(row sqldb.Scanner) (r ledger.Submission, err error) {
		var text string
		if err := row.Scan(&after.at, &after.id, &text); err != nil {
			return r, err
		}
		return r, json.Unmarshal([]byte(text), &r)
	}, "SELECT accepted_at, id, submission FROM act WHERE placed_at = 0 AND refused = '' AND (accepted_at, id) > ($1, $2) ORDER BY accepted_at, id LIMIT $3",
		after.at, after.id, limit)
	return all, after, err
}

// among returns what has been accepted here under some of the ids.
func (s store) among(ctx context.Context, ids []string) ([]ledger.Submission, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	each := "SELECT value FROM json_each($1)"
	if s.db.Dialect() == sqldb.Postgres {
		each = "SELECT jsonb_array_elements_text($1::jsonb)"
	}
	return sqldb.All(ctx, s.db, func(row sqldb.Scanner) (r ledger.Submission, err error) {
		var text string
		if err := row.Scan(&text); err != nil {
			return r, err
		}
		return r, json.Unmarshal([]byte(text), &r)
	}, "SELECT submission FROM act WHERE id IN ("+each+")", string(list))
}

func (s store) countWaiting(ctx context.Context) (int64, error) {
	return sqldb.Value[int64](ctx, s.db, "SELECT count(*) FROM act WHERE placed_at = 0 AND refused = ''")
}

// idTaken is why an act is put aside whose id stands in the log with another commitment.
const idTaken = "该编号已用于另一条记录 / another record has this id"

// place is an entry of the log, as far as an act of this id must agree with it.
type place struct {
	id         string
	commitment merkle.Hash
}

// placed marks acts as being in the log, and puts aside those whose id another record has there. The sign before placed_at
// keeps SQLite from walking through all that waits.
func placed(ctx context.Context, tx *sqldb.Tx, at int64, places []place) error {
	pairs := make([][2]string, len(places))
	for i, p := range places {
		pairs[i] = [2]string{p.id, hex.EncodeToString(p.commitment[:])}
	}
	list, err := json.Marshal(pairs)
	if err != nil {
		return err
	}
	each := "SELECT json_extract(value, '$[0]') AS id, unhex(json_extract(value, '$[1]')) AS commitment FROM json_each($1)"
	if tx.Dialect() == sqldb.Postgres {
		each = "SELECT value->>0 AS id, decode(value->>1, 'hex') AS commitment FROM jsonb_array_elements($1::jsonb)"
	}
	_, err = tx.Exec(ctx, `UPDATE act SET placed_at = CASE WHEN act.commitment = p.commitment THEN CAST($2 AS BIGINT) ELSE 0 END,
		refused = CASE WHEN act.commitment = p.commitment THEN '' ELSE $3 END
		FROM (`+each+`) AS p WHERE act.id = p.id AND +act.placed_at = 0 AND act.refused = ''`, string(list), at, idTaken)
	return err
}

// refuse puts acts aside that the ledger will not have.
func (s store) refuse(ctx context.Context, reason string, ids ...string) error {
	return s.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(ctx, "UPDATE act SET refused = $1 WHERE id = $2 AND placed_at = 0", reason, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// about returns the acts of a producer about the thing with a key, in their order.
func (s store) about(ctx context.Context, producer, key string) ([]act, error) {
	return sqldb.All(ctx, s.db, scanAct, "SELECT "+actColumns+" FROM act WHERE producer = $1 AND akey = $2 ORDER BY id LIMIT 1000", producer, key)
}

// find returns the act with an id; sqldb.ErrNoRows where there is none.
func (s store) find(ctx context.Context, id string) (act, error) {
	return scanAct(s.db.QueryRow(ctx, "SELECT "+actColumns+" FROM act WHERE id = $1", id))
}

// list returns acts beyond an id, newest first.
func (s store) list(ctx context.Context, before string, limit int) ([]act, error) {
	if before == "" {
		return sqldb.All(ctx, s.db, scanAct, "SELECT "+actColumns+" FROM act ORDER BY accepted_at DESC, id DESC LIMIT $1", limit)
	}
	return sqldb.All(ctx, s.db, scanAct, `SELECT `+actColumns+` FROM act WHERE (accepted_at, id) < (SELECT accepted_at, id FROM act WHERE id = $1)
		ORDER BY accepted_at DESC, id DESC LIMIT $2`, before, limit)
}

// erase removes the original of one act, and eraseBefore those of all that were accepted before a time.
func (s store) erase(ctx context.Context, id string) (int64, error) {
	return s.db.Exec(ctx, sqldb.Durable, "UPDATE act SET original = $1 WHERE id = $2 AND length(original) > 0", []byte{}, id)
}

func (s store) eraseBefore(ctx context.Context, at int64) (int64, error) {
	return s.db.Exec(ctx, sqldb.Durable, "UPDATE act SET original = $1 WHERE accepted_at < $2 AND placed_at > 0 AND length(original) > 0", []byte{}, at)
}

var intoBatch = sqldb.NewInto("batch", "id", "root", "acts")

// keepBatches stores the acts of batches. What is there already stays.
func (s store) keepBatches(ctx context.Context, batches []batch) error {
	if len(batches) == 0 {
		return nil
	}
	return s.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, b := range batches {
			if _, err := tx.Exec(ctx, "INSERT INTO batch (id, root, acts) VALUES ($1, $2, $3) ON CONFLICT (id, root) DO NOTHING", b.id, b.root[:], b.acts); err != nil {
				return err
			}
		}
		return nil
	})
}

// batchOf returns the acts of a batch; an error of kind NotFound where they are not here.
func (s store) batchOf(ctx context.Context, id string, root merkle.Hash) (*batch, error) {
	acts, err := sqldb.Value[[]byte](ctx, s.db, "SELECT acts FROM batch WHERE id = $1 AND root = $2", id, root[:])
	if errors.Is(err, sqldb.ErrNoRows) {
		err = errs.New(errs.NotFound, "此记录不是在此提交的批次", "this record is no batch that was put here").WithCode("evidence.batch")
	}
	return &batch{id: id, root: root, acts: acts}, err
}
