package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/council"
)

var _ council.Carrier = (*Ledger)(nil)

// The stream of Export is lines of JSON: the head, the policies, the entries of the log, the facts. All but the head
// only grow, so that the head's numbers say which of them belong to it whenever they are read.
type head struct {
	Form   string       `json:"form"` // qiong-ledger/v1
	Height int64        `json:"height"`
	At     beijing.Time `json:"at"` // of the newest checkpoint
	Size   uint64       `json:"size"`
	Root   merkle.Hash  `json:"root"`
	Facts  []byte       `json:"facts"`
	Policy uint64       `json:"policy"` // version in force
}

const exportForm = "qiong-ledger/v1"

type (
	policyLine struct {
		Version int64           `json:"version"`
		Height  int64           `json:"height"`
		At      int64           `json:"at"`
		Policy  json.RawMessage `json:"policy"`
	}
	entryLine struct {
		ID   string `json:"id"`
		Data []byte `json:"data"`
	}
	factLine struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Key    []byte `json:"key"`
		Index  int64  `json:"index"`
		Failed int64  `json:"failed"`
		Facts  string `json:"facts"`
	}
)

// Export implements council.Carrier.
func (l *Ledger) Export(ctx context.Context) (io.ReadCloser, error) {
	l.mu.RLock()
	s := l.now
	l.mu.RUnlock()
	if s.height == 0 {
		return nil, errs.New(errs.Unavailable, "账本尚未开始", "the ledger has not begun yet")
	}
	c := l.log.Last()
	at, err := sqldb.Value[int64](ctx, l.db, "SELECT COALESCE(max(at), 0) FROM log_checkpoint WHERE size <= $1", int64(c.Size))
	if err != nil {
		return nil, err
	}
	h := head{exportForm, s.height, beijing.Time(at), c.Size, c.Root, s.facts[:], s.policy.Version}
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 64<<10)
		err := l.export(ctx, json.NewEncoder(out), h)
		w.CloseWithError(errors.Join(err, out.Flush()))
	}()
	return r, nil
}

func (l *Ledger) export(ctx context.Context, to *json.Encoder, h head) error {
	if err := to.Encode(h); err != nil {
		return err
	}
	policies, err := sqldb.All(ctx, l.db, func(r sqldb.Scanner) (p policyLine, err error) {
		var text string
		err = r.Scan(&p.Version, &p.Height, &p.At, &text)
		p.Policy = json.RawMessage(text)
		return p, err
	}, "SELECT version, height, at, policy FROM ledger_policy WHERE version <= $1 ORDER BY version", int64(h.Policy))
	if err != nil {
		return err
	}
	for _, p := range policies {
		if err := to.Encode(p); err != nil {
			return err
		}
	}
	for at := uint64(0); at < h.Size; {
		entries, err := l.log.Entries(ctx, at, int(min(4096, h.Size-at)))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := to.Encode(entryLine(e)); err != nil {
				return err
			}
		}
		at += uint64(len(entries))
	}
	return l.exportFacts(ctx, to, h)
}

func (l *Ledger) exportFacts(ctx context.Context, to *json.Encoder, h head) error {
	last := factLine{Index: -1}
	for {
		facts, err := sqldb.All(ctx, l.db, func(r sqldb.Scanner) (f factLine, err error) {
			return f, r.Scan(&f.Type, &f.Name, &f.Key, &f.Index, &f.Failed, &f.Facts)
		}, `SELECT type, name, fkey, idx, failed, facts FROM ledger_fact
			WHERE (idx, name) > ($1, $2) AND idx < $3 ORDER BY idx, name LIMIT 4096`, last.Index, last.Name, int64(h.Size))
		if err != nil || len(facts) == 0 {
			return err
		}
		for _, f := range facts {
			if err := to.Encode(f); err != nil {
				return err
			}
		}
		last = facts[len(facts)-1]
	}
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
	in := &importer{l: l, lines: bufio.NewReaderSize(from, 64<<10)}
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
	index int64 // of the record whose facts came last
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
		all = append(all, p)
	}
	return all, nil
}

func (in *importer) entries(ctx context.Context) error {
	for at := uint64(0); at < in.head.Size; {
		chunk := make([]tlog.Entry, min(4096, in.head.Size-at))
		for i := range chunk {
			var e entryLine
			if err := in.next(&e); err != nil {
				return err
			}
			chunk[i] = tlog.Entry(e)
		}
		if _, err := in.l.log.Append(ctx, in.head.At.Time(), chunk, nil); err != nil {
			return err
		}
		at += uint64(len(chunk))
	}
	return nil
}

// finish writes the facts and the state, which makes the import whole.
func (in *importer) finish(ctx context.Context, policies []policyLine) error {
	s := in.state
	s.height = in.head.Height
	in.index = -1
	for {
		rows, more, err := in.facts()
		if err != nil {
			return err
		}
		if more {
			if err := in.l.db.Append(ctx, rows...); err != nil {
				return err
			}
			continue
		}
		if s.facts = in.state.facts; string(s.facts[:]) != string(in.head.Facts) {
			return badImport("快照的事实与其散列不符", "the facts of the snapshot do not lead to their hash")
		}
		s.hash = s.root(in.l.log.Last())
		return in.l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
			if err := tx.Insert(ctx, rows...); err != nil {
				return err
			}
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
}

// facts reads the next rows of facts; more is false at the end of the stream.
func (in *importer) facts() (rows []sqldb.Insert, more bool, err error) {
	for len(rows) < 4096 {
		if _, err := in.lines.Peek(1); errors.Is(err, io.EOF) {
			return rows, false, nil
		}
		var f factLine
		if err := in.next(&f); err != nil {
			return nil, false, err
		}
		if in.state.ready.schemas[f.Type] == nil {
			return nil, false, badImport("快照的事实没有对应的类型", "facts of the snapshot are of no known type")
		}
		if f.Index != in.index {
			in.state.facts, in.index = chain(in.state.facts, f.Index, f.Failed, []byte(f.Facts)), f.Index
		}
		rows = append(rows, intoFact.Row(f.Type, f.Name, f.Key, f.Index, f.Failed, f.Facts))
	}
	return rows, true, nil
}
