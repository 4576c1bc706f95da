package evidence

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// maxActs is how many acts a batch may have.
const maxActs = 4096

// batch is the acts of one record: its commitment is the root over theirs.
type batch struct {
	id   string
	root merkle.Hash
	acts []byte // their commitments, one after the other
}

// newBatch returns the batch of acts under a record's id.
func newBatch[H ~[32]byte](id string, acts []H) *batch {
	b := &batch{id: id, acts: make([]byte, 0, len(acts)*merkle.HashSize)}
	for _, a := range acts {
		b.acts = append(b.acts, a[:]...)
	}
	b.root = b.tree().Root()
	return b
}

// size returns how many acts there are.
func (b *batch) size() uint64 { return uint64(len(b.acts) / merkle.HashSize) }

// act returns the commitment of the n-th act.
func (b *batch) act(n uint64) merkle.Hash {
	return merkle.Hash(b.acts[n*merkle.HashSize : (n+1)*merkle.HashSize])
}

func (b *batch) tree() *merkle.Tree {
	t := &merkle.Tree{}
	for n := range b.size() {
		c := b.act(n)
		t.Append(merkle.LeafHash(c[:]))
	}
	return t
}

// prove returns the second level of a receipt: the way of the n-th act to the record's commitment.
func (b *batch) prove(n uint64) (*receipt.Act, error) {
	path, err := merkle.ProveInclusion(n, b.size(), b.tree().Read)
	return &receipt.Act{Index: n, Commitment: b.act(n), Path: path}, err
}

// getActReceipt answers the receipt of one act of a batch.
func (x *Evidence) getActReceipt(w http.ResponseWriter, r *http.Request) error {
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 32)
	if err != nil {
		return errs.New(errs.Invalid, "应为从 0 起的序号", "must be a number from 0 up").WithField("n")
	}
	s, err := x.stand(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if s.result == nil {
		return unsigned()
	}
	if err := x.addAct(r.Context(), s.receipt, n); err != nil {
		return err
	}
	text, err := s.file()
	if err != nil {
		return err
	}
	return x.sendReceipt(w, text, fmt.Sprintf("%s.%d.receipt", s.receipt.Record.ID, n))
}

// addAct makes the receipt of a batch that of its n-th act.
func (x *Evidence) addAct(ctx context.Context, r *receipt.Receipt, n uint64) error {
	b, err := x.store.batchOf(ctx, r.Record.ID, r.Record.Commitment)
	if err != nil {
		return err
	}
	if n >= b.size() {
		return errs.New(errs.NotFound, "批次中没有此项", "the batch has no such act").WithField("n")
	}
	if r.Act, err = b.prove(n); err != nil {
		return err
	}
	_, err = receipt.Verify(r, x.trust(), nil) // what others would refuse must not leave the house
	return err
}

// takeBatch takes in many acts of a service of the house under one record. Their originals stay with the service.
func (x *Evidence) takeBatch(a *act, acts [][32]byte) ([]sqldb.Insert, func(), error) {
	if len(acts) > maxActs {
		return nil, nil, errs.Newf(errs.Invalid, "一批至多 %d 件", "a batch has at most %d acts", maxActs)
	}
	b := newBatch(a.id, acts)
	a.submission.Commitment, a.submission.Batch = b.root, b.size()
	if _, err := x.fits(&a.submission, nil); err != nil {
		return nil, nil, err
	}
	row, err := a.row()
	if err != nil {
		return nil, nil, err
	}
	return []sqldb.Insert{row, intoBatch.Row(b.id, b.root[:], b.acts)}, x.nudge, nil
}

// proveAct implements qiong.ProveAct.
func (x *Evidence) proveAct(ctx context.Context, record string, n uint64) (text []byte, complete bool, err error) {
	s, err := x.stand(ctx, record)
	if err != nil || s.result == nil {
		return nil, false, err
	}
	if err := x.addAct(ctx, s.receipt, n); err != nil {
		return nil, false, err
	}
	x.metrics.receipts.Inc()
	text, err = s.file()
	return text, s.result.State == receipt.Complete, err
}
