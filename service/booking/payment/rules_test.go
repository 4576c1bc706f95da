package payment

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

var start = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

func begun(t testing.TB) Payment {
	t.Helper()
	p, err := Begin(Order{Number: "order-1", Fen: 12000, Expires: start.Add(15 * time.Minute)}, "booking-1", start)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func paid(fen int64) Answer {
	return Answer{Outcome: Done, State: Paid, Fen: 12000, Paid: fen, Reference: "ref"}
}

var (
	created  = Answer{Outcome: Done, State: Created, Fen: 12000, Cashier: "https://cash.example/1"}
	closed   = Answer{Outcome: Done, State: Closed, Fen: 12000}
	unknown  = Answer{Outcome: Unknown}
	notFound = Answer{Outcome: Refused, Code: NotFound}
	repaid   = Answer{Outcome: Done, State: Refunded}
)

// Each case is what is learned, in order, and where the payment then stands.
func TestRules(t *testing.T) {
	type step func(p *Payment, now time.Time)
	learn := func(a Answer) step { return func(p *Payment, now time.Time) { p.Learn(a, now) } }
	settle := func(ok bool) step { return func(p *Payment, now time.Time) { p.Settle(ok, now) } }
	back := func(a Answer) step { return func(p *Payment, now time.Time) { p.Repaid("order-1-r01", a, now) } }
	cancel := func(fen int64, want errs.Kind) step {
		return func(p *Payment, now time.Time) {
			if err := p.Cancel("visitor", fen, now); (want == 0) != (err == nil) || err != nil && errs.KindOf(err) != want {
				t.Errorf("Cancel: %v", err)
			}
		}
	}
	late := func(d time.Duration, s step) step { return func(p *Payment, now time.Time) { s(p, now.Add(d)) } }
	const ok = errs.Kind(0)
	for name, c := range map[string]struct {
		steps     []step
		phase     Phase
		state     State
		act       Act // some time after the last step
		paid      int64
		returning int64
		attention string
	}{
		"as it should be":              {[]step{learn(created), learn(paid(12000)), settle(true)}, Confirmed, Paid, Nothing, 12000, 0, ""},
		"not answered at all":          {[]step{learn(unknown)}, Creating, Created, Create, 0, 0, ""},
		"open, asked by schedule":      {[]step{learn(created)}, Open, Created, Query, 0, 0, ""},
		"create lost, paid is found":   {[]step{learn(unknown), learn(paid(12000))}, Collected, Paid, Confirm, 12000, 0, ""},
		"callback twice":               {[]step{learn(created), learn(paid(12000)), learn(paid(12000)), settle(true), learn(paid(12000))}, Confirmed, Paid, Nothing, 12000, 0, ""},
		"callback too late":            {[]step{learn(created), late(time.Hour, learn(paid(12000))), settle(false)}, Void, Refunding, Repay, 12000, 12000, ""},
		"and the money is back":        {[]step{learn(created), late(time.Hour, learn(paid(12000))), settle(false), back(repaid)}, Void, Refunded, Nothing, 12000, 12000, ""},
		"refund refused, again":        {[]step{learn(paid(12000)), settle(false), back(Answer{Outcome: Refused, Code: "balance"})}, Void, Refunding, Repay, 12000, 12000, RefundRefused},
		"refund unanswered, again":     {[]step{learn(paid(12000)), settle(false), back(unknown)}, Void, Refunding, Repay, 12000, 12000, ""},
		"refused, then done":           {[]step{learn(paid(12000)), settle(false), back(Answer{Outcome: Refused}), back(repaid)}, Void, Refunded, Nothing, 12000, 12000, ""},
		"too little":                   {[]step{learn(created), learn(paid(1))}, Void, Refunding, Repay, 1, 1, WrongAmount},
		"too much":                     {[]step{learn(created), learn(paid(12001))}, Void, Refunding, Repay, 12001, 12001, WrongAmount},
		"never paid":                   {[]step{learn(created), late(16*time.Minute, learn(closed))}, Ended, Closed, Nothing, 0, 0, ""},
		"paid after all":               {[]step{learn(created), late(16*time.Minute, learn(closed)), learn(paid(12000)), settle(false)}, Void, Refunding, Repay, 12000, 12000, ""},
		"closed after paid":            {[]step{learn(paid(12000)), settle(true), learn(closed)}, Confirmed, Paid, Nothing, 12000, 0, Contradiction},
		"an older answer comes late":   {[]step{learn(created), learn(paid(12000)), learn(created), settle(true)}, Confirmed, Paid, Nothing, 12000, 0, ""},
		"paid twice, differently":      {[]step{learn(paid(12000)), settle(true), learn(paid(500))}, Confirmed, Paid, Nothing, 12000, 0, Contradiction},
		"not found while fresh":        {[]step{learn(unknown), learn(notFound)}, Creating, Created, Create, 0, 0, ""},
		"not found when over":          {[]step{learn(unknown), late(20*time.Minute, learn(notFound))}, Ended, Closed, Nothing, 0, 0, ""},
		"lost by the provider":         {[]step{learn(created), late(20*time.Minute, learn(notFound))}, Ended, Closed, Nothing, 0, 0, Vanished},
		"refused outright":             {[]step{learn(Answer{Outcome: Refused, Code: "amount"})}, Ended, Closed, Nothing, 0, 0, ""},
		"open for a week":              {[]step{learn(created), late(7*24*time.Hour, learn(created))}, Open, Created, Query, 0, 0, NeverClosed},
		"cancelled, then paid":         {[]step{learn(created), cancel(0, ok), learn(paid(12000))}, Void, Refunding, Repay, 12000, 12000, ""},
		"cancelled while not known":    {[]step{learn(unknown), cancel(0, ok)}, Creating, Created, Query, 0, 0, ""},
		"cancelled while settling":     {[]step{learn(paid(12000)), cancel(12000, errs.Unavailable)}, Collected, Paid, Confirm, 12000, 0, ""},
		"cancelled with a fee":         {[]step{learn(paid(12000)), settle(true), cancel(9000, ok)}, Confirmed, Refunding, Repay, 12000, 9000, ""},
		"cancelled twice":              {[]step{learn(paid(12000)), settle(true), cancel(9000, ok), back(repaid), cancel(9000, ok)}, Confirmed, Paid, Nothing, 12000, 9000, ""},
		"cancelled twice, differently": {[]step{learn(paid(12000)), settle(true), cancel(9000, ok), cancel(8000, errs.Conflict)}, Confirmed, Refunding, Repay, 12000, 9000, ""},
		"more than was paid":           {[]step{learn(paid(12000)), settle(true), cancel(12001, errs.Conflict)}, Confirmed, Paid, Nothing, 12000, 0, ""},
		"a negative amount":            {[]step{learn(paid(12000)), settle(true), cancel(-1, errs.Invalid)}, Confirmed, Paid, Nothing, 12000, 0, ""},
		"went back without us":         {[]step{learn(Answer{Outcome: Done, State: Refunded, Paid: 12000, Returned: 12000})}, Void, Refunded, Nothing, 12000, 0, ForeignRefund},
		"a part went back without us":  {[]step{learn(Answer{Outcome: Done, State: Paid, Paid: 12000, Returned: 2000})}, Void, Refunding, Repay, 12000, 10000, ForeignRefund},
	} {
		p, now := begun(t), start
		for _, s := range c.steps {
			now = now.Add(time.Second)
			s(&p, now)
		}
		returning := int64(0)
		for _, r := range p.Refunds {
			returning += r.Fen
		}
		if p.Phase != c.phase || p.State() != c.state || p.Paid != c.paid || returning != c.returning || p.Attention != c.attention {
			t.Errorf("%s: %s %s paid %d returning %d attention %q", name, p.Phase, p.State(), p.Paid, returning, p.Attention)
		}
		soon := now.Add(10 * time.Minute)
		if p.Phase == Void || p.Phase == Open && p.Attention == NeverClosed {
			soon = p.Next
		}
		if p.Phase == Creating {
			soon = p.Next
		}
		if act := p.Act(soon); act != c.act {
			t.Errorf("%s: the next act is %q, want %q", name, act, c.act)
		}
	}
}

func TestBeginRefuses(t *testing.T) {
	good := Order{Number: "order-1", Fen: 1, Expires: start.Add(time.Minute)}
	for field, change := range map[string]func(*Order){
		"number":  func(o *Order) { o.Number = "a/b-c-d" },
		"fen":     func(o *Order) { o.Fen = 0 },
		"expires": func(o *Order) { o.Expires = start },
	} {
		o := good
		change(&o)
		if _, err := Begin(o, "b", start); !errs.Is(err, errs.Invalid) || errs.As(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, fen := range []int64{-1, MaxFen + 1} {
		o := good
		o.Fen = fen
		if _, err := Begin(o, "b", start); !errs.Is(err, errs.Invalid) {
			t.Errorf("%d fen: %v", fen, err)
		}
	}
}

// An order that can be paid is asked about at least every minute, at once when it has expired, and ever more rarely after.
func TestSchedule(t *testing.T) {
	p := begun(t)
	p.Learn(created, start)
	now, last, asked := start, time.Duration(0), false
	for range 60 {
		pause := p.Next.Sub(now)
		switch {
		case pause <= 0:
			t.Fatalf("asked again without a pause, %v after the start", now.Sub(start))
		case now.Before(p.Expires) && pause > time.Minute:
			t.Errorf("a pause of %v while it can be paid", pause)
		case !asked && now.After(p.Expires):
			asked = true
			if after := now.Sub(p.Expires); after > time.Second {
				t.Errorf("first asked %v after its expiry", after)
			}
		case pause > time.Hour:
			t.Errorf("a pause of %v", pause)
		}
		now, last = p.Next, pause
		p.Learn(created, now)
	}
	if last < 10*time.Minute || !asked {
		t.Errorf("after %v the pause is still %v", now.Sub(start), last)
	}
}

// Whatever is learned in whatever order: what goes back is bounded by what was paid, what is final stays so, and money
// that no booking took is on its way back.
func FuzzRules(f *testing.F) {
	f.Add([]byte{0, 1, 9, 20})
	f.Add([]byte{0, 1, 1, 8, 13, 14, 15, 16, 10, 11, 12})
	f.Fuzz(func(t *testing.T, events []byte) {
		p, now := begun(t), start
		for i, e := range events {
			now = now.Add(time.Duration(e/21) * time.Minute)
			before := p
			confirmed := p.Phase == Confirmed
			play(&p, e%21, now)
			check(t, before, p)
			if confirmed && p.Phase != Confirmed {
				t.Fatalf("event %d: a confirmed payment became %s", i, p.Phase)
			}
		}
	})
}

func play(p *Payment, e byte, now time.Time) {
	answers := []Answer{created, paid(12000), paid(500), closed, unknown, notFound, {Outcome: Refused, Code: "x"},
		{Outcome: Done, State: Refunding, Paid: 12000, Returned: 3000}, {Outcome: Done, State: Refunded, Paid: 12000, Returned: 99999}}
	switch {
	case int(e) < len(answers):
		p.Learn(answers[e], now)
	case e == 9 || e == 10:
		p.Settle(e == 9, now)
	case e < 14:
		_ = p.Cancel(string(rune('a'+e)), int64(e-10)*4000, now)
	case e < 17:
		p.Repaid([]string{"order-1-r01", "order-1-r02", "nonsense"}[e-14], repaid, now)
	case e < 20:
		p.Repaid("order-1-r01", []Answer{unknown, notFound, {Outcome: Done, State: Refunding}}[e-17], now)
	default:
		p.Retry(now)
	}
}

func check(t *testing.T, before, p Payment) {
	t.Helper()
	sum := int64(0)
	for i, r := range p.Refunds {
		sum += r.Fen
		if r.Fen <= 0 || i < len(before.Refunds) && (before.Refunds[i].Number != r.Number || before.Refunds[i].Fen != r.Fen || before.Refunds[i].Done && !r.Done) {
			t.Fatalf("a return was changed: %+v", p.Refunds)
		}
	}
	_, pending := p.Pending()
	switch {
	case sum > p.Paid:
		t.Fatalf("%d goes back of %d", sum, p.Paid)
	case before.Paid != 0 && p.Paid != before.Paid:
		t.Fatalf("what was paid changed from %d to %d", before.Paid, p.Paid)
	case p.Phase == Void && sum+p.Foreign < p.Paid:
		t.Fatalf("of a void payment of %d only %d goes back", p.Paid, sum+p.Foreign)
	case p.Phase == Confirmed && p.Paid != p.Fen:
		t.Fatalf("confirmed with %d of %d", p.Paid, p.Fen)
	case p.Phase == Ended && p.Paid > 0:
		t.Fatal("closed with money in it")
	case (pending || p.Phase == Open || p.Phase == Creating || p.Phase == Collected) == p.Next.IsZero():
		t.Fatalf("%s, pending %v, next %v", p.Phase, pending, p.Next)
	}
}
