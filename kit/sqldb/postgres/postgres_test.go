package postgres_test

import (
	"os"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/postgres"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

func needServer(t *testing.T) {
	if os.Getenv(sqldbtest.Env) == "" {
		t.Skipf("%s is not set; `make test-engines` sets it", sqldbtest.Env)
	}
}

func TestContract(t *testing.T) {
	needServer(t)
	sqldbtest.Exercise(t, func(t *testing.T) sqldb.DB { return sqldbtest.Postgres(t) })
}

func TestASchemaHasOneMaster(t *testing.T) {
	needServer(t)
	o := postgres.Options{URL: os.Getenv(sqldbtest.Env), Schema: "test_one_master", Exclusive: true}
	first, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), o); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second process got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("after the first closed: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	_, err := postgres.Open(t.Context(), postgres.Options{URL: "postgres://qiong@127.0.0.1:1/none", Schema: "x"})
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v", err)
	}
	_, err = postgres.Open(t.Context(), postgres.Options{URL: "postgres://%zz:secret@", Schema: "x"})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("a malformed URL gave %v", err)
	}
}
