package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
)

// pending is a block that was applied and is not committed.
type pending struct {
	state
	at       time.Time
	changed  bool // the policy
	growth   *tlog.Growth
	factRows []sqldb.Insert

	l       *Ledger
	entries []tlog.Entry
	records []receipt.Record       // of entries, many in one piece of memory, as are
	data    []byte                 // their bytes
	here    map[string]bool        // ids in this block
	found   map[lookup]*rule.Facts // by what this block's records can be looked up; the first of each
	stored  map[lookup]string      // what the batch in hand looks up in the database; empty where nothing is found
}

// Apply implements council.Ledger.
func (l *Ledger) Apply(ctx context.Context, b council.Block) (council.Applied, error) {
	p := l.begin(b)
	for _, tx := range b.Txs {
		if err := p.apply(ctx, tx); err != nil {
			return council.Applied{}, err
		}
	}
	for _, m := range b.Misbehaviors {
		if err := p.equivocated(ctx, m); err != nil {
			return council.Applied{}, err
		}
	}
	if err := p.close(); err != nil {
		return council.Applied{}, err
	}
	applied := council.Applied{Hash: p.hash}
	if p.changed {
		applied.Members = p.policy.Members
	}
	return applied, nil
}

// begin begins a block.
func (l *Ledger) begin(b council.Block) *pending {
	p := &pending{state: l.now, at: b.Time, l: l, here: map[string]bool{}, found: map[lookup]*rule.Facts{}}
	p.height = b.Height
	return p
}

// expect makes room for records.
func (p *pending) expect(n int) {
	p.here, p.entries = make(map[string]bool, n), make([]tlog.Entry, 0, n)
}

// close ends a block: Commit can write it.
func (p *pending) close() (err error) {
	if p.growth, err = p.l.log.Grow(p.entries); err != nil {
		return err
	}
	p.hash = p.root(p.growth.Checkpoint)
	p.l.pending = p
	return nil
}

// apply does what a transaction says. What Check would refuse is passed over; an error is the database's.
func (p *pending) apply(ctx context.Context, tx []byte) error {
	batch := p.l.readings.take(tx, p.policy)
	if batch == nil {
		t, err := parseTx(tx)
		if err != nil {
			return nil
		}
		if t.kind == kindPolicy {
			return p.replacePolicy(ctx, t)
		}
		if batch, err = p.read(t); err != nil {
			return nil
		}
	}
	known, err := p.known(ctx, batch.records)
	if err != nil {
		return err
	}
	return p.addAll(ctx, batch, known)
}

// addAll adds the records of a batch that are not known yet and that nothing is wrong with.
func (p *pending) addAll(ctx context.Context, batch *reading, known map[string][]byte) error {
	if err := p.foresee(ctx, batch); err != nil {
		return err
	}
	p.entries = slices.Grow(p.entries, len(batch.records))
	for i := range batch.records {
		r := &batch.records[i]
		if known[r.ID] != nil || p.here[r.ID] || batch.wrong[i] != nil {
			continue
		}
		if err := p.add(r, batch.facts[i]); err != nil {
			return err
		}
	}
	return nil
}

// check returns the facts of a submission that may become a record. What it writes behind scratch is of no use after.
func (s *state) check(r *Submission, scratch []byte) (*rule.Facts, []byte, error) {
	record := receipt.Record{ID: r.ID, Type: r.Type, Commitment: r.Commitment, Time: r.Time, Needs: s.policy.needs(r.Type), Batch: r.Batch}
	scratch, err := record.Append(scratch)
	if err != nil {
		return nil, scratch, err
	}
	if strings.HasPrefix(r.Type, ownTypes) {
		return nil, scratch, errs.New(errs.Forbidden, "此类记录由账本自己写入", "records of this type are the ledger's own").WithField("type")
	}
	facts, err := s.ready.facts(r)
	return facts, scratch, err
}

// ownTypes is what types begin with that no gateway may send.
const ownTypes = "evidence."

// known returns which of the ids are in the log already.
func (p *pending) known(ctx context.Context, records []Submission) (map[string][]byte, error) {
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	return p.l.log.Known(ctx, ids)
}

// add judges a record and puts it at the end of the log.
func (p *pending) add(r *Submission, facts *rule.Facts) error {
	record := p.record()
	*record = receipt.Record{ID: r.ID, Type: r.Type, Commitment: r.Commitment, Time: r.Time, Needs: p.policy.needs(r.Type), Batch: r.Batch}
	if compiled := p.ready.rules[r.Type]; compiled != nil {
		earlier, err := p.search(compiled.Searches(facts))
		if err != nil {
			return err
		}
		verdict, err := compiled.Evaluate(facts, earlier)
		if err != nil {
			return err
		}
		record.Rule = &verdict
	}
	data, err := record.Append(p.room())
	if err != nil {
		return err
	}
	p.data = p.data[:len(p.data)+len(data)]
	if facts != nil {
		if err := p.keep(record, facts); err != nil {
			return err
		}
	}
	p.here[r.ID] = true
	p.entries = append(p.entries, tlog.Entry{ID: r.ID, Data: slices.Clip(data), Record: record})
	return nil
}

