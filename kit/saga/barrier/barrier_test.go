package barrier_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/qiongdev/qiong/kit/saga/barrier"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// ledger counts effects as a participant's own table would, in the same transaction.
type ledger struct {
	db  sqldb.DB
	t   *testing.T
	one *sqldb.Into
}

func open(t *testing.T, db sqldb.DB) *ledger {
	ctx := context.Background()
	if err := db.Migrate(ctx, "barrier", barrier.Tables()); err != nil {
		t.Fatal(err)
	}
	err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE effect (id TEXT, n BIGINT)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return &ledger{db, t, sqldb.NewInto("effect", "id", "n")}
}

func (l *ledger) do(id string) (answer string, again bool, err error) {
	ctx := context.Background()
	err = l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		answer, again, err = barrier.Do(ctx, tx, id, 1, func() (string, error) {
			return "licence " + id, tx.Insert(ctx, l.one.Row(id, 1))
		})
		return err
	})
	return answer, again, err
}

func (l *ledger) undo(id string) (done bool, err error) {
	ctx := context.Background()
	err = l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		done, err = barrier.Undo(ctx, tx, id, 2, func(answer string) error {
			if answer != "licence "+id {
				l.t.Errorf("undo of %s was given the answer %q", id, answer)
			}
			return tx.Insert(ctx, l.one.Row(id, -1))
		})
		return err
	})
	return done, err
}

func (l *ledger) effects(id string) (sum, rows int64) {
	if err := l.db.QueryRow(context.Background(), "SELECT coalesce(sum(n), 0), count(*) FROM effect WHERE id = $1", id).Scan(&sum, &rows); err != nil {
		l.t.Fatal(err)
	}
	return sum, rows
}

func TestBarrier(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		l := open(t, db)
		t.Run("duplicates take effect once", func(t *testing.T) {
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if answer, _, err := l.do("a"); err != nil || answer != "licence a" {
						t.Errorf("%q, %v", answer, err)
					}
				})
			}
			wg.Wait()
			if sum, _ := l.effects("a"); sum != 1 {
				t.Errorf("%d effects", sum)
			}
			for range 2 {
				if done, err := l.undo("a"); err != nil || !done {
					t.Errorf("undo: %v, %v", done, err)
				}
			}
			if sum, rows := l.effects("a"); sum != 0 || rows != 2 {
				t.Errorf("after two undos: sum %d of %d rows", sum, rows)
			}
		})
		t.Run("an undo before its request", func(t *testing.T) {
			for range 2 {
				if done, err := l.undo("b"); err != nil || done {
					t.Errorf("empty compensation: %v, %v", done, err)
				}
			}
			if _, _, err := l.do("b"); !errors.Is(err, barrier.ErrUndone) {
				t.Errorf("the hanging request got %v", err)
			}
			if _, rows := l.effects("b"); rows != 0 {
				t.Errorf("%d effects", rows)
			}
			if undone, err := barrier.Undone(context.Background(), db, "b"); err != nil || !undone {
				t.Errorf("Undone: %v, %v", undone, err)
			}
		})
		t.Run("a request that failed leaves nothing", func(t *testing.T) {
			ctx, mine := context.Background(), errors.New("mine")
			err := db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
				_, _, err := barrier.Do(ctx, tx, "c", 1, func() (string, error) { return "", mine })
				return err
			})
			if !errors.Is(err, mine) {
				t.Errorf("got %v", err)
			}
			if _, err := barrier.Answer(ctx, db, "c"); !errors.Is(err, sqldb.ErrNoRows) {
				t.Errorf("Answer: %v", err)
			}
			if _, again, err := l.do("c"); err != nil || again {
				t.Errorf("the second try: again %v, %v", again, err)
			}
		})
	})
}
