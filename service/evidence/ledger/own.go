package ledger

import (
	"context"
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// Own are records of the operator of a log that nobody else orders: a transaction without the form and the signature, which
// only the operator would see and which take longer than all the rest.
type Own struct{ reading *reading }

// Read is Check for an operator's own records, which become the ledger's. The operator is a gateway of the policy.
func (l *Ledger) Read(operator Gateway, records []Submission) (*Own, error) {
	l.mu.RLock()
	s := l.now
	l.mu.RUnlock()
	if s.policy == nil {
		return nil, errs.New(errs.Unavailable, "账本尚未开始", "the ledger has not begun yet")
	}
	if !slices.Contains(s.policy.Gateways, operator) {
		return nil, errs.New(errs.Forbidden, "名称或密钥不是所约定网关的", "name or key are of no gateway that was agreed on").WithCode(CodeGateway)
	}
	r := s.readRecords(records)
	return &Own{r}, r.refusal()
}

// Order is Apply for an operator's own records. A part is put into the log as a whole, or not at all where one of its
// records has an id under which something else is known: taken says for each part which record that is, -1 for none. What
// is known as it is is passed over.
func (l *Ledger) Order(ctx context.Context, height int64, at time.Time, parts []*Own) (taken []int, err error) {
	p := l.begin(council.Block{Height: height, Time: at})
	n := 0
	for _, part := range parts {
		n += len(part.reading.records)
	}
	ids := make([]string, 0, n)
	for _, part := range parts {
		for i := range part.reading.records {
			ids = append(ids, part.reading.records[i].ID)
		}
	}
	known, err := l.log.Known(ctx, ids)
	if err != nil {
		return nil, err
	}
	p.expect(n)
	first := make(map[string]*Submission, n)
	for _, part := range parts {
		if part.reading.policy != p.policy {
			return nil, errs.New(errs.Unavailable, "策略已更改", "the policy has changed in between")
		}
		at, err := part.clash(known, first)
		if err != nil {
			return nil, err
		}
		if taken = append(taken, at); at >= 0 {
			continue
		}
		if err := p.addAll(ctx, part.reading, known); err != nil {
			return nil, err
		}
	}
	return taken, p.close()
}

// clash returns which record has an id under which something else is known, in the log or first in the block; -1 where none
// does, and then first has the records.
func (o *Own) clash(known map[string][]byte, first map[string]*Submission) (int, error) {
	for i := range o.reading.records {
		r := &o.reading.records[i]
		same := true
		if data := known[r.ID]; data != nil {
			have, err := receipt.ParseRecord(data)
			if err != nil {
				return -1, err
			}
			same = r.Same(&Submission{Type: have.Type, Commitment: have.Commitment, Batch: have.Batch})
		} else if earlier := first[r.ID]; earlier != nil {
			same = r.Same(earlier)
		} else {
			first[r.ID] = r
		}
		if !same {
			for j := range o.reading.records[:i] {
				if mine := &o.reading.records[j]; first[mine.ID] == mine {
					delete(first, mine.ID)
				}
			}
			return i, nil
		}
	}
	return -1, nil
}

// Same reports whether two submissions under one id are of the same record. The time is not compared: whoever brings one
// again may leave it out.
func (s *Submission) Same(t *Submission) bool {
	return s.Type == t.Type && s.Commitment == t.Commitment && s.Batch == t.Batch
}
