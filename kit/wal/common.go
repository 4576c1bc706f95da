package wal

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
)

// table returns where each generation begins in the segments that are kept, oldest first.
func (s *store) table() (all []began) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.segments) == 0 && len(s.snapshots) > 0 {
		h := s.snapshots[len(s.snapshots)-1]
		return []began{{h.generation, h.last + 1}}
	}
	for _, g := range s.segments {
		if n := len(all); n == 0 || all[n-1].generation != g.generation {
			all = append(all, began{g.generation, g.first})
		}
	}
	return all
}

// oldest returns the first record that is kept.
func (s *store) oldest() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.segments) == 0 {
		return s.tip.next
	}
	return s.segments[0].first
}

// common finds the last record that this log and a standby's have in common, by their tables: within a generation both
// wrote, or were sent, the same, since a generation has one leader. known is false where the tables do not say; then
// nothing is common that this log still keeps.
func (s *store) common(h hello, written uint64) (p point, known bool, err error) {
	if h.last == 0 {
		return point{}, true, nil
	}
	if h.last <= written {
		chain, err := s.chainAt(h.last)
		if err == nil && chain == h.chain {
			return point{h.last, chain}, true, nil
		}
		if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Invalid) {
			return point{}, false, err
		}
	}
	ends := map[uint64]uint64{} // last record of each generation here
	table := s.table()
	for i, e := range table {
		ends[e.generation] = written
		if i+1 < len(table) {
			ends[e.generation] = table[i+1].first - 1
		}
	}
	end := h.last
	for i := len(h.table) - 1; i >= 0; i-- {
		if here, ok := ends[h.table[i].generation]; ok {
			lsn := min(end, here)
			chain, err := s.chainAt(lsn)
			if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Invalid) {
				return point{}, false, nil
			}
			return point{lsn, chain}, err == nil, err
		}
		end = h.table[i].first - 1
	}
	return point{}, false, nil
}

// chainAt returns the chain up to a record, which must be the last of its batch.
func (s *store) chainAt(lsn uint64) (Chain, error) {
	if lsn == 0 {
		return Chain{}, nil
	}
	s.mu.RLock()
	for _, g := range s.segments {
		if g.first == lsn+1 {
			s.mu.RUnlock()
			return g.chain, nil
		}
	}
	s.mu.RUnlock()
	h, err := s.endsBatch(lsn)
	return h.chain, err
}

// refuse tells the other end why this one goes away, in English for its log.
func (w *wire) refuse(generation uint64, err error) error {
	text := err.Error()
	return w.send(msgRefuse, number(generation), []byte(text[:min(len(text), 1024)]))
}

// refusal makes an error of a msgRefuse. Its text is a stranger's, and only for the log.
func refusal(payload []byte, own uint64) error {
	if len(payload) < 8 {
		return peer(fmt.Errorf("a refusal of %d bytes", len(payload)))
	}
	if newer, _ := parseNumber(payload[:8]); newer > own {
		return fenced(newer, own)
	}
	return peer(fmt.Errorf("the other end refuses: %q", payload[8:]))
}
