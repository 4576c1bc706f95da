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
	self   ledger.Gateway
	height int64
	puts   chan *put
}

// put is records of another system that wait for their place in the log.
type put struct {
	own     *ledger.Own
	records int
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
	self := ledger.Gateway{Name: x.cfg.Name, Key: string(x.key.PublicKey().PEM())}
	a := &alone{x: x, ledger: l, self: self, puts: make(chan *put, maxPuts)}
	if a.signer, err = receipt.NewSigner(x.cfg.Name, x.key); err != nil {
		return nil, err
	}
	if a.height, _, err = l.Last(ctx); err != nil || a.height > 0 {
		return a, err
	}
	p := ledger.Policy{Version: 1, Needs: []string{x.cfg.Name}, Gateways: []ledger.Gateway{self}}
	state, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	_, err = l.Begin(ctx, &council.Genesis{State: state})
	return a, err
}

// Ready implements orderer.
func (a *alone) Ready() error { return nil }

// Finds implements orderer: a block looks for the ids of all its records in one go.
func (a *alone) Finds() bool { return true }

// Put implements orderer.
func (a *alone) Put(ctx context.Context, records []ledger.Submission) error {
	own, err := a.ledger.Read(a.self, records)
	if err != nil {
		return err
	}
	p := &put{own, len(records), make(chan error, 1)}
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
		n += p.records
	}
	for n < maxBlock {
		select {
		case p := <-a.puts:
			puts = append(puts, p)
			n += p.records
		default:
			return puts
		}
	}
	return puts
}

// block orders what was put and what waits in the table, and reports whether more may wait there.
func (a *alone) block(ctx context.Context, puts []*put) (more bool, err error) {
	var parts []*ledger.Own
	for _, p := range puts {
		parts = append(parts, p.own)
	}
	var taken []int
	defer func() {
		for i, p := range puts {
			if err == nil && taken[i] >= 0 {
				p.done <- within(taken[i], conflict())
			} else {
				p.done <- err
			}
		}
	}()
	waiting, _, err := a.x.store.waiting(ctx, position{}, maxActsBlock)
	if err != nil {
		return false, err
	}
	acts, own, err := a.read(ctx, waiting)
	if err != nil {
		return false, err
	}
	if parts = append(parts, own...); len(parts) > 0 {
		if taken, err = a.order(ctx, parts); err == nil {
			err = a.settle(ctx, acts, taken[len(puts):])
		}
	}
	return len(waiting) == maxActsBlock, err
}

// maxActsBlock is how many acts of the table are ordered together.
const maxActsBlock = 1000

// read reads acts, each by itself, and puts aside those that can be no records of this log.
func (a *alone) read(ctx context.Context, waiting []ledger.Submission) (acts []ledger.Submission, own []*ledger.Own, err error) {
	for _, act := range waiting {
		one, wrong := a.ledger.Read(a.self, []ledger.Submission{act})
		if wrong == nil {
			acts, own = append(acts, act), append(own, one)
			continue
		}
		if k := errs.KindOf(wrong); k != errs.Invalid && k != errs.Forbidden || errs.As(wrong).Code == ledger.CodeGateway {
			return nil, nil, wrong // of the operator, not of the record
		}
		a.x.host.Log.Error("the ledger will not have a record", "id", act.ID, "err", wrong)
		if err := a.x.store.refuse(ctx, reason(wrong), act.ID); err != nil {
			return nil, nil, err
		}
	}
	return acts, own, nil
}

// settle marks acts that were ordered, and puts those aside whose id another record has.
func (a *alone) settle(ctx context.Context, acts []ledger.Submission, taken []int) error {
	var there []place
	var refused []string
	for i, act := range acts {
		if taken[i] >= 0 {
			refused = append(refused, act.ID)
		} else {
			there = append(there, place{act.ID, act.Commitment})
		}
	}
	if len(refused) > 0 {
		a.x.host.Log.Error("other records have the ids of some acts", "count", len(refused), "first", refused[0])
		if err := a.x.store.refuse(ctx, idTaken, refused...); err != nil {
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

// order leads the ledger through a block and signs what came of it; taken is as the ledger says it.
func (a *alone) order(ctx context.Context, parts []*ledger.Own) (taken []int, err error) {
	before := a.ledger.Log().Last().Size
	if taken, err = a.ledger.Order(ctx, a.height+1, a.x.host.Now(), parts); err != nil {
		return nil, err
	}
	if err := a.ledger.Commit(ctx); err != nil {
		return nil, err
	}
	a.height++
	a.x.metrics.records.Add(float64(a.ledger.Log().Last().Size - before))
	return taken, a.cosign(ctx)
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
