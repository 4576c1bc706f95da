package agent

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
)

// MinToken is how long a token must be.
const MinToken = 16

// Agent takes orders. It has at most one under way.
type Agent struct {
	token string
	allow []string // targets, as host:port

	mu  sync.Mutex
	run *running
}

// running is an order under way: its connections are opened at once, and it begins when told to.
type running struct {
	id     string
	cancel context.CancelFunc
	begin  chan time.Time // the moment is sent once
	ready  chan struct{}  // closed: the connections are open
	done   chan struct{}  // closed: answer or err is set
	answer *Answer
	err    error
}

// New returns an agent that fires at the targets given (host:port) for those who know the token. It refuses to be
// without either.
func New(token string, allow []string) (*Agent, error) {
	if len(token) < MinToken {
		return nil, errs.Newf(errs.Invalid, "令牌至少 %d 个字符", "a token has at least %d characters", MinToken)
	}
	if len(allow) == 0 {
		return nil, errs.New(errs.Invalid, "须以 --allow 列出允许压测的目标 主机:端口", "--allow must list the targets that may be loaded, host:port").WithField("--allow")
	}
	for _, a := range allow {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, errs.New(errs.Invalid, "应写作 主机:端口", "is written host:port").WithField("--allow")
		}
	}
	return &Agent{token: token, allow: allow}, nil
}

// patience is how long connections are kept for an order that is not begun.
const patience = time.Minute

// maxOrder bounds an order, with the files of its data.
const maxOrder = 64 << 20

// Handler serves the agent.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /clock", func(w http.ResponseWriter, r *http.Request) { reply(w, clock{time.Now().UnixNano()}) })
	mux.HandleFunc("POST /prepare", a.prepare)
	mux.HandleFunc("POST /start", a.start)
	mux.HandleFunc("POST /stop", a.stop)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(a.token)) != 1 {
			refuse(w, r, errs.New(errs.Unauthenticated, "令牌不对", "the token is wrong"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// The messages.
type (
	clock    struct{ Now int64 } // nanoseconds since 1970
	prepared struct {
		ID          string
		Connections int
		Workers     int
	}
	startAt struct {
		ID string
		At int64 // by the agent's clock
	}
)

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem := httpapi.ProblemOf(err, lang.FromAccept(r.Header.Get("Accept-Language")), "")
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(errs.KindOf(err).HTTP())
	_ = json.NewEncoder(w).Encode(problem) // whoever asked has gone
}

// prepare compiles an order and opens its connections.
func (a *Agent) prepare(w http.ResponseWriter, r *http.Request) {
	var order Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&order); err != nil || order.Definition == nil {
		refuse(w, r, errs.Wrap(err, errs.Invalid, "任务无法读取", "the order can't be read"))
		return
	}
	job, err := a.job(&order)
	if err != nil {
		refuse(w, r, err)
		return
	}
	run, err := a.begin(job)
	if err != nil {
		refuse(w, r, err)
		return
	}
	select {
	case <-run.ready:
		reply(w, prepared{run.id, job.plan.Conns, job.plan.Workers})
	case <-run.done:
		refuse(w, r, run.failed())
	case <-r.Context().Done():
		run.cancel()
	}
}

// job compiles an order, where its target is allowed.
func (a *Agent) job(o *Order) (*Job, error) {
	o.Addr = "" // the target is the one that is looked at here
	target, err := o.Definition.Address()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(a.allow, target.Addr) {
		return nil, errs.New(errs.Forbidden, "此压测端不获准压测该目标", "this agent may not load that target").WithHint("以 --allow 主机:端口 启动压测端", "start the agent with --allow host:port")
	}
	return o.Prepare(files(o.Files), nil)
}

// begin opens the connections of a job, which then waits for its moment.
func (a *Agent) begin(job *Job) (*running, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil {
		select {
		case <-a.run.done:
		default:
			return nil, errs.New(errs.Conflict, "此压测端正忙", "this agent is busy").WithRetryAfter(time.Second)
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // the order outlives the request that brought it; start ends it
	run := &running{id: rand.Text(), cancel: cancel, begin: make(chan time.Time, 1), ready: make(chan struct{}), done: make(chan struct{})}
	a.run = run
	go func() {
		defer close(run.done)
		defer cancel()
		run.answer, run.err = job.Run(ctx, func() time.Time { return run.wait(ctx) }, nil)
	}()
	return run, nil
}

// wait tells that the connections are open, and waits to be told when to begin.
func (r *running) wait(ctx context.Context) time.Time {
	close(r.ready)
	select {
	case at := <-r.begin:
		return at
	case <-time.After(patience):
		r.cancel()
	case <-ctx.Done():
	}
	return time.Now()
}

// start has the prepared order begin at a moment, and answers when it is done. Who goes away ends it.
func (a *Agent) start(w http.ResponseWriter, r *http.Request) {
	var s startAt
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&s); err != nil {
		refuse(w, r, errs.Wrap(err, errs.Invalid, "请求无法读取", "the request can't be read"))
		return
	}
	a.mu.Lock()
	run := a.run
	a.mu.Unlock()
	ahead := time.Until(time.Unix(0, s.At))
	if run == nil || run.id != s.ID || ahead > patience {
		refuse(w, r, errs.New(errs.NotFound, "没有此任务，或时刻太远", "there is no such order, or the moment is too far off"))
		return
	}
	select {
	case run.begin <- time.Now().Add(ahead):
	default:
		refuse(w, r, errs.New(errs.Conflict, "此任务已开始", "this order has begun"))
		return
	}
	select {
	case <-run.done:
	case <-r.Context().Done():
		run.cancel()
		<-run.done
	}
	if run.err != nil {
		refuse(w, r, run.err)
		return
	}
	reply(w, run.answer)
}

// failed returns why an order ended before it was begun.
func (r *running) failed() error {
	if r.err != nil {
		return r.err
	}
	return errs.New(errs.Canceled, "任务已取消", "the order was canceled")
}

// stop ends the order under way before its time; start then answers with what was done.
func (a *Agent) stop(w http.ResponseWriter, r *http.Request) {
	var s startAt
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&s); err != nil {
		refuse(w, r, errs.Wrap(err, errs.Invalid, "请求无法读取", "the request can't be read"))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil && a.run.id == s.ID {
		a.run.cancel()
	}
	reply(w, struct{}{})
}

// Close ends what is under way and waits for it.
func (a *Agent) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil {
		a.run.cancel()
		<-a.run.done
	}
}

// Serve serves the agent on a listener until ctx ends.
func (a *Agent) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // which ends Serve
	defer stop()
	err := s.Serve(l)
	a.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
