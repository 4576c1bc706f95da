package house

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// tokens is the auth.TokenStore of a house. Every request asks it, so all tokens are in memory beside the table; one
// process owns the table, so memory is never behind it.
type tokens struct {
	db  sqldb.DB
	now func() time.Time

	mu     sync.RWMutex
	byHash map[auth.Hash]auth.Token
}

var _ auth.TokenStore = (*tokens)(nil)

var intoToken = sqldb.NewInto("token", "id", "hash", "principal", "one_time", "note", "created_at", "expires_at")

func openTokens(ctx context.Context, db sqldb.DB, now func() time.Time) (*tokens, error) {
	list, err := sqldb.All(ctx, db, scanToken, "SELECT id, hash, principal, one_time, note, created_at, expires_at FROM token")
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	s := &tokens{db: db, now: now, byHash: map[auth.Hash]auth.Token{}}
	for _, t := range list {
		s.byHash[t.Hash] = t
	}
	return s, nil
}

func scanToken(r sqldb.Scanner) (t auth.Token, err error) {
	var hash []byte
	var principal string
	var oneTime, created, expires int64
	if err := r.Scan(&t.ID, &hash, &principal, &oneTime, &t.Note, &created, &expires); err != nil {
		return t, err
	}
	copy(t.Hash[:], hash)
	t.OneTime, t.Created = oneTime == 1, time.UnixMilli(created).UTC()
	if expires > 0 {
		t.Expires = time.UnixMilli(expires).UTC()
	}
	return t, json.Unmarshal([]byte(principal), &t.Principal)
}

// Create implements auth.TokenStore.
func (s *tokens) Create(ctx context.Context, t auth.Token) error {
	principal, err := json.Marshal(t.Principal)
	if err != nil {
		return err
	}
	oneTime, expires := 0, int64(0)
	if t.OneTime {
		oneTime = 1
	}
	if !t.Expires.IsZero() {
		expires = t.Expires.UnixMilli()
	}
	if err := s.db.Append(ctx, intoToken.Row(t.ID, t.Hash[:], string(principal), oneTime, t.Note, t.Created.UnixMilli(), expires)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byHash[t.Hash] = t
	return nil
}

// Lookup implements auth.TokenStore.
func (s *tokens) Lookup(_ context.Context, h auth.Hash) (auth.Token, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.byHash[h]
	if !ok {
		return auth.Token{}, auth.ErrNoToken
	}
	return t, nil
}

// Consume implements auth.TokenStore.
func (s *tokens) Consume(ctx context.Context, h auth.Hash) (auth.Token, error) {
	t, err := s.Lookup(ctx, h)
	if err != nil {
		return t, err
	}
	if !t.OneTime {
		return auth.Token{}, auth.ErrNoToken
	}
	return t, s.delete(ctx, t)
}

// Revoke implements auth.TokenStore.
func (s *tokens) Revoke(ctx context.Context, id string) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.ID == id {
			return s.delete(ctx, t)
		}
	}
	return auth.ErrNoToken
}

// delete removes t; of many callers one succeeds.
func (s *tokens) delete(ctx context.Context, t auth.Token) error {
	err := s.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM token WHERE id = $1", t.ID)
		if err == nil && n == 0 {
			err = auth.ErrNoToken
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byHash, t.Hash)
	return nil
}

// List implements auth.TokenStore.
func (s *tokens) List(context.Context) ([]auth.Token, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]auth.Token, 0, len(s.byHash))
	for _, t := range s.byHash {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b auth.Token) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// clean deletes tokens that have expired.
func (s *tokens) clean(ctx context.Context) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if !t.Expires.IsZero() && t.Expires.Before(s.now()) {
			if err := s.delete(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}