// Records and their bytes are allocated many at a time: what each took by itself was most of the work of collecting garbage.
const (
	recordsAtOnce = 128
	bytesAtOnce   = 64 << 10
	longestRecord = 4 << 10
)

// record returns a record of the block's.
func (p *pending) record() *receipt.Record {
	if len(p.records) == cap(p.records) {
		p.records = make([]receipt.Record, 0, recordsAtOnce)
	}
	p.records = p.records[:len(p.records)+1]
	return &p.records[len(p.records)-1]
}

// room returns where the bytes of a record have room.
func (p *pending) room() []byte {
	if cap(p.data)-len(p.data) < longestRecord {
		p.data = make([]byte, 0, bytesAtOnce)
	}
	return p.data[len(p.data):len(p.data):cap(p.data)]
}

// keep has a record's facts found by later ones.
func (p *pending) keep(record *receipt.Record, facts *rule.Facts) error {
	schema := p.ready.schemas[record.Type]
	if !looked(schema) {
		return nil
	}
	index := int64(p.l.log.Last().Size) + int64(len(p.entries))
	failed := record.Rule != nil && record.Rule.Outcome == receipt.Failed
	rows, err := p.rowsOf(index, schema, facts, failed)
	if err != nil {
		return err
	}
	p.factRows = append(p.factRows, rows...)
	p.facts = chain(p.facts, index, bit(failed), facts.JSON())
	if failed {
		return nil
	}
	for name := range schema.Facts {
		if key, ok := facts.Key(name); ok && p.found[lookup{record.Type, name, key}] == nil {
			p.found[lookup{record.Type, name, key}] = facts
		}
	}
	return nil
}

// looked reports whether records can be looked up: whether they have a key.
func looked(schema *rule.Schema) bool {
	for _, kind := range schema.Facts {
		if kind == rule.Key {
			return true
		}
	}
	return false
}

// chain adds a record's facts to the running hash over all of them.
func chain(before [32]byte, index, failed int64, facts []byte) [32]byte {
	return gm.SM3(before[:], fmt.Appendf(nil, "%d %d ", index, failed), facts)
}

// replacePolicy brings an approved policy into force, and puts it on record.
func (p *pending) replacePolicy(ctx context.Context, t *transaction) error {
	next, err := p.follow(t)
	if err != nil || p.changed { // one change a block
		return nil
	}
	for typ, schema := range p.ready.schemas {
		if after := next.typeOf(typ); after != nil && len(after.Facts) > 0 && !sameFacts(after.Facts, schema.Facts) {
			return nil // facts that are stored could not be read any more: a new version of the type is due
		}
	}
	body, err := next.Marshal()
	if err != nil {
		return nil
	}
	if err := p.adopt(body); err != nil {
		return nil
	}
	p.changed = true
	return p.own(ctx, fmt.Sprintf("policy-%d", next.Version), "evidence.policy/1", body)
}

func sameFacts(a, b map[string]rule.Kind) bool {
	if len(a) != len(b) {
		return false
	}
	for name, kind := range a {
		if b[name] != kind {
			return false
		}
	}
	return true
}

// equivocated puts on record that an agency has signed two different blocks.
func (p *pending) equivocated(ctx context.Context, m council.Misbehavior) error {
	agency := m.Agency
	if agency == "" {
		agency = "former"
	}
	body, err := json.Marshal(map[string]any{"agency": agency, "key": m.Address, "height": m.Height, "time": beijing.At(m.Time)})
	if err != nil {
		return err
	}
	return p.own(ctx, fmt.Sprintf("equivocation-%s-%d-%s", agency, m.Height, strings.ToLower(m.Address[:min(8, len(m.Address))])), "evidence.equivocation/1", body)
}

// own adds a record of the ledger's own. Its original is public: the salt follows from the data.
func (p *pending) own(ctx context.Context, id, typ string, data []byte) error {
	known, err := p.l.log.Known(ctx, []string{id})
	if err != nil || known[id] != nil || p.here[id] {
		return err
	}
	r := Submission{ID: id, Type: typ, Commitment: publicOriginal(data).Commitment(), Time: beijing.At(p.at)}
	return p.add(&r, nil)
}

// publicOriginal is the original of what everyone may know.
func publicOriginal(data []byte) *receipt.Original {
	o := &receipt.Original{Data: data}
	sum := gm.SM3([]byte("public"), data)
	copy(o.Salt[:], sum[:])
	return o
}

// FactKey returns the fact of kind key for an identifier: its HMAC under the producer's secret, as JSON has it.
func FactKey(secret []byte, identifier string) string {
	sum := gm.HMAC(secret, []byte(identifier))
	return base64.StdEncoding.EncodeToString(sum[:])
}
