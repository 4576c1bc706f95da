package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// lookup is by what an earlier record is found.
type lookup struct {
	typ, name string
	key       [32]byte
}

func lookupOf(s rule.Search) lookup { return lookup{s.Type, s.By, s.Key} }

// foresee reads from the database what the rules will ask of a batch: with one query, rather than one for each record.
func (p *pending) foresee(ctx context.Context, r *reading) error {
	p.stored = map[lookup]string{}
	var wanted []lookup
	for i := range r.records {
		compiled := p.ready.rules[r.records[i].Type]
		if compiled == nil || r.wrong[i] != nil {
			continue
		}
		for _, s := range compiled.Searches(r.facts[i]) {
			if _, twice := p.stored[lookupOf(s)]; !twice {
				p.stored[lookupOf(s)] = ""
				wanted = append(wanted, lookupOf(s))
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return p.l.first(ctx, p.kept, wanted, -1, p.stored)
}

// first puts into found, for each lookup, the facts of the first record beyond an index that has them and failed no rule.
func (l *Ledger) first(ctx context.Context, kept schemas, wanted []lookup, after int64, found map[lookup]string) error {
	by := make(map[int64][]lookup, len(wanted))
	hashes := make([]int64, 0, len(wanted))
	for _, at := range wanted {
		h := at.hash()
		if by[h] == nil {
			hashes = append(hashes, h)
		}
		by[h] = append(by[h], at)
	}
	slices.Sort(hashes) // neighbours share pages of the index
	list, err := json.Marshal(hashes)
	if err != nil {
		return err
	}
	each := "json_each($1) AS h"
	if l.db.Dialect() == sqldb.Postgres {
		each = "(SELECT jsonb_array_elements_text($1::jsonb)::bigint AS value) AS h"
	}
	type candidate struct {
		hash, idx int64
		packed    []byte
	}
	candidates, err := sqldb.All(ctx, l.db, func(row sqldb.Scanner) (c candidate, err error) {
		return c, row.Scan(&c.hash, &c.idx, &c.packed)
	}, "SELECT h.value, f.idx, f.facts FROM "+each+` CROSS JOIN ledger_facts AS f
		WHERE f.idx = (SELECT min(k.idx) FROM ledger_key AS k WHERE k.hash = h.value AND k.idx > $2)`, string(list), after)
	if err != nil {
		return err
	}
	for _, c := range candidates {
		u, err := kept.unpack(c.packed)
		if err != nil {
			return fmt.Errorf("record %d: %w", c.idx, err)
		}
		for _, at := range by[c.hash] {
			if key, ok := u.keys[at.name]; ok && u.Type == at.typ && key == at.key {
				found[at] = string(u.json)
			} else if err := l.first(ctx, kept, []lookup{at}, c.idx, found); err != nil { // another has the hash as well
				return err
			}
		}
	}
	return nil
}

// search finds the earlier records that a rule asks for: in the database first, since those came before this block's.
func (p *pending) search(searches []rule.Search) (map[string]*rule.Facts, error) {
	found := make(map[string]*rule.Facts, len(searches))
	for _, s := range searches {
		text := p.stored[lookupOf(s)]
		if text == "" {
			found[s.Name] = p.found[lookupOf(s)]
			continue
		}
		var err error
		if found[s.Name], err = p.ready.schemas[s.Type].Parse([]byte(text)); err != nil {
			return nil, fmt.Errorf("facts of %s in the ledger: %w", s.Type, err)
		}
	}
	return found, nil
}
