package ledger

import (
	"fmt"
	"sync"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/rule"
)

// reading is a batch that was read under a policy: the records that a gateway has signed, and what each says.
type reading struct {
	policy  *Policy
	records []Submission // without their facts as they were sent
	facts   []*rule.Facts
	wrong   []error // why a record may not become one; nil where it may
}

// read reads a batch under the policy in force.
func (s *state) read(t *transaction) (*reading, error) {
	records, err := s.believed(t)
	if err != nil {
		return nil, err
	}
	return s.readRecords(records), nil
}

// readRecords reads what a gateway says.
func (s *state) readRecords(records []Submission) *reading {
	r := &reading{policy: s.policy, records: records, facts: make([]*rule.Facts, len(records)), wrong: make([]error, len(records))}
	var scratch []byte
	for i := range records {
		r.facts[i], scratch, r.wrong[i] = s.check(&records[i], scratch[:0])
		records[i].Facts = nil
	}
	return r
}

// refusal returns why the first record may not become one that may not.
func (r *reading) refusal() error {
	for i, wrong := range r.wrong {
		if wrong != nil {
			return fmt.Errorf("records[%d]: %w", i, wrong)
		}
	}
	return nil
}

// maxReadings is how many records are kept as they were read.
const maxReadings = 20_000

// readings keeps what Check has read for Apply, which comes soon after: to read a batch costs more than to judge it. What
// was read under another policy does not count.
type readings struct {
	mu      sync.Mutex
	by      map[[32]byte]*reading
	order   [][32]byte // oldest first; some are gone already
	records int
}

func (rs *readings) has(tx []byte, p *Policy) bool {
	id := gm.SM3(tx)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.by[id]
	return r != nil && r.policy == p
}

// keep keeps a batch in which nothing is wrong.
func (rs *readings) keep(tx []byte, r *reading) {
	id := gm.SM3(tx)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.by == nil {
		rs.by = map[[32]byte]*reading{}
	}
	rs.drop(id)
	rs.by[id], rs.order, rs.records = r, append(rs.order, id), rs.records+len(r.records)
	for rs.records > maxReadings || len(rs.order) > maxReadings {
		rs.drop(rs.order[0])
		rs.order = rs.order[1:]
	}
}

// take returns what was read of a batch under a policy, and forgets it; nil where nothing is kept.
func (rs *readings) take(tx []byte, p *Policy) *reading {
	id := gm.SM3(tx)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.by[id]
	rs.drop(id)
	if r == nil || r.policy != p {
		return nil
	}
	return r
}

// drop forgets a batch. The caller holds the lock.
func (rs *readings) drop(id [32]byte) {
	if r := rs.by[id]; r != nil {
		rs.records -= len(r.records)
		delete(rs.by, id)
	}
}
