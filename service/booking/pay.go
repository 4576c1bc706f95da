package booking

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/agency"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/service/booking/ledger"
	"github.com/qiongdev/qiong/service/booking/payment"
	"github.com/qiongdev/qiong/service/booking/payment/sandbox"
)

const cashPath = base + "/cash"

// sandboxed is the provider that comes with the program: it collects play money within this house.
const sandboxed = "sandbox"

// Provide makes a payment provider for a house.
type Provide func(*qiong.Host) (payment.Provider, error)

// openPayments makes the port to the provider.
func (b *Booking) openPayments(providers map[string]Provide) error {
	provider, err := b.provider(providers)
	if err != nil {
		return err
	}
	b.payments = sync.OnceValue(func() *payment.Book { // the house's own address is known only once it listens
		return &payment.Book{Store: payments{b.host.DB}, Bookings: b, Now: b.host.Now, Log: b.host.Log, Callback: b.host.URL() + base + "/payments/callback", Provider: provider()}
	})
	return nil
}

// provider makes the provider that the configuration names, and returns what gives it once the house listens.
func (b *Booking) provider(providers map[string]Provide) (func() payment.Provider, error) {
	if b.cfg.Payment == sandboxed {
		return b.openSandbox()
	}
	open := providers[b.cfg.Payment]
	if open == nil {
		names := append(slices.Sorted(maps.Keys(providers)), sandboxed)
		return nil, errs.New(errs.Invalid, "本程序没有此支付渠道", "this program has no such provider").WithField("booking.payment").
			WithHint("可用："+strings.Join(names, "、"), "there are: "+strings.Join(names, ", "))
	}
	made, err := open(b.host)
	return func() payment.Provider { return made }, err
}

// openSandbox makes the sandbox, and what makes its client.
func (b *Booking) openSandbox() (client func() payment.Provider, err error) {
	ours, err := b.host.Keys.Signer("booking.payments")
	if err != nil {
		return nil, err
	}
	theirs, err := b.host.Keys.Signer("booking.sandbox")
	if err != nil {
		return nil, err
	}
	caller := agency.NewHTTP(16)
	if b.sandbox, err = sandbox.New(sandbox.Config{Base: cashPath, Signer: theirs, KeyOf: only(ours.PublicKey()), HTTP: caller, Now: b.host.Now, Log: b.host.Log,
		Faults: faults(b.cfg.Faults)}); err != nil {
		return nil, err
	}
	b.host.Mux.Handle(cashPath+"/", http.StripPrefix(cashPath, b.sandbox.Handler()))
	return func() payment.Provider {
		return &sandbox.Client{Base: b.host.URL() + cashPath, HTTP: caller, Signer: ours, KeyOf: only(theirs.PublicKey()), Now: b.host.Now}
	}, nil
}

// faults are those of a sandbox that fails for a share of what it does.
func faults(share float64) sandbox.Faults {
	if share == 0 {
		return sandbox.Faults{}
	}
	return sandbox.Faults{Seed: rand.Uint64(), Delay: 5 * time.Second, Lose: share, Twice: share, Refuse: 1, Error: share, Late: time.Minute}
}

// only knows one key.
func only(pub *gm.PublicKey) func(string) (*gm.PublicKey, error) {
	id := gm.KeyID(pub)
	return func(keyID string) (*gm.PublicKey, error) {
		if keyID != id {
			return nil, errs.New(errs.Unauthenticated, "不是对方的密钥", "not the other side's key").WithCode("signature.unknown-key")
		}
		return pub, nil
	}
}

// settleEvery is how often payments are looked after.
const settleEvery = time.Second

// collect looks after payments and refunds until ctx ends.
func (b *Booking) collect(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return b.settle(ctx, "payments", func() error { _, err := b.payments().Work(ctx); return err })
	})
	stuck := map[int64]time.Time{}
	g.Go(func() error { return b.settle(ctx, "refunds", func() error { return b.giveBack(ctx, stuck) }) })
	return g.Wait()
}

