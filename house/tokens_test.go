package house

import (
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/auth/authtest"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// tokenStore opens the house's tokens on db.
func tokenStore(t *testing.T, db sqldb.DB, now func() time.Time) *tokens {
	t.Helper()
	files, err := fs.Sub(tables, "tables")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "house", files); err != nil {
		t.Fatal(err)
	}
	s, err := openTokens(t.Context(), db, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenStore(t *testing.T) {
	exercise := func(open func(t testing.TB) sqldb.DB) func(t *testing.T) {
		return func(t *testing.T) {
			authtest.Exercise(t, func(t *testing.T) auth.TokenStore { return tokenStore(t, open(t), time.Now) })
		}
	}
	t.Run("sqlite", exercise(sqldbtest.SQLite))
	if os.Getenv(sqldbtest.Env) != "" {
		t.Run("postgres", exercise(sqldbtest.Postgres))
	}
}

// Tokens are in memory beside the table: a store opened later must know the same ones.
func TestTokensOutliveTheStore(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		now := time.Now()
		first := tokenStore(t, db, func() time.Time { return now })
		issue := &auth.Tokens{Store: first, Clock: func() time.Time { return now }}
		who := auth.Principal{ID: "window", Name: "䶮𠮷", Roles: []auth.Role{auth.Official}}
		secrets := map[string]string{}
		for name, life := range map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "ever": 0} {
			secret, _, err := issue.Issue(t.Context(), who, life, false, name)
			if err != nil {
				t.Fatal(err)
			}
			secrets[name] = secret
		}
		later := &auth.Tokens{Store: tokenStore(t, db, time.Now), Clock: func() time.Time { return now }}
		for name, secret := range secrets {
			got, err := later.Verify(t.Context(), secret)
			if err != nil || got.Principal.Name != who.Name || got.Note != name {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		now = now.Add(2 * time.Hour)
		if err := first.clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := tokenStore(t, db, time.Now).List(t.Context())
		if err != nil || len(left) != 2 {
			t.Errorf("after an hour %d tokens are left, %v; want 2", len(left), err)
		}
	})
}
