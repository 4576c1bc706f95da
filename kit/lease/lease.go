// Package lease promises that of the replicas of a thing at most one may write it at any instant, and that whoever may
// holds every record that was ever acknowledged.
//
// Voters decide, each a small durable memory on a machine of its own, by majority: two servers and a tiny third machine
// are three, and any one of them can be away. For each lease they keep a [Register]: the holder, the epoch, and the
// replicas in sync, which hold everything that was acknowledged. It is changed by single-value consensus, prepare and
// accept with ballots, whose value a proposer reads from a majority before it writes the next (CASPaxos).
//
//   - A candidate takes the lease where a majority answers, none of these voters knows of an unexpired lease of another,
//     and the candidate is in sync (or nobody ever held it). It gets an epoch of its own, greater than all before: what
//     it writes bears the epoch, and a replica refuses what bears a smaller one (fencing).
//   - A holder renews with a majority. It relies on the lease until TTL less a twentieth after it *sent* what was
//     granted; a voter keeps others out for TTL after it *received* that. Each counts on a clock that never steps (on
//     Linux one that runs while the machine sleeps), so that only rates matter, which may be wrong by 1 in 50 on either
//     side. The time of day plays no part.
//   - A voter answers when what it answers is on its disk. One that was started again keeps others out for a whole TTL.
//   - A holder takes a replica out of sync by majority before it acknowledges anything without that replica, and back
//     when it has caught up. One that is out of sync never takes over: availability is given up, not records, and only a
//     person can order otherwise ([Client.Force]).
//
// What no lease can: a process that is stopped between asking [Holder.Valid] and answering its client answers late. No
// record is lost by that, since the replica in sync that has taken over refuses records of the old epoch, without whose
// acknowledgement there is nothing to answer.
//
// One server alone has the same [Client], on a folder of its own ([Alone]).
package lease

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
)

// Limits of what is agreed on.
const (
	MaxTTL    = time.Minute
	maxInSync = 16
	maxReason = 500 // bytes
)

// Codes of errors that a caller may want to tell apart.
const (
	CodeHeld      = "lease.held"        // Conflict: another holds it; RetryAfter says how long at most
	CodeNotInSync = "lease.not-in-sync" // Forbidden: this replica may lack acknowledged records
	CodeQuorum    = "lease.no-majority" // Unavailable: too few voters answer; of a change, whether it took effect is unknown
	CodeContended = "lease.contended"   // Conflict: another candidate was faster
	CodeLost      = "lease.lost"        // Conflict: the lease is this holder's no more
)

// Ballot numbers proposals. No two proposals have the same one.
type Ballot struct {
	N  uint64 `json:"n"`
	By string `json:"by"` // the proposer: its replica, a slash, and what tells its processes apart
}

// Compare orders ballots.
func (b Ballot) Compare(o Ballot) int {
	return cmp.Or(cmp.Compare(b.N, o.N), strings.Compare(b.By, o.By))
}

// Register is what is agreed on about a lease. Its zero value: nobody ever held it.
type Register struct {
	Holder   string   `json:"holder,omitempty"` // replica that holds it, or did last
	Epoch    uint64   `json:"epoch"`            // of that holder; the first is 1
	InSync   []string `json:"inSync,omitempty"` // replicas that hold every acknowledged record, sorted
	TTL      int64    `json:"ttl,omitempty"`    // milliseconds
	Released bool     `json:"released,omitempty"`
	Forced   string   `json:"forced,omitempty"` // why a person promoted a replica that may lack acknowledged records
}

// Equal reports whether r and o say the same.
func (r Register) Equal(o Register) bool {
	return r.Holder == o.Holder && r.Epoch == o.Epoch && r.TTL == o.TTL && r.Released == o.Released && r.Forced == o.Forced &&
		slices.Equal(r.InSync, o.InSync)
}

// IsInSync reports whether a replica holds every acknowledged record.
func (r Register) IsInSync(replica string) bool { return slices.Contains(r.InSync, replica) }

func (r Register) ttl() time.Duration { return time.Duration(r.TTL) * time.Millisecond }

// held reports whether the register keeps others out for its TTL.
func (r Register) held() bool { return r.Epoch > 0 && !r.Released }

// Check returns an error of kind Invalid where r is none that a holder may write.
func (r Register) Check() error {
	switch {
	case !ValidReplica(r.Holder):
		return invalid("holder", "不是合法的副本名", "is not the name of a replica")
	case r.Epoch == 0 || r.Epoch > 1<<53: // what JSON carries everywhere
		return invalid("epoch", "应为 1 至 2^53", "must be from 1 to 2^53")
	case len(r.InSync) == 0 || len(r.InSync) > maxInSync || !r.IsInSync(r.Holder):
		return invalid("inSync", "应含持有者，至多 16 个", "must have the holder among at most 16")
	case r.TTL <= 0 || r.TTL > MaxTTL.Milliseconds():
		return invalid("ttl", "应在 1 分钟以内", "must be at most a minute")
	case len(r.Forced) > maxReason || !utf8.ValidString(r.Forced):
		return invalid("forced", "应为至多 500 字节的文字", "must be text of at most 500 bytes")
	}
	for i, name := range r.InSync {
		if !ValidReplica(name) || i > 0 && r.InSync[i-1] >= name {
			return invalid("inSync", "应为有序且不重复的副本名", "must be names of replicas, sorted, none twice")
		}
	}
	return nil
}

// ValidName reports whether s can name a lease: 1 to 100 of a-z, 0-9, '.', '_', '-' and '/', the first a letter or digit.
func ValidName(s string) bool { return validName(s, 100, "._-/") }

// ValidReplica reports whether s can name a replica or a voter: 1 to 40 of a-z, 0-9, '.' and '-', the first a letter or
// digit.
func ValidReplica(s string) bool { return validName(s, 40, ".-") }

func validName(s string, most int, marks string) bool {
	if s == "" || len(s) > most || strings.Contains(marks, s[:1]) {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(marks, c) >= 0) {
			return false
		}
	}
	return true
}

// validBy reports whether s can be the proposer of a ballot, and its replica.
func validBy(s string) (replica string, ok bool) {
	replica, process, _ := strings.Cut(s, "/")
	return replica, ValidReplica(replica) && validName(process, 40, "")
}

func invalid(field, zh, en string) error { return errs.New(errs.Invalid, zh, en).WithField(field) }
