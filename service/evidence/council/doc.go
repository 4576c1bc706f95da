// Package council promises that the agencies of a council agree on one order of transactions, and that each agency's
// ledger is led through that order block by block, the same on every machine: with four agencies, as long as three of
// them run and none of those lies.
//
// A [Node] is one agency's member: a CometBFT v0.40 node, within this process, around a deterministic [Ledger] that the
// caller gives. Proposers take turns. A block is final when it is committed; nothing is ever rolled back.
//
// What it takes care of: keys made on the agency's own machine ([NewHome]); a ceremony in which only public parts travel
// and every agency computes the same [Genesis]; peers known by their keys, and no others; nothing beyond loopback until
// configured; no RPC listener of CometBFT at all; pruning; snapshots by which a new node catches up; equivocation, whose
// evidence reaches the ledger with the agency's name; clocks that are off, by name, in [Status].
//
// # One process a node
//
// CometBFT panics where it cannot go on, and its databases may panic when they are closed under it. So a node has a
// process of its own, which ends after [Node.Run] has returned, and whose end at any moment is safe: every block is in
// CometBFT's write-ahead log before anyone signs it, and a ledger is durable when Commit returns. A second process on
// the same home is refused by a lock: two signing with one key is what equivocation is.
//
// # Time
//
// The time of a block is the median of the clocks by which the agencies voted for the block before (BFT time): one liar
// cannot move it, but it stands still while nothing happens, at most for [Config.Heartbeat]. An agency whose clock is
// ahead is seen by its votes, one whose clock is behind by its proposals; both by comparison with this machine's clock,
// so it is the majority of the agencies' Status that names the one that is off. A node whose own clock is a minute or
// more behind the block time refuses blocks and says so.
//
// # Limits
//
// Consensus keys are Ed25519, which CometBFT knows: they order, and carry no legal weight. What an agency stands for it
// signs with SM2 after Commit, which is the caller's. Databases are goleveldb, in Go for every architecture: about 4 KB a
// block until it is pruned, with compaction in bursts. State sync believes the keys of the members that the operator
// gives, not a height and hash copied by hand.
package council
