package han

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func TestNamesThatAreAccepted(t *testing.T) {
	for _, name := range []string{
		"某䶮", "𠮷某", "某堃", "某喆", "某㛃", "某𬭎", "某", "某某某·某某", "某某·某某·某", "某·X",
		"㐀", "龥", "鿿", "〇", "𪚥", "𱁬", "𲎯", "\U000323b0", "\ufa0e", // of every extension, and one of the twelve
		"Ää Öü", "X-X O'X", "O’X", "X. X", "X X Jr.", "Xễ Ạx",
	} {
		if got := CheckName(name); got != nil {
			t.Errorf("CheckName(%q) = %+v", name, got)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for name, want := range map[string]string{
		"":                          "name.end 0",
		"某\x00明":                    "text.control 3",
		"某\x1f":                     "text.control 3",
		"某\x7f":                     "text.control 3",
		"某\u0085":                   "text.control 3",
		"某\n":                       "text.control 3",
		"某\t明":                      "text.control 3",
		"某\u2028明":                  "text.control 3",
		"某\u202e明":                  "text.bidi 3",
		"某\u2066明":                  "text.bidi 3",
		"\u200f某":                   "text.bidi 0",
		"某\u200b明":                  "text.hidden 3",
		"某\u200d明":                  "text.hidden 3",
		"\ufeff某":                   "text.hidden 0",
		"某\U000e0041":               "text.hidden 3",
		"某\u3164":                   "text.hidden 3",
		"某\ufffe":                   "text.noncharacter 3",
		"某\ufdd0":                   "text.noncharacter 3",
		"某\U0002ffff":               "text.noncharacter 3",
		"某\U0010ffff":               "text.noncharacter 3",
		"某\ue863":                   "text.private-use 3",
		"某\U000f0000":               "text.private-use 3",
		"某\ufffd":                   "text.replacement 3",
		"某\xff明":                    "text.utf8 3",
		"某\xe4\xb8":                 "text.utf8 3",
		"某\xed\xa0\x80":             "text.utf8 3", // a lone surrogate
		"某\xc0\x80":                 "text.utf8 3", // an overlong null
		"某某某•某某":                    "name.dot 9",
		"某某某・某某":                    "name.dot 9",
		"某某某．某某":                    "name.dot 9",
		"某3":                        "name.character 3",
		"某，明":                       "name.character 3",
		"⺩明":                        "name.character 0", // a radical, not a character
		"⼀":                         "name.character 0",
		"某😀":                        "name.character 3",
		"<b>":                       "name.character 0",
		"·某":                        "name.separator 0",
		" 某":                        "name.separator 0",
		"某··明":                      "name.separator 5",
		"某·":                        "name.end 5",
		"某 ":                        "name.end 4",
		strings.Repeat("𠮷", 101):    "text.length 404",
		"某\x00\x00\x00\u202e\u202e": "text.control 3, text.bidi 6",
	} {
		var got []string
		findings := CheckName(name)
		for _, f := range findings {
			got = append(got, fmt.Sprintf("%s %d", f.Code, f.Offset))
			if f.Level != Refuse {
				t.Errorf("CheckName(%q): %s does not refuse", name, f.Code)
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("CheckName(%q) = %q, want %q", name, got, want)
		}
	}
	if got := CheckName(strings.Repeat("𠮷", 100)); got != nil {
		t.Errorf("100 code points of four bytes: %+v", got)
	}
}

func TestWarnings(t *testing.T) {
	for text, code := range map[string]string{
		"\uf900": "text.compatibility", "\ufa10": "text.compatibility", "\U0002f800": "text.compatibility",
		"\ufa29\ufad9": "text.compatibility", "Ａx": "text.compatibility",
	} {
		got := CheckName(text)
		if len(got) != 1 || got[0].Level != Warn || got[0].Code != code {
			t.Errorf("CheckName(%q) = %+v", text, got)
		}
		if Refused(got) || Error(got, "name") != nil {
			t.Errorf("%q is refused", text)
		}
	}
	old := Check("内\ue000部", Policy{PrivateUse: true})
	if len(old) != 1 || old[0].Level != Warn || old[0].Rune != 0xe000 || old[0].Offset != 3 {
		t.Errorf("private use in an old text = %+v", old)
	}
	if !Refused(Check("\ue000", Policy{PrivateUse: true, Person: true})) {
		t.Error("private use in a name is not refused")
	}
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		text   string
		policy Policy
		want   string
	}{
		{"海南某公司（筹），3 人 😀", Policy{}, ""},
		{"一\n二\r\n\t三", Policy{Lines: true}, ""},
		{"一\n二", Policy{}, "text.control"},
		{"一\x0b二", Policy{Lines: true}, "text.control"},
		{"𠮷𠮷", Policy{Max: 2}, ""},
		{"𠮷𠮷𠮷", Policy{Max: 2}, "text.length"},
		{"", Policy{}, ""},
		{"\xff", Policy{Lines: true, PrivateUse: true}, "text.utf8"},
	} {
		var codes []string
		for _, f := range Check(c.text, c.policy) {
			codes = append(codes, f.Code)
		}
		if strings.Join(codes, ",") != c.want {
			t.Errorf("Check(%q, %+v) = %q, want %q", c.text, c.policy, codes, c.want)
		}
	}
}

func TestErrorSaysWhereAndRepeatsNothing(t *testing.T) {
	err := Error(CheckName("机密机密\u202e3"), "legal.name")
	e := errs.As(err)
	if !errs.Is(err, errs.Invalid) || e.Field != "legal.name" || e.Code != "text.bidi" || len(e.Also) != 1 || e.Also[0].Code != "name.character" {
		t.Fatalf("Error = %#v", e)
	}
	for _, l := range []lang.Lang{lang.ZH, lang.EN} {
		if s := e.In(l); strings.Contains(s, "机密") || !strings.Contains(s, "12") {
			t.Errorf("In(%s) = %q", l, s)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("某䶮", true, false)
	f.Add("某\xff\u202e\ue000", false, true)
	f.Fuzz(func(t *testing.T, s string, person, lines bool) {
		findings := Check(s, Policy{Person: person, Lines: lines, Max: 50})
		last := 0
		for _, x := range findings {
			if x.Offset < last || x.Offset > len(s) || x.Text.ZH == "" || x.Text.EN == "" || x.Code == "" {
				t.Fatalf("Check(%q): %+v", s, x)
			}
			last = x.Offset
		}
		if !Refused(findings) && (!utf8.ValidString(s) || utf8.RuneCountInString(s) > 50 || strings.ContainsAny(s, "\x00\u202e\u200b\ue000")) {
			t.Fatalf("Check(%q) accepts it", s)
		}
	})
}

// The short cut for what most text is made of passes over no rule.
func TestPlainTextHasOnlyTheRulesOfNames(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		if !isPlain(r) {
			continue
		}
		if unicode.Is(unicode.Cc, r) || unicode.Is(bidi, r) || unicode.Is(selectors, r) || unicode.Is(hidden, r) ||
			unicode.Is(unicode.Co, r) || unicode.Is(compatibility, r) || isNoncharacter(r) {
			t.Errorf("%U has a rule of its own", r)
		}
	}
}
