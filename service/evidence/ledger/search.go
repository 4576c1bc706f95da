package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// lookup is by what an earlier record is found.
type lookup struct {
	typ, name string
	key       [32]byte
}

func lookupOf(s rule.Search) lookup { return lookup{s.Type, s.By, s.Key} }

// foresee reads from the database what the rules will ask of a batch: with one query for each kind of lookup, rather
// than one for each record.
func (p *pending) foresee(ctx context.Context, r *reading) error {
	type column struct{ typ, name string }
	keys := map[column][]string{}
	p.stored = map[lookup]string{}
	for i := range r.records {
		compiled := p.ready.rules[r.records[i].Type]
		if compiled == nil || r.wrong[i] != nil {
			continue
		}
		for _, s := range compiled.Searches(r.facts[i]) {
			if _, twice := p.stored[lookupOf(s)]; !twice {
				p.stored[lookupOf(s)] = ""
				keys[column{s.Type, s.By}] = append(keys[column{s.Type, s.By}], hex.EncodeToString(s.Key[:]))
			}
		}
	}
	for c, hexed := range keys {
		if err := p.l.facts(ctx, c.typ, c.name, hexed, p.stored); err != nil {
			return err
		}
	}
	return nil
}

// facts puts into stored, for each key, the facts of the first record of a type that no rule has failed.
func (l *Ledger) facts(ctx context.Context, typ, name string, keys []string, stored map[lookup]string) error {
	list, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	each, key := "json_each($1) AS k", "unhex(k.value)"
	if l.db.Dialect() == sqldb.Postgres {
		each, key = "jsonb_array_elements_text($1::jsonb) AS k(value)", "decode(k.value, 'hex')"
	}
	_, err = sqldb.All(ctx, l.db, func(row sqldb.Scanner) (_ struct{}, err error) {
		var hexed, text string
		if err := row.Scan(&hexed, &text); err != nil {
			return struct{}{}, err
		}
		at := lookup{typ: typ, name: name}
		_, err = hex.Decode(at.key[:], []byte(hexed))
		stored[at] = text
		return struct{}{}, err
	}, "SELECT k.value, COALESCE((SELECT facts FROM ledger_fact WHERE type = $2 AND name = $3 AND fkey = "+key+
		" AND failed = 0 ORDER BY idx LIMIT 1), '') FROM "+each, string(list), typ, name)
	return err
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
