package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/qiongdev/qiong/bench/internal/measure"
	"github.com/qiongdev/qiong/bench/internal/pgserver"
	"github.com/qiongdev/qiong/bench/internal/proc"
	"github.com/qiongdev/qiong/bench/internal/report"
)

// The systems.
const (
	qiongName    = "Qiong"
	noopName     = "no-op"
	everysecName = "Redis, AOF everysec"
	alwaysName   = "Redis, AOF always"
	rowLockName  = "PostgreSQL, row lock"
)

// quota is more than anybody sells in a run.
const quota = 4_000_000

func ignoreDone(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return nil
	}
	return err
}

func created(status int) bool { return status == 201 }

// rival is a server under test.
type rival struct {
	name  string
	url   string
	token string
	slot  string
	meter measure.Meter
	after func(context.Context) error
}

// http compares single bookings over net/http.
func (b *bench) http(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "qiong-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	q, err := b.startQiong(ctx, "booking", "off", quota)
	if err != nil {
		return err
	}
	defer q.Stop() //nolint:errcheck // its folder goes
	rivals := []rival{{name: qiongName, url: q.URL, token: q.token, slot: q.slot, after: q.settle,
		meter: measure.Meter{"server": func() time.Duration { return proc.Tree(q.PID) }, "generator": proc.Self}}}
	for _, p := range []struct{ name, kind, sync string }{{noopName, "noop", ""}, {everysecName, "redis", "everysec"}, {alwaysName, "redis", "always"}, {rowLockName, "postgres", ""}} {
		r := rival{name: p.name, slot: q.slot, token: "none", meter: measure.Meter{"generator": proc.Self}}
		at := ""
		switch p.kind {
		case "redis":
			server, addr, err := startRedis(dir, p.sync)
			if err != nil {
				return err
			}
			defer server.Kill()
			at = addr
			r.meter["Redis"] = func() time.Duration { return proc.Tree(server.PID) }
		case "postgres":
			pg, err := pgserver.Start(ctx, b.dir)
			if err != nil {
				return err
			}
			defer pg.Stop() //nolint:errcheck // its folder goes
			at = pg.URL("postgres")
			r.meter["PostgreSQL"] = pg.CPU
		}
		c, url, err := startPeer(p.kind, at)
		if err != nil {
			return err
		}
		defer c.Kill()
		if p.kind == "postgres" {
			if err := stock(ctx, at, q.slot); err != nil {
				return err
			}
		}
		r.url = url
		r.meter["server"] = func() time.Duration { return proc.Tree(c.PID) }
		rivals = append(rivals, r)
	}
	var all visitors
	load := fmt.Sprintf("%d connections", b.conns)
	for round := range b.rounds + 1 { // the first warms up
		for _, r := range rivals {
			each := b.each
			if round == 0 {
				each = time.Second
			}
			s, err := b.shoot(ctx, &all, shot{system: r.name, load: load, url: r.url, path: "/api/booking/reserve", token: r.token, slot: r.slot, conns: b.conns,
				timeout: 10 * time.Second, each: each, meter: r.meter, want: created})
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if r.after != nil {
				before := proc.Tree(q.PID)
				if err := r.after(ctx); err != nil {
					return err
				}
				s.CPU["tables"] = float64((proc.Tree(q.PID) - before).Microseconds()) / float64(s.Ops)
			}
			if round > 0 {
				b.add(s)
			}
		}
	}
	for peer, want := range map[string]float64{noopName: 0.85, everysecName: 1.3, alwaysName: 1.3, rowLockName: 8} {
		b.report.Judge(report.Goal{Load: load, System: qiongName, Peer: peer, Figure: "rate", Want: want})
	}
	b.report.Judge(report.Goal{Load: load, System: qiongName, Peer: noopName, Figure: "p99", Want: 1.5})
	return nil
}

// stock puts the slot into the peer's table.
func stock(ctx context.Context, url, slot string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "INSERT INTO slot VALUES ($1, $2)", slot, quota)
	return err
}

// soldOut compares refusals of a slot that has nothing left with a handler that does nothing.
func (b *bench) soldOut(ctx context.Context) error {
	q, err := b.startQiong(ctx, "booking", "off", 0)
	if err != nil {
		return err
	}
	defer q.Stop() //nolint:errcheck // its folder goes
	c, url, err := startPeer("noop", "")
	if err != nil {
		return err
	}
	defer c.Kill()
	var all visitors
	for round := range b.rounds + 1 {
		for _, r := range []rival{
			{name: qiongName, url: q.URL, token: q.token, meter: measure.Meter{"server": func() time.Duration { return proc.Tree(q.PID) }}},
			{name: noopName, url: url, token: "none", meter: measure.Meter{"server": func() time.Duration { return proc.Tree(c.PID) }}},
		} {
			s, err := b.shoot(ctx, &all, shot{system: r.name, load: "sold out", url: r.url, path: "/api/booking/reserve", token: r.token, slot: q.slot, conns: b.conns,
				timeout: 10 * time.Second, each: b.each, meter: r.meter, want: func(status int) bool { return status == 409 || status == 201 }})
			if err != nil {
				return err
			}
			if round > 0 {
				b.add(s)
			}
		}
	}
	b.report.Judge(report.Goal{Load: "sold out", System: qiongName, Peer: noopName, Figure: "rate", Want: 0.95})
	b.report.Judge(report.Goal{Load: "sold out", System: qiongName, Peer: noopName, Figure: "p99", Want: 2})
	return nil
}

// batch measures the endpoint that takes many at once.
func (b *bench) batch(ctx context.Context) error {
	q, err := b.startQiong(ctx, "booking", "off", quota)
	if err != nil {
		return err
	}
	defer q.Stop() //nolint:errcheck // its folder goes
	var all visitors
	for range b.rounds {
		s, err := b.shoot(ctx, &all, shot{system: qiongName, load: "32 × 256 in a batch", url: q.URL, path: "/api/booking/reserve/batch", token: q.token, slot: q.slot,
			many: 256, conns: 32, timeout: 30 * time.Second, each: b.each / 2, want: func(status int) bool { return status == 200 },
			meter: measure.Meter{"server": func() time.Duration { return proc.Tree(q.PID) }, "generator": proc.Self}})
		if err != nil {
			return err
		}
		b.add(s)
		if err := q.settle(ctx); err != nil {
			return err
		}
	}
	live, err := q.live(ctx)
	if err == nil {
		log.Printf("batch: %d booked of %d sent", live.Shards[0].Booked, all.n.Load())
	}
	return err
}
