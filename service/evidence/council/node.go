package council

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/mempool"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
	"github.com/cometbft/cometbft/proxy"
	rpccore "github.com/cometbft/cometbft/rpc/core"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/qiongdev/qiong/kit/errs"
)

// Config is what a node needs. Home, Genesis, Ledger and Listen must be set.
type Config struct {
	Home    *Home
	Genesis *Genesis
	Ledger  Ledger // a [Carrier] too, where new nodes are to catch up by snapshots
	Listen  string // IP:port for peers
	Beyond  bool   // allow Listen to be reachable from beyond this machine

	Retain        int64                 // blocks to keep; 0 keeps all
	RetainBytes   int64                 // of them, before they are compressed; 0 for any
	SnapshotEvery int64                 // blocks between snapshots; 0 takes none
	Heartbeat     time.Duration         // an empty block after so long without another, so that its time does not stand still; default 10 s
	Propose       time.Duration         // how long to wait for the proposer whose turn it is; default 250 ms
	Sync          *Sync                 // catch up by a snapshot when the home is empty; nil: by every block
	Committed     func(height int64)    // called after each Commit, from the ledger's goroutine; must not block or call the node
	Log           *slog.Logger          // default slog.Default()
	Metrics       prometheus.Registerer // nil: none

	tolerance time.Duration                                       // how far ahead a block's time may be; tests
	sign      func(cmttypes.PrivValidator) cmttypes.PrivValidator // a faulty signer; tests
}

// Node is an agency's member of the council.
type Node struct {
	cfg    Config
	log    *slog.Logger
	lock   *os.File
	app    *app
	clocks *clocks
	failed chan error
	live   atomic.Pointer[live]
}

// live is a node that runs.
type live struct {
	node      *cmtnode.Node
	env       *rpccore.Environment
	consensus *consensus.State
}

// Open prepares a node and locks its home; it connects to nobody yet. The lock ends with the process.
func Open(cfg Config) (*Node, error) {
	if cfg.Home == nil || cfg.Genesis == nil || cfg.Ledger == nil {
		return nil, errors.New("council: Home, Genesis and Ledger must be set")
	}
	if err := checkListen(cfg.Listen, cfg.Beyond); err != nil {
		return nil, err
	}
	if err := cfg.Genesis.check(); err != nil {
		return nil, err
	}
	if cfg.Sync != nil && cfg.Sync.Members != nil {
		if err := CheckMembers(cfg.Sync.Members); err != nil {
			return nil, err
		}
	}
	if cfg.Retain < 0 || cfg.RetainBytes < 0 || cfg.SnapshotEvery < 0 || cfg.Heartbeat < 0 || cfg.Propose < 0 {
		return nil, errors.New("council: Retain, RetainBytes, SnapshotEvery, Heartbeat and Propose must not be negative")
	}
	cfg.Heartbeat = orElse(cfg.Heartbeat, 10*time.Second)
	cfg.Propose = orElse(cfg.Propose, 250*time.Millisecond)
	cfg.tolerance = orElse(cfg.tolerance, time.Minute)
	n := &Node{cfg: cfg, log: cfg.Log, clocks: newClocks(), failed: make(chan error, 1)}
	if n.log == nil {
		n.log = slog.Default()
	}
	var err error
	if n.lock, err = cfg.Home.lock(); err != nil {
		return nil, err
	}
	if err := n.prepare(); err != nil {
		_ = n.lock.Close() // nothing was written to it
		return nil, err
	}
	return n, nil
}

