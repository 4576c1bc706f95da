package gb18030

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// mixed has characters of every length in both encodings, and of every kind of note.
const mixed = "某䶮㛃𠮷𬭎 ABC·ḿ\U000323b0，。\ue000\ue81e\u9fb4\ufe10\ue5e5\ue7c7€¥ä😀\U0010ffff 0123456789 海南自由贸易港"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCodesOfTheEditions(t *testing.T) {
	for _, c := range []struct {
		profile Profile
		code    string
		text    string
	}{
		{V2022, "a6d9 a6da a6db", "\ufe10\ufe12\ufe11"},
		{V2022, "fe59 fea0 fe51", "\u9fb4\u9fbb\ue816"},
		{V2022, "8135f437 a8bc a6fe", "\ue7c7ḿ\ue79f"},
		{V2022, "90308130 e3329a35", "\U00010000\U0010ffff"},
		{V2022, "41 d2bb 9933a932", "A一𬭎"},
		{V2005, "a6d9 fe59 82359037 84318236", "\ue78d\ue81e\u9fb4\ufe10"},
		{Strict2022, "a6d9 fe59 82359037 84318236 a3a0", "\ufe10\u9fb4\ue81e\ue78d\ue5e5"},
		{GBK, "fd9b a1a4 a2a1", "龥·ⅰ"},
		{CP936, "80", "€"},
		{GB2312, "b0a1 f7fe a1a4", "啊齄·"},
	} {
		b := unhex(t, c.code)
		text, err := c.profile.AppendDecode(nil, b)
		if err != nil || string(text) != c.text {
			t.Errorf("%s: %s reads %+q, %v; want %+q", c.profile, c.code, text, err, c.text)
		}
		code, err := c.profile.AppendEncode(nil, []byte(c.text))
		if err != nil || !bytes.Equal(code, b) {
			t.Errorf("%s: %+q is written %x, %v", c.profile, c.text, code, err)
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for _, c := range []struct {
		profile  Profile
		in       string
		offset   int64
		size     int
		kind     Kind
		replaced string
	}{
		{V2022, "41 ff 42", 1, 1, Malformed, "A\ufffdB"},
		{V2022, "41 81 22", 1, 1, Malformed, "A\ufffd\""},
		{V2022, "81 7f", 0, 1, Malformed, "\ufffd\x7f"},
		{V2022, "81 30 81 41", 0, 1, Malformed, "\ufffd0丄"},
		{V2022, "81 30 41 30", 0, 1, Malformed, "\ufffd0A0"},
		{V2022, "84 31 a4 38 8f 30 81 30", 4, 4, Unmapped, "\ufffe\ufffd"},
		{V2022, "e3 32 9a 36", 0, 4, Unmapped, "\ufffd"},
		{V2022, "fe 39 fe 39", 0, 4, Unmapped, "\ufffd"},
		{V2022, "d2bb d2", 2, 1, Truncated, "一\ufffd"},
		{V2022, "81 30 81", 0, 1, Truncated, "\ufffd0\ufffd"},
		{Strict2022, "80", 0, 1, Malformed, "\ufffd"},
		{V2005, "80", 0, 1, Malformed, "\ufffd"},
		{GBK, "80", 0, 1, Malformed, "\ufffd"},
		{GBK, "d2bb 8130 8130", 2, 1, Malformed, "一\ufffd0\ufffd0"},
		{GBK, "aaa1", 0, 2, Unmapped, "\ufffd"},
		{GBK, "a2e3", 0, 2, Unmapped, "\ufffd"},
		{GB2312, "fd9b", 0, 2, Unmapped, "\ufffd"},
	} {
		in := unhex(t, c.in)
		_, err := c.profile.AppendDecode(nil, in)
		checkError(t, err, Note{c.offset, c.size, utf8.RuneError, c.kind})
		got, err := c.profile.NewDecoder().Bytes(in)
		if err != nil || string(got) != c.replaced {
			t.Errorf("%s: %s is replaced as %+q, %v; want %+q", c.profile, c.in, got, err, c.replaced)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	for _, c := range []struct {
		profile  Profile
		in       string
		want     Note
		replaced string // in hexadecimal
	}{
		{V2022, "A\xffB", Note{1, 1, utf8.RuneError, Malformed}, "41 8431a437 42"},
		{V2022, "A\xed\xa0\x80", Note{1, 1, utf8.RuneError, Malformed}, "41 8431a437 8431a437 8431a437"},
		{V2022, "A\xe0\x80\xb7一一一一一", Note{1, 1, utf8.RuneError, Malformed}, "41 8431a437 8431a437 8431a437 d2bb d2bb d2bb d2bb d2bb"},
		{V2022, "一\xe4\xb8", Note{3, 1, utf8.RuneError, Truncated}, "d2bb 8431a437 8431a437"},
		{GBK, "一䶮", Note{3, 3, '䶮', Unmapped}, "d2bb 3f"},
		{GBK, "€", Note{0, 3, '€', Unmapped}, "3f"},
		{GBK, "\ue000", Note{0, 3, '\ue000', Unmapped}, "3f"},
		{CP936, "€😀", Note{3, 4, '😀', Unmapped}, "80 3f"},
		{GB2312, "镕ä", Note{0, 3, '镕', Unmapped}, "3f 3f"},
	} {
		_, err := c.profile.AppendEncode(nil, []byte(c.in))
		checkError(t, err, c.want)
		e := Encoder{Profile: c.profile, Mode: Replace}
		got, _ := e.Append(nil, []byte(c.in))
		got, err = e.Close(got)
		if err != nil || !bytes.Equal(got, unhex(t, c.replaced)) {
			t.Errorf("%s: %+q is replaced as %x, %v", c.profile, c.in, got, err)
		}
	}
}

func checkError(t *testing.T, err error, want Note) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Note != want {
		t.Errorf("got %+v, want %+v", err, want)
		return
	}
	house := errs.As(err)
	if house.Kind != errs.Invalid || house.Offset != want.Offset || house.Code != want.Kind.Code() || house.In(lang.ZH) == house.In(lang.EN) {
		t.Errorf("as an error of the house: %#v", house)
	}
}

func TestEcosystem(t *testing.T) {
	got, err := encoding.ReplaceUnsupported(GBK.NewEncoder()).String("一䶮二")
	if err != nil || got != "\xd2\xbb\x1a\xb6\xfe" {
		t.Errorf("ReplaceUnsupported: %x, %v", got, err)
	}
	got, err = encoding.HTMLEscapeUnsupported(GBK.NewEncoder()).String("一䶮二")
	if err != nil || got != "\xd2\xbb&#19886;\xb6\xfe" {
		t.Errorf("HTMLEscapeUnsupported: %q, %v", got, err)
	}
	for _, p := range Profiles()[1:3] {
		code, err := io.ReadAll(iotest.OneByteReader(transform.NewReader(iotest.OneByteReader(strings.NewReader(strings.Repeat(mixed, 99))), p.NewEncoder())))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(transform.NewReader(iotest.HalfReader(bytes.NewReader(code)), p.NewDecoder()))
		if err != nil || string(text) != strings.Repeat(mixed, 99) {
			t.Errorf("%s: what was read back differs, %v", p, err)
		}
	}
}

// converter is what Decoder and Encoder have in common.
type converter interface {
	Append(dst, src []byte) ([]byte, error)
	Close(dst []byte) ([]byte, error)
	Offset() int64
	Reset()
}

// pieces converts src in pieces of the sizes given and one of the rest, and tells everything that can be observed.
func pieces(c converter, notes *[]Note, src []byte, sizes ...int) string {
	c.Reset()
	*notes = (*notes)[:0]
	var out []byte
	var err error
	for _, size := range sizes {
		if err == nil {
			out, err = c.Append(out, src[:size])
		}
		src = src[size:]
	}
	if err == nil {
		out, err = c.Append(out, src)
	}
	if err == nil {
		out, err = c.Close(out)
	}
	return fmt.Sprintf("%x %v %v %d", out, err, *notes, c.Offset())
}

func TestPiecesMakeNoDifference(t *testing.T) {
	broken := mixed + "\xe4\xb8A\xed\xa0\x80\xff\xf0\x9f\x98"
	for _, p := range Profiles() {
		for _, mode := range []Mode{Strict, Replace} {
			var notes []Note
			report := func(n Note) { notes = append(notes, n) }
			e := &Encoder{Profile: p, Mode: mode, Report: report}
			d := &Decoder{Profile: p, Mode: mode, Report: report}
			code, _ := (&Encoder{Profile: p, Mode: Replace}).Append(nil, []byte(mixed))
			code = append(code, "\x81\x30\x81A\x80\xff\xd2"...)
			samePieces(t, e, &notes, []byte(mixed))
			samePieces(t, e, &notes, []byte(broken))
			samePieces(t, d, &notes, code)
		}
	}
}

func samePieces(t *testing.T, c converter, notes *[]Note, src []byte) {
	t.Helper()
	whole := pieces(c, notes, src)
	for cut := range len(src) {
		if got := pieces(c, notes, src, cut); got != whole {
			t.Fatalf("%T cut at %d:\n%s\nwhole:\n%s", c, cut, got, whole)
		}
	}
	var each []int
	for range src {
		each = append(each, 1)
	}
	if got := pieces(c, notes, src, each...); got != whole {
		t.Fatalf("%T byte by byte:\n%s\nwhole:\n%s", c, got, whole)
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		profile Profile
		decode  bool
		in      string
		want    string
	}{
		{V2022, false, "一\ue81e\u9fb4\ue000\ue5e5\U000f0000", "encoding.alias 3 3, encoding.changed 6 3, encoding.private-use 9 3, encoding.alias 12 3, encoding.private-use 15 4"},
		{Strict2022, false, "\ue81e\u9fb4\ue5e5", "encoding.changed 0 3, encoding.changed 3 3, encoding.private-use 6 3"},
		{V2005, false, "\ue81e\u9fb4", "encoding.changed 0 3, encoding.changed 3 3"},
		{V2022, true, "\xfe\x59\x82\x35\x90\x37\xa3\xa0\x80\xaa\xa1\xa1\xa1", "encoding.changed 0 2, encoding.alias 2 4, encoding.alias 6 2, encoding.alias 8 1, encoding.private-use 9 2"},
		{V2005, true, "\xfe\x59\x82\x35\x90\x37\xa3\xa0", "encoding.changed 0 2, encoding.changed 2 4, encoding.private-use 6 2"},
		{V2022, true, "A\xff", "encoding.malformed 1 1"},
		{V2022, false, "某䶮·𠮷ḿ", ""},
		{GBK, false, "某\u9fb4", "encoding.unmapped 3 3"},
		{CP936, true, "\x80\xd2\xbb", ""},
	} {
		var got []string
		report := func(n Note) { got = append(got, fmt.Sprintf("%s %d %d", n.Kind.Code(), n.Offset, n.Size)) }
		var conv converter = &Encoder{Profile: c.profile, Mode: Replace, Report: report}
		if c.decode {
			conv = &Decoder{Profile: c.profile, Mode: Replace, Report: report}
		}
		_, _ = conv.Append(nil, []byte(c.in)) // Replace mode has no errors
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s %+q: %s\nwant %s", c.profile, c.in, s, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, p := range Profiles() {
		if got, ok := Parse(p.String()); !ok || got != p {
			t.Errorf("Parse(%q) = %s, %v", p, got, ok)
		}
	}
	for name, want := range map[string]Profile{"GB18030": V2022, "GB_18030": V2022, "Windows-936": CP936, "EUC-CN": GB2312, "GB2312": GB2312} {
		if got, ok := Parse(name); !ok || got != want {
			t.Errorf("Parse(%q) = %s, %v", name, got, ok)
		}
	}
	if _, ok := Parse("big5"); ok {
		t.Error("big5 is known")
	}
	if Modern(0xE81E) != 0x9FB4 || Modern(0xE7C7) != 'ḿ' || Modern(0x9FB4) != 0x9FB4 || Modern('一') != '一' {
		t.Error("Modern")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	text := []byte(strings.Repeat("海南自由贸易港 Hainan，某䶮㛃𠮷·😀。\n", 100))
	code, err := V2022.AppendEncode(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 3*len(text))
	if n := testing.AllocsPerRun(10, func() { _, _ = V2022.AppendEncode(dst, text) }); n != 0 {
		t.Errorf("encoding allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = V2022.AppendDecode(dst, code) }); n != 0 {
		t.Errorf("decoding allocates %v times", n)
	}
}
