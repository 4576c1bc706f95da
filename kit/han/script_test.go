package han

import (
	"strings"
	"testing"
	"unicode"
)

func codes(text string, p Policy) string {
	var all []string
	for _, f := range Check(text, p) {
		all = append(all, f.Code)
	}
	return strings.Join(all, ",")
}

func TestFields(t *testing.T) {
	lenient := Name
	lenient.Lenient = true
	for _, c := range []struct {
		text   string
		policy Policy
		want   string
	}{
		// Minority scripts, where the field takes them.
		{"བོད་ཡིག", MinorityName, ""},
		{"ئۇيغۇر", MinorityName, ""},
		{"قازاق", MinorityName, ""},
		{"ᠮᠣᠩᠭᠣᠯ", MinorityName, ""},
		{"ꆈꌠ", MinorityName, ""},
		{"Vahcuengh", MinorityName, ""},
		{"Vaƨcueŋƅ", MinorityName, ""},
		{"m\u0300", MinorityName, ""},
		{"䶮·ཡིག", MinorityName, ""},
		{"བོད", Name, "name.character"},
		{"ئۇيغۇر", Name, "name.character"},
		{"m\u0300", Name, "name.character"},
		{"བོད།", MinorityName, "text.character"},
		{"བོད།", Title, ""},
		{"\u0f72བ", MinorityName, "text.mark"},
		{"一\u0f72", MinorityName, "text.mark"},
		{"བ\u0301", MinorityName, "text.mark"},
		{"\u0301a", Title, "text.mark"},
		{"ꆈ3", MinorityName, "text.character"},
		{"\ufe8d", MinorityName, "text.character"}, // a presentation form
		{"ب\u064e", MinorityName, "text.character"},
		{"한글", MinorityName, "text.character"},

		// Invisible characters: those that spell Mongolian, in their places.
		{"ᠮ\u180bᠣ", MinorityName, ""},
		{"ᠨ\u180eᠠ", MinorityName, ""},
		{"ᠮᠣ\u202fᠤᠨ", MinorityName, ""},
		{"\u180bᠮ", MinorityName, "text.hidden"},
		{"某\u180e", MinorityName, "text.hidden"},
		{"ᠮ\u180b", Name, "name.character,text.hidden"},
		{"ᠮ\u200dᠣ", MinorityName, "text.hidden"},
		{"ئ\u200cۇ", MinorityName, "text.hidden"},
		{"ئ\u202eۇ", Title, "text.bidi"},
		{"ئ\u200fۇ", Title, "text.bidi"},

		// Shapes.
		{"某\U000e0100", Name, "text.variation"},
		{"某\ufe00", Name, "text.variation"},
		{"a\U000e0100", Name, "text.hidden"},
		{"x\ufe0f", Title, "text.hidden"},
		{"❤\ufe0f", Policy{}, ""},
		{"👩\u200d💻", Policy{}, ""},
		{"👩\u200d💻", Title, "text.character,text.hidden"},
		{"某\U000e0100", Policy{}, "text.variation"},
		{"❤\U000e0100", Policy{}, "text.hidden"},

		// Old data.
		{"某•\ue81e", lenient, "name.dot,text.private-use"},
		{"某•\ue81e", Name, "name.dot,text.private-use"},

		// Organizations, titles, addresses.
		{"海南某某（集团）有限公司·三亚分公司 No.3", Organization, ""},
		{"某某公司\n", Organization, "text.control"},
		{"某某公司😀", Organization, "text.character"},
		{"龍門體育館", Organization, ""},
		{"关于“某㛃”的公告（第3号）：一、二；三。", Title, ""},
		{"海南省海口市某路１号３-２０１室#B", Address, "text.compatibility"},
		{"海南省海口市某路1号3-201室#B", Address, ""},
		{"某路<script>", Address, "text.character"},
		{"⺩", Organization, "text.character"},
	} {
		if got := codes(c.text, c.policy); got != c.want {
			t.Errorf("Check(%+q) = %q, want %q", c.text, got, c.want)
		}
	}
	if Refused(Check("某•\ue81e", lenient)) {
		t.Error("old data is refused where it is legible")
	}
}

// What no field takes, in any place.
func TestNoFieldTakesWhatNobodySees(t *testing.T) {
	for _, p := range []Policy{Name, MinorityName, Organization, Title, Address} {
		for r := rune(0); r <= unicode.MaxRune; r++ {
			mongolian := r >= 0x180B && r <= 0x180F
			if !unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Cc, r) && !unicode.Is(unicode.Zl, r) && !unicode.Is(unicode.Zp, r) || mongolian {
				continue
			}
			for _, s := range []string{"某" + string(r) + "某", "ᠮ" + string(r) + "ᠮ", "ئ" + string(r) + "ئ", "a" + string(r) + "a"} {
				if !Refused(Check(s, p)) {
					t.Fatalf("%+q is taken", s)
				}
			}
		}
	}
}

func TestFolding(t *testing.T) {
	for in, want := range map[string]string{"Ａ１（ｂ）　ｶ": "A1(b) カ", "某䶮": "某䶮"} {
		if got := FoldWidth(in); got != want {
			t.Errorf("FoldWidth(%q) = %q", in, got)
		}
	}
	for in, want := range map[string]int{"a\x00b\x08\x0b\x0c\x0e\x1f\x7f": 7, "a\t\n\r䶮\u0085": 0} {
		got, n := StripControls(in)
		if n != want || n > 0 && got != "ab" || n == 0 && got != in {
			t.Errorf("StripControls(%q) = %q, %d", in, got, n)
		}
	}
}

func TestNameKey(t *testing.T) {
	for _, same := range [][]string{
		{"某某·某某", "某某•某某", "某某 ・ 某某", "某某．某某", "某某\u200b·某某", "某某･某某 "},
		{"某䶮", "某　䶮", " 某 䶮 ", "某\U000e0100䶮", "\ufeff某䶮"},
		{"Xe Ya", "ＸＥ　ＹＡ", "xe  ya", "XE YA "},
		{"É", "e\u0301"},
		{"O'X", "O’X"},
		{"\u8c48", "\uf900"},
		{"\u9fb4", "\ue81e"},
		{"", " ", "\u200b"},
	} {
		for _, s := range same {
			if got, want := NameKey(s), NameKey(same[0]); got != want {
				t.Errorf("NameKey(%+q) = %+q, want %+q as of %+q", s, got, want, same[0])
			}
		}
	}
	for _, pair := range [][2]string{{"某䶮", "某龑"}, {"Xe Ya", "Xeya"}, {"某·某", "某某"}, {"𠮷", "吉"}} {
		if NameKey(pair[0]) == NameKey(pair[1]) {
			t.Errorf("%q and %q have one key", pair[0], pair[1])
		}
	}
}

func FuzzNameKey(f *testing.F) {
	f.Add("某 ・ 䶮\ue81e\xff")
	f.Add("e\u200b\u0301 ｶﾞ ﾡ Σς İ")
	f.Fuzz(func(t *testing.T, s string) {
		if key := NameKey(s); NameKey(key) != key {
			t.Errorf("the key of %+q is %+q, whose key is %+q", s, key, NameKey(key))
		}
	})
}
