package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/rule"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
)

var _ council.Carrier = (*Ledger)(nil)

// The parts of Export are lines of JSON: the first has the head and the policies, each further one the next entries of
// the log with their facts. All only grow, so that the head's numbers say which of them belong to it whenever they are
// read, and a part that another follows is the same in every later export.
type head struct {
	Form   string       `json:"form"` // qiong-ledger/v2
	Height int64        `json:"height"`
	At     beijing.Time `json:"at"` // of the newest checkpoint
	Size   uint64       `json:"size"`
	Root   merkle.Hash  `json:"root"`
	Facts  []byte       `json:"facts"`
	Policy uint64       `json:"policy"` // version in force
}

const exportForm = "qiong-ledger/v2"

// partEntries is how many entries a part has: at most 12 MB of them, and 300 KB as they mostly are.
const partEntries = 1024

type (
	policyLine struct {
		Version int64           `json:"version"`
		Height  int64           `json:"height"`
		At      int64           `json:"at"`
		Policy  json.RawMessage `json:"policy"`
	}
	entryLine struct {
		Record string          `json:"record"`
		Facts  json.RawMessage `json:"facts,omitempty"`
		Failed bool            `json:"failed,omitempty"` // by its rule: not to be found
	}
)

// Export implements council.Carrier.
func (l *Ledger) Export(ctx context.Context) ([]byte, int, error) {
	l.mu.RLock()
	s := l.now
	l.mu.RUnlock()
	if s.height == 0 {
		return nil, 0, errs.New(errs.Unavailable, "账本尚未开始", "the ledger has not begun yet")
	}
	c := l.log.Last()
	at, err := sqldb.Value[int64](ctx, l.db, "SELECT COALESCE(max(at), 0) FROM log_checkpoint WHERE size <= $1", int64(c.Size))
	if err != nil {
		return nil, 0, err
	}
	text, err := json.Marshal(head{exportForm, s.height, beijing.Time(at), c.Size, c.Root, s.facts[:], s.policy.Version})
	return text, 1 + int((c.Size+partEntries-1)/partEntries), err
}

// Part implements council.Carrier.
func (l *Ledger) Part(ctx context.Context, exported []byte, i int) ([]byte, error) {
	var h head
	if err := json.Unmarshal(exported, &h); err != nil {
		return nil, fmt.Errorf("the head of an export: %w", err)
	}
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	if i > 0 {
		from := uint64(i-1) * partEntries
		err := l.exportEntries(ctx, to, from, min(from+partEntries, h.Size))
		return b.Bytes(), err
	}
	if err := to.Encode(h); err != nil {
		return nil, err
	}
	policies, err := sqldb.All(ctx, l.db, func(r sqldb.Scanner) (p policyLine, err error) {
		var text string
		err = r.Scan(&p.Version, &p.Height, &p.At, &text)
		p.Policy = json.RawMessage(text)
		return p, err
	}, "SELECT version, height, at, policy FROM ledger_policy WHERE version <= $1 ORDER BY version", int64(h.Policy))
	for _, p := range policies {
		if err == nil {
			err = to.Encode(p)
		}
	}
	return b.Bytes(), err
}

func (l *Ledger) exportEntries(ctx context.Context, to *json.Encoder, from, end uint64) error {
	l.mu.RLock()
	kept := l.now.kept
	l.mu.RUnlock()
	entries, err := l.log.Entries(ctx, from, int(end-from))
	if err != nil {
		return err
	}
	if uint64(len(entries)) != end-from {
		return errs.New(errs.Internal, "日志缺少条目", "the log lacks entries").WithCode(tlog.CodeBroken)
	}
	lines := make([]entryLine, len(entries))
	for i, e := range entries {
		lines[i].Record = string(e.Data)
	}
	_, err = sqldb.All(ctx, l.db, func(r sqldb.Scanner) (_ struct{}, err error) {
		var idx int64
		var packed []byte
		if err := r.Scan(&idx, &packed); err != nil {
			return struct{}{}, err
		}
		u, err := kept.unpack(packed)
		if err == nil {
			line := &lines[uint64(idx)-from]
			line.Facts, line.Failed = u.json, u.failed
		}
		return struct{}{}, err
	}, "SELECT idx, facts FROM ledger_facts WHERE idx >= $1 AND idx < $2", int64(from), int64(end))
	for i := range lines {
		if err == nil {
			err = to.Encode(lines[i])
		}
	}
	return err
}

// Import implements council.Carrier. The ledger must not have begun. What is written before the end is removed at the
// next Open where the end does not come.
func (l *Ledger) Import(ctx context.Context, from io.Reader) error {
	if height, _, _ := l.Last(ctx); height > 0 {
		return errs.New(errs.Conflict, "账本已有内容，不能导入", "the ledger has begun, nothing can be imported")
	}
	if err := wipeHalfImport(ctx, l.db); err != nil {
		return err
	}
	in := &importer{l: l, lines: bufio.NewReaderSize(from, 64<<10), schemas: map[string][]*rule.Schema{}}
	err := in.run(ctx)
	if err != nil {
		return errors.Join(err, wipeHalfImport(ctx, l.db), l.reopen(ctx))
	}
	return l.load(ctx)
}

