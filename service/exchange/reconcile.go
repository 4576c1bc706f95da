package exchange

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/table"
)

// Reconciliation compares what a target was given of a day with what it has.
type Reconciliation struct {
	_           struct{}     `grade:"L1"`
	Feed        string       `json:"feed"`
	Target      string       `json:"target"`
	Day         string       `json:"day"`
	Read        bool         `json:"read" doc:"是否读回了目标中的数据；否则只有对方的确认 / whether the target was read; if not, its acknowledgements are all there is"`
	Equal       bool         `json:"equal"`
	Ours        Side         `json:"ours"`
	Theirs      Side         `json:"theirs"`
	Superseded  int64        `json:"superseded" doc:"已被后来的记录取代 / replaced by a later record"`
	Quarantined int64        `json:"quarantined"`
	Pending     int64        `json:"pending" doc:"待送的数据块 / chunks that wait"`
	Differences []Difference `json:"differences,omitempty"`
	More        bool         `json:"more,omitempty" doc:"差异过多，未全部列出 / there are more differences than are listed"`
}

// Side is one side of a reconciliation.
type Side struct {
	_       struct{} `grade:"L1"`
	Records int64    `json:"records"`
	SM3     string   `json:"sm3,omitempty" doc:"各记录 SM3 之和（模 2²⁵⁶），与次序无关 / sum of the records' SM3 modulo 2²⁵⁶, in any order"`
}

// Difference is a record that is not the same on both sides. It names the record by the transfer and its number there,
// which say nothing of whom it is about.
type Difference struct {
	Transfer string   `json:"transfer" grade:"L1"`
	Seq      int64    `json:"seq" grade:"L1"`
	Missing  bool     `json:"missing,omitempty" grade:"L1"`
	Fields   []string `json:"fields,omitempty" grade:"L1" doc:"值不同的字段 / fields whose values differ"`
}

const (
	maxDifferences = 1000  // listed
	maxSuspects    = 10000 // held in memory until it is known whether a later record explains them
	findRows       = 200
)

// suspect is a record whose row at the target is another, or missing.
type suspect struct {
	Difference
	key    string
	theirs table.Row
	sum    sum
}

// reconciler compares one target's day.
type reconciler struct {
	x        *Exchange
	to       string
	t        table.Table
	out      *Reconciliation
	ours     sum
	theirs   sum
	suspects []*suspect
	first    string // the transfer of the first suspect
}

// reconcile compares what was delivered to a target of a day with what it has now.
func (x *Exchange) reconcile(ctx context.Context, f *Feed, to *Target, day string) (*Reconciliation, error) {
	out := &Reconciliation{Feed: f.Name, Target: to.Name, Day: day}
	counts := x.host.DB.QueryRow(ctx, `SELECT coalesce(sum(d.delivered), 0), coalesce(sum(d.quarantined), 0), coalesce(sum(d.chunks - d.next_chunk), 0)
		FROM delivery d JOIN transfer t ON t.id = d.transfer WHERE d.feed = $1 AND d.target = $2 AND t.day = $3`, f.Name, to.Name, day)
	var delivered int64
	if err := counts.Scan(&delivered, &out.Quarantined, &out.Pending); err != nil {
		return nil, err
	}
	if to.Table == nil {
		out.Ours.Records, out.Theirs.Records, out.Equal = delivered, delivered, out.Pending == 0
		return out, nil
	}
	t, err := x.table(ctx, to.Table.Connection, to.spec(f))
	if err != nil {
		return nil, err
	}
	out.Read = true
	r := &reconciler{x: x, to: to.Name, t: t, out: out}
	if err := r.each(ctx, f.Name, "t.day = $3 AND t.id >= $4", day, "", r.compare); err != nil {
		return nil, err
	}
	if len(r.suspects) > 0 {
		if err := r.explain(ctx, f.Name); err != nil {
			return nil, err
		}
	}
	r.finish()
	return out, nil
}

