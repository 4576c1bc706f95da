package council

import (
	"slices"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
)

// roster knows the members as committed: who may connect, and whose a key is. What Apply is told comes from here, so it
// must never know more than the ledger's committed state does, or nodes that restarted would differ from those that did not.
type roster struct {
	mu      sync.RWMutex
	members []Member
	byNode  map[p2p.ID]Member
	byKey   map[string]string // hexadecimal address of a consensus key: agency
}

func newRoster(members []Member) *roster {
	r := new(roster)
	r.set(members)
	return r
}

func (r *roster) set(members []Member) {
	byNode, byKey := map[p2p.ID]Member{}, map[string]string{}
	for _, m := range members {
		byNode[p2p.ID(m.Node)] = m
		byKey[m.address()] = m.Agency
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members, r.byNode, r.byKey = slices.Clone(members), byNode, byKey
}

func (r *roster) all() []Member {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.members // replaced as a whole, never changed
}

func (r *roster) admits(node p2p.ID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.byNode[node]
	return ok
}

// agency returns whose the consensus key with that address is, "" when no member's.
func (r *roster) agency(address string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byKey[address]
}

// updates returns what makes voters of the roster those of members.
func (r *roster) updates(members []Member) []abci.ValidatorUpdate {
	before, after := voters(r.all()), voters(members)
	var out []abci.ValidatorUpdate
	for _, m := range r.all() {
		if key := string(m.Consensus); before[key] && !after[key] {
			out = append(out, abci.UpdateValidator(m.Consensus, 0, ed25519.KeyType))
		}
	}
	for _, m := range members {
		if key := string(m.Consensus); after[key] && !before[key] {
			out = append(out, abci.UpdateValidator(m.Consensus, votingPower, ed25519.KeyType))
		}
	}
	return out
}

func voters(members []Member) map[string]bool {
	keys := map[string]bool{}
	for _, m := range members {
		if m.Votes {
			keys[string(m.Consensus)] = true
		}
	}
	return keys
}
