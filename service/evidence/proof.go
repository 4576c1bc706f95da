package evidence

import (
	"context"
	"errors"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

func noRecord() error {
	return errs.New(errs.NotFound, "没有此记录", "there is no such record").WithCode("evidence.record")
}

// standing is where a record stands.
type standing struct {
	act     *act // nil where it came from another system, or from the ledger itself
	receipt *receipt.Receipt
	result  *receipt.Result // nil while the receipt is not yet worth the name
}

// stand finds a record and its receipt: under the first checkpoint that all of its names have cosigned, or else under
// the one that most have.
func (x *Evidence) stand(ctx context.Context, id string) (*standing, error) {
	s := &standing{}
	a, err := x.store.find(ctx, id)
	switch {
	case err == nil:
		s.act = &a
	case !errors.Is(err, sqldb.ErrNoRows):
		return nil, err
	}
	index, data, err := x.log.Find(ctx, id)
	if e := errs.As(err); e != nil && e.Kind == errs.NotFound {
		if s.act == nil {
			return nil, noRecord()
		}
		return s, nil // it waits
	}
	if err != nil {
		return nil, err
	}
	record, err := receipt.ParseRecord(data)
	if err != nil {
		return nil, err
	}
	size, ok, err := x.log.SignedBy(ctx, index, record.Needs)
	if err == nil && !ok {
		size, ok, err = x.log.MostSigned(ctx, index)
	}
	if err != nil || !ok {
		return s, err
	}
	if s.receipt, err = x.log.Receipt(ctx, index, size); err != nil {
		return nil, err
	}
	if result, err := receipt.Verify(s.receipt, x.trust(), nil); err == nil {
		s.result = result
	} else if e := errs.As(err); e.Code != receipt.CodeQuorum {
		return nil, err // a receipt that others would refuse must not leave the house
	}
	return s, nil
}

func fingerprintOf(k receipt.Key) string { return gm.KeyID(k.Public) }

// file returns the receipt as a file; nil while there is none.
func (s *standing) file() ([]byte, error) {
	if s.result == nil {
		return nil, nil
	}
	return s.receipt.Marshal()
}

// original returns the file of an act's original; nil where it was erased or never here.
func (x *Evidence) original(a *act) ([]byte, error) {
	if a == nil || len(a.original) == 0 {
		return nil, nil
	}
	return x.sealer.Open(a.original, []byte("evidence/"+a.id))
}

// prove implements qiong.Prove.
func (x *Evidence) prove(ctx context.Context, producer, key string) ([]qiong.Proof, error) {
	acts, err := x.store.about(ctx, producer, key)
	if err != nil {
		return nil, err
	}
	all := make([]qiong.Proof, 0, len(acts))
	for i := range acts {
		if acts[i].refused != "" { // what stands under its id in the log, if anything, is another's
			original, err := x.original(&acts[i])
			if err != nil {
				return nil, err
			}
			all = append(all, qiong.Proof{Record: acts[i].id, Type: acts[i].typ, Original: original})
			continue
		}
		s, err := x.stand(ctx, acts[i].id)
		if err != nil {
			return nil, err
		}
		p := qiong.Proof{Record: acts[i].id, Type: acts[i].typ, Complete: s.result != nil && s.result.State == receipt.Complete}
		if p.Receipt, err = s.file(); err != nil {
			return nil, err
		}
		if p.Original, err = x.original(&acts[i]); err != nil {
			return nil, err
		}
		if len(p.Receipt) > 0 {
			x.metrics.receipts.Inc()
		}
		all = append(all, p)
	}
	return all, nil
}
