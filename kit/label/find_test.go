package label_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

func TestFind(t *testing.T) {
	for in, want := range map[string]string{
		"11010519491231002X":                      "id_card 110***********002X",
		"身份证:11010519491231002x，有效":               "id_card 身份证:110***********002x，有效",
		"ID11010519491231002X":                    "id_card ID110***********002X",
		"id440524188001010014end":                 "id_card id440***********0014end",
		"x11010519491231002Xy1101051949123100211": "id_card x110***********002Xy1101051949123100211",
		"110105 19491231 002X":                    "id_card 110*************002X",
		"１１０１０５１９４９１２３１００２Ｘ":                      "id_card １１０***********００２Ｘ",
		"91350100M000100Y43":                      "credit_code 91************0Y43",
		"call 138-0000-0000 now":                  "phone call 138******0000 now",
		"+8613800000000":                          "phone +86138****0000",
		"008613800000000":                         "phone 0086138****0000",
		"6222020000000000008":                     "",
		"6222 0200 0000 0000 003":                 "",
		"4111 1111 1111 1111":                     "bank_card 4111***********1111",
		"车牌琼A12345。":                              "plate 车牌琼A***45。",
		"琼AD12345":                                "plate 琼A****45",
		"粤ZF023港":                                 "plate 粤Z***3港",
		"":                                        "",
		"12345678901":                             "",
		"138000000001":                            "",
		"a13800000000":                            "",
		"550e8400-e29b-41d4-a716-446655440000":    "",
		"2024-06-15 09:23:45.123":                 "",
		"110105194912310021":                      "",
		"1101051949123100211":                     "",
		"省A12345":                                 "",
		"\xef\xbc":                                "",
		"\xef\xbf\xbd13800000000":                 "phone \xef\xbf\xbd138****0000",
	} {
		m, ok := label.Find(in, 0)
		got := ""
		if ok {
			got = m.Category + " " + string(label.AppendMasked(nil, in))
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	two := "11010519491231002X,13800000000"
	if m, ok := label.Find(two, 18); !ok || two[m.Start:m.End] != "13800000000" {
		t.Errorf("%+v", m)
	}
}

// Every number that the generators make is found in any surroundings that are no part of it.
func TestFindFakes(t *testing.T) {
	for seed := range uint64(2000) {
		for _, number := range []string{label.FakeIDCard(seed), label.FakeCreditCode(seed)} {
			for _, around := range []string{"%s", "号码%s。", "(%s)", "a=%s&b", "\"%s\"", "%s\n"} {
				text := fmt.Sprintf(around, number)
				if m, ok := label.Find(text, 0); !ok || text[m.Start:m.End] != number {
					t.Fatalf("%q: %+v", text, m)
				}
			}
		}
	}
}

func TestPermits(t *testing.T) {
	check := func(f func(string) error, good, bad string) {
		t.Helper()
		for _, s := range strings.Fields(good) {
			if err := f(s); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
		for _, s := range append(strings.Fields(bad), "") {
			if err := f(s); !errs.Is(err, errs.Invalid) || len(s) > 5 && strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	// The first five are test numbers that card schemes publish.
	check(label.BankCard, "4111111111111111 5555555555554444 3530111333300000 378282246310005 6011000990139424", "4111111111111112 0111111111111112 41111111111 4111-1111-1111-1111 41111111111111111111")
	check(label.Passport, "E12345678 EA1234567 G12345678 DE1234567 SE1234567 PE1234567 K12345678 KJ1234567 H12345678 MA1234567", "EI1234567 EO1234567 e12345678 E1234567 E123456789 A12345678 PX1234567")
	check(label.HomePermit, "H12345678 M12345678 H1234567801", "X12345678 H1234567 H123456789 h12345678")
	check(label.TaiwanPermit, "12345678 1234567801", "1234567 123456789 A2345678")
	check(label.Plate, "琼A12345 京AF0236 粤B12345D 琼AD12345 琼A1234挂 沪A1234学 粤ZF023港 沪AA12345 琼A1234警", "A12345 琼 琼A 琼I12345 琼A1234I 琼A123456 琼a12345 省A12345 琼A12挂34 琼1A2345 琼AL12345")
	check(label.ForeignerPermit, "CHN460012345678", "CHN46001234567 chn460012345678 11010519491231002X 900000000000000000")
	for _, region := range []string{"810000", "820000", "830000"} {
		s := withCheck(region + "19900101001")
		check(label.ResidencePermit, s, s[:17])
	}
	check(label.ResidencePermit, "", "11010519491231002X 810000199001010010X")
	check(label.ForeignerPermit, withCheck("91146019900101001"), "")
}

// withCheck adds the check character that makes an identity number of 17 digits.
func withCheck(s string) string {
	for _, c := range "0123456789X" {
		if label.IDCard(s+string(c)) == nil {
			return s + string(c)
		}
	}
	return s
}

func TestUpgradeIDCard(t *testing.T) {
	if s, err := label.UpgradeIDCard("110105491231002"); err != nil || s != "11010519491231002X" {
		t.Errorf("%s, %v", s, err)
	}
	for _, s := range []string{"", "11010549123100", "11010549123100X", "110105490229002", "010105491231002", "11010519491231002X"} {
		if got, err := label.UpgradeIDCard(s); !errs.Is(err, errs.Invalid) || got != "" {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("身份证:11010519491231002x，4111 1111 1111 1111，琼A12345，粤ZF023港")
	f.Add("１３８-0000-0000")
	f.Fuzz(func(t *testing.T, s string) {
		for from := 0; ; {
			m, ok := label.Find(s, from)
			if !ok {
				break
			}
			if m.Start < from || m.End <= m.Start || m.End > len(s) || m.Category == "" || m.Mask.IsZero() {
				t.Fatalf("%q from %d: %+v", s, from, m)
			}
			from = m.End
		}
		masked := string(label.AppendMasked(nil, s))
		// The end of a masked number may make another with the digits that follow.
		if m, ok := label.Find(masked, 0); ok && !strings.HasSuffix(masked[:m.Start], "*") {
			t.Fatalf("%q still has a %s: %q", s, m.Category, masked)
		}
		for _, check := range []func(string) error{label.BankCard, label.Passport, label.HomePermit, label.TaiwanPermit, label.Plate, label.ForeignerPermit, label.ResidencePermit} {
			_ = check(s)
		}
	})
}
