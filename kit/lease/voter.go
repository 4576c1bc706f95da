package lease

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Record is what a voter must never forget of a lease.
type Record struct {
	Promised Ballot   `json:"promised"`
	Accepted Ballot   `json:"accepted"`
	Register Register `json:"register"`
}

// Store is a voter's memory.
type Store interface {
	// Load returns all records. Where one is damaged it must fail: a voter that has forgotten is none.
	Load(ctx context.Context) (map[string]Record, error)
	// Save keeps a record in place of the one before. It returns nil only when the record survives a power cut; after an
	// error either of the two may be kept.
	Save(ctx context.Context, lease string, r Record) error
}

// Clock tells the time since some moment. It never steps, and runs while the machine sleeps.
type Clock func() time.Duration

// VoterOptions say how a voter works.
type VoterOptions struct {
	Store Store
	Now   Clock                            // default: the machine's
	Max   int                              // leases; default 1000
	Allow func(replica, lease string) bool // may the replica ask about the lease; default: yes
}

// Voter is one of those who decide.
type Voter struct {
	o VoterOptions

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is a lease as a voter knows it.
type entry struct {
	turn  turn // held while the disk writes
	kept  bool // there is a record
	rec   Record
	until time.Duration // others than the holder are kept out
	seq   uint64        // of the last renewal in this life of the voter
}

// OpenVoter returns a voter with the memory of an earlier life. Of every lease that was held then, it keeps others than
// the holder out for a whole TTL from now, since it does not know when that was renewed last.
func OpenVoter(ctx context.Context, o VoterOptions) (*Voter, error) {
	if o.Now == nil {
		o.Now = machineClock
	}
	if o.Max == 0 {
		o.Max = 1000
	}
	if o.Allow == nil {
		o.Allow = func(string, string) bool { return true }
	}
	records, err := o.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	v := &Voter{o: o, entries: make(map[string]*entry, len(records))}
	now := o.Now()
	for name, rec := range records {
		e := &entry{turn: newTurn(), kept: true, rec: rec}
		if rec.Register.held() {
			e.until = now + rec.Register.ttl()
		}
		v.entries[name] = e
	}
	return v, nil
}

// Ask answers a request of a replica, whose name the caller has made sure of. Errors say that nothing was answered: the
// kind is Invalid, Forbidden, Full, or the store's. What may be on the disk after those binds nobody, since it was never
// told.
func (v *Voter) Ask(ctx context.Context, replica string, r Request) (Answer, error) {
	if err := r.Check(); err != nil {
		return Answer{}, err
	}
	by, _ := validBy(r.Ballot.By)
	if by != replica || r.Register != nil && r.Register.Holder != replica {
		return Answer{}, errs.New(errs.Forbidden, "只能以自己的名义提议", "a replica proposes for itself alone")
	}
	if !v.o.Allow(replica, r.Lease) {
		return Answer{}, errs.New(errs.Forbidden, "不参与这个租约", "this replica has no part in this lease").WithField("lease")
	}
	e, err := v.entry(r.Lease, r.Kind != Look)
	if err != nil {
		return Answer{}, err
	}
	if err := e.turn.take(ctx); err != nil {
		return Answer{}, err
	}
	defer e.turn.give()
	switch r.Kind {
	case Prepare:
		return v.prepare(ctx, e, replica, r)
	case Accept:
		return v.accept(ctx, e, r)
	}
	left := v.left(e, replica, r)
	return e.answer(left == 0, left), nil
}

// entry returns what is known of a lease, and makes room for a new one where something is to be kept of it.
func (v *Voter) entry(lease string, keep bool) (*entry, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.entries[lease]
	switch {
	case e != nil:
	case !keep:
		e = &entry{turn: newTurn()}
	case len(v.entries) >= v.o.Max:
		return nil, errs.New(errs.Full, "租约已达上限", "there are as many leases as may be")
	default:
		e = &entry{turn: newTurn()}
		v.entries[lease] = e
	}
	return e, nil
}

// left returns how long who asks is still kept out.
func (v *Voter) left(e *entry, replica string, r Request) time.Duration {
	mine := e.rec.Accepted.By == r.Ballot.By || r.Sole && e.rec.Register.Holder == replica
	if mine || !e.rec.Register.held() {
		return 0
	}
	return max(0, e.until-v.o.Now())
}

// prepare promises to heed no smaller ballot, and thereby no renewal of the holder under its own: so it must not while
// the lease stands.
func (v *Voter) prepare(ctx context.Context, e *entry, replica string, r Request) (Answer, error) {
	if left := v.left(e, replica, r); left > 0 {
		return e.answer(false, left), nil
	}
	if r.Ballot.Compare(e.rec.Promised) < 0 {
		return e.answer(false, 0), nil
	}
	rec := e.rec
	rec.Promised = r.Ballot
	err := v.save(ctx, r.Lease, e, rec)
	return e.answer(err == nil, 0), err
}

// accept keeps a register, or renews the lease where that very register is kept. It asks nothing about leases: whoever
// sends it has the promises of a majority, and thus knows that no other holds one.
func (v *Voter) accept(ctx context.Context, e *entry, r Request) (Answer, error) {
	switch {
	case r.Ballot.Compare(e.rec.Promised) < 0:
		return e.answer(false, 0), nil
	case r.Ballot != e.rec.Accepted:
		if err := v.save(ctx, r.Lease, e, Record{Promised: r.Ballot, Accepted: r.Ballot, Register: *r.Register}); err != nil {
			return Answer{}, err
		}
		e.seq = 0
	case !e.rec.Register.Equal(*r.Register):
		return Answer{}, errs.New(errs.Invalid, "同一提案号下有两种内容", "one ballot with two registers").WithField("ballot")
	}
	if r.Seq > e.seq {
		e.seq, e.until = r.Seq, v.o.Now()+r.Register.ttl()
	}
	return e.answer(true, 0), nil
}

// save keeps rec on the disk, then in memory. A caller that leaves does not stop it.
func (v *Voter) save(ctx context.Context, lease string, e *entry, rec Record) error {
	if e.kept && rec.Promised == e.rec.Promised && rec.Accepted == e.rec.Accepted {
		return nil
	}
	rec.Register.InSync = slices.Clone(rec.Register.InSync)
	if err := v.o.Store.Save(context.WithoutCancel(ctx), lease, rec); err != nil {
		return err
	}
	e.kept, e.rec = true, rec
	return nil
}

func (e *entry) answer(ok bool, left time.Duration) Answer {
	a := Answer{OK: ok, Held: int64((left + time.Millisecond - 1) / time.Millisecond), Promised: e.rec.Promised, Accepted: e.rec.Accepted, Register: e.rec.Register}
	a.Register.InSync = slices.Clone(a.Register.InSync)
	return a
}

// Standing is a lease as a voter knows it.
type Standing struct {
	Lease string
	Record
	Left time.Duration // for which others than the holder are kept out
}

// List returns what the voter knows, sorted by name.
func (v *Voter) List(ctx context.Context) ([]Standing, error) {
	v.mu.Lock()
	entries := make(map[string]*entry, len(v.entries))
	for name, e := range v.entries {
		entries[name] = e
	}
	v.mu.Unlock()
	var all []Standing
	for name, e := range entries {
		if err := e.turn.take(ctx); err != nil {
			return nil, err
		}
		if e.kept {
			s := Standing{Lease: name, Record: e.rec}
			if s.Register.held() {
				s.Left = max(0, e.until-v.o.Now())
			}
			all = append(all, s)
		}
		e.turn.give()
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Lease, b.Lease) })
	return all, nil
}

// Peer returns the voter as the client of a replica in the same process asks it.
func (v *Voter) Peer(name, replica string) Peer { return &inProcess{v, name, replica} }

type inProcess struct {
	voter         *Voter
	name, replica string
}

func (p *inProcess) Name() string { return p.name }

func (p *inProcess) Ask(ctx context.Context, r Request) (Answer, error) {
	return p.voter.Ask(ctx, p.replica, r)
}
