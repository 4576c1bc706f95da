package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// held is the next_at of an instance that is being driven, never that of one which waits for a person or a callback.
const (
	held  = int64(1) << 61
	never = held + 1
)

const columns = "id, name, version, status, input, state, trace, rev, boot, deadline, created_at, updated_at"

var into = sqldb.NewInto("saga", "id", "name", "version", "status", "ended", "input", "state", "stuck_on", "parked",
	"trace", "rev", "boot", "next_at", "deadline", "created_at", "updated_at")

// state is what the column of that name holds.
type state struct {
	Steps  []saga.StepState `json:"steps"`
	Reason string           `json:"reason,omitempty"`
	Cancel bool             `json:"cancel,omitempty"`
}

func encode(in *saga.Instance) string {
	b, err := json.Marshal(state{in.Steps, in.Reason, in.Cancel})
	if err != nil {
		panic(fmt.Sprintf("saga %s: %v", in.ID, err)) // outputs are checked when they are taken
	}
	return string(b)
}

func (e *Engine) row(in *saga.Instance, nextAt int64) sqldb.Insert {
	return into.Row(in.ID, in.Name, in.Version, string(in.Status), 0, string(in.Input), encode(in), "", 0,
		in.Trace, in.Rev, e.boot, nextAt, in.Deadline, in.Created, in.Updated)
}

func scan(r sqldb.Scanner) (stored, error) {
	var s stored
	var version int64
	var input, encoded string
	in := &saga.Instance{}
	err := r.Scan(&in.ID, &in.Name, &version, (*string)(&in.Status), &input, &encoded, &in.Trace, &in.Rev, &s.boot,
		&in.Deadline, &in.Created, &in.Updated)
	if err != nil {
		return s, err
	}
	var st state
	if err := json.Unmarshal([]byte(encoded), &st); err != nil {
		return s, fmt.Errorf("saga %s: state: %w", in.ID, err)
	}
	in.Version, in.Input = int(version), json.RawMessage(input)
	in.Steps, in.Reason, in.Cancel = st.Steps, st.Reason, st.Cancel
	s.Instance = in
	return s, nil
}

// stored is an instance as its row has it.
type stored struct {
	*saga.Instance
	boot int64
}

const update = `UPDATE saga SET status = $1, ended = $2, state = $3, stuck_on = $4, parked = $5, rev = $6,
	boot = $7, next_at = $8, updated_at = $9 WHERE id = $10 AND rev = $11`

// updated returns the arguments of update: in, over its row of the revision before.
func updated(d *saga.Definition, in *saga.Instance, nextAt, life int64) []any {
	ended := 0
	if in.Status.Ended() {
		ended = 1
	}
	stuck, parked := stuckOn(d, in)
	return []any{string(in.Status), ended, encode(in), stuck, parked, in.Rev, life, nextAt, in.Updated, in.ID, in.Rev - 1}
}

// saveWith writes in within a transaction, together with what f writes.
func (e *Engine) saveWith(ctx context.Context, how sqldb.Durability, d *saga.Definition, in *saga.Instance, nextAt, life int64, f func(tx *sqldb.Tx) error) error {
	err := e.DB.Write(ctx, how, func(tx *sqldb.Tx) error {
		if err := tx.Update(ctx, update, updated(d, in, nextAt, life)...); err != nil {
			return err
		}
		return f(tx)
	})
	if errors.Is(err, sqldb.ErrMissed) {
		return missed(ctx, e.DB, in, life)
	}
	return err
}

// saveAlone writes in where nothing else has to commit with it, which is far cheaper.
func (e *Engine) saveAlone(ctx context.Context, how sqldb.Durability, d *saga.Definition, in *saga.Instance, nextAt, life int64) error {
	n, err := e.DB.Exec(ctx, how, update, updated(d, in, nextAt, life)...)
	if err != nil || n == 1 {
		return err
	}
	return missed(ctx, e.DB, in, life)
}

// missed says why no row was of the revision before.
func missed(ctx context.Context, q sqldb.Querier, in *saga.Instance, life int64) error {
	var rev, boot int64
	err := q.QueryRow(ctx, "SELECT rev, boot FROM saga WHERE id = $1", in.ID).Scan(&rev, &boot)
	switch {
	case errors.Is(err, sqldb.ErrNoRows):
		return fmt.Errorf("%w: %w", errStale, err)
	case err != nil:
		return err
	case rev == in.Rev && boot == life:
		return errWritten
	case rev == in.Rev-1:
		return sqldb.ErrMissed // of another row, which was to change with this one
	}
	return errStale
}

var (
	// errWritten: the row is as it should be already: the answer to an earlier commit was lost with the connection.
	errWritten = errors.New("written before")
	// errStale: somebody else has changed the row.
	errStale = errors.New("the row is of another revision")
)

// stuckOn lists who keeps in waiting, and whether a person is needed.
func stuckOn(d *saga.Definition, in *saga.Instance) (string, int) {
	var b strings.Builder
	parked := 0
	for i := range in.Steps {
		st := &in.Steps[i]
		if st.Parked {
			parked = 1
		}
		if st.Parked || st.Attempts > 0 {
			s, _, _ := d.Step(st.Name)
			b.WriteString(" " + s.Participant)
		}
	}
	if b.Len() == 0 {
		return "", parked
	}
	return b.String() + " ", parked
}

// Get returns an instance as it was last written, and the definition it runs on.
func (e *Engine) Get(ctx context.Context, id string) (*saga.Instance, *saga.Definition, error) {
	s, err := scan(e.DB.QueryRow(ctx, "SELECT "+columns+" FROM saga WHERE id = $1", id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil, nil, errs.New(errs.NotFound, "没有这个流程", "there is no such saga")
	}
	if err != nil {
		return nil, nil, err
	}
	d, ok := e.Definition(s.Name, s.Version)
	if !ok {
		return nil, nil, fmt.Errorf("saga %s: %s version %d is not registered", id, s.Name, s.Version)
	}
	return s.Instance, d, nil
}

// ready returns up to limit instances that are due, the longest due first.
func (e *Engine) ready(ctx context.Context, limit int) ([]stored, error) {
	return sqldb.All(ctx, e.DB, scan, "SELECT "+columns+` FROM saga WHERE ended = 0 AND next_at <= $1
		ORDER BY next_at LIMIT $2`, e.Now().UnixMilli(), limit)
}

// recover takes back what a former life held, and counts what it left.
func (e *Engine) recover(ctx context.Context) error {
	err := e.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE saga SET next_at = 0 WHERE ended = 0 AND next_at = $1", held)
		return err
	})
	if err != nil {
		return err
	}
	n, err := sqldb.Value[int64](ctx, e.DB, "SELECT count(*) FROM saga WHERE ended = 0")
	e.backlog.Store(n)
	return err
}
