package evidence

import (
	"context"
	"slices"
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
	tx      []byte
	records []ledger.Submission
	done    chan error
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
	p := &put{tx, records, make(chan error, 1)}
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
		n += len(p.records)
	}
	for n < maxBlock {
		select {
		case p := <-a.puts:
			puts = append(puts, p)
			n += len(p.records)
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
	total := uint64(0)
	for _, p := range puts {
		txs = append(txs, p.tx)
		total += uint64(len(p.records))
	}
	acts, _, err := a.x.store.waiting(ctx, position{}, maxActsBlock)
	if err != nil {
		return false, err
	}
	if len(acts) > 0 {
		tx, err := a.batch(acts)
		if err != nil {
			return false, err
		}
		txs = append(txs, tx)
		total += uint64(len(acts))
	}
	if len(txs) == 0 {
		return false, nil
	}
	grown, err := a.order(ctx, txs)
	if err != nil {
		return false, err
	}
	if grown == total {
		err = a.settled(ctx, places(acts))
	} else if puts, err = a.refused(ctx, puts); err == nil {
		err = a.settle(ctx, acts)
	}
	return len(acts) == maxActsBlock, err
}

// maxActsBlock is how many acts of the table are ordered together.
const maxActsBlock = 1000

// refused answers the puts that hold a record whose id another record has, and returns the others.
func (a *alone) refused(ctx context.Context, puts []*put) (others []*put, err error) {
	for _, p := range puts {
		ids := make([]string, len(p.records))
		for i := range p.records {
			ids[i] = p.records[i].ID
		}
		there, err := a.x.logged(ctx, ids)
		if err != nil {
			return puts, err
		}
		bad := slices.IndexFunc(p.records, func(r ledger.Submission) bool { return there[r.ID] == nil || !same(there[r.ID], &r) })
		if bad < 0 {
			others = append(others, p)
			continue
		}
		p.done <- within(bad, conflict())
	}
	return others, nil
}

func places(records []ledger.Submission) []place {
	all := make([]place, len(records))
	for i, r := range records {
		all[i] = place{r.ID, r.Commitment}
	}
	return all
}

// settle marks acts that were ordered, and puts aside what the ledger passed over.
func (a *alone) settle(ctx context.Context, acts []ledger.Submission) error {
	ids := make([]string, len(acts))
	for i := range acts {
		ids[i] = acts[i].ID
	}
	known, err := a.x.logged(ctx, ids)
	if err != nil {
		return err
	}
	var there []place
	var refused []string
	for _, id := range ids {
		if r := known[id]; r != nil {
			there = append(there, place{id, r.Commitment})
		} else {
			refused = append(refused, id)
		}
	}
	if len(refused) > 0 {
		a.x.host.Log.Error("the ledger will not have some records", "count", len(refused), "first", refused[0])
		if err := a.x.store.refuse(ctx, "账本略过了它 / the ledger passed over it", refused...); err != nil {
			return err
		}
	}
	return a.settled(ctx, there)
}

func (a *alone) settled(ctx context.Context, there []place) error {
	if len(there) == 0 {
		return nil
	}
	at := a.x.host.Now().UnixMilli()
	return a.x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return placed(ctx, tx, at, there) })
}

func (a *alone) batch(records []ledger.Submission) ([]byte, error) {
	return ledger.NewBatch(a.x.cfg.Name, a.x.key, ledger.Batch{Records: records})
}

// order leads the ledger through a block, signs what came of it, and returns by how many records the log has grown.
func (a *alone) order(ctx context.Context, txs [][]byte) (uint64, error) {
	before := a.ledger.Log().Last().Size
	if _, err := a.ledger.Apply(ctx, council.Block{Height: a.height + 1, Time: a.x.host.Now(), Proposer: a.x.cfg.Name, Txs: txs}); err != nil {
		return 0, err
	}
	if err := a.ledger.Commit(ctx); err != nil {
		return 0, err
	}
	a.height++
	grown := a.ledger.Log().Last().Size - before
	a.x.metrics.records.Add(float64(grown))
	return grown, a.cosign(ctx)
}

// cosign signs the newest checkpoint, as of the next whole second: what is signed existed by then. The signature can be
// made again, so it need not be durable.
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
