package engine

import (
	"context"
	"errors"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/saga"
	"github.com/qiongdev/qiong/kit/sqldb"
)

func stopped() error {
	return errs.New(errs.Unavailable, "服务正在停止，请稍后再试", "the service is stopping; try again later")
}

// change is what a command does to an instance.
type change func(*saga.Definition, *saga.Instance, int64) (*saga.Notice, error)

// command has c applied to an instance by its driver, and returns when the result is on stable storage. Where the row
// was read just before another driver of this process wrote it, it begins again.
func (e *Engine) command(ctx context.Context, id string, c change) error {
	for {
		if err := e.once(ctx, id, c); !errors.Is(err, errStale) {
			return err
		}
	}
}

func (e *Engine) once(ctx context.Context, id string, c change) error {
	result := make(chan error, 1)
	ev := event{apply: c, reply: func(err error) { result <- err }}
	if err := e.deliver(ctx, id, ev); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliver gives ev to the driver of id, which it starts where there is none.
func (e *Engine) deliver(ctx context.Context, id string, ev event) error {
	select {
	case <-e.up:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.toDriver(id, ev) {
		return nil
	}
	s, err := scan(e.DB.QueryRow(ctx, "SELECT "+columns+" FROM saga WHERE id = $1", id))
	if errors.Is(err, sqldb.ErrNoRows) {
		return errs.New(errs.NotFound, "没有这个流程", "there is no such saga")
	}
	if err != nil {
		return err
	}
	if s.Status.Ended() {
		return e.afterEnd(s.Instance, ev)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running {
		return stopped()
	}
	dr := e.active[id]
	if dr == nil {
		// Had a driver come and gone since the row was read, it is of another revision now, and writing it fails.
		e.resume(s)
		if dr = e.drive(s.Instance); dr == nil {
			return errs.New(errs.Unavailable, "流程定义未加载", "the definition of the saga is not loaded")
		}
	}
	dr.post(ev)
	return nil
}

// afterEnd answers a command for an instance that changes no more.
func (e *Engine) afterEnd(in *saga.Instance, ev event) error {
	d, ok := e.Definition(in.Name, in.Version)
	if !ok {
		return errs.New(errs.Unavailable, "流程定义未加载", "the definition of the saga is not loaded")
	}
	_, err := ev.apply(d, in, e.Now().UnixMilli())
	ev.reply(err)
	return nil
}

func (e *Engine) toDriver(id string, ev event) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	dr := e.active[id]
	if dr == nil {
		return false
	}
	dr.post(ev)
	return true
}

// Deliver takes a participant's own answer to a step, such as a signed callback. An answer that is no longer waited for
// changes nothing and is no error.
func (e *Engine) Deliver(ctx context.Context, id, step string, op saga.Op, a saga.Answer) error {
	return e.command(ctx, id, func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error) {
		if _, _, ok := d.Step(step); !ok {
			return nil, errs.New(errs.NotFound, "没有这个环节", "there is no such step").WithField("step")
		}
		return saga.Take(d, in, step, op, a, now), nil
	})
}

// Cancel asks for the way back. nil means that it is open so far: a pivot under way may still answer that it is too
// late. Past the pivot it is a Conflict.
func (e *Engine) Cancel(ctx context.Context, id, reason string) error {
	return e.command(ctx, id, func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error) {
		return nil, saga.Cancel(d, in, reason, now)
	})
}

// Skip closes a parked step of an instance without its being done.
func (e *Engine) Skip(ctx context.Context, id, step, reason string) error {
	return e.command(ctx, id, func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error) {
		return nil, saga.Skip(d, in, step, reason, now)
	})
}

// Match says which steps to retry; an empty field matches all.
type Match struct {
	Saga        string
	Participant string
	Step        string
}

func (m Match) step(s saga.Step) bool {
	return (m.Participant == "" || m.Participant == s.Participant) && (m.Step == "" || m.Step == s.Name)
}

// Retry has every step that matches, and is parked or between two tries, ask again now: the one command for when an
// agency is back. It returns how many steps that were.
func (e *Engine) Retry(ctx context.Context, m Match) (int, error) {
	if m.Saga != "" {
		return e.retryOne(ctx, m.Saga, m)
	}
	total, after := 0, ""
	for {
		ids, err := e.stuck(ctx, m.Participant, after, 500)
		if err != nil || len(ids) == 0 {
			return total, err
		}
		for _, id := range ids {
			n, err := e.retryOne(ctx, id, m)
			if err != nil {
				return total, err
			}
			total += n
		}
		after = ids[len(ids)-1]
	}
}

func (e *Engine) retryOne(ctx context.Context, id string, m Match) (n int, err error) {
	err = e.command(ctx, id, func(d *saga.Definition, in *saga.Instance, now int64) (*saga.Notice, error) {
		n = saga.RetryNow(d, in, m.step, now)
		return nil, nil
	})
	return n, err
}

// stuck lists instances that a participant, or anyone, keeps waiting.
func (e *Engine) stuck(ctx context.Context, participant, after string, limit int) ([]string, error) {
	pattern := "% " + participant + " %"
	if participant == "" {
		pattern = "%"
	}
	return sqldb.All(ctx, e.DB, func(r sqldb.Scanner) (id string, err error) { return id, r.Scan(&id) },
		`SELECT id FROM saga WHERE ended = 0 AND stuck_on <> '' AND stuck_on LIKE $1 AND id > $2 ORDER BY id LIMIT $3`,
		pattern, after, limit)
}

// Stuck is an instance that does not get on.
type Stuck struct {
	Saga     string `json:"saga"`
	Name     string `json:"name"`
	On       string `json:"on"` // participants, separated by blanks
	Parked   bool   `json:"parked"`
	Since    int64  `json:"since"` // its last change
	Position string `json:"-"`     // for the next page
}

// ListStuck pages through the instances that do not get on, in the order of their ids.
func (e *Engine) ListStuck(ctx context.Context, after string, limit int) ([]Stuck, error) {
	return sqldb.All(ctx, e.DB, func(r sqldb.Scanner) (s Stuck, err error) {
		var parked int64
		err = r.Scan(&s.Saga, &s.Name, &s.On, &parked, &s.Since)
		s.Parked, s.Position = parked == 1, s.Saga
		return s, err
	}, `SELECT id, name, stuck_on, parked, updated_at FROM saga WHERE ended = 0 AND stuck_on <> '' AND id > $1
		ORDER BY id LIMIT $2`, after, limit)
}
