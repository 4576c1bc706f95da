package sandbox

import (
	"crypto"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/httpsig"
	"github.com/qiongdev/qiong/service/booking/payment"
)

// Faults are how the sandbox fails. Shares are from 0 to 1; the zero value fails never.
type Faults struct {
	Seed   uint64
	Delay  time.Duration // callbacks leave up to so much late
	Lose   float64       // share of callbacks that are never sent
	Twice  float64       // share of callbacks that are sent twice
	Refuse int           // refusals before each refund is done
	Error  float64       // share of requests answered 500 after the work was done
	Late   time.Duration // orders can be paid for so long after their expiry
}

// Config is what a sandbox is made of.
type Config struct {
	Base   string           // URL under which its handler can be reached, for the cashier's address
	Signer crypto.Signer    // its SM2 key
	KeyOf  httpsig.Lookup   // the keys of those who may make orders
	HTTP   *http.Client     // sends callbacks; default http.DefaultClient
	Now    func() time.Time // default time.Now
	Log    *slog.Logger     // default slog.Default()
	Faults Faults
}

// Sandbox is the provider. It is safe for concurrent use.
type Sandbox struct {
	cfg  Config
	wake chan struct{}

	mu       sync.Mutex
	orders   map[string]*order
	notices  []notice // owed callbacks, in no order
	requests map[string]uint64
	account  Account
}

// Account is what the sandbox holds.
type Account struct {
	Orders    int
	Collected int64 // fen, ever
	Returned  int64 // fen, ever
}

type order struct {
	body     orderBody
	number   string
	paid     int64
	returned int64
	refunds  map[string]*refund
}

type refund struct {
	fen     int64
	refused int
	done    bool
}

// New returns a sandbox without orders. It starts nothing.
func New(cfg Config) (*Sandbox, error) {
	if cfg.Signer == nil || cfg.KeyOf == nil {
		return nil, errs.New(errs.Invalid, "支付沙箱需要密钥", "the payment sandbox needs keys").WithField("keys")
	}
	f := cfg.Faults
	for _, share := range []float64{f.Lose, f.Twice, f.Error} {
		if !(share >= 0 && share <= 1) {
			return nil, errs.New(errs.Invalid, "比例须在 0 到 1 之间", "a share is from 0 to 1").WithField("faults")
		}
	}
	if f.Delay < 0 || f.Late < 0 || f.Refuse < 0 {
		return nil, errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("faults")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Sandbox{cfg: cfg, wake: make(chan struct{}, 1), orders: map[string]*order{}, requests: map[string]uint64{}}, nil
}

// Account returns what the sandbox holds at the moment.
func (s *Sandbox) Account() Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// ErrState is returned by Pay where the order cannot be paid.
var ErrState = errors.New("the order cannot be paid")

// Pay is what a visitor does at the cashier: it pays the order, or another amount where fen is not 0, and owes the
// callback. An order that is paid, unknown or over is left as it is, with ErrState.
func (s *Sandbox) Pay(number string, fen int64) error {
	s.mu.Lock()
	o := s.orders[number]
	if o == nil || s.state(o) != payment.Created || fen < 0 {
		s.mu.Unlock()
		return ErrState
	}
	if fen == 0 {
		fen = o.body.Fen
	}
	o.paid = fen
	s.account.Collected += fen
	s.owe(o, "")
	s.mu.Unlock()
	s.notify()
	return nil
}

// state returns where an order stands.
func (s *Sandbox) state(o *order) payment.State {
	switch {
	case o.paid == 0 && !s.cfg.Now().Before(o.body.Expires.Time().Add(s.cfg.Faults.Late)):
		return payment.Closed
	case o.paid == 0:
		return payment.Created
	case o.returned == o.paid:
		return payment.Refunded
	}
	return payment.Paid
}

// create makes an order, or returns the one of that number.
func (s *Sandbox) create(number string, b orderBody) answerBody {
	o := s.orders[number]
	switch {
	case o != nil && (o.body.Fen != b.Fen || o.body.Expires != b.Expires):
		return answerBody{Order: number, Outcome: payment.Refused, Code: "other-order"}
	case o != nil:
	case !s.cfg.Now().Before(b.Expires.Time()):
		return answerBody{Order: number, Outcome: payment.Refused, Code: "expired"}
	default:
		o = &order{body: b, number: number, refunds: map[string]*refund{}}
		s.orders[number] = o
		s.account.Orders++
	}
	return s.answer(o)
}

func (s *Sandbox) query(number string) answerBody {
	if o := s.orders[number]; o != nil {
		return s.answer(o)
	}
	return answerBody{Order: number, Outcome: payment.Refused, Code: payment.NotFound}
}

// repay gives back once for each refund's number, and no more than was paid.
func (s *Sandbox) repay(number, name string, fen int64) answerBody {
	refused := func(code string) answerBody {
		return answerBody{Order: number, Refund: name, Outcome: payment.Refused, Code: code}
	}
	o := s.orders[number]
	if o == nil || o.paid == 0 {
		return refused("not-paid")
	}
	r := o.refunds[name]
	if r == nil {
		r = &refund{fen: fen}
		o.refunds[name] = r
	}
	switch {
	case r.fen != fen:
		return refused("other-refund")
	case r.done:
	case fen > o.paid-o.returned:
		delete(o.refunds, name)
		return refused("too-much")
	case r.refused < s.cfg.Faults.Refuse:
		r.refused++
		return refused("balance")
	default:
		r.done = true
		o.returned += fen
		s.account.Returned += fen
		s.owe(o, name)
	}
	return s.refundAnswer(o, name)
}

func (s *Sandbox) answer(o *order) answerBody {
	a := answerBody{
		Order: o.number, Outcome: payment.Done, State: s.state(o), Fen: o.body.Fen, Paid: o.paid, Returned: o.returned,
		Cashier: s.cfg.Base + "/cashier/" + o.number,
	}
	if o.paid > 0 {
		a.Reference = "sandbox-" + o.number
	}
	return a
}

func (s *Sandbox) refundAnswer(o *order, name string) answerBody {
	a := s.answer(o)
	a.Refund, a.Fen, a.State, a.Cashier = name, o.refunds[name].fen, payment.Refunded, ""
	return a
}

// chance returns a number from 0 to 1 that depends on the seed and what it is for alone.
func (s *Sandbox) chance(use, name string, n uint64) float64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], s.cfg.Faults.Seed)
	binary.BigEndian.PutUint64(b[8:], n)
	sum := gm.SM3(b[:], []byte(use), []byte{0}, []byte(name))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}