func (n *Node) prepare() error {
	cfg := n.cfg
	if err := os.MkdirAll(filepath.Join(cfg.Home.dir, dataFolder), 0o700); err != nil {
		return unwritable(err)
	}
	members := cfg.Genesis.Members
	if cfg.Sync != nil && cfg.Sync.Members != nil {
		members = cfg.Sync.Members // until the ledger knows
	}
	n.app = &app{ledger: cfg.Ledger, genesis: cfg.Genesis, roster: newRoster(members),
		retain: retention{blocks: cfg.Retain, bytes: cfg.RetainBytes}, committed: cfg.Committed, log: n.log}
	if carrier, ok := cfg.Ledger.(Carrier); ok {
		var err error
		n.app.snapshots, err = openSnapshots(filepath.Join(cfg.Home.dir, snapsFolder), cfg.SnapshotEvery, carrier, n.log)
		if err != nil {
			return err
		}
	}
	if cfg.Metrics != nil {
		return cfg.Metrics.Register(collector{n})
	}
	return nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Run takes part in the council until ctx ends or the node cannot go on. When it returns, the ledger is between two
// blocks and is not called again; the process should end then, since CometBFT's own goroutines are not stopped
// (stopping them under goleveldb panics, and the write-ahead log makes their end at any moment safe).
func (n *Node) Run(ctx context.Context) error {
	defer n.app.quiesce()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // before quiesce
	l, err := n.start(ctx)
	if err != nil {
		if cause := n.app.cause(); cause != nil {
			return cause
		}
		return err
	}
	n.live.Store(l)
	defer n.live.Store(nil)
	n.log.Info("council node runs", "agency", n.cfg.Home.agency, "listen", n.cfg.Listen, "height", l.env.BlockStore.Height())
	stopped := make(chan struct{})
	go func() { l.consensus.Wait(); close(stopped) }()
	go n.watch(ctx, l)
	go n.keepPeers(ctx, l)
	go n.keepWAL(ctx, l)
	if l.node.Config().BlockSync.AdaptiveSync {
		go n.endFetching(ctx, l)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	case <-stopped:
		if cause := n.app.cause(); cause != nil {
			return cause
		}
		return n.stoppedBy()
	}
}

// start brings CometBFT up to its first step, having replayed what the ledger has not committed.
func (n *Node) start(ctx context.Context) (l *live, err error) {
	defer func() {
		if r := recover(); r != nil { // CometBFT panics when ledger and blocks contradict each other
			n.log.Error("panic while starting", "stack", string(debug.Stack()))
			err = fmt.Errorf("couldn't start the council's node: %v", r)
		}
	}()
	n.app.ctx = ctx
	if err := n.app.reload(ctx); err != nil {
		return nil, err
	}
	if !n.app.roster.admits(n.cfg.Home.node.ID()) {
		n.log.Warn("this node is no member of the council as it knows it: nobody will let it in", "node", string(n.cfg.Home.node.ID()))
	}
	doc, err := n.cfg.Genesis.doc()
	if err != nil {
		return nil, err
	}
	filePV, err := n.cfg.Home.signer()
	if err != nil {
		return nil, err
	}
	var signer cmttypes.PrivValidator = filePV
	if n.cfg.sign != nil {
		signer = n.cfg.sign(signer)
	}
	logger := quiet{n.log, n.fail}
	settings := n.cfg.settings()
	settings.BlockSync.AdaptiveSync = n.cfg.Sync == nil && n.cfg.Home.signedWithin(shortAbsence)
	node, err := cmtnode.NewNodeWithContext(ctx, settings, signer, n.cfg.Home.node,
		proxy.NewConnSyncLocalClientCreator(n.app), func() (*cmttypes.GenesisDoc, error) { return doc, nil },
		n.cfg.database, noMetrics, logger, n.stateProvider(doc)...)
	if err != nil {
		return nil, fmt.Errorf("couldn't prepare the council's node: %w", err)
	}
	if node.GenesisDoc().ChainID != doc.ChainID {
		return nil, errs.New(errs.Conflict, "该节点属于另一个创世文件", "this node began with another genesis").
			WithCode("council.other-genesis")
	}
	env, err := node.ConfigureRPC() // the way to its parts; nothing listens
	if err != nil {
		return nil, fmt.Errorf("couldn't reach into the council's node: %w", err)
	}
	state, ok := env.ConsensusState.(*consensus.State)
	if !ok {
		return nil, fmt.Errorf("couldn't reach into the council's node: consensus is a %T", env.ConsensusState)
	}
	n.app.count(node.BlockStore())
	if err := node.Start(); err != nil {
		return nil, fmt.Errorf("couldn't start the council's node: %w", err)
	}
	return &live{node, env, state}, nil
}

// stoppedBy returns why consensus stopped: CometBFT has logged it.
func (n *Node) stoppedBy() error {
	select {
	case err := <-n.failed:
		return err
	default:
		return errors.New("consensus stopped")
	}
}

func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default: // one is enough
	}
}

// Submit hands a transaction to the council. A nil error says that this node holds it and passes it on, not that it is
// ordered: who must be sure submits again until the ledger has it, and the ledger refuses the second one. The errors:
// what Check says; TooLarge; TooMany when the queue is full; Unavailable when the node does not run or catches up.
func (n *Node) Submit(ctx context.Context, tx []byte) error {
	if len(tx) > MaxTx {
		return errs.Newf(errs.TooLarge, "一笔交易不得超过 %d 字节", "a transaction is at most %d bytes", MaxTx)
	}
	l := n.live.Load()
	if l == nil || l.env.ConsensusReactor.WaitSync() {
		return errs.New(errs.Unavailable, "本部门的节点正在启动或追赶", "the agency's node is starting or catching up").
			WithRetryAfter(time.Second)
	}
	if err := n.cfg.Ledger.Check(ctx, tx); err != nil {
		return err
	}
	err := l.node.Mempool().CheckTx(tx, nil, mempool.TxInfo{})
	var full mempool.ErrMempoolIsFull
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mempool.ErrTxInCache):
		// Peers that were catching up dropped it, and CometBFT passes a transaction on but once.
		l.node.Switch().BroadcastAsync(p2p.Envelope{ChannelID: mempool.MempoolChannel, Message: &protomem.Txs{Txs: [][]byte{tx}}})
		return nil
	case errors.As(err, &full), errors.Is(err, mempool.ErrRecheckFull):
		return errs.Wrap(err, errs.TooMany, "等待排序的交易过多", "too many transactions wait to be ordered").
			WithRetryAfter(time.Second)
	}
	return errs.Wrap(err, errs.Internal, "交易无法提交给理事会", "couldn't hand the transaction to the council")
}

// peerID is the id by which CometBFT knows a member.
func peerID(m Member) p2p.ID { return p2p.ID(m.Node) }
