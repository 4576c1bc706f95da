package council

import (
	"context"
	"io"
	"time"
)

// Ledger is the state that the council agrees on. It must be deterministic: the same blocks lead to the same hashes on
// every machine, whatever its architecture, clock or locale. The council calls it from one goroutine at a time, except
// for Check. An error other than Check's stops the node for good; the process should end and begin anew.
type Ledger interface {
	// Begin gives the ledger its genesis and returns the hash of that state. Nothing becomes durable before the Commit
	// of the first block: Begin is called again when the process ends before.
	Begin(ctx context.Context, genesis *Genesis) (hash []byte, err error)
	// Last returns the height and hash as committed; 0 and nil before the first Commit.
	Last(ctx context.Context) (height int64, hash []byte, err error)
	// Members returns those who may connect, as committed. It is called when Last is beyond 0.
	Members(ctx context.Context) ([]Member, error)
	// Check refuses a transaction that the committed state does not allow. It is quick, and called concurrently with
	// itself and everything else. It spares the council work; Apply must bear what Check would have refused.
	Check(ctx context.Context, tx []byte) error
	// Apply leads the state through a block, which replaces one applied and not committed. Nothing is durable yet. A
	// block without transactions and misbehaviours must not change the hash: each change calls for a further block.
	Apply(ctx context.Context, block Block) (Applied, error)
	// Commit makes durable what was applied last.
	Commit(ctx context.Context) error
}

// Carrier is a Ledger whose state can be carried to another machine. Without it a new node replays every block, and
// needs one that has them all.
type Carrier interface {
	// Export returns what Part needs to know of the state as committed, and how many parts it has, at least one. It is
	// called between Commit and Apply.
	Export(ctx context.Context) (head []byte, parts int, err error)
	// Part returns a part of a state that was exported, from 0: at most 16 MB, the same bytes on every machine, however
	// far the ledger has gone meanwhile. All parts but the first and the last are the same in every later export. It is
	// called concurrently with itself and everything else.
	Part(ctx context.Context, head []byte, i int) ([]byte, error)
	// Import replaces the state by an exported one, its parts one after the other, whole and durably or not at all, and must refuse bytes that do not
	// lead to the hash they claim: after it, Last is held against the height and hash that the council signed.
	Import(ctx context.Context, from io.Reader) error
}

// Member is an agency that may connect. One that does not vote follows: about to join, or with a second machine.
type Member struct {
	Public
	Votes bool `json:"votes"`
}

// Block is what the council agreed on.
type Block struct {
	Height       int64
	Time         time.Time // the median of the clocks of those who voted for the block before; see the package comment
	Proposer     string    // the agency whose turn it was
	Signed       []string  // the agencies that signed the block before, in time for this one; sorted
	Misbehaviors []Misbehavior
	Txs          [][]byte // not to be kept or changed
}

// Misbehavior is proof, checked by every node, that a key signed two different blocks at one height.
type Misbehavior struct {
	Agency  string    // whose key it is; empty for one that is no member any more
	Address string    // of the consensus key, in hexadecimal
	Height  int64     // at which it signed twice
	Time    time.Time // of the block at that height
}

// Applied is what a block did.
type Applied struct {
	Hash    []byte   // of the whole state
	Members []Member // all members from the next block but one on; nil when nothing changed
}
