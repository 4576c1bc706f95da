package council

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/p2p"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"github.com/qiongdev/qiong/kit/errs"
)

// app is the ledger as CometBFT sees it. CometBFT calls it over four connections: consensus (InitChain, FinalizeBlock,
// Commit), mempool (CheckTx), query (Info, Query) and snapshots; mu keeps the ledger's promise of one goroutine.
type app struct {
	abci.BaseApplication
	ctx       context.Context // of Run; exports and imports end with it, blocks are carried through
	ledger    Ledger
	genesis   *Genesis
	roster    *roster
	retain    retention
	snapshots *snapshots // nil when the ledger is no Carrier
	committed func(height int64)
	log       *slog.Logger

	mu      sync.Mutex
	height  int64    // applied and not yet committed
	size    int64    // of its block, about
	members []Member // that come with it; nil when they stay
	settled int64    // the height from which on those who came last vote
	failure error    // the first of the ledger, after which nothing is asked of it any more
	restore *restore
}

// fail keeps the ledger's first error: CometBFT panics on it and the words would be lost.
func (a *app) fail(op string, err error) error {
	if err != nil && a.failure == nil {
		a.failure = fmt.Errorf("the ledger couldn't %s: %w", op, err)
	}
	return a.failure
}

// cause returns the error by which the ledger stopped the node.
func (a *app) cause() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

// Info implements abci.Application.
func (a *app) Info(ctx context.Context, _ *abci.RequestInfo) (*abci.ResponseInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	height, hash, err := a.ledger.Last(ctx)
	if err != nil {
		return nil, a.fail("say its height", err)
	}
	return &abci.ResponseInfo{LastBlockHeight: height, LastBlockAppHash: hash}, nil
}

// InitChain implements abci.Application.
func (a *app) InitChain(ctx context.Context, _ *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash, err := a.ledger.Begin(ctx, a.genesis)
	if err != nil {
		return nil, a.fail("begin", err)
	}
	a.roster.set(a.genesis.Members)
	return &abci.ResponseInitChain{AppHash: hash}, nil
}

// CheckTx implements abci.Application. The words of a refusal stay here: Submit has asked the ledger itself.
func (a *app) CheckTx(ctx context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	if a.ledger.Check(ctx, req.Tx) != nil {
		return &abci.ResponseCheckTx{Code: 1}, nil
	}
	return &abci.ResponseCheckTx{}, nil
}

// PrepareProposal implements abci.Application. The queue has kept to the size of a block already.
func (a *app) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	return &abci.ResponsePrepareProposal{Txs: req.Txs}, nil
}

