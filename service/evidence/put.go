package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// maxPut is how many records one request may bring.
const maxPut = 1000

type newRecords struct {
	Body struct {
		Records []newRecord `json:"records" grade:"L1" minItems:"1" maxItems:"1000"`
	}
}

type newRecord struct {
	_          struct{}        `grade:"L1"`
	ID         string          `json:"id" doc:"在日志中唯一，1 至 80 个小写字母、数字和连字符 / unique in the log"`
	Type       string          `json:"type" doc:"事件类型与版本，如 trade.return/1 / event type and version"`
	Commitment *merkle.Hash    `json:"commitment,omitempty" doc:"原文的 SM3，base64；与 acts 二选一 / SM3 of the original, or else acts"`
	Acts       []merkle.Hash   `json:"acts,omitempty" maxItems:"4096" doc:"一批事项各自的承诺，base64；本系统计算默克尔根 / the commitments of a batch, whose Merkle root is computed here"`
	Time       *beijing.Time   `json:"time,omitempty" doc:"受理时间，缺省为现在 / when it was accepted; default now"`
	Facts      json.RawMessage `json:"facts,omitempty" doc:"规则所需的事实，不含个人信息 / facts for the rules, no personal data"`
	Batch      uint64          `json:"batch,omitempty" doc:"commitment 为多少件的默克尔根，叶由提交者保存 / how many acts the commitment is the root of, where the producer keeps them"`
}

// Validate implements what httpapi calls: the rules of a record that need no policy.
func (n *newRecords) Validate() error {
	if len(n.Body.Records) == 0 || len(n.Body.Records) > maxPut {
		return errs.New(errs.Invalid, "一次须有 1 至 1000 条记录", "a request brings 1 to 1000 records").WithField("records")
	}
	for i := range n.Body.Records {
		if err := n.Body.Records[i].check(); err != nil {
			return within(i, err)
		}
	}
	return nil
}

// within says in which record of a request something is wrong.
func within(i int, err error) error {
	e := *errs.As(err)
	return (&e).WithField(strings.TrimSuffix(fmt.Sprintf("records[%d].%s", i, e.Field), "."))
}

func (n *newRecord) check() error {
	switch {
	case n.Commitment == nil && len(n.Acts) == 0:
		return errs.New(errs.Invalid, "须有 commitment，或以 acts 给出一批事项", "either commitment or acts is needed").WithField("commitment")
	case n.Commitment != nil && len(n.Acts) > 0:
		return errs.New(errs.Invalid, "commitment 与 acts 只能有其一", "there is either commitment or acts").WithField("acts")
	case len(n.Acts) > maxActs:
		return errs.Newf(errs.Invalid, "一批至多 %d 件", "a batch has at most %d acts", maxActs).WithField("acts")
	case len(n.Acts) > 0 && n.Batch != 0 && n.Batch != uint64(len(n.Acts)):
		return errs.New(errs.Invalid, "与 acts 的件数不符", "it is not how many acts there are").WithField("batch")
	}
	return nil
}

// submission returns the record as the ledger takes it, and its acts where it is a batch.
func (n *newRecord) submission(now beijing.Time) (ledger.Submission, *batch) {
	s := ledger.Submission{ID: n.ID, Type: n.Type, Time: now, Facts: n.Facts, Batch: n.Batch}
	if n.Time != nil {
		s.Time = *n.Time
	}
	if len(n.Acts) == 0 {
		s.Commitment = *n.Commitment
		return s, nil
	}
	b := newBatch(n.ID, n.Acts)
	s.Commitment, s.Batch = b.root, b.size()
	return s, b
}

type putAnswer struct {
	Body struct {
		Accepted int `json:"accepted" grade:"L1" doc:"已受理的记录数，含此前已受理的同样记录 / records accepted, now or before"`
	}
}

