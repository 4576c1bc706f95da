package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"github.com/qiongdev/qiong/bench/internal/child"
	"github.com/qiongdev/qiong/service/booking"
)

// A peer decodes the reservation as encoding/json does, and books in its own way.
func servePeer(name, at string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var book func(ctx context.Context, key string, in *booking.Reservation) (bool, error)
	switch name {
	case "noop":
		book = func(context.Context, string, *booking.Reservation) (bool, error) { return true, nil }
	case "redis":
		c, err := newRedis(at)
		if err != nil {
			return err
		}
		book = c.book
	case "postgres":
		c, err := newPostgres(at)
		if err != nil {
			return err
		}
		book = c.book
	default:
		return fmt.Errorf("there is no peer %s", name)
	}
	fmt.Printf("http://%s\n", l.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/booking/reserve", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in booking.Reservation
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ok, err := book(r.Context(), r.Header.Get("Idempotency-Key"), &in)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !ok:
			w.WriteHeader(http.StatusConflict)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(answer)
		}
	})
	return http.Serve(l, mux)
}

var answer = []byte(`{"id":"0000000000001","slot":"rush-20261001-0000","state":"confirmed","quantity":1,"amount":0}` + "\n")

// startPeer runs this very program as a peer, and returns its address.
func startPeer(name, at string) (c *child.Child, url string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	c, err = child.Start(exec.Command(self, "-peer", name, "-at", at), func(line string) bool {
		url = line
		return strings.HasPrefix(line, "http://")
	})
	return c, url, err
}

// script books in Redis: a key books once, a person has one place, and no more is sold than there is.
const script = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 2 end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 0 end
local left = tonumber(redis.call('GET', KEYS[3]) or '4000000')
if left < 1 then return 0 end
redis.call('SET', KEYS[3], left - 1)
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1`

type redisPeer struct {
	c   rueidis.Client
	lua *rueidis.Lua
	n   atomic.Int64
}

func newRedis(at string) (*redisPeer, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{at}, DisableCache: true})
	return &redisPeer{c: c, lua: rueidis.NewLuaScript(script)}, err
}

func (p *redisPeer) book(ctx context.Context, key string, in *booking.Reservation) (bool, error) {
	if len(in.Visitors) == 0 {
		return false, nil
	}
	n, err := p.lua.Exec(ctx, p.c, []string{"k:" + key, "p:" + in.Slot, "s:" + in.Slot},
		[]string{in.Visitors[0].Number, strconv.FormatInt(p.n.Add(1), 10) + "|" + in.Visitors[0].Number + "|" + in.Channel}).AsInt64()
	return n > 0, err
}

// startRedis runs a server with an append-only file that is synced as asked.
func startRedis(dir, sync string) (c *child.Child, addr string, err error) {
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	folder := filepath.Join(dir, "redis-"+sync)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, "", err
	}
	c, err = child.Start(exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
		"--appendonly", "yes", "--appendfsync", sync, "--daemonize", "no"), func(line string) bool { return strings.Contains(line, "Ready to accept") })
	return c, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

type postgresPeer struct{ pool *pgxpool.Pool }

func newPostgres(at string) (*postgresPeer, error) {
	ctx := context.Background()
	cfg, err := pgxpool.ParseConfig(at)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS slot (id TEXT PRIMARY KEY, stock BIGINT NOT NULL)",
		"CREATE TABLE IF NOT EXISTS booking (req_key TEXT PRIMARY KEY, slot TEXT NOT NULL, person TEXT NOT NULL, channel TEXT NOT NULL, UNIQUE (slot, person))",
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	return &postgresPeer{pool}, nil
}

func (p *postgresPeer) book(ctx context.Context, key string, in *booking.Reservation) (ok bool, err error) {
	tx, err := p.pool.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback(ctx))) }()
	var stock int64
	if err := tx.QueryRow(ctx, "SELECT stock FROM slot WHERE id = $1 FOR UPDATE", in.Slot).Scan(&stock); err != nil {
		return false, err
	}
	if stock < 1 {
		return false, nil
	}
	if _, err := tx.Exec(ctx, "INSERT INTO booking (req_key, slot, person, channel) VALUES ($1, $2, $3, $4)", key, in.Slot, in.Visitors[0].Number, in.Channel); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "UPDATE slot SET stock = stock - 1 WHERE id = $1", in.Slot); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}
