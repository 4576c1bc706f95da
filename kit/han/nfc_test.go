package han

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestInertIsTrue(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		if !inert(r) || !utf8.ValidRune(r) {
			continue
		}
		p := norm.NFC.PropertiesString(string(r))
		if p.CCC() != 0 || !p.BoundaryBefore() || !norm.NFC.IsNormalString(string(r)) {
			t.Errorf("%U is not inert", r)
		}
	}
}

// Every scalar value, with neighbours that it may combine with, and across the edges of words.
func TestIsNFCAnswersAsXText(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) || r >= 0x34000 && r < 0xE0000 || r >= 0xE1000 && r%0x100 != 0 {
			continue // nothing is assigned there
		}
		same(t, string(r)+"\u0301\u0323一二三")
		same(t, "一二ae"+string(r)+"海南自由贸易港")
	}
}

func same(t *testing.T, s string) {
	t.Helper()
	want := norm.NFC.IsNormalString(s)
	if got, bytes := IsNFC(s), IsNFC([]byte(s)); got != want || bytes != want {
		t.Errorf("IsNFC(%+q) = %v, %v; x/text has %v", s, got, bytes, want)
	}
}

func TestNFC(t *testing.T) {
	for in, want := range map[string]string{"\uf900": "\u8c48", "e\u0301": "é", "某䶮": "某䶮", "\ufa0e": "\ufa0e", "\uac00": "\uac00", "": ""} {
		if got := NFC(in); got != want {
			t.Errorf("NFC(%+q) = %+q", in, got)
		}
	}
}

func FuzzIsNFC(f *testing.F) {
	f.Add("海南，e\u0301\uf900")
	f.Add("ཀྲུང་\u0f71\u0f72 \u1100\u1161\u11a8 \u3099")
	f.Add("\xe4\xcc\x81\xff" + strings.Repeat("\u0301", 40))
	f.Fuzz(func(t *testing.T, s string) {
		same(t, s)
		if n := NFC(s); !norm.NFC.IsNormalString(n) || n != norm.NFC.String(s) {
			t.Errorf("NFC(%+q) = %+q", s, n)
		}
	})
}

func BenchmarkIsNFC(b *testing.B) {
	text := strings.Repeat("海南自由贸易港政务服务平台，统一受理某䶮、𠮷某的申请。No. 20240615 “一网通办”\n", 200)
	for name, f := range map[string]func(string) bool{"han": IsNFC[string], "x": norm.NFC.IsNormalString} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f(text)
			}
		})
	}
}
