package load_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/qiongdev/qiong/tool/bench/load"
	"github.com/qiongdev/qiong/tool/bench/noop"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

// program is one request with values in it.
func program(t testing.TB, host string) *scenario.Program {
	t.Helper()
	d := scenario.Definition{
		Data: map[string]scenario.FeedDef{"key": {Kind: "uuid"}, "person": {Kind: "id-card"}},
		Requests: []scenario.RequestDef{{Name: "reserve", Path: "/api/booking/reserve", Headers: map[string]string{"Idempotency-Key": "${key}", "X-Region": "HN"},
			Body: `{"slot":"s1","visitors":[{"kind":"resident","number":"${person}"}]}`}},
	}
	p, err := d.Compile(host, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plan sends the requests of the program to a server.
func plan(t testing.TB, addr string) load.Plan {
	t.Helper()
	p := program(t, addr)
	return load.Plan{Target: load.Target{Addr: addr, Host: addr}, Kinds: p.Names(), Timeout: 5 * time.Second,
		Source: func(part, parts int) load.Source { return p.Stream(part, parts, 1, nil) }}
}

// listen returns a listener on the loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// idle runs the server that does nothing.
func idle(t testing.TB) string {
	t.Helper()
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- noop.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// engines runs a test on both engines.
func engines(t *testing.T, f func(t *testing.T, portable bool)) {
	t.Run("own", func(t *testing.T) { f(t, false) })
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

func TestClosedLoop(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		p := plan(t, idle(t))
		p.Conns, p.Closed, p.Portable = 16, 100*time.Millisecond, portable
		o, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if n := o.Tally.Done(); n < 16 || o.Tally.Status[200] != n || o.Tally.Failed() != 0 || o.Tally.Sent != n || o.Tally.Response.TotalCount() != n {
			t.Errorf("%d done, %v, %d failed, %d sent, %d in the histogram", n, o.Tally.Status, o.Tally.Failed(), o.Tally.Sent, o.Tally.Response.TotalCount())
		}
	})
}

func TestOpenLoopSendsAllThatIsDue(t *testing.T) {
	engines(t, func(t *testing.T, portable bool) {
		p := plan(t, idle(t))
		p.Conns, p.Workers, p.Schedule, p.Portable = 7, 3, schedule.Constant(2000, 250*time.Millisecond), portable
		o, err := load.Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if o.Tally.Sent != 500 || o.Tally.Done() != 500 || o.Tally.Dropped != 0 || o.Took < 249*time.Millisecond {
			t.Errorf("%d sent, %d done, %d dropped in %v", o.Tally.Sent, o.Tally.Done(), o.Tally.Dropped, o.Took)
		}
	})
}