func (x *Evidence) putRecords(ctx context.Context, in *newRecords) (*putAnswer, error) {
	now := beijing.At(x.host.Now())
	records, batches := make([]ledger.Submission, len(in.Body.Records)), []batch(nil)
	var scratch []byte
	for i := range in.Body.Records {
		s, b := in.Body.Records[i].submission(now)
		var err error
		if scratch, err = x.fits(&s, scratch[:0]); err != nil {
			return nil, within(i, err)
		}
		if records[i] = s; b != nil {
			batches = append(batches, *b)
		}
	}
	out := &putAnswer{}
	out.Body.Accepted = len(records)
	fresh, err := records, error(nil)
	if !x.orderer.Finds() || len(batches) > 0 { // what is refused leaves no batch behind
		if fresh, err = x.fresh(ctx, records); err != nil || len(fresh) == 0 {
			return out, err
		}
	}
	if err := x.backlog.admit(ctx, x, int64(len(fresh))); err != nil {
		return nil, err
	}
	if err := x.store.keepBatches(ctx, batches); err != nil {
		return nil, err
	}
	err = x.orderer.Put(ctx, fresh)
	if errors.Is(err, sqldb.ErrUnique) { // another request has brought one of them in between
		if fresh, err = x.fresh(ctx, records); err == nil && len(fresh) > 0 {
			err = x.orderer.Put(ctx, fresh)
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// backlog is how many records wait, as far as intake must know: counted now and then, since counting takes time by their
// number, and with what was admitted since.
type backlog struct {
	mu      sync.Mutex
	counted time.Time
	waiting int64
}

const recount = 250 * time.Millisecond

// admit returns nil where n more records may come.
func (b *backlog) admit(ctx context.Context, x *Evidence, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := x.host.Now(); now.Sub(b.counted).Abs() > recount {
		waiting, err := x.store.countWaiting(ctx)
		if err != nil {
			return err
		}
		b.waiting, b.counted = waiting, now
	}
	if b.waiting+n > int64(x.cfg.Backlog) {
		return errs.New(errs.TooMany, "待排序的记录过多", "too many records wait to be ordered").WithRetryAfter(2 * time.Second)
	}
	b.waiting += n
	return nil
}

// fresh returns those of the records that are not known yet. One that is known as it is was accepted before; an id under
// which something else is known is a conflict.
func (x *Evidence) fresh(ctx context.Context, records []ledger.Submission) ([]ledger.Submission, error) {
	ids, first := make([]string, len(records)), make(map[string]int, len(records))
	for i := range records {
		ids[i] = records[i].ID
		if at, twice := first[ids[i]]; twice && !records[at].Same(&records[i]) {
			return nil, within(i, conflict())
		} else if !twice {
			first[ids[i]] = i
		}
	}
	known, err := x.known(ctx, ids)
	if err != nil {
		return nil, err
	}
	fresh := make([]ledger.Submission, 0, len(first))
	for i := range records {
		have, is := known[ids[i]]
		if is && !have.Same(&records[i]) {
			return nil, within(i, conflict())
		}
		if !is && first[ids[i]] == i {
			fresh = append(fresh, records[i])
		}
	}
	return fresh, nil
}

// CodeTaken is the code of errors of kind Conflict that say another record has an id.
const CodeTaken = "evidence.taken"

func conflict() error {
	return errs.New(errs.Conflict, "该编号已用于另一条记录", "another record has this id").WithCode(CodeTaken).WithField("id")
}

// known returns what stands under ids: in the log, or waiting for it.
func (x *Evidence) known(ctx context.Context, ids []string) (map[string]*ledger.Submission, error) {
	all, err := x.logged(ctx, ids)
	if err != nil {
		return nil, err
	}
	waiting, err := x.store.among(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range waiting {
		if all[waiting[i].ID] == nil {
			all[waiting[i].ID] = &waiting[i]
		}
	}
	return all, nil
}

// logged returns what stands in the log under ids.
func (x *Evidence) logged(ctx context.Context, ids []string) (map[string]*ledger.Submission, error) {
	there, err := x.log.Known(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*ledger.Submission, len(there))
	for id, data := range there {
		r, err := receipt.ParseRecord(data)
		if err != nil {
			return nil, err
		}
		all[id] = &ledger.Submission{ID: id, Type: r.Type, Commitment: r.Commitment, Time: r.Time, Batch: r.Batch}
	}
	return all, nil
}