// settle works every second until ctx ends.
func (b *Booking) settle(ctx context.Context, what string, work func() error) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := work(); err != nil && ctx.Err() == nil {
			b.host.Log.ErrorContext(ctx, what, "err", err)
		}
	}
}

// Confirm implements payment.Bookings.
func (b *Booking) Confirm(ctx context.Context, booking, number string) (bool, error) {
	n, err := ledger.ParseNumber(booking)
	if err != nil {
		return false, err
	}
	_, err = b.act(ctx, n, func(now int64, s *ledger.State, emit ledger.Emit) (ledger.View, *errs.Error) {
		v, ok := s.Look(n)
		if !ok {
			return v, ledger.ErrLapsed // retired long ago
		}
		return s.Confirm(now, n, v.Slot.Rules.Products[v.Product].Price*int64(v.Places), number, emit)
	})
	if e := errs.As(err); e != nil && e.Code == ledger.ErrLapsed.Code {
		return b.wasConfirmed(ctx, n) // and perhaps cancelled since: the money is that booking's all the same
	}
	return err == nil, err
}

// wasConfirmed reports whether a booking that is not live any more had been confirmed.
func (b *Booking) wasConfirmed(ctx context.Context, n ledger.Number) (bool, error) {
	if err := b.seats[n.Shard()].caughtUp(ctx); err != nil {
		return false, err
	}
	acts, err := b.store.acts(ctx, n)
	return slices.ContainsFunc(acts, func(a actRow) bool { return a.kind == ledger.Settled }), err
}

// order makes the order of a booking that is held, and returns its payment.
func (b *Booking) order(ctx context.Context, v ledger.View) (payment.Payment, error) {
	spot := b.spots[v.Slot.Spot]
	number := v.Number.String()
	return b.payments().Open(ctx, payment.Order{Number: number, Fen: v.Slot.Rules.Products[v.Product].Price * int64(v.Places),
		Subject: lang.T(spot.Title.In(lang.ZH)+" 预约", spot.Title.In(lang.EN)+" booking"), Expires: time.Unix(v.Until, 0)}, number)
}

// callback takes in what the provider reports.
func (b *Booking) callback(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := b.notify(r, body); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// payments implements payment.Store.
type payments struct{ db sqldb.DB }

func (s payments) Insert(ctx context.Context, p payment.Payment) (payment.Payment, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	if _, err := s.db.Exec(ctx, sqldb.Durable, "INSERT INTO payment (number, phase, next_at, version, data) VALUES ($1, $2, $3, 1, $4) ON CONFLICT (number) DO NOTHING",
		p.Number, string(p.Phase), milli(p.Next), string(data)); err != nil {
		return p, err
	}
	return s.Get(ctx, p.Number)
}

func (s payments) Get(ctx context.Context, number string) (p payment.Payment, err error) {
	var data string
	var version int64
	err = s.db.QueryRow(ctx, "SELECT data, version FROM payment WHERE number = $1", number).Scan(&data, &version)
	if errors.Is(err, sqldb.ErrNoRows) {
		return p, errs.New(errs.NotFound, "没有此支付", "there is no such payment").WithCode("booking.payment")
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &p)
	}
	p.Version = version
	return p, err
}

func (s payments) Update(ctx context.Context, p payment.Payment) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	n, err := s.db.Exec(ctx, sqldb.Durable, "UPDATE payment SET phase = $1, next_at = $2, version = version + 1, data = $3 WHERE number = $4 AND version = $5",
		string(p.Phase), milli(p.Next), string(data), p.Number, p.Version)
	if err == nil && n == 0 {
		err = errs.New(errs.Conflict, "支付状态已变", "the payment has changed").WithCode("booking.payment-changed")
	}
	return err
}

func (s payments) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	return sqldb.All(ctx, s.db, func(r sqldb.Scanner) (n string, err error) { return n, r.Scan(&n) },
		"SELECT number FROM payment WHERE next_at > 0 AND next_at <= $1 ORDER BY next_at LIMIT $2", now.UnixMilli(), int64(limit))
}

// milli writes a time in milliseconds, rounded up; the zero time as 0.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}
