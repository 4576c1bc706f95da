package council

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Genesis is what a council begins with. Every agency computes it from the same public parts and compares the
// [Genesis.Fingerprint] with the others before it starts.
type Genesis struct {
	Chain   string    `json:"chain"`   // the council's name: lower-case letters, digits and hyphens, at most 32
	Time    time.Time `json:"time"`    // of the first block, UTC, whole seconds
	Members []Member  `json:"members"` // sorted by agency
	State   []byte    `json:"state"`   // what the ledger begins with (in JSON as base64)
}

const (
	maxGenesis = 4 << 20
	// votingPower of every agency: the same for all, so that no name weighs more. More than one, so that CometBFT's
	// turns are settled by more than rounding.
	votingPower = 10
)

// NewGenesis returns the genesis of a council whose members all vote. The order of members does not matter.
func NewGenesis(chain string, at time.Time, state []byte, members []Public) (*Genesis, error) {
	g := &Genesis{Chain: chain, Time: at.UTC(), State: append([]byte{}, state...)}
	for _, p := range members {
		g.Members = append(g.Members, Member{Public: p, Votes: true})
	}
	slices.SortFunc(g.Members, func(a, b Member) int { return strings.Compare(a.Agency, b.Agency) })
	if err := g.check(); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Genesis) check() error {
	if err := checkName("chain", g.Chain); err != nil {
		return err
	}
	if g.Time.Year() < 2020 || g.Time.Year() > 9999 || g.Time.Nanosecond() != 0 || g.Time.Location() != time.UTC {
		return invalid("time", "应为世界协调时，精确到秒", "must be UTC, in whole seconds")
	}
	if g.State == nil { // an empty one has one form
		return invalid("state", "不得为 null", "must not be null")
	}
	return CheckMembers(g.Members)
}

// Marshal returns the one form of g as a file.
func (g *Genesis) Marshal() ([]byte, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	data, err := indented(g)
	if err == nil && len(data) > maxGenesis {
		return nil, errs.Newf(errs.TooLarge, "创世文件超过 %d 字节", "the genesis is longer than %d bytes", maxGenesis)
	}
	return data, err
}

// ParseGenesis reads what [Genesis.Marshal] wrote, and nothing else.
func ParseGenesis(data []byte) (*Genesis, error) {
	if err := strictjson.Check(data, strictjson.Limits{Size: maxGenesis}); err != nil {
		return nil, err
	}
	g := new(Genesis)
	if err := strictjson.Unmarshal(data, g); err != nil {
		return nil, err
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	if again, err := indented(g); err != nil || !bytes.Equal(again, data) {
		return nil, errs.New(errs.Invalid, "创世文件的写法不是标准写法", "the genesis is not written in the one form there is").
			WithCode("council.genesis-form")
	}
	return g, nil
}

// Fingerprint is the SM3 of the file, 64 hexadecimal digits. Agencies compare it over another channel.
func (g *Genesis) Fingerprint() (string, error) {
	data, err := g.Marshal()
	if err != nil {
		return "", err
	}
	sum := gm.SM3(data)
	return hex.EncodeToString(sum[:]), nil
}

// doc returns the genesis as CometBFT reads it. Its chain id carries the fingerprint, so every vote is bound to the
// whole genesis and nodes of another do not even connect.
func (g *Genesis) doc() (*cmttypes.GenesisDoc, error) {
	data, err := g.Marshal()
	if err != nil {
		return nil, err
	}
	var state bytes.Buffer // CometBFT stores it compacted
	if err := json.Compact(&state, data); err != nil {
		return nil, err
	}
	sum := gm.SM3(data)
	doc := &cmttypes.GenesisDoc{
		GenesisTime:     g.Time,
		ChainID:         g.Chain + "." + hex.EncodeToString(sum[:8]),
		InitialHeight:   1,
		ConsensusParams: consensusParams(),
		AppState:        state.Bytes(),
	}
	for _, m := range g.Members {
		if !m.Votes {
			continue
		}
		key := ed25519.PubKey(m.Consensus)
		doc.Validators = append(doc.Validators, cmttypes.GenesisValidator{
			Address: key.Address(), PubKey: key, Power: votingPower, Name: m.Agency})
	}
	return doc, doc.ValidateAndComplete()
}
