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
// more behind the council's time stops, and the error of Run says so.
//
// # Limits
//
// Consensus keys are Ed25519, which CometBFT knows: they order, and carry no legal weight. What an agency stands for it
// signs with SM2 after Commit, which is the caller's. State sync believes the keys of the members that the operator
// gives, not a height and hash copied by hand. A stranger who can reach the port can occupy some of its handshakes, five
// seconds each; keep it behind a firewall.
//
// Databases are goleveldb, in Go for every architecture; they cost two kilobytes a block beyond its transactions until it
// is pruned, of which a header of half a kilobyte or so stays for the half hour in which evidence counts. The write-ahead
// log holds the traffic of the last minute or so, and never less than 10 MB when that much has passed.
//
// Four nodes on one machine of four cores, a batch of 100 KB every 200 ms: from Submit until all four ledgers have it
// 48 ms at the median and 65 ms in 99 of 100; with one node dead, who is waited for at each of its turns, 110 and 460 ms.
// A node takes 7 MB of heap besides its ledger; under that load, with GOGC=40, four have a PSS of 26 to 31 MB each.
package council
