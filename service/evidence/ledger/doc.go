// Package ledger promises that the same blocks lead to the same log, on every machine: it is the state that a council of
// agencies agrees on, and equally what one operator's sequencer appends to.
//
// A block brings transactions: batches of records from a gateway, and changes of policy that a quorum of the agencies
// has signed. The ledger gives every record its place in the log, the names whose cosignatures complete it and the
// verdict of the rule for its type; a record whose id is in the log already is passed over, so that whoever is not sure
// may send again. What it holds are commitments and facts: numbers, times, codes and keyed hashes, no personal data.
//
// Nothing of a block is durable before Commit, and everything of it after: log, facts, policy and height stand in one
// transaction of the database.
package ledger
