// Package node promises that an agency of a council keeps its own copy of the log on its own machine, orders records
// with the others, and stands behind what was decided with its own SM2 key: after Commit, never before.
//
// A [Home] is the agency's folder: the keys made on this machine, the genesis, the ledger. [Run] is the process around
// it: the council's node, the ledger, a cosigner that signs each new checkpoint, and the HTTP face by which gateways send
// transactions and collect cosigned notes. Only public parts leave a home: [council.Public] in the ceremony, signatures
// under a [Change] of policy.
//
// An agency that was away cosigns, when it has caught up, the newest checkpoint and those of the last hour; whatever is
// older is under the newest one. Its key is the one that the policy in force names, so that a change of policy that
// rotates the key takes effect in the block that brings it.
//
// The process ends after Run: CometBFT cannot be stopped otherwise.
package node
