package tlog

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// hasher computes by what ids are found: 32 bits of their SM3, for those of the whole would take more room than the entry.
// Who looks one up holds the entries found to the id itself.
type hasher struct{ id []byte }

func (h *hasher) of(id string) int64 {
	h.id = append(h.id[:0], id...)
	sum := gm.SM3(h.id)
	return int64(int32(binary.BigEndian.Uint32(sum[:])))
}

// numbersOf returns the SQL of a table with the column value, of the numbers that $1 gives as JSON.
func numbersOf(d sqldb.Dialect) string {
	if d == sqldb.Postgres {
		return "(SELECT n::bigint AS value FROM jsonb_array_elements_text($1::jsonb) AS e(n)) AS h"
	}
	return "json_each($1) AS h"
}

// listOf returns numbers as JSON.
func listOf(numbers []int64) string {
	b := append(make([]byte, 0, 2+20*len(numbers)), '[')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}

// found is an entry with its place.
type found struct {
	Entry
	index uint64
}

// find returns the entries of the ids that are in the log, each once. It looks among the recent ones first, then at those
// that another process has added since, and at last at log_id: so none is missed that goes there meanwhile.
func (l *Log) find(ctx context.Context, ids []string) ([]found, error) {
	var h hasher
	hashes := make([]int64, len(ids))
	for i, id := range ids {
		hashes[i] = h.of(id)
	}
	slices.Sort(hashes) // neighbours share pages of the index
	l.mu.RLock()
	recent, size := l.recent, l.last.Size
	l.mu.RUnlock()
	f, each := finder{l: l, ids: ids}, numbersOf(l.db.Dialect())+" CROSS JOIN " // joined in this order
	if l.least > 0 {
		if indices := recent.find(hashes); len(indices) > 0 {
			if err := f.add(ctx, each+"log_entry AS e WHERE e.idx = h.value", listOf(indices)); err != nil || len(f.all) == len(ids) {
				return f.all, err
			}
		}
		if err := f.add(ctx, "log_entry AS e WHERE e.idx >= $1 AND e.idx >= (SELECT idx FROM log_recent)", int64(size)); err != nil {
			return nil, err
		}
	}
	err := f.add(ctx, each+"log_id AS i CROSS JOIN log_entry AS e WHERE i.hash = h.value AND e.idx = i.idx", listOf(hashes))
	return f.all, err
}

// finder gathers entries that are among those asked for.
type finder struct {
	l     *Log
	ids   []string
	asked map[string]bool // ids that were not found yet; nil while nothing was
	all   []found
}

// add adds the entries that a query finds, which is given from its FROM on.
func (f *finder) add(ctx context.Context, from string, arg any) error {
	type row struct {
		idx  int64
		id   string
		data []byte
	}
	rows, err := sqldb.All(ctx, f.l.db, func(s sqldb.Scanner) (r row, err error) {
		return r, s.Scan(&r.idx, &r.id, &r.data)
	}, "SELECT e.idx, e.id, e.data FROM "+from, arg)
	if err != nil || len(rows) == 0 {
		return err
	}
	if f.asked == nil {
		f.asked = make(map[string]bool, len(f.ids))
		for _, id := range f.ids {
			f.asked[id] = true
		}
	}
	for _, r := range rows {
		e, err := f.l.unpacked(ctx, r.id, r.data)
		if err != nil {
			return err
		}
		if f.asked[e.ID] {
			f.asked[e.ID] = false
			f.all = append(f.all, found{e, uint64(r.idx)})
		}
	}
	return nil
}

// Known returns the data of the ids that are in the log.
func (l *Log) Known(ctx context.Context, ids []string) (map[string][]byte, error) {
	all, err := l.find(ctx, ids)
	known := make(map[string][]byte, len(all))
	for _, e := range all {
		known[e.ID] = e.Data
	}
	return known, err
}

// Find returns the index and the data of the entry with an id; an error of kind NotFound where there is none.
func (l *Log) Find(ctx context.Context, id string) (index uint64, data []byte, err error) {
	all, err := l.find(ctx, []string{id})
	if err == nil && len(all) == 0 {
		err = missing()
	}
	if err != nil {
		return 0, nil, err
	}
	return all[0].index, all[0].Data, nil
}

// twice reports whether an id is there already or among the entries twice.
func (l *Log) twice(ctx context.Context, entries []Entry) (bool, error) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	all, err := l.find(ctx, ids)
	if err != nil || len(all) > 0 {
		return true, err
	}
	slices.Sort(ids)
	return len(slices.Compact(ids)) < len(entries), nil
}

// indexIDs has the entries of a run found by the hashes of their ids. What stands there already may stay: it is of entries
// that are gone.
func indexIDs(ctx context.Context, tx *sqldb.Tx, r run) error {
	_, err := tx.Exec(ctx, "INSERT INTO log_id (hash, idx) SELECT h.value >> 32, (h.value & 4294967295) + $2 FROM "+
		numbersOf(tx.Dialect())+" WHERE true ON CONFLICT DO NOTHING", listOf(r.pairs), int64(r.from))
	return err
}

// upgradeIDs does so for a log from before log_id, at the first Open: for all entries or none.
func (l *Log) upgradeIDs(ctx context.Context) error {
	if l.recent.saved {
		return nil
	}
	due, err := sqldb.Value[int64](ctx, l.db,
		"SELECT count(*) FROM (SELECT idx FROM log_entry LIMIT 1) AS e WHERE NOT EXISTS (SELECT idx FROM log_id)")
	if err != nil || due == 0 {
		return err
	}
	return l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		var h hasher
		next, err := sqldb.Value[int64](ctx, tx, "SELECT min(idx) FROM log_entry") // those before have expired
		for err == nil {
			var ids []int64
			ids, err = sqldb.All(ctx, tx, func(s sqldb.Scanner) (int64, error) {
				var id string
				err := s.Scan(&id)
				return h.of(id), err
			}, "SELECT id FROM log_entry WHERE idx >= $1 ORDER BY idx LIMIT 4096", next)
			if err != nil || len(ids) == 0 {
				return err
			}
			err = indexIDs(ctx, tx, newRun(uint64(next), ids))
			next += int64(len(ids))
		}
		return err
	})
}
