package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/bench"
	"github.com/qiongdev/qiong/tool/bench/result"
)

// run calls the tool with arguments and flags (name=value).
func run(ctx context.Context, t *testing.T, args []string, flags ...string) (*result.Result, error) {
	t.Helper()
	var out bytes.Buffer
	c := &qiong.Console{In: strings.NewReader(""), Out: &out, Err: io.Discard, Lang: lang.EN, JSON: true, Flags: pflag.NewFlagSet("bench", pflag.ContinueOnError)}
	bench.Tool.Flags(c.Flags, c.Say)
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		if err := c.Flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	err := bench.Tool.Run(ctx, c, args)
	r := &result.Result{}
	if bad := json.Unmarshal(out.Bytes(), r); bad != nil && err == nil {
		t.Fatalf("%v: %s", bad, out.String())
	}
	return r, err
}

// ticket is a booking service that sells ten places of one slot, or more by the fault it has.
type ticket struct {
	fault string
	mu    sync.Mutex
	lines []map[string]any
	keys  map[string]bool
}

func (b *ticket) serve(t *testing.T) string {
	t.Helper()
	b.keys = map[string]bool{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/booking/reserve", b.reserve)
	mux.HandleFunc("GET /api/booking/slots", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"items":[{"id":"s1","quotas":{"online":10},"left":0}]}`) // the client may have gone
	})
	mux.HandleFunc("GET /api/booking/ledger", func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, line := range b.lines {
			_ = json.NewEncoder(w).Encode(line) // likewise
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func (b *ticket) reserve(w http.ResponseWriter, r *http.Request) {
	var in struct{ Slot string }
	key := r.Header.Get("Idempotency-Key")
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Slot != "s1" || len(key) < 16 || r.Header.Get("X-Region") == "" || r.Header.Get("Authorization") != "Bearer t" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := 10
	if b.fault == "oversells" {
		limit = 13
	}
	if len(b.keys) >= limit {
		w.WriteHeader(http.StatusConflict)
		return
	}
	b.keys[key] = true
	id := fmt.Sprintf("b%d", len(b.keys))
	line := map[string]any{"id": id, "key": key, "slot": "s1", "channel": "online", "quantity": 1, "state": "held"}
	if b.fault != "loses" || len(b.keys)%5 != 0 {
		b.lines = append(b.lines, line)
	}
	if b.fault == "doubles" && len(b.keys) == 3 {
		b.lines = append(b.lines, map[string]any{"id": "again", "key": key, "slot": "s1", "channel": "online", "quantity": 1, "state": "expired"})
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "state": "held"}) // the client may have gone
}

func TestGoldenWeekChecksTheLedger(t *testing.T) {
	for fault, want := range map[string][3]int64{"": {0, 0, 0}, "oversells": {3, 0, 0}, "loses": {0, 2, 0}, "doubles": {0, 0, 1}} {
		url := (&ticket{fault: fault}).serve(t)
		r, err := run(t.Context(), t, []string{"golden-week", url}, "connections=20", "workers=2", "rate=200", "for=300ms", "calibrate=false", "max-lag=1m", "check=booking", "set=slot=s1", "set=token=t")
		if r.Check == nil {
			t.Fatalf("%q: %v, %+v", fault, err, r)
		}
		if got := [3]int64{r.Check.Oversold, r.Check.Lost, r.Check.Double}; got != want || fault != "" && !errs.Is(err, errs.Conflict) || fault == "" && err != nil {
			t.Errorf("%q: %v, %v", fault, got, err)
		}
		if p := r.Phases[0]; p.Errors != 0 || p.Status[201]+p.Status[409] != p.Done || p.Status[409] == 0 || r.Check.Acknowledged != p.Status[201] {
			t.Errorf("%q: %+v", fault, p)
		}
	}
}

// A rate that nobody can send is a fault of the generator, not of the server: no verdict.
func TestRefusesWhereItIsTheBottleneck(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	r, err := run(t.Context(), t, []string{s.URL + "/"}, "rate=9000000", "workers=1", "connections=2", "timeout=200ms", "for=200ms", "require=sent>=1")
	if !errs.Is(err, errs.Unavailable) || r.Verdict.Outcome != result.Refused || r.Verdict.Reason != "calibration" || r.Calibration == nil || r.Calibration.Enough {
		t.Errorf("%v, %+v, %+v", err, r.Verdict, r.Calibration)
	}
}

func TestInterruptedTellsWhatWasDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { time.AfterFunc(100*time.Millisecond, cancel) })
	}))
	defer s.Close()
	r, err := run(ctx, t, []string{s.URL + "/"}, "rate=200", "for=1h", "calibrate=false")
	if !errs.Is(err, errs.Canceled) || r.Complete || len(r.Phases) != 1 || r.Phases[0].Sent == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestWhatWasMeasuredStandsThoughTheServerDied(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	server := exec.Command("sleep", "0.2")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	go server.Wait() //nolint:errcheck // it only has to be gone
	r, err := run(t.Context(), t, []string{s.URL + "/"}, "rate=200", "for=600ms", "calibrate=false", fmt.Sprint("pid=", server.Process.Pid))
	if err != nil || len(r.Phases) != 1 || r.Phases[0].Done == 0 || r.Phases[0].Usage.Server != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestTheCeilingIsLookedForFirst(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "s.yaml")
	text := "target: " + s.URL + "\nrequests: [{path: /}]\nphases:\n  - {name: top, closed: {connections: 1, to: 4, for: 50ms}}\n  - {open: {share: 0.1, for: 100ms}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := run(t.Context(), t, []string{"run", file}, "workers=1")
	if len(r.Phases) != 2 {
		t.Fatal(err, r)
	}
	top, open := r.Phases[0], r.Phases[1]
	if n := len(top.Steps); n < 1 || n > 3 || top.Loop != "closed" || open.Offered < top.Rate*0.099 || open.Offered > top.Rate*0.101 {
		t.Errorf("%+v; then %v", top.Steps, open.Offered)
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		args  []string
		flags []string
		want  errs.Kind
	}{
		{[]string{"dance"}, nil, errs.Invalid},
		{[]string{"ftp://127.0.0.1/"}, []string{"rate=1"}, errs.Invalid},
		{[]string{"http://192.0.2.1/"}, []string{"rate=1"}, errs.Forbidden},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=-1"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "for=-1s"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "connections=-1"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "header=nothing"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "require=speed>1"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "check=booking"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "check=weather"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "protocol=spdy"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "set=x"}, errs.Invalid},
		{[]string{"http://127.0.0.1:1/"}, []string{"rate=1", "body=@/no/such/file"}, errs.NotFound},
		{[]string{"run", "/no/such/file"}, nil, errs.NotFound},
		{[]string{"compare"}, nil, errs.Invalid},
		{[]string{"compare"}, []string{"a=http://127.0.0.1:1/", "b=http://127.0.0.1:1/", "rounds=0"}, errs.Invalid},
		{[]string{"agent"}, nil, errs.Invalid},
	} {
		if _, err := run(t.Context(), t, c.args, c.flags...); !errs.Is(err, c.want) {
			t.Errorf("%v %v: %v", c.args, c.flags, err)
		}
	}
}
