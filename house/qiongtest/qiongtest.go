// Package qiongtest runs a house for a test: on a free port of the loopback address, in a folder of the test's own, or
// on the PostgreSQL server that QIONG_POSTGRES names.
package qiongtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/config"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
	"github.com/qiongdev/qiong/kit/telemetry"
)

// Options say which house to run.
type Options struct {
	Services []*qiong.Service
	Set      map[string]string // settings, such as "sandbox.speed": "0"
	File     string            // configuration file; default: none
	Data     string            // default: a new folder of the test
	Database string            // PostgreSQL URL; default: SQLite. See Databases
	Bus      bus.Bus           // default: channels
	Clock    func() time.Time  // default: the real one
	Log      io.Writer         // default: none
}

// House is a running house.
type House struct {
	*house.House
	URL  string
	t    testing.TB
	stop func()
}

// Start runs a house until the test ends, or Stop.
func Start(t testing.TB, o Options) *House {
	t.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	cfg := load(t, o)
	tel, err := telemetry.Setup(telemetry.Options{Writer: o.Log, LogLevel: "info"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := house.Open(context.Background(), o.Services, cfg, house.Options{Telemetry: tel, Bus: o.Bus, Clock: o.Clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	running := &House{House: h, URL: h.URL(), t: t}
	running.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the house ended with: %v", err)
		}
	})
	t.Cleanup(running.stop)
	return running
}

func load(t testing.TB, o Options) *config.Config {
	t.Helper()
	sections := house.Sections(o.Services)
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	if err := config.BindFlags(fs, sections, func(_, en string) string { return en }); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{"house.listen": "127.0.0.1:0", "house.data": o.Data, "house.database": o.Database, "house.grace": "2s"}
	for k, v := range o.Set {
		set[k] = v
	}
	for k, v := range set {
		if v == "" {
			continue
		}
		if err := fs.Set(k, v); err != nil {
			t.Fatalf("setting %s: %v", k, err)
		}
	}
	cfg, err := config.Load(sections, config.Options{Flags: fs, File: o.File})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Stop ends the house and waits for it, as SIGTERM would.
func (h *House) Stop() { h.stop() }

// As returns a client of the house for a principal with that id and roles, in English.
func (h *House) As(id string, roles ...auth.Role) *client.Client {
	h.t.Helper()
	token, err := h.Issue(context.Background(), auth.Principal{ID: id, Name: id, Roles: roles}, 30*24*time.Hour, false, "test")
	if err != nil {
		h.t.Fatal(err)
	}
	return &client.Client{URL: h.URL, Token: token, Lang: lang.EN}
}

// Databases runs a test on SQLite, with database "", and on a new database of the PostgreSQL server where there is one.
func Databases(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "") })
	if os.Getenv(sqldbtest.Env) != "" {
		t.Run("postgres", func(t *testing.T) { test(t, Database(t)) })
	}
}

// Database makes a database on the PostgreSQL server, dropped after the test, and returns its URL.
func Database(t testing.TB) string {
	t.Helper()
	server, err := url.Parse(os.Getenv(sqldbtest.Env))
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:12])
	run := func(sql string) error {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, server.String())
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, sql)
		return err
	}
	if err := run("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run(fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)); err != nil {
			t.Error(err)
		}
	})
	own := *server
	own.Path = "/" + name
	return own.String()
}
