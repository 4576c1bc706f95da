package council

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmtnode "github.com/cometbft/cometbft/node"
	cmtstate "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"github.com/qiongdev/qiong/kit/errs"
)

// Sync lets an empty node begin with a snapshot of the ledger instead of the first block. Chunks come from peers; what
// the snapshot must lead to comes from blocks that more than two thirds of Members signed, so no single peer is believed.
type Sync struct {
	// Fetch asks a member's service for what its [Node.LightBlock] returns.
	Fetch func(ctx context.Context, from Member, height int64) ([]byte, error)
	// Members are the council's present ones, as the operator got them from the agencies; nil: those of the genesis.
	Members []Member
}

// LightBlock returns the signed header of a block with the keys that signed it, for other nodes' [Sync]; NotFound for a
// block that is pruned or not there yet.
func (n *Node) LightBlock(height int64) ([]byte, error) {
	l := n.live.Load()
	if l == nil {
		return nil, errs.New(errs.Unavailable, "本部门的节点没有运行", "the agency's node does not run")
	}
	missing := errs.New(errs.NotFound, "没有这个区块", "there is no such block")
	meta := l.env.BlockStore.LoadBlockMeta(height)
	if meta == nil {
		return nil, missing
	}
	commit := l.env.BlockStore.LoadBlockCommit(height)
	if commit == nil {
		commit = l.env.BlockStore.LoadSeenCommit(height)
	}
	keys, err := l.env.StateStore.LoadValidators(height)
	if err != nil || commit == nil {
		return nil, missing
	}
	block, err := (&cmttypes.LightBlock{
		SignedHeader: &cmttypes.SignedHeader{Header: &meta.Header, Commit: commit}, ValidatorSet: keys}).ToProto()
	if err != nil {
		return nil, fmt.Errorf("couldn't encode block %d: %w", height, err)
	}
	return block.Marshal()
}

// stateProvider returns CometBFT's option for state sync, if it is wanted.
func (n *Node) stateProvider(doc *cmttypes.GenesisDoc) []cmtnode.Option {
	if n.cfg.Sync == nil {
		return nil
	}
	members := n.cfg.Sync.Members
	if members == nil {
		members = n.cfg.Genesis.Members
	}
	return []cmtnode.Option{cmtnode.StateProvider(&trusted{doc, members, string(n.cfg.Home.node.ID()), n.cfg.Sync.Fetch})}
}

// trusted is CometBFT's statesync.StateProvider: state in which we believe because the members signed it.
type trusted struct {
	doc     *cmttypes.GenesisDoc
	members []Member
	self    string
	fetch   func(ctx context.Context, from Member, height int64) ([]byte, error)
}

// AppHash implements statesync.StateProvider. The block after holds the hash; the one after that tells who votes then,
// and may take a heartbeat to come.
func (t *trusted) AppHash(ctx context.Context, height uint64) ([]byte, error) {
	next, err := t.block(ctx, int64(height)+1)
	if err != nil {
		return nil, err
	}
	if _, err := t.block(ctx, int64(height)+2); err != nil {
		return nil, err
	}
	return next.AppHash, nil
}

// Commit implements statesync.StateProvider.
func (t *trusted) Commit(ctx context.Context, height uint64) (*cmttypes.Commit, error) {
	block, err := t.block(ctx, int64(height))
	if err != nil {
		return nil, err
	}
	return block.Commit, nil
}

// State implements statesync.StateProvider.
func (t *trusted) State(ctx context.Context, height uint64) (sm.State, error) {
	var blocks [3]*cmttypes.LightBlock
	for i := range blocks {
		block, err := t.block(ctx, int64(height)+int64(i))
		if err != nil {
			return sm.State{}, err
		}
		blocks[i] = block
	}
	last, current, next := blocks[0], blocks[1], blocks[2]
	if string(t.doc.ConsensusParams.Hash()) != string(current.ConsensusHash) {
		return sm.State{}, errors.New("the council's limits are not those of this program")
	}
	return sm.State{
		ChainID:       t.doc.ChainID,
		InitialHeight: t.doc.InitialHeight,
		Version:       cmtstate.Version{Consensus: current.Version, Software: version.TMCoreSemVer},

		LastBlockHeight: last.Height,
		LastBlockTime:   last.Time,
		LastBlockID:     last.Commit.BlockID,
		AppHash:         current.AppHash,
		LastResultsHash: current.LastResultsHash,

		LastValidators:              last.ValidatorSet,
		Validators:                  current.ValidatorSet,
		NextValidators:              next.ValidatorSet,
		LastHeightValidatorsChanged: next.Height,

		ConsensusParams:                  *t.doc.ConsensusParams,
		LastHeightConsensusParamsChanged: current.Height,
	}, nil
}

var errRefused = errors.New("the block is refused")

// block asks member after member for a block until one has it and it holds, or ctx ends; one that is not there yet may
// come. When more than a third of the members tell of a block that does not hold, it is not going to: it is from before
// the present members were.
func (t *trusted) block(ctx context.Context, height int64) (*cmttypes.LightBlock, error) {
	pause := time.NewTicker(500 * time.Millisecond)
	defer pause.Stop()
	for {
		var problems []error
		refused := 0
		for _, m := range t.members {
			if m.Node == t.self {
				continue
			}
			block, err := t.from(ctx, m, height)
			if err == nil {
				return block, nil
			}
			problems = append(problems, fmt.Errorf("%s: %w", m.Agency, err))
			if errors.Is(err, errRefused) {
				refused++
			}
		}
		if 3*refused > len(t.members) {
			return nil, fmt.Errorf("couldn't believe block %d: %w", height, errors.Join(problems...))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("couldn't get block %d: %w", height, errors.Join(append(problems, ctx.Err())...))
		case <-pause.C:
		}
	}
}

func (t *trusted) from(ctx context.Context, m Member, height int64) (*cmttypes.LightBlock, error) {
	data, err := t.fetch(ctx, m, height)
	if err != nil {
		return nil, err
	}
	var p cmtproto.LightBlock
	if err := p.Unmarshal(data); err != nil {
		return nil, err
	}
	block, err := cmttypes.LightBlockFromProto(&p)
	if err != nil {
		return nil, err
	}
	if err := t.check(block, height); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	return block, nil
}

// check holds a block to the height asked for, and to the signatures of more than two thirds of keys that are all members'.
func (t *trusted) check(block *cmttypes.LightBlock, height int64) error {
	if err := block.ValidateBasic(t.doc.ChainID); err != nil {
		return err
	}
	if block.Height != height {
		return errors.New("another block than asked for")
	}
	known := voters(t.members)
	for _, v := range block.ValidatorSet.Validators {
		if !known[string(v.PubKey.Bytes())] || v.VotingPower != votingPower {
			return errors.New("signed by a key that is no member's")
		}
	}
	if 3*block.ValidatorSet.Size() <= 2*len(known) {
		return errors.New("signed by too few of the members")
	}
	return block.ValidatorSet.VerifyCommitLight(t.doc.ChainID, block.Commit.BlockID, height, block.Commit)
}
