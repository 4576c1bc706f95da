package evidence

import (
	"context"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

const (
	again     = 3 * time.Second  // after which a record is sent again that the log does not have, where the log stands still
	anyway    = 30 * time.Second // and where the log grows: those before it may take this long
	maxTx     = 768 << 10        // bytes of a transaction, below the council's limit
	maxFlight = 10_000           // records that were sent and are not in the log yet
	sendLimit = 10 * time.Second
	hungLimit = 400 * time.Millisecond // after which another node is asked, where there is one
	patience  = 10 * time.Second       // before it is said that nothing can be sent: nodes that start with the house take a while
)

// Put implements orderer: the records wait in the table until the council has ordered them.
func (f *follower) Put(ctx context.Context, records []ledger.Submission) error {
	now := f.x.host.Now().UnixMilli()
	rows := make([]sqldb.Insert, len(records))
	for i, r := range records {
		a, err := act{id: r.ID, typ: r.Type, submission: r, acceptedAt: now}, error(nil)
		if rows[i], err = a.row(); err != nil {
			return err
		}
	}
	if err := f.x.host.DB.Append(ctx, rows...); err != nil {
		return err
	}
	f.x.nudge()
	return nil
}

// Finds implements orderer.
func (f *follower) Finds() bool { return false }

// send sends what waits to the council, in batches, and again what does not come back in the log.
func (f *follower) send(ctx context.Context) {
	s := sender{f: f, sent: map[string]time.Time{}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.x.wake:
			wait(ctx, f.x.cfg.Gather)
		case <-tick.C:
		}
		switch err := s.round(ctx); {
		case err == nil:
			s.failing = time.Time{}
		case s.failing.IsZero():
			s.failing = time.Now()
		case ctx.Err() == nil && time.Since(s.failing) > patience:
			f.quiet.warn("records could not be sent to the council", "", "", err)
		}
	}
}

// sender knows what is on its way to the council.
type sender struct {
	f       *follower
	next    int                  // whose turn it is to be asked
	sent    map[string]time.Time // when, of what was sent and is not in the log yet
	size    uint64               // of the log when it was looked at last
	grown   time.Time            // when it was seen to have grown
	failing time.Time            // since when nothing could be sent; zero where that went well
}

// round sends what waits and is not on its way, oldest first.
func (s *sender) round(ctx context.Context) error {
	still, at := make(map[string]time.Time, len(s.sent)), position{}
	defer func() { s.sent = still }()
	if size := s.f.x.log.Last().Size; size != s.size {
		s.size, s.grown = size, time.Now()
	}
	for len(still) < maxFlight {
		records, next, err := s.f.x.store.waiting(ctx, at, 1000)
		if err != nil || len(records) == 0 {
			return err
		}
		at = next
		due := slices.DeleteFunc(records, func(r ledger.Submission) bool {
			when, is := s.sent[r.ID]
			if is = is && s.underway(when); is {
				still[r.ID] = when
			}
			return is
		})
		if len(due) == 0 {
			continue
		}
		if err := s.submit(ctx, due); err != nil {
			return err
		}
		now := time.Now()
		for _, r := range due {
			still[r.ID] = now
		}
	}
	return nil
}

// underway reports whether what was sent then is still to be waited for. While the log grows its turn comes: what is sent
// twice is work that nobody needs, when there is most of it.
func (s *sender) underway(sent time.Time) bool {
	since := time.Since(sent)
	return since < again || since < anyway && time.Since(s.grown) < again
}

// submit sends records to a node, or to the next ones where it does not take them. Where the council will not have them,
// it finds the one that is wrong, and puts that aside: the others shall not wait for it.
func (s *sender) submit(ctx context.Context, records []ledger.Submission) error {
	f := s.f
	tx, err := ledger.NewBatch(f.x.cfg.Name, f.x.key, ledger.Batch{Records: records})
	if err != nil {
		return err
	}
	if len(tx) <= maxTx || len(records) == 1 {
		if err = s.offer(ctx, tx); err == nil || errs.KindOf(err) != errs.Invalid {
			return err
		}
	}
	if len(records) == 1 {
		f.x.host.Log.Error("the council will not have a record", "record", records[0].ID, "err", err)
		return f.x.store.refuse(ctx, reason(err), records[0].ID)
	}
	half := len(records) / 2
	if err := s.submit(ctx, records[:half]); err != nil {
		return err
	}
	return s.submit(ctx, records[half:])
}

// offer offers a transaction to the nodes, those that answer first. An error of kind Invalid says that more nodes will
// not have it than may be wrong together: what one node says alone puts nothing aside.
func (s *sender) offer(ctx context.Context, tx []byte) (err error) {
	f := s.f
	nodes := slices.Concat(f.nodes[s.next%len(f.nodes):], f.nodes[:s.next%len(f.nodes)])
	s.next++
	slices.SortStableFunc(nodes, func(a, b *peer) int { return down(a) - down(b) })
	refused, enough := 0, min(len(f.x.council())-f.quorum()+1, len(f.nodes))
	for i, n := range nodes {
		limit := sendLimit
		if i+1 < len(nodes) && down(nodes[i+1]) == 0 {
			limit = hungLimit
		}
		answer := n.submit(ctx, tx, limit)
		if answer == nil || ctx.Err() != nil {
			return answer
		}
		if errs.KindOf(answer) != errs.Invalid {
			if err == nil {
				err = answer
			}
			continue
		}
		if refused++; refused >= enough {
			return answer
		}
	}
	if err == nil {
		err = errs.New(errs.Unavailable, "节点不足以判定", "too few nodes answer to tell")
	}
	return err
}

func down(n *peer) int {
	if n.state() != nil {
		return 1
	}
	return 0
}
