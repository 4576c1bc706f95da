package council

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/p2p"
	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
	"github.com/cometbft/cometbft/types"
)

// signTwice makes the member an equivocating one: to every prevote it adds another, for a block that does not exist,
// signed with the same key, and sends it to its peers.
func signTwice(ctx context.Context, n *Node, h *Home) {
	l := await(ctx, n)
	if l == nil {
		return
	}
	votes, err := l.node.EventBus().Subscribe(ctx, "twice", types.EventQueryVote, 1000)
	if err != nil {
		panic(err)
	}
	own := h.consensus.PubKey().Address().String()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-votes.Out():
			v := m.Data().(types.EventDataVote).Vote
			if v.ValidatorAddress.String() != own || v.Type != 1 || v.BlockID.IsZero() {
				continue
			}
			if err := secondVote(l, h, v.Copy()); err != nil {
				panic(err)
			}
		}
	}
}

func secondVote(l *live, h *Home, v *types.Vote) error {
	hash := make([]byte, 32)
	if _, err := rand.Read(hash); err != nil {
		return err
	}
	v.BlockID = types.BlockID{Hash: hash, PartSetHeader: types.PartSetHeader{Total: 1, Hash: hash}}
	sig, err := h.consensus.Sign(types.VoteSignBytes(l.node.GenesisDoc().ChainID, v.ToProto()))
	if err != nil {
		return err
	}
	v.Signature = sig
	l.node.Switch().BroadcastAsync(p2p.Envelope{ChannelID: consensus.VoteChannel, Message: &cmtcons.Vote{Vote: v.ToProto()}})
	return nil
}

// await returns the running node, nil when ctx ends before.
func await(ctx context.Context, n *Node) *live {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if l := n.live.Load(); l != nil {
			return l
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
