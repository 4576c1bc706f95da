// Package sandbox stands in for the agencies of the government: real HTTP servers that speak the agency protocol
// (doc/formats/agency.md), remember what they were asked, and fail as real ones do.
//
// It promises that a rehearsal proves something and harms nobody. Every request is signed and checked against the
// agency's OpenAPI document; an effect happens once however often the request comes, and a ledger counts what really
// happened, so that a caller's mistakes show. What an agency does with a request (how long it takes, what it issues,
// whether a fault strikes it) depends on the seed, the agency and the request's id alone, so a run can be repeated. All
// it issues is fake, passes the checks of the standards (GB 32100), and says "fake": true.
//
// Limits: one process, one database; control faults are forgotten when it ends, and nothing else is. The agencies'
// forms are examples of ours, not those of any real interface.
package sandbox
