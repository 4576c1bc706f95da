package room

import (
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// admit returns a room in which number 1 is admitted at the opening, with its admission.
func admit(t testing.TB) (*Room, string) {
	t.Helper()
	r := filled(t, 1, nil)
	open(t, r, nil)
	r.Admit(opens, Signal{Stock: 1})
	if in := r.Admit(opens.Add(time.Second), Signal{Stock: 1}); len(in) != 1 {
		t.Fatalf("%v went in", in)
	}
	token, until, ok := r.Admission(opens.Add(time.Second), 1, person(0))
	if !ok || !until.Equal(opens.Add(time.Second+3*time.Minute)) {
		t.Fatalf("Admission: until %v, %v", until, ok)
	}
	return r, token
}

func TestAdmissionIsForOnePersonSaleAndTime(t *testing.T) {
	r, token := admit(t)
	checker, err := NewChecker(config().Key)
	must(t, err)
	other, err := NewChecker([]byte("the key of another house"))
	must(t, err)
	now, sale := opens.Add(time.Minute), config().Sale
	if n, err := checker.Check(token, sale, person(0), now); n != 1 || err != nil {
		t.Fatalf("Check: %d, %v", n, err)
	}
	const forged, expired = "room.admission", "room.admission-expired"
	for name, c := range map[string]struct {
		checker *Checker
		token   string
		sale    string
		person  []byte
		now     time.Time
		code    string
	}{
		"another person":   {checker, token, sale, person(1), now, forged},
		"nobody":           {checker, token, sale, nil, now, forged},
		"another sale":     {checker, token, sale + "x", person(0), now, forged},
		"shifted":          {checker, token, sale + "p", person(0)[1:], now, forged},
		"a very long sale": {checker, token, strings.Repeat("x", 1000), person(0), now, forged},
		"another house":    {other, token, sale, person(0), now, forged},
		"empty":            {checker, "", sale, person(0), now, forged},
		"its last moment":  {checker, token, sale, person(0), opens.Add(time.Second + 3*time.Minute), expired},
		"a place's token":  {checker, r.place(1).Token, sale, person(0), now, forged},
		"with a newline":   {checker, token[:len(token)-1] + "\n", sale, person(0), now, forged},
		"longer":           {checker, token + "A", sale, person(0), now, forged},
	} {
		if _, err := c.checker.Check(c.token, c.sale, c.person, c.now); !errs.Is(err, errs.Forbidden) || errs.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range token {
		for _, with := range "A-b_9 \n=\x00é" {
			if bad := token[:i] + string(with) + token[i+1:]; bad != token {
				if _, err := checker.Check(bad, sale, person(0), now); err == nil {
					t.Fatalf("with character %d changed to %q it still works", i, with)
				}
			}
		}
	}
	if _, _, ok := r.Admission(now, 1, person(1)); ok {
		t.Error("a stranger is given the admission")
	}
	must(t, r.Use(1))
	if _, _, ok := r.Admission(now, 1, person(0)); ok {
		t.Error("who has used the admission is given it again")
	}
}

// After a restart with an older export, who brings a token has their place again, in or behind the draw.
func TestResume(t *testing.T) {
	r := newRoom(t, func(c *Config) { c.Gap = 10 })
	now := opens.Add(-time.Minute)
	join(t, r, now, 0)
	export := r.Export()
	mine, theirs := join(t, r, now.Add(time.Second), 1), join(t, r, now.Add(2*time.Second), 2)
	r, err := Restore(r.cfg, export)
	must(t, err)
	if p := join(t, r, opens.Add(-time.Second), 3); p.Number != 12 {
		t.Errorf("after the restart the next one is number %d", p.Number)
	}
	if err := r.Use(mine.Number); err != nil || r.places[mine.Number-1].state != Vacant {
		t.Errorf("an admission from before the restart: %v", err)
	}
	if err := r.Use(1000); !errs.Is(err, errs.NotFound) {
		t.Errorf("a number that never was: %v", err)
	}
	for name, c := range map[string]struct {
		person int
		token  string
	}{"another's": {4, mine.Token}, "none": {1, ""}, "changed": {1, "B" + mine.Token[1:]}} {
		if _, err := r.Resume(opens.Add(-time.Second), person(c.person), c.token); !errs.Is(err, errs.Forbidden) || errs.As(err).Code != "room.token" {
			t.Errorf("with %s token: %v", name, err)
		}
	}
	for range 2 {
		if p, err := r.Resume(opens.Add(-time.Second), person(1), mine.Token); err != nil || p.Number != 2 || !p.Joined.Equal(mine.Joined) || p.Token != mine.Token {
			t.Fatalf("resumed: %+v, %v", p, err)
		}
	}
	if s := status(t, r, now, 2); s.State != InDraw || r.Len() != 3 {
		t.Errorf("resumed it is %+v of %d", s, r.Len())
	}
	d := open(t, r, nil)
	if p, err := r.Resume(opens, person(2), theirs.Token); err != nil || p.Number != 13 || len(d.Order()) != 3 {
		t.Errorf("after the list was closed: %+v, %v", p, err)
	}
}

// Behind the draw, a place that comes back is where it was, also where the queue has moved past it.
func TestResumeBehindTheDraw(t *testing.T) {
	r := filled(t, 2, func(c *Config) { c.Gap, c.Inlet.Start = 5, 100 })
	open(t, r, nil)
	export := r.Export()
	early := join(t, r, opens.Add(time.Second), 2)
	r, err := Restore(r.cfg, export)
	must(t, err)
	join(t, r, opens.Add(2*time.Second), 3)
	join(t, r, opens.Add(2*time.Second), 4)
	r.Admit(opens, Signal{Stock: 100})
	in := r.Admit(opens.Add(30*time.Millisecond), Signal{Stock: 100})
	if len(in) != 3 || in[2] != 8 {
		t.Fatalf("%v went in", in)
	}
	p, err := r.Resume(opens.Add(3*time.Second), person(2), early.Token)
	if err != nil || p.Number != 3 || status(t, r, opens, 3).Ahead != 0 || status(t, r, opens, 9).Ahead != 1 {
		t.Errorf("resumed: %+v, %v", p, err)
	}
	if in := r.Admit(opens.Add(4*time.Second), Signal{Stock: 100}); len(in) != 2 || in[0] != 3 {
		t.Errorf("then %v went in", in)
	}
}

func FuzzTokens(f *testing.F) {
	r, admission := admit(f)
	f.Add(admission)
	f.Add(r.place(1).Token)
	f.Add(strings.Repeat("A", TokenLength))
	checker := r.tokens.checker
	f.Fuzz(func(t *testing.T, token string) {
		n, err := checker.Check(token, config().Sale, person(0), opens.Add(2*time.Second))
		if (err == nil) != (token == admission) || err == nil && n != 1 {
			t.Fatalf("Check(%q) = %d, %v", token, n, err)
		}
		if _, _, err := r.tokens.parse(token, r.aliases[0]); (err == nil) != (token == r.place(1).Token) {
			t.Fatalf("parse(%q): %v", token, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	_, token := admit(b)
	checker, err := NewChecker(config().Key)
	must(b, err)
	who, sale := person(0), config().Sale
	b.ReportAllocs()
	for b.Loop() {
		if _, err := checker.Check(token, sale, who, opens); err != nil {
			b.Fatal(err)
		}
	}
}
