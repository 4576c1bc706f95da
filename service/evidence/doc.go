// Package evidence promises that every act of the house gets a receipt: proof, for anyone and offline, that its record
// existed at a time and was not changed since, and which agencies stood behind it.
//
// Acts are the events of other services that are marked so. Each becomes a record of the log: a salted commitment, never
// the data. The original, which is salt and data, stays here sealed until it is erased, and goes to its holder.
//
// There are two ways to order records, and one form of receipt. In log mode one operator orders and signs: that shows
// every later change, but not that the operator had two logs from the start, unless witnesses cosign. In council mode
// several agencies agree on the order, each on its own node (package council), and each signs what was agreed on. This
// service is then a gateway: it sends batches to the nodes, follows their log, believes what a quorum has signed, and
// names who signs anything else.
//
// A receipt proves existence, integrity, order and who cosigned. It is no official seal, and it proves nothing about
// what was false before it was recorded.
package evidence
