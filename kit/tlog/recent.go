package tlog

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// recent are the newest entries of a log in SQLite as far as log_id may not have them yet. Hashes are spread over the whole
// of that table, so that a hash that is written when it comes writes a page, and reads one. Many that are written in their
// order share pages. So they gather here first, and then go there some at a time, no write having much more to do than
// another. After a crash they are read from the entries. A recent is never changed, only replaced.
//
// In Postgres, where several processes may read a log, they go there at once.
type recent struct {
	old   run    // on its way into log_id
	done  int    // how many of old are there
	young []run  // behind old, one after the other, the longer first
	mark  uint64 // as it stands in log_recent: from here on entries may not be in log_id
	saved bool   // whether it does stand there
}

// run are the hashes of entries that follow one another, sorted: each shifted by 32 bits, and the entry's place in the run.
type run struct {
	from  uint64
	pairs []int64
}

func newRun(from uint64, hashes []int64) run {
	r := run{from, make([]int64, len(hashes))}
	for n, hash := range hashes {
		r.pairs[n] = hash<<32 | int64(n)
	}
	slices.Sort(r.pairs)
	return r
}

// and returns the run of these entries and those of the next one.
func (r run) and(next run) run {
	both := run{r.from, make([]int64, 0, len(r.pairs)+len(next.pairs))}
	shift, i := int64(len(r.pairs)), 0
	for _, p := range next.pairs {
		p += shift // the hash stays in front: places fit 32 bits
		for i < len(r.pairs) && r.pairs[i] < p {
			both.pairs, i = append(both.pairs, r.pairs[i]), i+1
		}
		both.pairs = append(both.pairs, p)
	}
	both.pairs = append(both.pairs, r.pairs[i:]...)
	return both
}

// find appends the indices of the entries that have one of the hashes, which are sorted.
func (r run) find(hashes []int64, found []int64) []int64 {
	rest := r.pairs
	for _, h := range hashes {
		i, _ := slices.BinarySearch(rest, h<<32)
		for rest = rest[i:]; len(rest) > 0 && rest[0]>>32 == h; rest = rest[1:] {
			found = append(found, int64(r.from)+rest[0]&(1<<32-1))
		}
	}
	return found
}

// find returns the indices of the recent entries that have one of the hashes, which are sorted.
func (r *recent) find(hashes []int64) (found []int64) {
	for _, run := range append([]run{r.old}, r.young...) {
		found = run.find(hashes, found)
	}
	return found
}

const (
	leastRecent = 1 << 10 // entries gather until there are a sixteenth as many as in log_id, within these bounds
	mostRecent  = 1 << 16
	leastDue    = 16 // at least so many go to log_id in a write
)

// add returns what is recent when the entries of a run have come, and those that go to log_id with them.
func (r recent) add(next run, least int) (recent, run) {
	young := append(slices.Clone(r.young), next)
	for k := len(young) - 1; k > 0 && len(young[k-1].pairs) < 2*len(young[k].pairs); k-- {
		young = append(young[:k-1], young[k-1].and(young[k]))
	}
	r.young = young
	end := next.from + uint64(len(next.pairs))
	due := run{from: r.old.from}
	if n := min(max(len(next.pairs), leastDue), len(r.old.pairs)-r.done); n > 0 {
		due.pairs = r.old.pairs[r.done : r.done+n]
		r.done += n
	}
	if r.done == len(r.old.pairs) {
		r.old, r.done = run{}, 0
		if gathered := int(end - r.young[0].from); gathered >= min(max(least, int(end/16)), mostRecent) {
			for k := len(r.young) - 1; k > 0; k-- {
				r.young[k-1] = r.young[k-1].and(r.young[k])
			}
			r.old, r.young = r.young[0], nil
		}
	}
	switch {
	case len(r.old.pairs) > 0:
		r.mark = r.old.from
	case len(r.young) > 0:
		r.mark = r.young[0].from
	default:
		r.mark = end
	}
	r.saved = true
	return r, due
}

// readRecent reads what is recent in a log of a size.
func (l *Log) readRecent(ctx context.Context, size uint64) error {
	if l.db.Dialect() == sqldb.Postgres {
		return nil
	}
	l.least = leastRecent
	l.recent = recent{mark: size}
	mark, err := sqldb.Value[int64](ctx, l.db, "SELECT idx FROM log_recent")
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	l.recent = recent{mark: uint64(mark), saved: true}
	if l.recent.mark > size { // of another log, which is gone
		mark = 0
	}
	var h hasher
	from := int64(-1)
	hashes, err := sqldb.All(ctx, l.db, func(s sqldb.Scanner) (int64, error) {
		var idx int64
		var id string
		var data []byte
		err := s.Scan(&idx, &id, &data)
		if from < 0 {
			from = idx
		}
		if id == "" {
			id = idOf(data)
		}
		return h.of(id), err
	}, "SELECT idx, id, data FROM log_entry WHERE idx >= $1 ORDER BY idx", mark)
	if err == nil && len(hashes) > 0 {
		l.recent.old = newRun(uint64(from), hashes)
	}
	return err
}

// idOf returns the id in a packed entry; empty where that is damaged.
func idOf(packed []byte) string {
	for range 3 {
		_, width := binary.Uvarint(packed)
		packed = packed[max(width, 0):]
	}
	return string(packed[min(merkle.HashSize, len(packed)):])
}

// index has the ids of a growth found when it is written.
func (g *Growth) index(l *Log) {
	g.due = newRun(g.From, g.ids)
	if len(g.ids) > 0 && l.least > 0 {
		g.recent, g.due = g.before.add(g.due, l.least)
	}
}

// writeIDs writes the ids that are due, and down from which entry on they are not there.
func (g *Growth) writeIDs(ctx context.Context, tx *sqldb.Tx) error {
	if len(g.due.pairs) > 0 {
		if err := indexIDs(ctx, tx, g.due); err != nil {
			return err
		}
	}
	if g.before.saved == g.recent.saved && g.before.mark == g.recent.mark {
		return nil
	}
	_, err := tx.Exec(ctx, "INSERT INTO log_recent (one, idx) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET idx = excluded.idx", int64(g.recent.mark))
	return err
}