// ProcessProposal implements abci.Application. A proposer that ignores the limit of a transaction is outvoted.
func (a *app) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	for _, tx := range req.Txs {
		if len(tx) > MaxTx {
			return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
		}
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// FinalizeBlock implements abci.Application.
func (a *app) FinalizeBlock(ctx context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure != nil {
		return nil, a.failure
	}
	applied, err := a.ledger.Apply(ctx, a.block(req))
	if err != nil {
		return nil, a.fail(fmt.Sprintf("apply block %d", req.Height), err)
	}
	res := &abci.ResponseFinalizeBlock{AppHash: applied.Hash, TxResults: make([]*abci.ExecTxResult, len(req.Txs))}
	for i := range res.TxResults {
		res.TxResults[i] = new(abci.ExecTxResult) // outcomes are the ledger's, under its hash
	}
	if applied.Members != nil {
		if err := CheckMembers(applied.Members); err != nil {
			return nil, a.fail(fmt.Sprintf("name members in block %d", req.Height), err)
		}
		res.ValidatorUpdates = a.roster.updates(applied.Members)
	}
	a.height, a.size, a.members = req.Height, sizeOf(req), applied.Members
	return res, nil
}

// block translates what was agreed on into the ledger's words.
func (a *app) block(req *abci.RequestFinalizeBlock) Block {
	b := Block{Height: req.Height, Time: req.Time.UTC(), Txs: req.Txs,
		Proposer: a.roster.agency(fmt.Sprintf("%X", req.ProposerAddress))}
	for _, v := range req.DecidedLastCommit.Votes {
		if v.BlockIdFlag != cmtproto.BlockIDFlagCommit {
			continue
		}
		if name := a.roster.agency(fmt.Sprintf("%X", v.Validator.Address)); name != "" {
			b.Signed = append(b.Signed, name)
		}
	}
	slices.Sort(b.Signed)
	for _, m := range req.Misbehavior {
		address := fmt.Sprintf("%X", m.Validator.Address)
		b.Misbehaviors = append(b.Misbehaviors,
			Misbehavior{Agency: a.roster.agency(address), Address: address, Height: m.Height, Time: m.Time.UTC()})
	}
	return b
}

// Commit implements abci.Application.
func (a *app) Commit(ctx context.Context, _ *abci.RequestCommit) (*abci.ResponseCommit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure != nil {
		return nil, a.failure
	}
	if err := a.ledger.Commit(ctx); err != nil {
		return nil, a.fail(fmt.Sprintf("commit block %d", a.height), err)
	}
	if a.members != nil {
		a.roster.set(a.members)
		a.settled = a.height + 2
		a.log.Info("members changed", "height", a.height, "members", len(a.members))
	}
	a.retain.add(a.height, a.size)
	if a.snapshots != nil {
		// A new node knows the present members; to it a snapshot from before they were is of no use.
		if err := a.snapshots.take(a.ctx, a.height, a.height == a.settled); err != nil {
			a.log.Warn("no snapshot", "height", a.height, "err", err) // the next will do
		}
	}
	if a.committed != nil {
		a.committed(a.height)
	}
	return &abci.ResponseCommit{RetainHeight: a.retainHeight()}, nil
}

// sizeOf is about what a block takes: its transactions, and what comes with every one.
func sizeOf(req *abci.RequestFinalizeBlock) int64 {
	size := int64(2 << 10)
	for _, tx := range req.Txs {
		size += int64(len(tx))
	}
	return size
}

// count counts the blocks that are there at the start, and those after a replay.
func (a *app) count(blocks blockStore) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retain.count(blocks)
}

// retainHeight returns below which height blocks may go, 0 for none now. What follows the oldest snapshot stays.
func (a *app) retainHeight() int64 {
	if a.height%pruneStep != 0 {
		return 0
	}
	keep := a.retain.height(a.height)
	if a.snapshots != nil && a.snapshots.every > 0 {
		keep = min(keep, a.snapshots.oldest())
	}
	return keep
}

// Query implements abci.Application: CometBFT asks whether a peer may stay once the peer has proved its key.
func (a *app) Query(_ context.Context, req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	if id, ok := strings.CutPrefix(req.Path, "/p2p/filter/id/"); ok && !a.roster.admits(p2p.ID(id)) {
		a.log.Warn("refused a peer that is no member", "node", id)
		return &abci.ResponseQuery{Code: 1}, nil
	}
	return &abci.ResponseQuery{}, nil
}

// quiesce waits for the ledger's call in progress and lets no other begin. The app's context has ended.
func (a *app) quiesce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure == nil {
		a.failure = errStopped
	}
	a.abandon()
	if a.snapshots != nil {
		a.snapshots.work.Wait()
	}
}

var errStopped = errors.New("the node has stopped")

// reload takes members from the ledger's committed state, at the start and after an import.
func (a *app) reload(ctx context.Context) error {
	height, _, err := a.ledger.Last(ctx)
	if err != nil || height == 0 {
		return err
	}
	members, err := a.ledger.Members(ctx)
	if err != nil {
		return err
	}
	if err := CheckMembers(members); err != nil {
		return errs.Wrap(err, errs.Internal, "账本中的成员名单无效", "the ledger's members are invalid")
	}
	a.roster.set(members)
	return nil
}

// holds reports whether the ledger stands at height with hash.
func (a *app) holds(ctx context.Context, height int64, hash []byte) error {
	h, got, err := a.ledger.Last(ctx)
	if err != nil {
		return err
	}
	if h != height || !bytes.Equal(got, hash) {
		return fmt.Errorf("the import leads to height %d and another hash than the council signed for %d", h, height)
	}
	return nil
}
