package node

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpapi"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// Config is what a node needs. Home, Genesis, Open, Listen and P2P must be set.
type Config struct {
	Home      *Home
	Genesis   *council.Genesis
	Open      func(path string) (sqldb.DB, error) // the ledger's database
	Listen    string                              // IP:port of the HTTP face
	P2P       string                              // IP:port for the other agencies' nodes
	Beyond    bool                                // allow both to be reachable from beyond this machine
	Retain    int64                               // blocks to keep; 0 keeps all
	Bytes     int64                               // of them, before they are compressed; 0 for any
	Snapshots int64                               // blocks between snapshots; 0 takes none
	Sync      bool                                // begin with another agency's snapshot where the ledger is empty
	Members   []council.Member                    // whom Sync believes; nil: those of the genesis

	// Signer returns the agency's key for cosigning with that public part: a hardware module's, say. Nil: the home's.
	Signer func(pub *gm.PublicKey) (crypto.Signer, error)
	Log    *slog.Logger
	// Serving is told the URL once the face can be reached.
	Serving func(url string)
}

// Node is a node that runs.
type Node struct {
	cfg     Config
	log     *slog.Logger
	db      sqldb.DB
	ledger  *ledger.Ledger
	council *council.Node
	genesis []byte
	metrics *prometheus.Registry
	intake  chan struct{}       // places for transactions that are being checked
	logs    func() http.Handler // of the ledger's log, once it is steady
	// steady is set once nothing replaces the ledger's log any more: an import may, before the node has caught up.
	steady atomic.Bool
	waits  atomic.Pointer[lang.Text] // what cosigning waits for; nil where for nothing
}

// Run runs a node until ctx ends or it cannot go on. The process should end when it returns.
func Run(ctx context.Context, cfg Config) error {
	lock, err := cfg.Home.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	n, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(n.run(ctx), n.db.Close())
}

func open(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Log, metrics: prometheus.NewRegistry(), intake: make(chan struct{}, maxIntake)}
	if n.log == nil {
		n.log = slog.Default()
	}
	n.logs = sync.OnceValue(func() http.Handler { return n.ledger.Log().Handler(n.refuse) })
	if n.cfg.Signer == nil {
		n.cfg.Signer = cfg.Home.Signer
	}
	var err error
	if n.genesis, err = cfg.Genesis.Marshal(); err != nil {
		return nil, err
	}
	if n.db, err = cfg.Open(filepath.Join(cfg.Home.dir, ledgerFile)); err != nil {
		return nil, err
	}
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(err, n.db.Close())
	}
	return n, nil
}

// prepare opens the ledger and, around it, the council's node.
func (n *Node) prepare(ctx context.Context) error {
	for set, files := range map[string]fs.FS{"tlog": tlog.Tables(), "ledger": ledger.Tables()} {
		if err := n.db.Migrate(ctx, set, files); err != nil {
			return err
		}
	}
	if err := n.shortLog(ctx); err != nil {
		return err
	}
	var err error
	if n.ledger, err = ledger.Open(ctx, n.db, n.cfg.Genesis.Chain); err != nil {
		return err
	}
	height, _, err := n.ledger.Last(ctx)
	if err != nil {
		return err
	}
	cc := council.Config{Home: n.cfg.Home.council, Genesis: n.cfg.Genesis, Ledger: n.ledger, Listen: n.cfg.P2P, Beyond: n.cfg.Beyond,
		Retain: n.cfg.Retain, RetainBytes: n.cfg.Bytes, SnapshotEvery: n.cfg.Snapshots, Log: n.log, Metrics: prometheus.WrapRegistererWithPrefix("qiong_", n.metrics)}
	if n.cfg.Sync && height == 0 {
		cc.Sync = &council.Sync{Fetch: fetchLight, Members: n.cfg.Members}
	}
	n.steady.Store(cc.Sync == nil)
	if n.council, err = council.Open(cc); err != nil {
		return err
	}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.measure()
	return nil
}

// shortLog has SQLite keep its write-ahead log short. A block touches pages all over the indices, so that the log, left to
// itself, would soon take as much room as a quarter of a million records.
func (n *Node) shortLog(ctx context.Context) error {
	if n.db.Dialect() != sqldb.SQLite {
		return nil
	}
	return n.db.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		var got int64
		for _, setting := range []string{"wal_autocheckpoint = 1000", "journal_size_limit = 4194304"} { // pages, bytes
			if err := tx.QueryRow(ctx, "PRAGMA "+setting).Scan(&got); err != nil {
				return err
			}
		}
		return nil
	})
}

// listen opens the HTTP face's port.
func (n *Node) listen() (net.Listener, error) {
	host, _, err := net.SplitHostPort(n.cfg.Listen)
	ip := net.ParseIP(host)
	if err != nil || ip == nil {
		return nil, errs.New(errs.Invalid, "应为 IP 地址与端口", "must be an IP address and a port").WithField("listen")
	}
	if !ip.IsLoopback() && !n.cfg.Beyond {
		return nil, errs.New(errs.Invalid, "该地址本机以外也能访问；未明确允许", "others could reach that address, which was not allowed").WithField("listen").
			WithCode("council.listen-beyond").WithHint("确需对外监听时加 --beyond", "where that is meant, add --beyond")
	}
	l, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return nil, errs.Wrap(err, errs.Conflict, "无法监听 "+n.cfg.Listen, "can't listen on "+n.cfg.Listen).WithField("listen").
			WithHint("换一个端口，或停止占用它的程序", "choose another port, or stop the program that has it")
	}
	return l, nil
}

func (n *Node) run(ctx context.Context) error {
	listener, err := n.listen()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := httpapi.NewServer("", n.handler(ctx), n.log)
	served := make(chan error, 1)
	go func() {
		err := server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		stop()
		served <- err
	}()
	var cosigning sync.WaitGroup
	cosigning.Go(func() { n.cosign(ctx) })
	if n.cfg.Serving != nil {
		n.cfg.Serving("http://" + listener.Addr().String())
	}
	err = n.council.Run(ctx)
	stop()
	cosigning.Wait()
	return errors.Join(err, n.hangUp(server), <-served)
}

// grace is how long requests under way may take to end.
const grace = 3 * time.Second

func (n *Node) hangUp(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		return server.Close()
	}
	return nil
}

// cosign cosigns once the ledger is this node's own: at once, or when it has caught up after an import.
func (n *Node) cosign(ctx context.Context) {
	behind := func() bool {
		s := n.council.Status()
		return !s.Running || s.CatchingUp
	}
	for tick := time.Tick(behindPause); !n.steady.Load(); {
		if !behind() {
			n.steady.Store(true)
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
	c := &cosigner{agency: n.cfg.Home.Agency(), db: n.db, ledger: n.ledger, key: n.cfg.Signer, behind: behind, say: n.say, log: n.log}
	c.run(ctx)
}

// say remembers what cosigning waits for, as it is shown to people.
func (n *Node) say(err error) {
	if err == nil {
		n.waits.Store(nil)
		return
	}
	n.waits.Store(&errs.As(err).Msg)
}
