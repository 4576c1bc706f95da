package council

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"
)

// chain makes blocks for light clients, signed by whom a test wants.
type chain struct {
	t    *testing.T
	doc  *cmttypes.GenesisDoc
	g    *Genesis
	keys map[string]ed25519.PrivKey // by agency
}

func newChain(t *testing.T, agencies ...string) *chain {
	c := &chain{t: t, keys: map[string]ed25519.PrivKey{}}
	var pubs []Public
	for i, name := range agencies {
		p := newPublic(t, name, "127.0.0.1:"+string(rune('1'+i)))
		c.keys[name] = ed25519.GenPrivKey()
		p.Consensus = c.keys[name].PubKey().Bytes()
		pubs = append(pubs, p)
	}
	var err error
	if c.g, err = NewGenesis("hainan", founding, nil, pubs); err != nil {
		t.Fatal(err)
	}
	if c.doc, err = c.g.doc(); err != nil {
		t.Fatal(err)
	}
	return c
}

// block returns one of that height, of a council of voters, signed by some of them.
func (c *chain) block(height int64, voters, signers []string) []byte {
	c.t.Helper()
	var vals []*cmttypes.Validator
	for _, name := range voters {
		vals = append(vals, cmttypes.NewValidator(c.keys[name].PubKey(), votingPower))
	}
	set := cmttypes.NewValidatorSet(vals)
	digest := make([]byte, 32)
	digest[0] = byte(height)
	header := &cmttypes.Header{Version: c.version(), ChainID: c.doc.ChainID, Height: height, Time: founding.Add(time.Duration(height) * time.Second),
		LastBlockID:    cmttypes.BlockID{Hash: digest, PartSetHeader: cmttypes.PartSetHeader{Total: 1, Hash: digest}},
		LastCommitHash: digest, DataHash: digest, LastResultsHash: digest, EvidenceHash: digest, AppHash: digest,
		ConsensusHash: c.doc.ConsensusParams.Hash(), ValidatorsHash: set.Hash(), NextValidatorsHash: set.Hash(), ProposerAddress: set.Proposer.Address}
	id := cmttypes.BlockID{Hash: header.Hash(), PartSetHeader: cmttypes.PartSetHeader{Total: 1, Hash: digest}}
	commit := &cmttypes.Commit{Height: height, BlockID: id}
	for i, v := range set.Validators {
		sig := cmttypes.NewCommitSigAbsent()
		for _, name := range signers {
			if !c.keys[name].PubKey().Equals(v.PubKey) {
				continue
			}
			vote := &cmtproto.Vote{Type: cmtproto.PrecommitType, Height: height, BlockID: id.ToProto(), Timestamp: header.Time,
				ValidatorAddress: v.Address, ValidatorIndex: int32(i)}
			raw, err := c.keys[name].Sign(cmttypes.VoteSignBytes(c.doc.ChainID, vote))
			if err != nil {
				c.t.Fatal(err)
			}
			sig = cmttypes.CommitSig{BlockIDFlag: cmttypes.BlockIDFlagCommit, ValidatorAddress: v.Address, Timestamp: header.Time, Signature: raw}
		}
		commit.Signatures = append(commit.Signatures, sig)
	}
	p, err := (&cmttypes.LightBlock{SignedHeader: &cmttypes.SignedHeader{Header: header, Commit: commit}, ValidatorSet: set}).ToProto()
	if err != nil {
		c.t.Fatal(err)
	}
	data, err := p.Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// A node that begins with a snapshot believes what more than two thirds of the members signed, and nobody less.
func TestWhomANewNodeBelieves(t *testing.T) {
	c := newChain(t, append([]string{"strange"}, four...)...)
	members := c.g.Members[:0:0]
	for _, m := range c.g.Members {
		if m.Agency != "strange" {
			members = append(members, m)
		}
	}
	other := newChain(t, four...)
	three := []string{"clearing", "customs", "tax"}
	for _, test := range []struct {
		name string
		data []byte
		good bool
	}{
		{"signed by three of four", c.block(7, four, three), true},
		{"signed by two of four", c.block(7, four, four[:2]), false},
		{"a council of three of the members, all of whom signed", c.block(7, three, three), true},
		{"a council of two of the members, both of whom signed", c.block(7, four[:2], four[:2]), false},
		{"a council with a stranger", c.block(7, append([]string{"strange"}, three...), three), false},
		{"another height", c.block(8, four, four), false},
		{"another council's", other.block(7, four, four), false},
		{"no block", []byte("no block"), false},
		{"nothing", nil, false},
	} {
		trust := &trusted{doc: c.doc, members: members, fetch: func(context.Context, Member, int64) ([]byte, error) { return test.data, nil }}
		if _, err := trust.from(context.Background(), members[0], 7); (err == nil) != test.good {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A member that is away or lies is passed over; the state is put together from three blocks.
func TestStateFromTheNextMember(t *testing.T) {
	c := newChain(t, four...)
	asked := map[string]int{}
	trust := &trusted{doc: c.doc, members: c.g.Members, self: c.g.Members[3].Node,
		fetch: func(_ context.Context, from Member, height int64) ([]byte, error) {
			asked[from.Agency]++
			switch from.Agency {
			case "clearing":
				return nil, errors.New("away")
			case "customs":
				return c.block(height, four, four[:1]), nil
			}
			return c.block(height, four, four), nil
		}}
	ctx := context.Background()
	hash, err := trust.AppHash(ctx, 7)
	if err != nil || hash[0] != 8 {
		t.Errorf("the hash after block 7 is %x, %v", hash, err)
	}
	state, err := trust.State(ctx, 7)
	if err != nil || state.LastBlockHeight != 7 || state.AppHash[0] != 8 || state.NextValidators.Size() != 4 {
		t.Errorf("the state is %+v, %v", state, err)
	}
	if commit, err := trust.Commit(ctx, 7); err != nil || commit.Height != 7 {
		t.Errorf("the commit is %v, %v", commit, err)
	}
	if asked["tax"] != 0 || asked["forex"] != 6 {
		t.Errorf("asked %v", asked)
	}
	trust.fetch = func(_ context.Context, _ Member, height int64) ([]byte, error) {
		return c.block(height, four, four[:2]), nil
	}
	if _, err := trust.AppHash(ctx, 7); !errors.Is(err, errRefused) {
		t.Errorf("when nobody's holds: %v", err)
	}
	ended, stop := context.WithCancel(ctx)
	stop()
	trust.fetch = func(context.Context, Member, int64) ([]byte, error) { return nil, errors.New("away") }
	if _, err := trust.AppHash(ended, 7); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody answers: %v", err)
	}
}

func (c *chain) version() (v cmtversion.Consensus) {
	v.Block = version.BlockProtocol
	return v
}
