// Package authtest has a token store in memory for tests, the exercise that every token store must pass, and
// authenticators that need no token.
package authtest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/errs"
)

// Memory is an auth.TokenStore that forgets everything when the test ends. The zero value is ready.
type Memory struct {
	mu     sync.Mutex
	tokens []auth.Token
}

var _ auth.TokenStore = (*Memory)(nil)

// Create implements auth.TokenStore.
func (m *Memory) Create(_ context.Context, t auth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.tokens, func(o auth.Token) bool { return o.ID == t.ID || o.Hash == t.Hash }) {
		return errs.New(errs.Conflict, "令牌已存在", "the token exists")
	}
	t.Principal.Roles = slices.Clone(t.Principal.Roles)
	m.tokens = append(m.tokens, t)
	return nil
}

// Lookup implements auth.TokenStore.
func (m *Memory) Lookup(_ context.Context, h auth.Hash) (auth.Token, error) {
	return m.find(false, func(t auth.Token) bool { return t.Hash == h })
}

// Consume implements auth.TokenStore.
func (m *Memory) Consume(_ context.Context, h auth.Hash) (auth.Token, error) {
	return m.find(true, func(t auth.Token) bool { return t.Hash == h && t.OneTime })
}

// Revoke implements auth.TokenStore.
func (m *Memory) Revoke(_ context.Context, id string) error {
	_, err := m.find(true, func(t auth.Token) bool { return t.ID == id })
	return err
}

func (m *Memory) find(remove bool, match func(auth.Token) bool) (auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.tokens, match)
	if i < 0 {
		return auth.Token{}, auth.ErrNoToken
	}
	t := m.tokens[i]
	if remove {
		m.tokens = slices.Delete(m.tokens, i, i+1)
	}
	return t, nil
}

// List implements auth.TokenStore.
func (m *Memory) List(context.Context) ([]auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.tokens)
	slices.SortStableFunc(all, func(a, b auth.Token) int { return b.Created.Compare(a.Created) })
	return all, nil
}

// Always authenticates every request as P; the zero P refuses every request.
type Always struct{ P *auth.Principal }

// Authenticate implements auth.Authenticator.
func (a Always) Authenticate(context.Context, *http.Request) (*auth.Principal, error) {
	if a.P == nil {
		return nil, errs.New(errs.Unauthenticated, "请先登录", "sign in first")
	}
	return a.P, nil
}

// Exercise tests a token store; create returns an empty one.
func Exercise(t *testing.T, create func(t *testing.T) auth.TokenStore) {
	t.Run("Life", func(t *testing.T) { life(t, create(t)) })
	t.Run("Unique", func(t *testing.T) { unique(t, create(t)) })
	t.Run("Unknown", func(t *testing.T) { unknown(t, create(t)) })
	t.Run("ConsumeOnce", func(t *testing.T) { consumeOnce(t, create(t)) })
}

func token(id string, oneTime bool, created time.Time) auth.Token {
	return auth.Token{
		ID: id, Hash: auth.HashOf(id), OneTime: oneTime, Note: "登录 " + id, Created: created, Expires: created.Add(time.Hour),
		Principal: auth.Principal{ID: "p-" + id, Name: "䶮𠮷", Roles: []auth.Role{auth.Applicant, auth.Official}},
	}
}

// start is a time with the milliseconds that every store can keep.
var start = time.Date(2026, 11, 22, 8, 30, 0, 123e6, time.UTC)

func same(a, b auth.Token) bool {
	return a.ID == b.ID && a.Hash == b.Hash && a.OneTime == b.OneTime && a.Note == b.Note &&
		a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires) && a.Expires.IsZero() == b.Expires.IsZero() &&
		a.Principal.ID == b.Principal.ID && a.Principal.Name == b.Principal.Name &&
		slices.Equal(a.Principal.Roles, b.Principal.Roles)
}

func life(t *testing.T, s auth.TokenStore) {
	ctx := t.Context()
	first, second := token("first", false, start), token("second", false, start.Add(time.Second))
	second.Expires = time.Time{}
	for _, tok := range []auth.Token{first, second} {
		if err := s.Create(ctx, tok); err != nil {
			t.Fatalf("Create: %v", err)
		}
		got, err := s.Lookup(ctx, tok.Hash)
		if err != nil || !same(got, tok) {
			t.Fatalf("Lookup = %+v, %v; want %+v", got, err, tok)
		}
	}
	all, err := s.List(ctx)
	if err != nil || len(all) != 2 || !same(all[0], second) || !same(all[1], first) {
		t.Fatalf("List = %+v, %v; want second, first", all, err)
	}
	if err := s.Revoke(ctx, "first"); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	if _, err := s.Lookup(ctx, first.Hash); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("Lookup after Revoke = %v", err)
	}
	if _, err := s.Lookup(ctx, second.Hash); err != nil {
		t.Errorf("Revoke took another token too: %v", err)
	}
}

func unique(t *testing.T, s auth.TokenStore) {
	ctx := t.Context()
	tok := token("only", false, start)
	if err := s.Create(ctx, tok); err != nil {
		t.Fatal(err)
	}
	sameHash := tok
	sameHash.ID = "other"
	if err := s.Create(ctx, sameHash); err == nil {
		t.Error("two tokens with one hash")
	}
	if got, err := s.Lookup(ctx, tok.Hash); err != nil || got.ID != "only" {
		t.Errorf("Lookup = %+v, %v", got, err)
	}
}

func unknown(t *testing.T, s auth.TokenStore) {
	ctx := t.Context()
	if _, err := s.Lookup(ctx, auth.HashOf("x")); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("Lookup = %v", err)
	}
	if _, err := s.Consume(ctx, auth.HashOf("x")); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("Consume = %v", err)
	}
	if err := s.Revoke(ctx, "x"); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("Revoke = %v", err)
	}
	if all, err := s.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v", all, err)
	}
}

func consumeOnce(t *testing.T, s auth.TokenStore) {
	ctx := t.Context()
	once, ordinary := token("once", true, start), token("ordinary", false, start)
	for _, tok := range []auth.Token{once, ordinary} {
		if err := s.Create(ctx, tok); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Consume(ctx, ordinary.Hash); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("an ordinary token was consumed: %v", err)
	}
	const callers = 8
	results := make(chan error, callers)
	for range callers {
		go func() {
			got, err := s.Consume(ctx, once.Hash)
			if err == nil && !same(got, once) {
				err = errors.New("another token was returned")
			}
			results <- err
		}()
	}
	won := 0
	for range callers {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, auth.ErrNoToken):
			t.Errorf("Consume = %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d callers consumed the token", won)
	}
}
