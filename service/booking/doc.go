// Package booking sells places at scenic spots for stretches of a day, when everyone wants the same morning.
//
// It promises that no slot is sold beyond its quota, that a booking somebody was told of survives a crash and a power
// cut, that a key books once, and that the order in a rush is one that anyone can check. One writer a shard decides
// (service/booking/shard) on a state in memory (service/booking/ledger), and a log is the ledger; tables are a
// projection of it, and what they have is dropped from it in time. Who someone is stays a keyed digest, and a sealed
// copy that is erased after the visit, from the tables and the log. Every act goes to evidence in batches, so that each
// booking has a receipt.
//
// Real-name rules, quotas by channel and time limits are a spot's own (see Spot); the windows for those who can't or
// won't go online always have their own quota. Identity numbers are checked for shape and sum alone.
package booking
