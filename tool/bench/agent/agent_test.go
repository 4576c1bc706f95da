package agent_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/scenario"
	"github.com/qiongdev/qiong/tool/bench/schedule"
)

const token = "a-token-for-tests-only"

// target is a server that takes down the keys it was sent, and answers with one as the id.
func target(t *testing.T) (addr string, keys func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		mu.Lock()
		defer mu.Unlock()
		all = append(all, key)
		w.Write([]byte(`{"id":"id-of-` + key + `"}`))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(slices.Values(all))
	}
}

// agents starts agents for a target.
func agents(t *testing.T, n int, allow ...string) *agent.Fleet {
	t.Helper()
	f := &agent.Fleet{Token: token}
	for range n {
		a, err := agent.New(token, allow)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.Serve(ctx, l) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		f.Agents = append(f.Agents, l.Addr().String())
	}
	return f
}

// order sends keys of a sequence, with a letter out of a file.
func order(addr string, s schedule.Schedule) agent.Order {
	d := &scenario.Definition{Target: "http://" + addr, Data: map[string]scenario.FeedDef{"n": {Kind: "sequence", Width: 6}, "letter": {Kind: "csv", File: "letters.csv"}},
		Requests: []scenario.RequestDef{{Name: "one", Method: "POST", Path: "/", Headers: map[string]string{"Idempotency-Key": "${n}-${letter.name}"}, Keep: &scenario.KeepDef{Key: "${n}-${letter.name}", Field: "id"}}}}
	return agent.Order{Definition: d, Schedule: s, Connections: 6, Workers: 2, Keep: true, Files: map[string][]byte{"letters.csv": []byte("name\nx\n")}}
}

// Several agents are one: every number of the sequence is sent once, all answers are counted, all that was to be kept is.
func TestAFleetIsOneGenerator(t *testing.T) {
	for _, n := range []int{1, 3} {
		addr, keys := target(t)
		f := agents(t, n, "127.0.0.1:1", addr)
		answers, err := f.Run(t.Context(), order(addr, schedule.Constant(1000, 300*time.Millisecond)))
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for key, id := range agent.Acknowledged(answers) {
			if id != "id-of-"+key || !strings.HasSuffix(key, "-x") {
				t.Errorf("kept %q, %q", key, id)
			}
			kept++
		}
		for _, a := range answers {
			if a.Tally.Sent != int64(300/n) || !slices.Contains(f.Agents, a.Name) {
				t.Errorf("%s sent %d", a.Name, a.Tally.Sent)
			}
		}
		sent := keys()
		if o := agent.Merge(answers); o.Tally.Sent != 300 || o.Tally.Done() != 300 || o.Tally.Response.TotalCount() != 300 || kept != 300 || len(sent) != 300 || len(slices.Compact(sent)) != 300 {
			t.Errorf("%d agents: %d sent, %d done, %d kept, %d arrived", n, o.Tally.Sent, o.Tally.Done(), kept, len(sent))
		}
		again, err := f.Run(t.Context(), order(addr, schedule.Constant(100, 100*time.Millisecond)))
		if err != nil || agent.Merge(again).Tally.Sent != 10 {
			t.Errorf("a second order: %v", err)
		}
	}
}

func TestAgentsRefuse(t *testing.T) {
	addr, keys := target(t)
	s := schedule.Constant(100, 100*time.Millisecond)
	for _, c := range []struct {
		name   string
		change func(f *agent.Fleet, o *agent.Order)
		want   errs.Kind
	}{
		{"a wrong token", func(f *agent.Fleet, _ *agent.Order) { f.Token = "another-token-of-that-length" }, errs.Unauthenticated},
		{"no token", func(f *agent.Fleet, _ *agent.Order) { f.Token = "" }, errs.Unauthenticated},
		{"another target", func(_ *agent.Fleet, o *agent.Order) { o.Definition.Target = "http://127.0.0.1:1" }, errs.Forbidden},
		{"the target by another name", func(_ *agent.Fleet, o *agent.Order) {
			o.Definition.Target = "http://localhost:" + strings.TrimPrefix(addr, "127.0.0.1:")
		}, errs.Forbidden},
		{"a file outside", func(_ *agent.Fleet, o *agent.Order) {
			o.Definition.Data["letter"] = scenario.FeedDef{Kind: "csv", File: "../../etc/passwd"}
		}, errs.Invalid},
		{"too many connections", func(_ *agent.Fleet, o *agent.Order) { o.Connections = 1 << 20 }, errs.Invalid},
		{"too long", func(_ *agent.Fleet, o *agent.Order) { o.Schedule = schedule.Constant(1, 1000*time.Hour) }, errs.Invalid},
		{"no requests", func(_ *agent.Fleet, o *agent.Order) { o.Definition.Requests = nil }, errs.Invalid},
		{"nobody there", func(f *agent.Fleet, _ *agent.Order) { f.Agents = []string{"127.0.0.1:1"} }, errs.Unavailable},
	} {
		f, o := agents(t, 2, addr), order(addr, s)
		c.change(f, &o)
		if _, err := f.Run(t.Context(), o); !errs.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n := len(keys()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	// Whatever an order says of where to connect to, only the allowed target is.
	f, o := agents(t, 1, addr), order(addr, s)
	o.Addr = "127.0.0.1:1"
	if _, err := f.Run(t.Context(), o); err != nil || len(keys()) != 10 {
		t.Errorf("%v, %d requests", err, len(keys()))
	}
}

func TestAnAgentHasOneOrderAtATime(t *testing.T) {
	begun := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case begun <- struct{}{}: // the first request, while the test waits for it
		default:
		}
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()
	f := agents(t, 1, addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan []*agent.Answer, 1)
	go func() {
		answers, err := f.Run(ctx, order(addr, schedule.Constant(100, time.Hour)))
		if err != nil {
			t.Error(err)
		}
		first <- answers
	}()
	<-begun
	if _, err := f.Run(t.Context(), order(addr, schedule.Constant(100, time.Millisecond))); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second order at the same time: %v", err)
	}
	cancel() // who interrupts gets what was done until then
	if answers := <-first; len(answers) != 1 || !answers[0].Ended {
		t.Errorf("%+v", answers)
	}
	if _, err := f.Run(t.Context(), order(addr, schedule.Constant(100, time.Millisecond))); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		token string
		allow []string
	}{{"", []string{"127.0.0.1:80"}}, {"short", []string{"127.0.0.1:80"}}, {token, nil}, {token, []string{"127.0.0.1"}}} {
		if _, err := agent.New(c.token, c.allow); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
