package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Filter says which entries to list; empty members mean all.
type Filter struct {
	Who, What, Route, Outcome string
	Since, Until              beijing.Time // at or after, and before
}

func (f *Filter) has(e *Entry) bool {
	return (f.Who == "" || f.Who == e.Who) && (f.What == "" || f.What == e.What) && (f.Route == "" || f.Route == e.Route) &&
		(f.Outcome == "" || f.Outcome == e.Outcome) && e.Time >= f.Since && (f.Until == 0 || e.Time < f.Until)
}

// Position names an entry: its leaf and its place in it.
type Position struct {
	Leaf  uint64
	Place int
}

// String returns the position as text.
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Leaf, p.Place) }

// ParsePosition reads what String returns; "" is the position behind the newest entry.
func ParsePosition(text string) (p Position, err error) {
	if text == "" {
		return Position{math.MaxInt64, 0}, nil
	}
	if _, err := fmt.Sscanf(text, "%d.%d", &p.Leaf, &p.Place); err != nil || p.String() != text || p.Leaf > math.MaxInt64 {
		return p, errs.New(errs.Invalid, "翻页游标无效", "the cursor is not valid").WithField("cursor")
	}
	return p, nil
}

// Found is an entry with its position.
type Found struct {
	Position
	Entry
}

const (
	listLeaves = 64   // read at once
	listMost   = 4096 // looked through for one page
)

// List returns up to limit entries before a position, the newest first, those of this moment among them. Where it stops
// before the oldest, because it has found enough or looked long enough, next is the position to go on before.
func (l *Log) List(ctx context.Context, f Filter, before Position, limit int) (found []Found, next *Position, err error) {
	if err := l.Flush(ctx); err != nil {
		return nil, nil, err
	}
	oldest := l.bound(f.Since.Time(), f.Since != 0)
	at := before
	for looked := 0; looked < listMost; looked += listLeaves {
		leaves, err := l.leavesBefore(ctx, f.Who, at)
		if err != nil {
			return nil, nil, err
		}
		for _, leaf := range leaves {
			if leaf.at < oldest {
				return found, nil, nil
			}
			entries, err := parseLeaf(leaf.data)
			if err != nil {
				return nil, nil, err
			}
			if leaf.idx == before.Leaf {
				entries = entries[:min(before.Place, len(entries))]
			}
			for place, e := range slices.Backward(entries) {
				if !f.has(&e) {
					continue
				}
				if len(found) == limit {
					last := found[len(found)-1].Position
					return found, &last, nil
				}
				found = append(found, Found{Position{leaf.idx, place}, e})
			}
			at = Position{leaf.idx, 0}
		}
		if len(leaves) < listLeaves {
			return found, nil, nil
		}
	}
	return found, &at, nil
}

// bound returns the time before which no leaf has an entry of since or later: entries wait before they are written, and
// those that were made elsewhere may be older than their leaf, but none is younger.
func (l *Log) bound(since time.Time, ok bool) int64 {
	if !ok {
		return 0
	}
	return since.UnixMilli()
}

// row is a leaf as it is read for a list.
type row struct {
	idx  uint64
	at   int64
	data []byte
}

// leavesBefore reads leaves from newest to oldest, the one of a position itself where something of it is left.
func (l *Log) leavesBefore(ctx context.Context, who string, p Position) ([]row, error) {
	to := int64(p.Leaf)
	if p.Place == 0 {
		to--
	}
	scan := func(s sqldb.Scanner) (r row, err error) {
		var idx int64
		err = s.Scan(&idx, &r.at, &r.data)
		r.idx = uint64(idx)
		return r, err
	}
	if who != "" {
		return sqldb.All(ctx, l.o.DB, scan, `SELECT e.idx, a.at, e.data FROM audit_who w JOIN log_entry e ON e.idx = w.idx JOIN audit_leaf a ON a.idx = w.idx
			WHERE w.who = $1 AND w.idx <= $2 ORDER BY w.idx DESC LIMIT $3`, who, to, listLeaves)
	}
	return sqldb.All(ctx, l.o.DB, scan, `SELECT e.idx, a.at, e.data FROM log_entry e JOIN audit_leaf a ON a.idx = e.idx
		WHERE e.idx <= $1 ORDER BY e.idx DESC LIMIT $2`, to, listLeaves)
}
