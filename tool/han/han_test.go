package han_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/han"
)

const rare = "某䶮㛃𠮷𬭎 ABC·\U000323b0，。\uf900\ue000\n😀\U0010fffd 海南自由贸易港\n"

// run calls the tool on standard input and returns both outputs.
func run(t *testing.T, in io.Reader, args ...string) (out, told string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &qiong.Console{In: in, Out: &stdout, Err: &stderr, Lang: lang.EN, Flags: pflag.NewFlagSet("han", pflag.ContinueOnError)}
	han.Tool.Flags(c.Flags, c.Say)
	c.Flags.BoolVar(&c.JSON, "json", false, "")
	if err := c.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err = han.Tool.Run(context.Background(), c, c.Flags.Args())
	return stdout.String(), stderr.String(), err
}

func encoded(t *testing.T, p gb18030.Profile, text string) string {
	t.Helper()
	b, err := p.AppendEncode(nil, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConvertThereAndBack(t *testing.T) {
	text := strings.Repeat(rare, 40000) // several blocks, whose ends fall into characters
	for _, charset := range []string{"gb18030", "gb18030-2005", "gb18030-2022-strict", "utf-16le", "utf-16be", "utf-8"} {
		there, told, err := run(t, strings.NewReader(text), "convert", "--from", "utf-8", "--to", charset, "-")
		if err != nil || told != "" {
			t.Fatalf("to %s: %v, %s", charset, err, told)
		}
		back, told, err := run(t, iotest.HalfReader(strings.NewReader(there)), "convert", "--from", charset, "-")
		if err != nil || told != "" || back != text {
			t.Errorf("from %s: %v, %s; equal: %v", charset, err, told, back == text)
		}
	}
}

func TestEncodingsAreFound(t *testing.T) {
	ascii := strings.Repeat("only ASCII, for long\n", 60000) // more than a block
	for name, c := range map[string]struct{ in, want, name string }{
		"utf-8":              {rare, rare, "utf-8"},
		"utf-8 with a mark":  {"\xef\xbb\xbf" + rare, rare, "utf-8"},
		"gb18030":            {encoded(t, gb18030.V2022, rare), rare, "gb18030-2022"},
		"gb18030 with mark":  {"\x84\x31\x95\x33" + encoded(t, gb18030.V2022, rare), rare, "gb18030-2022"},
		"utf-16le":           {"\xff\xfeA\x00\x00\x4e", "A一", "utf-16le"},
		"utf-16be":           {"\xfe\xff\x00A\x4e\x00", "A一", "utf-16be"},
		"ascii":              {ascii, ascii, "ascii"},
		"gb after ascii":     {ascii + encoded(t, gb18030.V2022, rare), ascii + rare, "gb18030-2022"},
		"utf-8 after ascii":  {ascii + rare, ascii + rare, "utf-8"},
		"one gb character":   {ascii + "\xb6\xfe", ascii + "二", "gb18030-2022"},
		"nothing":            {"", "", "ascii"},
		"a mark and no more": {"\xef\xbb\xbf", "", "utf-8"},
	} {
		got, _, err := run(t, iotest.HalfReader(strings.NewReader(c.in)), "convert", "-")
		if err != nil || got != c.want {
			t.Errorf("%s: %v, equal: %v", name, err, got == c.want)
		}
		said, _, err := run(t, strings.NewReader(c.in), "check", "--json", "-")
		var r struct {
			Encoding          string
			Bytes, Characters int
		}
		if jsonErr := json.Unmarshal([]byte(said), &r); err != nil || jsonErr != nil || r.Encoding != c.name || r.Bytes != len(c.in) || r.Characters != len([]rune(c.want)) {
			t.Errorf("%s: %v, %v, %+v", name, err, jsonErr, r)
		}
	}
}

func TestTroubleIsWhereItIs(t *testing.T) {
	before := strings.Repeat("海南\n", 300000) // the trouble is in a later block
	for _, c := range []struct {
		in, charset, from string
		want              string
	}{
		{before + "一二\xff三", "gb18030", "utf-8", "line 300001, column 3: not a valid code, 1 bytes (byte 2100006)"},
		{encoded(t, gb18030.V2022, before+"一二") + "\xff三", "utf-8", "gb18030", "line 300001, column 3: not a valid code, 1 bytes (byte 1500004)"},
		{before + "一䶮", "gbk", "utf-8", "line 300001, column 2: the character set has no such character U+4DAE, 3 bytes (byte 2100003)"},
		{"一\xe4\xb8", "gbk", "utf-8", "line 1, column 2: the text ends in the middle of a character, 1 bytes (byte 3)"},
		{"A\x00\x00\xd8B\x00", "utf-8", "utf-16le", "line 1, column 2: not a valid code, 2 bytes (byte 2)"},
		{"A\x00B", "utf-8", "utf-16le", "line 1, column 2: the text ends in the middle of a character, 1 bytes (byte 2)"},
	} {
		_, _, err := run(t, strings.NewReader(c.in), "convert", "--from", c.from, "--to", c.charset, "-")
		if !errs.Is(err, errs.Invalid) || errs.As(err).In(lang.EN) != "-: "+c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

func TestReplace(t *testing.T) {
	for _, c := range []struct{ in, from, to, want, told string }{
		{"一䶮二\n😀", "utf-8", "gbk", "\xd2\xbb?\xb6\xfe\n?", "2 places could not be converted and were replaced; the first at line 1, column 2 (byte 3)"},
		{"\xd2\xbb\xff", "gb18030", "utf-8", "一\ufffd", "1 places could not be converted"},
		{"一\xff", "utf-8", "gb18030", "\xd2\xbb\x84\x31\xa4\x37", "1 places could not be converted"},
		{"\ue81e一\xff", "utf-8", "gb18030", "\xfe\x59\xd2\xbb\x84\x31\xa4\x37", "1 characters had old codes"},
		{"\ue81e", "utf-8", "gb18030", "\xfe\x59", "1 characters had old codes"},
		{"\ue81e", "utf-8", "gb18030-2022-strict", "\x82\x35\x90\x37", ""},
	} {
		got, told, err := run(t, strings.NewReader(c.in), "convert", "--replace", "--from", c.from, "--to", c.to, "-")
		if err != nil || got != c.want || !strings.Contains(told, c.told) || (c.told == "") != (told == "") {
			t.Errorf("%+q: %+q, %q, %v", c.in, got, told, err)
		}
	}
}

func TestCheckLists(t *testing.T) {
	text := "第一行\n某\u202e某\x00\ue000\uf900\ufffd👩\u200d💻\n"
	got, _, err := run(t, strings.NewReader(text), "check", "-")
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("errors end with %v", err)
	}
	want := `-:2:2: error: contains an invisible mark that changes the direction of text (3 bytes at byte 13, U+202E)
-:2:4: error: contains a control character (1 bytes at byte 19, U+0000)
-:2:5: warning: contains a private-use code point that others may not be able to read (3 bytes at byte 20, U+E000)
-:2:6: warning: contains a compatibility character that normalization turns into another; please check it (3 bytes at byte 23, U+F900)
-:2:7: error: contains the replacement character U+FFFD: an earlier conversion lost the text (3 bytes at byte 26, U+FFFD)
-: utf-8, 2 lines, 15 characters, 41 bytes; 3 errors, 2 warnings
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	got, _, _ = run(t, strings.NewReader(strings.Repeat("\xff", 500)), "check", "--max", "2", "-")
	if strings.Count(got, "\n") != 4 || !strings.Contains(got, "498 more are not listed") {
		t.Errorf("--max 2:\n%s", got)
	}
}

func TestBadArguments(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		kind errs.Kind
		args []string
	}{
		{errs.Invalid, []string{"dance", "-"}},
		{errs.Invalid, []string{"convert", "--from", "big5", "-"}},
		{errs.Invalid, []string{"convert", "--to", "auto", "-"}},
		{errs.NotFound, []string{"convert", filepath.Join(dir, "absent")}},
		{errs.NotFound, []string{"check", filepath.Join(dir, "absent")}},
		{errs.Invalid, []string{"check", dir}},
	} {
		if _, _, err := run(t, strings.NewReader(""), c.args...); !errs.Is(err, c.kind) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	broken := iotest.ErrReader(errors.New("the disk is gone"))
	if _, _, err := run(t, broken, "check", "-"); err == nil {
		t.Error("a file that breaks off is checked")
	}
	if _, _, err := run(t, broken, "convert", "-"); err == nil {
		t.Error("a file that breaks off is converted")
	}
}

func TestFilesFollowEachOther(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, data := range map[string]string{"a": rare, "b": encoded(t, gb18030.V2022, rare)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	got, _, err := run(t, nil, append([]string{"convert"}, files...)...)
	if err != nil || got != rare+rare {
		t.Errorf("%v, %q", err, got)
	}
}

// Whatever a file holds, check and convert agree about whether there is an error of encoding, and with --replace what
// comes out can be read without one.
func FuzzFiles(f *testing.F) {
	f.Add([]byte(rare), uint8(0))
	f.Add([]byte("\xd2\xbb\x81\x30\x81A\xff"), uint8(1))
	f.Add([]byte("\xff\xfeA\x00\x00\xd8"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		from := []string{"auto", "gb18030", "gbk", "utf-8", "utf-16le", "utf-16be", "gb2312"}[n%7]
		said, _, _ := run(t, bytes.NewReader(data), "check", "--json", "--from", from, "-")
		var r struct {
			Bytes  int
			Counts map[string]int
		}
		if err := json.Unmarshal([]byte(said), &r); err != nil || r.Bytes != len(data) {
			t.Fatalf("%s: %v, %+v of %d bytes", from, err, r, len(data))
		}
		wrong := r.Counts["encoding.malformed"]+r.Counts["encoding.truncated"]+r.Counts["encoding.unmapped"] > 0
		_, _, err := run(t, bytes.NewReader(data), "convert", "--from", from, "--to", "gb18030-2022-strict", "-")
		if wrong != (err != nil) {
			t.Fatalf("%s: %x: check says %v, convert says %v", from, data, r.Counts, err)
		}
		out, _, err := run(t, bytes.NewReader(data), "convert", "--replace", "--from", from, "--to", "gb18030-2022-strict", "-")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gb18030.Strict2022.AppendDecode(nil, []byte(out)); err != nil {
			t.Fatal(err)
		}
	})
}
