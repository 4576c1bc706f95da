package gb18030

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"testing"
	"unicode/utf8"
)

// scalars yields every scalar value.
func scalars() iter.Seq[rune] {
	return func(yield func(rune) bool) {
		for r := range rune(utf8.MaxRune + 1) {
			if utf8.ValidRune(r) && !yield(r) {
				return
			}
		}
	}
}

// allCodes yields every single byte, every pair of a lead and a trail byte, and every code of the shape of four bytes
// where the profile has such codes.
func allCodes(p Profile) iter.Seq[string] {
	return func(yield func(string) bool) {
		for a := range 256 {
			if (a < 0x81 || a == 0xFF) && !yield(string([]byte{byte(a)})) {
				return
			}
		}
		for a := byte(0x81); a < 0xFF; a++ {
			for b := byte(0x40); b < 0xFF; b++ {
				if b != 0x7F && !yield(string([]byte{a, b})) {
					return
				}
			}
		}
		for n := 0; p.four() && n < 126*10*126*10; n++ {
			code := fourBytes(n)
			if !yield(string([]byte{byte(code), byte(code >> 8), byte(code >> 16), byte(code >> 24)})) {
				return
			}
		}
	}
}

// digests are SHA-256 of the whole mapping of each profile: of the code of every scalar value and of the reading of
// every code, "!" where there is none, each ended by a line feed. TestICU has shown what they stand for to be right.
var digests = map[Profile]string{
	V2022:      "19c04b1f1e16c79a9206d906d8664f9ea4310d8721605b3786457ed51b8fb162",
	V2005:      "106b8c4cc01827ecb964cec5e4dfee78093f629ce9fc2e4b6883e09106bb6626",
	Strict2022: "b3703651615a70d080ef2e0f24d90d28180605e57a9e12be7eb68dea4e03e144",
	GBK:        "6bce0072915ec42d1ba208789514901469676f032781c13b6f971108b8e39c22",
	CP936:      "69f8428d12d02d5eb63a60ad90b4fc09437f3d3c84d470d872ad4db683ed532a",
	GB2312:     "ff952c2879871d90365ae87c5568dcc3e9e69958a56370255845594507fefcaa",
}

func TestTheWholeMappingIsAsRecorded(t *testing.T) {
	for _, p := range Profiles() {
		sum := sha256.New()
		var buf []byte
		add := func(converted []byte, err error) {
			if err != nil {
				converted = append(converted[:0], '!')
			}
			buf = append(converted, '\n')
			sum.Write(buf)
		}
		for r := range scalars() {
			add(p.AppendEncode(buf[:0], utf8.AppendRune(nil, r)))
		}
		for code := range allCodes(p) {
			add(p.AppendDecode(buf[:0], []byte(code)))
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != digests[p] {
			t.Errorf("%s: %s", p, got)
		}
	}
}

// All profiles but the lenient one map what they have one to one, in both directions.
func TestOneToOne(t *testing.T) {
	for _, p := range Profiles()[1:] {
		characters, codes := 0, 0
		for r := range scalars() {
			code, err := p.AppendEncode(nil, []byte(string(r)))
			if err != nil {
				continue
			}
			characters++
			if text, err := p.AppendDecode(nil, code); err != nil || string(text) != string(r) {
				t.Fatalf("%s: %U is written %x, which reads %+q, %v", p, r, code, text, err)
			}
		}
		for code := range allCodes(p) {
			text, err := p.AppendDecode(nil, []byte(code))
			if err != nil {
				continue
			}
			codes++
			if back, err := p.AppendEncode(nil, text); err != nil || string(back) != code {
				t.Fatalf("%s: %x reads %+q, which is written %x, %v", p, code, text, back, err)
			}
		}
		want := map[Profile]int{GBK: 128 + 21791, CP936: 128 + 21791 + 1, GB2312: 128 + 7445}[p]
		if p.four() {
			want = 1112064
		}
		if characters != want || codes != want {
			t.Errorf("%s has %d characters and %d codes, want %d", p, characters, codes, want)
		}
	}
}

// To the letter differs from the lenient reading of the same edition in what that calls an alias, and nowhere else.
func TestStrictDiffersInAliasesAlone(t *testing.T) {
	for r := range scalars() {
		strict, _ := Strict2022.AppendRune(nil, r) // both have every character
		lenient, kind := V2022.AppendRune(nil, r)
		if same := string(strict) == string(lenient); same != (kind != Alias || r == spaceAlias) {
			t.Errorf("%U: %x and %x, %d", r, strict, lenient, kind)
		}
	}
	for code := range allCodes(V2022) {
		strict, _, _ := Strict2022.DecodeRune([]byte(code), true)
		lenient, _, kind := V2022.DecodeRune([]byte(code), true)
		if (strict == lenient) != (kind != Alias) {
			t.Errorf("%x: %U and %U, %d", code, strict, lenient, kind)
		}
	}
}
