package evidence

import (
	"context"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// alone orders records by itself: log mode.
type alone struct {
	x      *Evidence
	ledger *ledger.Ledger
	signer *receipt.Signer
	height int64
	puts   chan *put
}

// put is records of another system that wait for their place in the log.
type put struct {
	tx   []byte
	n    int // records
	done chan error
}

const (
	maxBlock = ledger.MaxRecords // records ordered together
	maxPuts  = 256               // requests that wait
)

func newAlone(ctx context.Context, x *Evidence) (*alone, error) {
	l, err := ledger.Open(ctx, x.host.DB, x.cfg.Origin)
	if err != nil {
		return nil, err
	}
	a := &alone{x: x, ledger: l, puts: make(chan *put, maxPuts)}
	if a.signer, err = receipt.NewSigner(x.cfg.Name, x.key); err != nil {
		return nil, err
	}
	if a.height, _, err = l.Last(ctx); err != nil || a.height > 0 {
		return a, err
	}
	p := ledger.Policy{Version: 1, Needs: []string{x.cfg.Name}, Gateways: []ledger.Gateway{{Name: x.cfg.Name, Key: string(x.key.PublicKey().PEM())}}}
	state, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	_, err = l.Begin(ctx, &council.Genesis{State: state})
	return a, err
}

// Ready implements orderer.
func (a *alone) Ready() error { return nil }

// Put implements orderer.
func (a *alone) Put(ctx context.Context, records []ledger.Submission) error {
	tx, err := a.batch(records)
	if err == nil {
		err = a.ledger.Check(ctx, tx)
	}
	if err != nil {
		return err
	}
	p := &put{tx, len(records), make(chan error, 1)}
	select {
	case a.puts <- p:
	case <-ctx.Done():
		return ctx.Err()
	default:
		return errs.New(errs.TooMany, "待排序的记录过多", "too many records wait to be ordered").WithRetryAfter(time.Second)
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run implements orderer. What it could not order it tries again; after a crash, what waits in the table waits still,
// and the ledger passes over what it has.
func (a *alone) Run(ctx context.Context) error {
	if err := a.cosign(ctx); err != nil {
		a.x.host.Log.Error("the last checkpoint could not be signed", "err", err)
	}
	more := true
	for {
		var puts []*put
		if !more {
			select {
			case <-ctx.Done():
				return nil
			case <-a.x.wake:
			case p := <-a.puts:
				puts = append(puts, p)
			}
		}
		puts = a.gather(puts)
		var err error
		more, err = a.block(ctx, puts)
		if err != nil && ctx.Err() == nil {
			a.x.host.Log.Error("records could not be ordered", "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
			more = true
		}
	}
}

// gather takes what else waits, as far as a block holds it.
func (a *alone) gather(puts []*put) []*put {
	n := 0
	for _, p := range puts {
		n += p.n
	}
	for n < maxBlock {
		select {
		case p := <-a.puts:
			puts = append(puts, p)
			n += p.n
		default:
			return puts
		}
	}
	return puts
}

// block orders what was put and what waits in the table, and reports whether more may wait there.
func (a *alone) block(ctx context.Context, puts []*put) (more bool, err error) {
	defer func() {
		for _, p := range puts {
			p.done <- err
		}
	}()
	var txs [][]byte
	for _, p := range puts {
		txs = append(txs, p.tx)
	}
	acts, err := a.x.store.waiting(ctx, "", 1000)
	if err != nil {
		return false, err
	}
	ids := make([]string, len(acts))
	if len(acts) > 0 {
		records := make([]ledger.Submission, len(acts))
		for i := range acts {
			records[i], ids[i] = acts[i].submission, acts[i].id
		}
		tx, err := a.batch(records)
		if err != nil {
			return false, err
		}
		txs = append(txs, tx)
	}
	if len(txs) == 0 {
		return false, nil
	}
	if err := a.order(ctx, txs); err != nil {
		return false, err
	}
	return len(acts) == 1000, a.settle(ctx, ids)
}

// settle marks acts that were ordered, and puts aside what the ledger passed over.
func (a *alone) settle(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	known, err := a.ledger.Log().Known(ctx, ids)
	if err != nil {
		return err
	}
	var there, refused []string
	for _, id := range ids {
		if known[id] {
			there = append(there, id)
		} else {
			refused = append(refused, id)
		}
	}
	if len(refused) > 0 {
		a.x.host.Log.Error("the ledger will not have some records", "count", len(refused), "first", refused[0])
		if err := a.x.store.refuse(ctx, "the ledger passed over it", refused...); err != nil {
			return err
		}
	}
	at := a.x.host.Now().UnixMilli()
	return a.x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return placed(ctx, tx, at, there) })
}

func (a *alone) batch(records []ledger.Submission) ([]byte, error) {
	return ledger.NewBatch(a.x.cfg.Name, a.x.key, ledger.Batch{Records: records})
}

// order leads the ledger through a block, and signs what came of it.
func (a *alone) order(ctx context.Context, txs [][]byte) error {
	before := a.ledger.Log().Last().Size
	if _, err := a.ledger.Apply(ctx, council.Block{Height: a.height + 1, Time: a.x.host.Now(), Proposer: a.x.cfg.Name, Txs: txs}); err != nil {
		return err
	}
	if err := a.ledger.Commit(ctx); err != nil {
		return err
	}
	a.height++
	a.x.metrics.records.Add(float64(a.ledger.Log().Last().Size - before))
	return a.cosign(ctx)
}

// cosign signs the newest checkpoint, as of the next whole second: what is signed existed by then. The signature can be made again, so it need not be durable.
func (a *alone) cosign(ctx context.Context) error {
	c := a.ledger.Log().Last()
	if c.Size == 0 {
		return nil
	}
	s, err := a.signer.Cosign(c, a.x.host.Now().Add(time.Second-1))
	if err != nil {
		return err
	}
	return a.x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return a.ledger.Log().Cosigned(ctx, tx, c.Size, s) })
}
