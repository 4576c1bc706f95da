package label

import (
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func TestIDCard(t *testing.T) {
	for s, code := range map[string]string{
		"11010519491231002X": "", // the two examples of GB 11643
		"440524188001010014": "",
		"":                   "id-card.format",
		"110105194912310":    "id-card.format", // the 15 digits of the first generation
		"11010519491231002x": "id-card.format",
		"11010519491231002Ⅹ": "id-card.format",
		"1101051949123100２X": "id-card.format",
		"11010519491231002Y": "id-card.format",
		"X10105194912310021": "id-card.format",
		" 1010519491231002X": "id-card.format",
		"01010519491231002X": "id-card.region",
		"110105194902290024": "id-card.date",
		"110105194913310020": "id-card.date",
		"110105000001010020": "id-card.date",
		"110105194912310021": "id-card.check",
		"11010519491231003X": "id-card.check",
		"11010519491213002X": "id-card.check",
	} {
		checkCode(t, "IDCard", s, IDCard(s), code)
	}
}

func TestCreditCode(t *testing.T) {
	for s, code := range map[string]string{
		"91350100M000100Y43":  "", // the example of GB 32100
		"91350100m000100y43":  "credit-code.format",
		"91350100M000100Y4":   "credit-code.format",
		"91350100M000100Y433": "credit-code.format",
		"91350100I000100Y43":  "credit-code.format",
		"91350100O000100Y43":  "credit-code.format",
		"91350100S000100Y43":  "credit-code.format",
		"91350100V000100Y43":  "credit-code.format",
		"91350100Z000100Y43":  "credit-code.format",
		"9135010AM000100Y43":  "credit-code.region",
		"91350100M000100Y44":  "credit-code.check",
		"91350100M000010Y43":  "credit-code.check",
		"":                    "credit-code.format",
	} {
		checkCode(t, "CreditCode", s, CreditCode(s), code)
	}
}

func TestPhone(t *testing.T) {
	for s, code := range map[string]string{
		"13800000000": "", "19900000000": "",
		"12800000000": "phone.format", "+8613800000000": "phone.format", "1380000000": "phone.format",
		"138000000000": "phone.format", "1380000000a": "phone.format", "１3800000000": "phone.format", "": "phone.format",
		"23800000000": "phone.format", "138 0000 0000": "phone.format",
	} {
		checkCode(t, "Phone", s, Phone(s), code)
	}
}

func checkCode(t *testing.T, check, s string, err error, code string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("%s(%q) = %v", check, s, err)
		}
		return
	}
	e := errs.As(err)
	if err == nil || e.Kind != errs.Invalid || e.Code != code || e.Msg.ZH == "" || e.Msg.EN == "" {
		t.Errorf("%s(%q) = %v, want code %s", check, s, err, code)
		return
	}
	if len(s) > 8 && (strings.Contains(e.In(lang.ZH), s) || strings.Contains(e.In(lang.EN), s)) {
		t.Errorf("%s(%q) repeats the number: %v", check, s, err)
	}
}

// MOD 11-2 finds every single wrong digit and every swap of neighbours; MOD 31 with these weights does, too.
func TestCheckCharactersFindSlips(t *testing.T) {
	for _, c := range []struct {
		good, alphabet string
		check          func(string) error
	}{
		{"11010519491231002X", "0123456789", IDCard},
		{"91350100M000100Y43", creditAlphabet, CreditCode},
	} {
		for i := range len(c.good) {
			for _, r := range c.alphabet {
				if byte(r) != c.good[i] && c.check(c.good[:i]+string(r)+c.good[i+1:]) == nil {
					t.Errorf("%s passes with %q at %d", c.good, r, i)
				}
			}
			if i > 0 && c.good[i] != c.good[i-1] {
				if c.check(c.good[:i-1]+c.good[i:i+1]+c.good[i-1:i]+c.good[i+1:]) == nil {
					t.Errorf("%s passes with %d and %d swapped", c.good, i-1, i)
				}
			}
		}
	}
}

func TestFakes(t *testing.T) {
	seen := map[string]uint64{}
	seeds := []uint64{1 << 20, 1 << 32, 1 << 63, 1<<64 - 1}
	for seed := range uint64(50_000) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		id, code := FakeIDCard(seed), FakeCreditCode(seed)
		if err := IDCard(id); err != nil || id[:2] != "90" || id[6:10] < "1950" || id[6:10] > "2005" {
			t.Fatalf("FakeIDCard(%d) = %s: %v", seed, id, err)
		}
		if err := CreditCode(code); err != nil || code[:8] != "91900000" || checkOrganization(code[8:16]) != code[16] {
			t.Fatalf("FakeCreditCode(%d) = %s: %v", seed, code, err)
		}
		for _, s := range []string{id, code} {
			if other, ok := seen[s]; ok {
				t.Fatalf("seeds %d and %d both give %s", seed, other, s)
			}
			seen[s] = seed
			if !IsFake(s) {
				t.Fatalf("%s is not known as a fake", s)
			}
		}
		if id != FakeIDCard(seed) || code != FakeCreditCode(seed) {
			t.Fatalf("seed %d gives two answers", seed)
		}
	}
}

// A factor shared by the multiplier and n would show here: seeds n/factor apart would meet.
func TestScatterIsOneToOne(t *testing.T) {
	for _, n := range []uint64{fakeIDCards, fakeCreditCodes} {
		for _, factor := range []uint64{2, 3, 5, 7, 31, 487} {
			if n%factor != 0 {
				continue
			}
			seen := map[uint64]bool{}
			for k := range factor {
				seen[scatter(n/factor*k, n)] = true
			}
			if uint64(len(seen)) != factor {
				t.Errorf("seeds %d apart meet modulo %d", n/factor, n)
			}
		}
		if got := scatter(n-1, n); got != n-15_485_863 { // and the product does not overflow
			t.Errorf("scatter(%d) = %d", n-1, got)
		}
	}
}

func TestRealNumbersAreNoFakes(t *testing.T) {
	hainan := "469005199001010010" // a county-level city of Hainan, 4690xx, looks close: 90 at the third character
	hainan = hainan[:17] + string(checkMod11(hainan[:17]))
	foreigner := "946156199001010010" // a foreign permanent resident's, issued in Hainan
	foreigner = foreigner[:17] + string(checkMod11(foreigner[:17]))
	for _, s := range []string{hainan, foreigner, "11010519491231002X", "91350100M000100Y43", "9135010", "", "90", "919000000000000001"} {
		if IsFake(s) {
			t.Errorf("%s is called a fake", s)
		}
	}
}

// GB 11714: the number D2143569X is the example of the standard.
func TestOrganizationNumber(t *testing.T) {
	if got := checkOrganization("D2143569"); got != 'X' {
		t.Errorf("check character = %c", got)
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add("11010519491231002X")
	f.Add("91350100M000100Y43")
	f.Add("13800000000")
	f.Fuzz(func(t *testing.T, s string) {
		if IDCard(s) == nil && (len(s) != 18 || s[17] != checkMod11(s[:17])) {
			t.Fatalf("IDCard(%q) passes", s)
		}
		if CreditCode(s) == nil && (len(s) != 18 || strings.ContainsAny(s, "IOSVZ")) {
			t.Fatalf("CreditCode(%q) passes", s)
		}
		if Phone(s) == nil && len(s) != 11 {
			t.Fatalf("Phone(%q) passes", s)
		}
		if IsFake(s) && IDCard(s) != nil && CreditCode(s) != nil {
			t.Fatalf("IsFake(%q), but nothing passes", s)
		}
	})
}
