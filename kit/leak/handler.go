package leak

import (
	"encoding/json"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

const (
	// budget is how long a collection should take. One that takes longer is not repeated at once: rest times as long
	// passes before the next.
	budget = 250 * time.Millisecond
	rest   = 10
)

// Local answers connections of this machine alone: a peer at a loopback address, asking for one, without the headers
// that a proxy adds.
func Local(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	asked, hostErr := netip.ParseAddr(host)
	local := err == nil && peer.Addr().Unmap().IsLoopback() && (host == "localhost" || hostErr == nil && asked.IsLoopback())
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		local = local && r.Header.Get(h) == ""
	}
	if !local {
		return errs.New(errs.Forbidden, "只对本机开放", "open to this machine alone").WithCode("leak.local")
	}
	return nil
}

// Handler serves snapshots of this process to connections of this machine. It counts no requests: see [Labels.Handler].
func Handler() http.Handler { return new(Labels).Handler(Local) }

// Handler serves snapshots of this process, with the counts of l, to those whom allow lets pass: the error says why not,
// by its kind. A nil allow lets everybody pass: then something in front of the handler must not.
//
// GET answers 200 with a [Snapshot]; ?profile=leak takes the goroutine-leak profile, 503 where the program has none. One
// collection runs at a time, and after one that took over 250 ms ten times as long passes before the next; until then
// the answer is 429 with Retry-After. Errors are problems (RFC 9457) with the code, and words by Accept-Language.
func (l *Labels) Handler(allow func(*http.Request) error) http.Handler {
	c := newCollector(l)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := error(nil)
		if allow != nil {
			err = allow(r)
		}
		if err == nil {
			err = c.serve(w, r)
		}
		if err != nil {
			refuse(w, r, err)
		}
	})
}

// Serve is what a handler of a service's own calls after it has asked who the caller is; errors are the caller's to tell.
func (l *Labels) Serve() func(w http.ResponseWriter, r *http.Request) error {
	return newCollector(l).serve
}

// collector takes one snapshot at a time.
type collector struct {
	labels  *Labels
	program string
	now     func() time.Time
	started time.Time

	mu   sync.Mutex // held while a snapshot is taken
	code *code
	next time.Time // not before then
}

func newCollector(l *Labels) *collector {
	c := &collector{labels: l, code: newCode(), now: time.Now, started: time.Now().UTC()}
	if info, ok := debug.ReadBuildInfo(); ok {
		c.program = info.Path
	}
	return c
}

func (c *collector) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		return errs.New(errs.Invalid, "只接受 GET", "GET alone is served").WithCode("leak.method")
	}
	profile := r.URL.Query().Get("profile")
	if profile != "" && profile != "goroutine" && profile != "leak" {
		return errs.New(errs.Invalid, "应为 goroutine 或 leak", "must be goroutine or leak").WithField("profile")
	}
	s, err := c.collect(profile == "leak")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	return json.NewEncoder(w).Encode(s)
}

func (c *collector) collect(leaks bool) (*Snapshot, error) {
	if !c.mu.TryLock() {
		return nil, busy(time.Second)
	}
	defer c.mu.Unlock()
	began := c.now()
	if began.Before(c.next) {
		return nil, busy(c.next.Sub(began))
	}
	s, err := c.take(leaks)
	if took := c.now().Sub(began); took > budget {
		c.next = began.Add(took + rest*took)
	}
	return s, err
}

func busy(wait time.Duration) error {
	return errs.New(errs.TooMany, "正在采集，请稍后再试", "a collection is under way; try again later").WithCode("leak.busy").WithRetryAfter(wait)
}

// refuse answers with a problem, for services that have no way of their own.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, l := errs.As(err), lang.FromAccept(r.Header.Get("Accept-Language"))
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(e.Kind.HTTP())
	problem := map[string]any{"type": "about:blank", "status": e.Kind.HTTP(), "title": http.StatusText(e.Kind.HTTP()), "detail": e.In(l), "code": e.Code}
	if hint := e.Hint.In(l); hint != "" {
		problem["hint"] = hint
	}
	_ = json.NewEncoder(w).Encode(problem) // the caller may be gone
}
