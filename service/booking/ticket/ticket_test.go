package ticket

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

var day = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// key returns the n-th test key.
func key(t testing.TB, n byte) *gm.PrivateKey {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys[n]
}

// testKeys are made once, for to precompute a key takes time.
var testKeys = sync.OnceValues(func() (keys [3]*gm.PrivateKey, err error) {
	for n := 1; n < len(keys) && err == nil; n++ {
		scalar := [32]byte{31: byte(n)}
		keys[n], err = gm.NewPrivateKey(scalar[:])
	}
	return keys, err
})

func sample() Ticket {
	return Ticket{
		Booking: 1 << 60, Slot: 7, Spot: 3, Party: 4, From: day.Add(8 * time.Hour), Until: day.Add(10 * time.Hour),
		Flags: Elderly | RealName, Digest: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
	}
}

func signed(t testing.TB, change func(*Ticket)) string {
	t.Helper()
	s := sample()
	if change != nil {
		change(&s)
	}
	code, err := Sign(key(t, 1), s)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestSignAndVerify(t *testing.T) {
	keys, code := NewKeys(key(t, 2).PublicKey(), key(t, 1).PublicKey()), signed(t, nil)
	if len(code) != Length || Length != 154 {
		t.Errorf("a code is %d characters", len(code))
	}
	noon := day.Add(9 * time.Hour)
	got, why := keys.Verify(code, 3, noon)
	if want := sample(); why != OK || got.Booking != want.Booking || got.Slot != want.Slot || got.Party != want.Party || got.Flags != want.Flags ||
		got.Digest != want.Digest || !got.From.Equal(want.From) || !got.Until.Equal(want.Until) {
		t.Errorf("Verify = %+v, %v", got, why)
	}
	for name, c := range map[string]struct {
		keys *Keys
		code string
		spot uint16
		now  time.Time
		want Reason
	}{
		"the first moment":       {keys, code, 3, day.Add(8 * time.Hour), OK},
		"a moment before":        {keys, code, 3, day.Add(8*time.Hour - 1), TooEarly},
		"the last moment":        {keys, code, 3, day.Add(10*time.Hour - 1), OK},
		"a moment after":         {keys, code, 3, day.Add(10 * time.Hour), TooLate},
		"another spot":           {keys, code, 4, noon, WrongSpot},
		"a key that left":        {NewKeys(key(t, 2).PublicKey()), code, 3, noon, UnknownKey},
		"no keys":                {NewKeys(), code, 3, noon, UnknownKey},
		"nothing":                {keys, "", 3, noon, Malformed},
		"a URL":                  {keys, "HTTPS://EXAMPLE.CN/" + strings.Repeat("A", 135), 3, noon, Malformed},
		"lower case":             {keys, strings.ToLower(code), 3, noon, Malformed},
		"with a space behind it": {keys, code + " ", 3, noon, Malformed},
	} {
		if _, why := c.keys.Verify(c.code, c.spot, c.now); why != c.want {
			t.Errorf("%s: %v, want %v", name, why, c.want)
		}
	}
}

// A code with any one character changed lets nobody in.
func TestEveryChangeIsRefused(t *testing.T) {
	keys, code, noon := NewKeys(key(t, 1).PublicKey()), signed(t, nil), day.Add(9*time.Hour)
	for i := range code {
		for _, with := range "0F:a\n\x00" {
			bad := code[:i] + string(with) + code[i+1:]
			if bad == code {
				continue
			}
			if got, why := keys.Verify(bad, 3, noon); why == OK || why == Forged && got != (Ticket{}) {
				t.Fatalf("with character %d changed to %q: %v, %+v", i, with, why, got)
			}
		}
	}
	for i := range code {
		if _, why := keys.Verify(code[:i], 3, noon); why != Malformed {
			t.Errorf("cut to %d: %v", i, why)
		}
	}
}

// A key's signature of the same bytes under another id, or of another ticket, is no ticket.
func TestForgeries(t *testing.T) {
	keys, noon := NewKeys(key(t, 1).PublicKey()), day.Add(9*time.Hour)
	body := sample().body(IDOf(key(t, 1).PublicKey()))
	der, err := gm.Sign(key(t, 1), []byte(gm.DefaultID), body)
	if err != nil {
		t.Fatal(err)
	}
	byOtherID, err := rawOf(der)
	if err != nil {
		t.Fatal(err)
	}
	byOther, err := signRaw(key(t, 2), body)
	if err != nil {
		t.Fatal(err)
	}
	own, err := Parse(signed(t, func(t *Ticket) { t.Party = 1 }))
	if err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string][]byte{"another id": byOtherID, "another key": byOther, "another ticket": own.sig[:], "zeroes": make([]byte, sigSize)} {
		code := prefix + encode45(append(append([]byte(nil), body...), sig...))
		if _, why := keys.Verify(code, 3, noon); why != Forged {
			t.Errorf("%s: %v", name, why)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	for field, change := range map[string]func(*Ticket){
		"party": func(t *Ticket) { t.Party = 0 },
		"flags": func(t *Ticket) { t.Flags = 0x80 },
		"from":  func(t *Ticket) { t.From = t.From.Add(time.Second) },
		"until": func(t *Ticket) { t.Until = t.From },
	} {
		s := sample()
		change(&s)
		if _, err := Sign(key(t, 1), s); !errs.Is(err, errs.Invalid) || errs.As(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for name, at := range map[string]time.Time{"before 1970": time.Unix(-60, 0), "in the year 10136": time.Unix(60<<32, 0)} {
		s := sample()
		s.From, s.Until = at, at.Add(time.Hour)
		if _, err := Sign(key(t, 1), s); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Keys that happen to share an id are all tried.
func TestKeysOfOneID(t *testing.T) {
	one, two := key(t, 1).PublicKey(), key(t, 2).PublicKey()
	keys := NewKeys(one)
	keys.byID[IDOf(one)] = []*gm.PublicKey{two, one}
	if _, why := keys.Verify(signed(t, nil), 3, day.Add(9*time.Hour)); why != OK {
		t.Errorf("Verify: %v", why)
	}
}

// The vectors of RFC 9285, sections 4.3 and 4.4, and its limits.
func TestBase45(t *testing.T) {
	for plain, text := range map[string]string{
		"AB": "BB8", "Hello!!": "%69 VD92EX0", "base-45": "UJCLQE7W581", "ietf!": "QED8WEX0", "": "", "\xff\xff": "FGW",
	} {
		if got := encode45([]byte(plain)); got != text {
			t.Errorf("%q is %q, want %q", plain, got, text)
		}
		into := make([]byte, len(plain))
		if !decode45(into, text) || string(into) != plain {
			t.Errorf("%q is read as %q", text, into)
		}
	}
	for text, size := range map[string]int{"GGW": 2, ":::": 2, "::": 1, "V5": 1, "bb8": 2, "BB": 2, "BB8A": 2, "B\x00B": 2} {
		if decode45(make([]byte, size), text) {
			t.Errorf("%q is read as %d bytes", text, size)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(signed(f, nil))
	f.Add(signed(f, func(t *Ticket) { t.Flags = 0 }))
	f.Fuzz(func(t *testing.T, code string) {
		c, err := Parse(code)
		if err != nil {
			return
		}
		if again := prefix + encode45(append(c.Ticket.body(c.Key), c.sig[:]...)); again != code {
			t.Fatalf("%q is read as %q", code, again)
		}
	})
}

func TestReasonsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for r := OK; r <= TooMany; r++ {
		if r.Text().ZH == "" || r.Text().EN == "" || seen[r.String()] {
			t.Errorf("reason %d: %q %+v", r, r, r.Text())
		}
		seen[fmt.Sprint(r)] = true
	}
}

func BenchmarkVerify(b *testing.B) {
	keys, code, noon := NewKeys(key(b, 1).PublicKey()), signed(b, nil), day.Add(9*time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, why := keys.Verify(code, 3, noon); why != OK {
			b.Fatal(why)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	k, s := key(b, 1), sample()
	for b.Loop() {
		if _, err := Sign(k, s); err != nil {
			b.Fatal(err)
		}
	}
}
