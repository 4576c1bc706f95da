package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// Requests at a time: most of them wait for notes. Transactions are held in memory while they come and are checked.
const (
	maxRequests = 256
	maxIntake   = 32
	intakeTime  = 10 * time.Second // for a transaction to come
)

// handler is the node's HTTP face. Nobody signs in: what it shows is for everyone who can reach it, and a transaction bears
// a signature of its own.
func (n *Node) handler(life context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /submit", n.answering(n.submit))
	mux.HandleFunc("GET /status", n.answering(n.serveStatus))
	mux.HandleFunc("GET /policy", n.answering(n.servePolicy))
	mux.HandleFunc("GET /light/{height}", n.answering(n.serveLight))
	mux.HandleFunc("GET /genesis", n.answering(n.serveGenesis))
	mux.HandleFunc("GET /{$}", n.answering(n.serveStatus))
	for _, path := range []string{"GET /checkpoint", "GET /notes", "GET /tile/"} {
		mux.HandleFunc(path, n.answering(func(w http.ResponseWriter, r *http.Request) error { return n.serveLog(life, w, r) }))
	}
	mux.HandleFunc("/", n.answering(func(http.ResponseWriter, *http.Request) error {
		return errs.New(errs.NotFound, "没有这个地址", "there is no such address")
	}))
	front := http.NewServeMux() // asked for when all else is busy
	front.HandleFunc("GET /healthz", n.answering(n.serveHealth))
	front.Handle("GET /metrics", promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{}))
	front.Handle("/", n.limited(mux, make(chan struct{}, maxRequests)))
	return httpapi.SecureHeaders(front)
}

// limited lets so many requests in at a time as places holds.
func (n *Node) limited(next http.Handler, places chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			n.refuse(w, r, busy())
		}
	})
}

func busy() error {
	return errs.New(errs.TooMany, "请求过多，请稍后再试", "too many requests; try again later").WithRetryAfter(time.Second)
}

func errCatchingUp() error {
	return errs.New(errs.Unavailable, "本部门的节点正在启动或追赶", "the agency's node is starting or catching up").WithRetryAfter(time.Second)
}

// answering turns an error into a problem document.
func (n *Node) answering(f func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			n.refuse(w, r, err)
		}
	}
}

func (n *Node) refuse(w http.ResponseWriter, r *http.Request, err error) {
	level := slog.LevelDebug
	if errs.KindOf(err) == errs.Internal {
		level = slog.LevelError
	}
	n.log.Log(r.Context(), level, "request refused", "path", r.URL.Path, "err", err)
	httpapi.WriteProblem(w, r, err)
}