// each calls visit with every chunk that the target has been given, of the transfers that where selects.
func (r *reconciler) each(ctx context.Context, feed, where, day, from string, visit func(ctx context.Context, f *Feed, to *Target, t *transfer, n int64) error) error {
	type given struct {
		id   string
		next int64
	}
	list, err := sqldb.All(ctx, r.x.host.DB, func(s sqldb.Scanner) (g given, err error) { return g, s.Scan(&g.id, &g.next) },
		`SELECT t.id, d.next_chunk FROM transfer t JOIN delivery d ON d.transfer = t.id WHERE d.feed = $1 AND d.target = $2 AND `+where+` ORDER BY t.id`,
		feed, r.to, day, from)
	if err != nil {
		return err
	}
	for _, g := range list {
		t, err := r.x.store.transfer(ctx, r.x.host.DB, g.id)
		if err != nil {
			return err
		}
		f, err := r.x.feed(t.Feed, t.Version)
		if err != nil {
			return err
		}
		to := f.target(r.to)
		for n := int64(0); to != nil && n < g.next; n++ {
			if err := visit(ctx, f, to, t, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare looks up a chunk's records at the target.
func (r *reconciler) compare(ctx context.Context, f *Feed, to *Target, t *transfer, n int64) error {
	s, err := r.x.prepare(ctx, f, to, t, n)
	if err != nil {
		return err
	}
	for from := 0; from < len(s.rows); from += findRows {
		rows := s.rows[from:min(from+findRows, len(s.rows))]
		keys := make([]table.Value, len(rows))
		for i := range rows {
			keys[i] = rows[i][f.key].Text
		}
		found, err := r.t.Find(ctx, keys)
		if err != nil {
			return err
		}
		theirs := make(map[string]table.Row, len(found))
		for _, row := range found {
			theirs[string(row[f.key])] = row
		}
		for i, ours := range rows {
			r.judge(f, t.ID, s.seqs[from+i], ours, theirs[string(keys[i])])
		}
	}
	return nil
}

func (r *reconciler) judge(f *Feed, transfer string, seq int64, ours []recordio.Value, theirs table.Row) {
	d := Difference{Transfer: transfer, Seq: seq, Missing: theirs == nil}
	if theirs != nil {
		d.Fields = f.differing(ours, theirs)
	}
	digest := rowSum(ours)
	r.out.Ours.Records++
	r.ours.add(digest)
	if theirs != nil {
		r.out.Theirs.Records++
		if len(d.Fields) == 0 {
			r.theirs.add(digest)
			return
		}
		r.theirs.add(rowSum(valuesOfRow(theirs)))
	}
	if len(r.suspects) == maxSuspects {
		r.out.More = true
		return
	}
	if r.first == "" {
		r.first = transfer
	}
	r.suspects = append(r.suspects, &suspect{Difference: d, key: string(ours[f.key].Text), theirs: theirs, sum: digest})
}

// explain takes the suspects out that a later record has replaced: then the target's row is that record's.
func (r *reconciler) explain(ctx context.Context, feed string) error {
	byKey := map[string][]*suspect{}
	for _, s := range r.suspects {
		byKey[s.key] = append(byKey[s.key], s)
	}
	explained := map[*suspect]bool{}
	err := r.each(ctx, feed, "$3 = '' AND t.id >= $4", "", r.first, func(ctx context.Context, f *Feed, to *Target, t *transfer, n int64) error {
		s, err := r.x.prepare(ctx, f, to, t, n)
		if err != nil {
			return err
		}
		for i, row := range s.rows {
			for _, sus := range byKey[string(row[f.key].Text)] {
				later := t.ID > sus.Transfer || t.ID == sus.Transfer && s.seqs[i] > sus.Seq
				if later && sus.theirs != nil {
					explained[sus] = len(f.differing(row, sus.theirs)) == 0 // the last word counts
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	kept := r.suspects[:0]
	for _, s := range r.suspects {
		if !explained[s] {
			kept = append(kept, s)
			continue
		}
		r.out.Superseded++
		r.out.Ours.Records--
		r.out.Theirs.Records--
		r.ours.sub(s.sum)
		r.theirs.sub(rowSum(valuesOfRow(s.theirs)))
	}
	r.suspects = kept
	return nil
}

func (r *reconciler) finish() {
	for _, s := range r.suspects {
		if len(r.out.Differences) == maxDifferences {
			r.out.More = true
			break
		}
		r.out.Differences = append(r.out.Differences, s.Difference)
	}
	r.out.Ours.SM3, r.out.Theirs.SM3 = r.ours.String(), r.theirs.String()
	r.out.Equal = len(r.out.Differences) == 0 && !r.out.More && r.out.Pending == 0
}

// differing names the fields whose values are not the same: decimals by their value, the rest by their bytes.
func (f *Feed) differing(ours []recordio.Value, theirs table.Row) (names []string) {
	for i, v := range ours {
		same := v.Set == (theirs[i] != nil) && bytes.Equal(v.Text, theirs[i])
		if !same && f.Fields[i].Type == "decimal" && v.Set && theirs[i] != nil {
			same = bytes.Equal(plainDecimal(v.Text), plainDecimal(theirs[i]))
		}
		if !same {
			names = append(names, f.Fields[i].Name)
		}
	}
	return names
}

// plainDecimal drops what says nothing of a number's value.
func plainDecimal(text []byte) []byte {
	if bytes.IndexByte(text, '.') >= 0 {
		text = bytes.TrimRight(bytes.TrimRight(text, "0"), ".")
	}
	if string(text) == "-0" {
		return text[1:]
	}
	return text
}

func valuesOfRow(row table.Row) []recordio.Value {
	values := make([]recordio.Value, len(row))
	for i, v := range row {
		values[i] = recordio.Value{Text: v, Set: v != nil}
	}
	return values
}

// sum is a digest of a set of records: the sum of their SM3 digests modulo 2²⁵⁶. The order does not matter, and a record
// can be taken out again.
type sum [4]uint64 // the lowest limb first

// rowSum is the sum of one record.
func rowSum(values []recordio.Value) sum {
	digest := gm.SM3(pack(nil, 0, values))
	var s sum
	for i := range s {
		for _, b := range digest[8*(3-i) : 8*(4-i)] {
			s[i] = s[i]<<8 | uint64(b)
		}
	}
	return s
}

func (s *sum) add(x sum) {
	var c uint64
	for i := range s {
		s[i], c = bits.Add64(s[i], x[i], c)
	}
}

func (s *sum) sub(x sum) {
	var b uint64
	for i := range s {
		s[i], b = bits.Sub64(s[i], x[i], b)
	}
}

// String returns 64 hexadecimal digits.
func (s sum) String() string { return fmt.Sprintf("%016x%016x%016x%016x", s[3], s[2], s[1], s[0]) }
