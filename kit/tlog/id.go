package tlog

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// hashOf is by what an id is found: 32 bits of its SM3, for those of the whole would take more room than the entry. Who
// looks one up holds the entries found to the id itself.
func hashOf(id string) int64 {
	sum := gm.SM3([]byte(id))
	return int64(int32(binary.BigEndian.Uint32(sum[:])))
}

// hashes returns the SQL of a list of numbers that $1 gives as JSON.
func hashes(d sqldb.Dialect) string {
	if d == sqldb.Postgres {
		return "(SELECT jsonb_array_elements_text($1::jsonb)::bigint AS value)"
	}
	return "json_each($1)"
}

// listOf returns numbers as JSON.
func listOf(numbers []int64) string {
	b := append(make([]byte, 0, 2+12*len(numbers)), '[')
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

// find returns the entries of the ids that are in the log.
func (l *Log) find(ctx context.Context, q sqldb.Querier, ids []string) ([]found, error) {
	wanted := make([]int64, len(ids))
	asked := make(map[string]bool, len(ids))
	for i, id := range ids {
		wanted[i], asked[id] = hashOf(id), true
	}
	slices.Sort(wanted) // neighbours share pages of the index
	type row struct {
		idx  int64
		id   string
		data []byte
	}
	rows, err := sqldb.All(ctx, q, func(s sqldb.Scanner) (r row, err error) {
		return r, s.Scan(&r.idx, &r.id, &r.data)
	}, "SELECT e.idx, e.id, e.data FROM "+hashes(l.db.Dialect())+` AS h
		CROSS JOIN log_id AS i CROSS JOIN log_entry AS e WHERE i.hash = h.value AND e.idx = i.idx`, listOf(wanted)) // in this order
	if err != nil {
		return nil, err
	}
	var all []found
	for _, r := range rows {
		e, err := l.unpacked(ctx, r.id, r.data)
		if err != nil {
			return nil, err
		}
		if asked[e.ID] {
			asked[e.ID] = false
			all = append(all, found{e, uint64(r.idx)})
		}
	}
	return all, nil
}

// Known returns which of the ids are in the log.
func (l *Log) Known(ctx context.Context, ids []string) (map[string]bool, error) {
	known := map[string]bool{}
	all, err := l.find(ctx, l.db, ids)
	for _, e := range all {
		known[e.ID] = true
	}
	return known, err
}

// Find returns the index and the data of the entry with an id; an error of kind NotFound where there is none.
func (l *Log) Find(ctx context.Context, id string) (index uint64, data []byte, err error) {
	all, err := l.find(ctx, l.db, []string{id})
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
	all, err := l.find(ctx, l.db, ids)
	if err != nil || len(all) > 0 {
		return true, err
	}
	slices.Sort(ids)
	return len(slices.Compact(ids)) < len(entries), nil
}

// indexIDs has the entries from an index on found by the hashes of their ids. What stands there already may stay: it is of
// entries that are gone.
func indexIDs(ctx context.Context, tx *sqldb.Tx, from uint64, ids []int64) error {
	each := "SELECT value, key + $2 FROM json_each($1) WHERE true ORDER BY value"
	if tx.Dialect() == sqldb.Postgres {
		each = "SELECT value::bigint, n - 1 + $2 FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY AS h(value, n) ORDER BY 1"
	}
	_, err := tx.Exec(ctx, "INSERT INTO log_id (hash, idx) "+each+" ON CONFLICT DO NOTHING", listOf(ids), int64(from))
	return err
}

// upgradeIDs does so for a log from before log_id, at the first Open: for all entries or none.
func (l *Log) upgradeIDs(ctx context.Context) error {
	due, err := sqldb.Value[int64](ctx, l.db,
		"SELECT count(*) FROM (SELECT idx FROM log_entry LIMIT 1) AS e WHERE NOT EXISTS (SELECT idx FROM log_id)")
	if err != nil || due == 0 {
		return err
	}
	return l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		next, err := sqldb.Value[int64](ctx, tx, "SELECT min(idx) FROM log_entry") // those before have expired
		for err == nil {
			var ids []int64
			ids, err = sqldb.All(ctx, tx, func(s sqldb.Scanner) (int64, error) {
				var id string
				err := s.Scan(&id)
				return hashOf(id), err
			}, "SELECT id FROM log_entry WHERE idx >= $1 ORDER BY idx LIMIT 4096", next)
			if err != nil || len(ids) == 0 {
				return err
			}
			err = indexIDs(ctx, tx, uint64(next), ids)
			next += int64(len(ids))
		}
		return err
	})
}
