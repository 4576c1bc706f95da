package tabletest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// killed ends the writer's connection after it has written to the ledger, and before it can commit.
func killed(t *testing.T, s *Server) {
	x := s.table(t)
	h := hold(t, s)
	done := h.writing(t.Context(), x)
	if _, err := s.Admin.ExecContext(t.Context(), fmt.Sprintf(s.kill, h.waiting(t))); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errs.Is(err, errs.Unavailable) {
		t.Errorf("the writer got %v", err)
	}
	h.nothingLeft(x)
}

// left ends the caller's interest at the same place.
func left(t *testing.T, s *Server) {
	x := s.table(t)
	h := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := h.writing(ctx, x)
	h.waiting(t)
	cancel()
	if err := <-done; !errs.Is(err, errs.Canceled) {
		t.Errorf("the writer got %v", err)
	}
	h.nothingLeft(x)
}

// holder is another client with a row of the table in an open transaction, on which a writer of that row must wait.
type holder struct {
	s       *Server
	tx      *sql.Tx
	session string
}

func hold(t *testing.T, s *Server) *holder {
	t.Helper()
	h := &holder{s: s}
	var err error
	if h.tx, err = s.Admin.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := h.tx.QueryRowContext(t.Context(), s.session).Scan(&h.session); err != nil {
		t.Fatal(err)
	}
	if _, err := h.tx.ExecContext(t.Context(), "INSERT INTO things (code) VALUES ('k00007')"); err != nil {
		t.Fatal(err)
	}
	return h
}

// writing starts a batch with the row that is held.
func (h *holder) writing(ctx context.Context, x *things) <-chan error {
	x.write("makes-the-ledger")
	done := make(chan error, 1)
	go func() { done <- x.Write(ctx, "a", h.s.rows(10)) }()
	return done
}

// waiting asks the server until a session waits for the row, and returns it.
func (h *holder) waiting(t *testing.T) (session string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond) // spares the server
	defer again.Stop()
	for ; ; <-again.C {
		err := h.s.Admin.QueryRowContext(ctx, h.s.blocked, h.session).Scan(&session)
		if err == nil {
			return session
		}
		if !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
	}
}

// nothingLeft lets the row go and looks for what the writer has left; then the batch is written as if for the first time.
func (h *holder) nothingLeft(x *things) {
	x.t.Helper()
	if err := h.tx.Rollback(); err != nil {
		x.t.Fatal(err)
	}
	x.has()
	if n := x.batches(); n != 1 {
		x.t.Errorf("the ledger has %d batches", n)
	}
	x.write("a", h.s.rows(10)...)
	x.has(h.s.rows(10)...)
}