// reopen reads the log anew after its tables were emptied.
func (l *Ledger) reopen(ctx context.Context) (err error) {
	l.log, err = tlog.Open(ctx, l.db, l.log.Origin())
	return err
}

type importer struct {
	l     *Ledger
	lines *bufio.Reader
	head  head
	state state
	// by type, newest first: those whose facts can be part of the snapshot
	schemas map[string][]*rule.Schema
}

func badImport(zh, en string) error {
	return errs.New(errs.Invalid, zh, en).WithCode("evidence.import")
}

// next reads a line into v.
func (in *importer) next(v any) error {
	line, err := in.lines.ReadBytes('\n')
	if err != nil {
		return badImport("快照不完整", "the snapshot ends too early")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return badImport("快照格式有误", "a line of the snapshot is malformed")
	}
	return nil
}

func (in *importer) run(ctx context.Context) error {
	if err := in.next(&in.head); err != nil {
		return err
	}
	if in.head.Form != exportForm || in.head.Height <= 0 || len(in.head.Facts) != 32 {
		return badImport("不是账本的快照", "this is no snapshot of a ledger")
	}
	if err := in.l.reopen(ctx); err != nil {
		return err
	}
	policies, err := in.policies()
	if err != nil {
		return err
	}
	if err := in.entries(ctx); err != nil {
		return err
	}
	if in.l.log.Last().Root != in.head.Root {
		return badImport("快照的条目与其根散列不符", "the entries of the snapshot do not lead to its root")
	}
	return in.finish(ctx, policies)
}

func (in *importer) policies() ([]policyLine, error) {
	all := make([]policyLine, 0, min(in.head.Policy, 1024))
	for v := uint64(1); v <= in.head.Policy; v++ {
		var p policyLine
		if err := in.next(&p); err != nil {
			return nil, err
		}
		if p.Version != int64(v) {
			return nil, badImport("快照的策略版本不连续", "the snapshot's policies are not one after the other")
		}
		if err := in.state.adopt(p.Policy); err != nil {
			return nil, err
		}
		for typ, schema := range in.state.ready.schemas {
			in.schemas[typ] = append([]*rule.Schema{schema}, in.schemas[typ]...)
		}
		all = append(all, p)
	}
	return all, nil
}

// entries appends the entries with their facts.
func (in *importer) entries(ctx context.Context) error {
	for at := uint64(0); at < in.head.Size; {
		chunk := make([]tlog.Entry, min(partEntries, in.head.Size-at))
		var rows []sqldb.Insert
		for i := range chunk {
			var line entryLine
			if err := in.next(&line); err != nil {
				return err
			}
			r, err := receipt.ParseRecord([]byte(line.Record))
			if err != nil {
				return err
			}
			chunk[i] = tlog.Entry{ID: r.ID, Data: []byte(line.Record), Record: r}
			more, err := in.facts(int64(at)+int64(i), r, line)
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
		_, err := in.l.log.Append(ctx, in.head.At.Time(), chunk, func(tx *sqldb.Tx, _ uint64) error { return tx.Insert(ctx, rows...) })
		if err != nil {
			return err
		}
		at += uint64(len(chunk))
	}
	if _, err := in.lines.Peek(1); !errors.Is(err, io.EOF) {
		return badImport("快照末尾有多余内容", "the snapshot goes on after its end")
	}
	return nil
}

// facts returns the rows that keep a record's facts, by the schema that its type had under the newest policy with it.
func (in *importer) facts(index int64, r *receipt.Record, line entryLine) ([]sqldb.Insert, error) {
	if line.Facts == nil {
		return nil, nil
	}
	for _, schema := range in.schemas[r.Type] {
		facts, err := schema.Parse(line.Facts)
		if err != nil {
			continue
		}
		in.state.facts = chain(in.state.facts, index, bit(line.Failed), facts.JSON())
		return in.state.rowsOf(index, schema, facts, line.Failed)
	}
	return nil, badImport("快照的事实没有对应的类型", "facts of the snapshot are of no known type")
}

// finish writes the state, which makes the import whole.
func (in *importer) finish(ctx context.Context, policies []policyLine) error {
	s := in.state
	s.height = in.head.Height
	if string(s.facts[:]) != string(in.head.Facts) {
		return badImport("快照的事实与其散列不符", "the facts of the snapshot do not lead to their hash")
	}
	s.hash = s.root(in.l.log.Last())
	return in.l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		for _, p := range policies[:len(policies)-1] {
			if _, err := tx.Exec(ctx, "INSERT INTO ledger_policy (version, height, at, policy) VALUES ($1, $2, $3, $4)",
				p.Version, p.Height, p.At, string(p.Policy)); err != nil {
				return err
			}
		}
		last := policies[len(policies)-1]
		now := s
		now.height = last.Height
		if err := writeState(ctx, tx, &now, time.UnixMilli(last.At), true); err != nil {
			return err
		}
		return writeState(ctx, tx, &s, time.Time{}, false)
	})
}
