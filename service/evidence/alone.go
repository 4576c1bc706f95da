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

// block orders what waits in the table, and then what was put, so that no other record has the id of an act that was
// accepted before; more acts than a block holds keep others waiting. It reports whether that is so.
func (a *alone) block(ctx context.Context, puts []*put) (more bool, err error) {
	acts, more, err := a.acts(ctx)
	for err == nil && more && len(puts) > 0 {
		if err = acts.order(ctx, a, nil); err == nil {
			acts, more, err = a.acts(ctx)
		}
	}
	if err != nil {
		for _, p := range puts {
			p.done <- err
		}
		return more, err
	}
	return more, acts.order(ctx, a, puts)
}

// acts are acts of the table as the ledger has read them, one by one.
type acts struct {
	records []ledger.Submission
	own     []*ledger.Own
}

// acts reads the acts that wait, as many as a block holds, and reports whether more may wait.
func (a *alone) acts(ctx context.Context) (read acts, more bool, err error) {
	waiting, _, err := a.x.store.waiting(ctx, position{}, maxActsBlock)
	if err == nil {
		read, err = a.read(ctx, waiting)
	}
	return read, len(waiting) == maxActsBlock, err
}

// order orders acts and puts, and answers those who put.
func (t acts) order(ctx context.Context, a *alone, puts []*put) (err error) {
	parts := t.own
	for _, p := range puts {
		parts = append(parts, p.own)
	}
	if len(parts) == 0 {
		return nil
	}
	taken, err := a.order(ctx, parts)
	if err == nil {
		err = a.settle(ctx, t.records, taken)
	}
	for i, p := range puts {
		if at := len(t.own) + i; err == nil && taken[at] >= 0 {
			p.done <- within(taken[at], conflict())
		} else {
			p.done <- err
		}
	}
	return err
}

// maxActsBlock is how many acts of the table are ordered together.
const maxActsBlock = 1000

// read reads acts, each by itself, and puts aside those that can be no records of this log.
func (a *alone) read(ctx context.Context, waiting []ledger.Submission) (read acts, err error) {
	for _, act := range waiting {
		one, wrong := a.ledger.Read(a.self, []ledger.Submission{act})
		if wrong == nil {
			read.records, read.own = append(read.records, act), append(read.own, one)
			continue
		}
		if k := errs.KindOf(wrong); k != errs.Invalid && k != errs.Forbidden || errs.As(wrong).Code == ledger.CodeGateway {
			return acts{}, wrong // of the operator, not of the record
		}
		a.x.host.Log.Error("the ledger will not have a record", "id", act.ID, "err", wrong)
		if err := a.x.store.refuse(ctx, reason(wrong), act.ID); err != nil {
			return acts{}, err
		}
	}
	return read, nil
}

// settle marks acts that were ordered, and puts those aside whose id another record has.
func (a *alone) settle(ctx context.Context, records []ledger.Submission, taken []int) error {
	var there []place
	var refused []string
	for i, act := range records {
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