// submit takes a transaction. 202 says that this node holds it and passes it on, not that it is ordered.
func (n *Node) submit(w http.ResponseWriter, r *http.Request) error {
	select {
	case n.intake <- struct{}{}:
		defer func() { <-n.intake }()
	default:
		return busy()
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(intakeTime)); err != nil {
		return err
	}
	tx, err := io.ReadAll(http.MaxBytesReader(w, r.Body, council.MaxTx))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errs.Newf(errs.TooLarge, "一笔交易不得超过 %d 字节", "a transaction is at most %d bytes", council.MaxTx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errs.Wrap(err, errs.Timeout, "交易未在限时内送达", "the transaction did not come in time")
	case err != nil:
		return errs.Wrap(err, errs.Canceled, "请求中断", "the request broke off")
	}
	if err := n.council.Submit(r.Context(), tx); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// serveLog serves the log, once it is this node's own. Who waits for notes is let go when life ends.
func (n *Node) serveLog(life context.Context, w http.ResponseWriter, r *http.Request) error {
	if !n.steady.Load() {
		return errCatchingUp()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	n.logs().ServeHTTP(w, r.WithContext(ctx))
	return nil
}

func answerJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return answer(w, "application/json", append(body, '\n'))
}

func answer(w http.ResponseWriter, media string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client has gone
	return nil
}

func (n *Node) serveStatus(w http.ResponseWriter, r *http.Request) error {
	s, err := n.status(r.Context())
	if err != nil {
		return err
	}
	return answerJSON(w, s)
}

func (n *Node) status(ctx context.Context) (*Status, error) {
	c := n.council.Status()
	s := &Status{Agency: c.Agency, Chain: n.cfg.Genesis.Chain, Running: c.Running, CatchingUp: c.CatchingUp || !n.steady.Load(),
		Height: c.Height, Turn: c.Turn, Round: c.Round, Waiting: c.Waiting, Waits: n.waits.Load(), Peers: make([]Peer, 0, len(c.Peers))}
	if !c.BlockTime.IsZero() {
		s.BlockTime = beijing.At(c.BlockTime)
	}
	for _, p := range c.Peers {
		peer := Peer{Agency: p.Agency, Votes: p.Votes, Connected: p.Connected, AheadMS: p.Ahead.Milliseconds()}
		if !p.Seen.IsZero() {
			peer.Seen = beijing.At(p.Seen)
		}
		s.Peers = append(s.Peers, peer)
	}
	if !n.steady.Load() {
		return s, nil
	}
	if p := n.ledger.Policy(); p != nil {
		s.Policy = p.Version
	}
	s.Size = n.ledger.Log().Last().Size
	var err error
	s.CosignedSize, err = n.ledger.Log().CosignedUpTo(ctx, c.Agency)
	return s, err
}

func (n *Node) servePolicy(w http.ResponseWriter, r *http.Request) error {
	if !n.steady.Load() {
		return errCatchingUp()
	}
	history, err := sqldb.All(r.Context(), n.db, func(s sqldb.Scanner) (p PolicyAt, err error) {
		var version, at int64
		var text string
		err = s.Scan(&version, &p.Height, &at, &text)
		p.Version, p.At, p.Policy = uint64(version), beijing.Time(at), json.RawMessage(text)
		return p, err
	}, "SELECT version, height, at, policy FROM ledger_policy ORDER BY version")
	if err != nil {
		return err
	}
	if len(history) == 0 { // before the first block
		return errCatchingUp()
	}
	return answerJSON(w, Policies{history[len(history)-1].Policy, history})
}

func (n *Node) serveLight(w http.ResponseWriter, r *http.Request) error {
	height, err := strconv.ParseInt(r.PathValue("height"), 10, 64)
	if err != nil || height < 1 {
		return errs.New(errs.Invalid, "应为正整数", "must be a number from 1 up").WithField("height")
	}
	block, err := n.council.LightBlock(height)
	if err != nil {
		return err
	}
	return answer(w, "application/octet-stream", block)
}

func (n *Node) serveGenesis(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, "application/json", n.genesis)
}

func (n *Node) serveHealth(w http.ResponseWriter, _ *http.Request) error {
	if s := n.council.Status(); !s.Running || s.CatchingUp || !n.steady.Load() {
		return errCatchingUp()
	}
	return answer(w, "text/plain; charset=utf-8", []byte("ok\n"))
}

// measure registers what the ledger adds to the council's metrics.
func (n *Node) measure() {
	gauge := func(name, help string, value func() float64) {
		n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if !n.steady.Load() {
				return 0
			}
			return value()
		}))
	}
	gauge("qiong_council_records", "Records in the log.", func() float64 { return float64(n.ledger.Log().Last().Size) })
	gauge("qiong_council_cosigning_waits", "1 where cosigning waits, as for a signer that does not answer, otherwise 0.", func() float64 {
		if n.waits.Load() != nil {
			return 1
		}
		return 0
	})
	gauge("qiong_council_cosigned", "Size of the newest checkpoint that this agency has cosigned.", func() float64 {
		size, err := n.ledger.Log().CosignedUpTo(context.Background(), n.cfg.Home.Agency())
		if err != nil {
			return -1
		}
		return float64(size)
	})
}
