package gb18030

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// What a profile can write comes back as it was, but for what it says it has written as an alias.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(mixed), uint8(0))
	f.Add([]byte("\ue81e\u9fb4\ue5e5\u3000€"), uint8(2))
	f.Add([]byte("镕\xff\xe0\x80\xb7一一一一"), uint8(5))
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		p := Profile(n % uint8(len(names)))
		aliases := 0
		e := Encoder{Profile: p, Report: func(n Note) {
			if n.Kind == Alias {
				aliases++
			}
		}}
		code, err := e.append(nil, text, true)
		if err == nil != (utf8.Valid(text) && canWrite(p, text)) {
			t.Fatalf("%s: %+q: %v", p, text, err)
		}
		if err != nil || aliases > 0 && p == V2022 {
			return
		}
		back, err := p.AppendDecode(nil, code)
		if err != nil || !bytes.Equal(back, text) {
			t.Fatalf("%s: %+q comes back as %+q, %v", p, text, back, err)
		}
	})
}

// canWrite asks for each character on its own, past the fast path.
func canWrite(p Profile, text []byte) bool {
	for _, r := range string(text) {
		if _, size := p.encodeRune(p.table(), r); size == 0 {
			return false
		}
	}
	return true
}

// Any bytes read the same in one piece and in two; what is read is UTF-8; and where a profile is one to one, it is
// written as it was.
func FuzzDecode(f *testing.F) {
	code, err := V2022.AppendEncode(nil, []byte(mixed))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(code, uint8(0), 9)
	f.Add([]byte("\x81\x30\x81\x80\xff\xa3\xa0\xd2"), uint8(2), 3)
	f.Fuzz(func(t *testing.T, code []byte, n uint8, cut int) {
		p := Profile(n % uint8(len(names)))
		cut = max(0, min(cut, len(code)))
		var notes []Note
		report := func(n Note) { notes = append(notes, n) }
		for _, c := range []converter{
			&Decoder{Profile: p, Mode: Replace, Report: report}, &Decoder{Profile: p, Report: report},
			&Encoder{Profile: p, Mode: Replace, Report: report}, &Encoder{Profile: p, Report: report},
		} {
			if whole, two := pieces(c, &notes, code), pieces(c, &notes, code, cut); whole != two {
				t.Fatalf("%T %s in two pieces\n%s\n%s", c, p, two, whole)
			}
		}
		text, err := p.AppendDecode(nil, code)
		if !utf8.Valid(text) {
			t.Fatalf("%s: %x reads %x", p, code, text)
		}
		if err != nil || p == V2022 {
			return
		}
		if back, err := p.AppendEncode(nil, text); err != nil || !bytes.Equal(back, code) {
			t.Fatalf("%s: %x comes back as %x, %v", p, code, back, err)
		}
	})
}
