package gb18030

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestICU holds every scalar value and every code of one, two and four bytes to ICU, in both directions. scripts/with-icu
// names the converters: ICU 76 and newer have the edition of 2022, ICU 72 that of 2005.
func TestICU(t *testing.T) {
	for _, c := range []struct {
		variable, charset string
		profile           Profile
	}{
		{"QIONG_ICU", "gb18030", V2022},
		{"QIONG_ICU_2005", "gb18030", V2005},
		{"QIONG_ICU", "windows-936-2000", CP936},
		{"QIONG_ICU", "windows-936-2000", GBK},
		{"QIONG_ICU", "ibm-1383", GB2312},
	} {
		t.Run(c.profile.String(), func(t *testing.T) {
			icu := os.Getenv(c.variable)
			if icu == "" {
				t.Skip(c.variable + " is not set; scripts/with-icu sets it")
			}
			compareDecoding(t, c.profile, fromICU(t, icu, c.charset, c.profile))
			compareEncoding(t, c.profile, toICU(t, icu, c.charset))
		})
	}
}

// uconv runs ICU's converter over lines, and returns as many lines. What it cannot convert has escape in it.
func uconv(t *testing.T, icu, from, to string, lines [][]byte) [][]byte {
	t.Helper()
	cmd := exec.Command(icu, "-f", from, "-t", to, "--from-callback", "escape-c", "--to-callback", "escape-xml-hex")
	cmd.Stdin = bytes.NewReader(append(bytes.Join(lines, []byte("\n")), '\n'))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Split(out, []byte("\n"))
	if len(got) != len(lines)+1 {
		t.Fatalf("%s answers %d lines to %d", icu, len(got)-1, len(lines))
	}
	return got[:len(lines)]
}

// fromICU returns ICU's reading of every code, without those that it does not know or maps to private use in GBK.
func fromICU(t *testing.T, icu, charset string, p Profile) map[string]rune {
	var lines [][]byte
	for code := range allCodes(p) {
		if code != "\n" {
			lines = append(lines, []byte(code))
		}
	}
	read := map[string]rune{}
	for i, line := range uconv(t, icu, charset, "utf-8", lines) {
		if r, size := utf8.DecodeRune(line); size == len(line) && (size > 1 || line[0] == lines[i][0]) {
			read[string(lines[i])] = r
		}
	}
	return read
}

func compareDecoding(t *testing.T, p Profile, icu map[string]rune) {
	compared, differ := 0, 0
	for code := range allCodes(p) {
		if code == "\n" || !comparable(p, code, icu[code]) {
			continue
		}
		compared++
		want := ""
		if r, ok := icu[code]; ok {
			want = string(r)
		}
		got, err := p.AppendDecode(nil, []byte(code))
		if err != nil {
			got = nil
		}
		if string(got) != want {
			if differ++; differ < 10 {
				t.Errorf("%x reads %+q, ICU has %+q", code, got, want)
			}
		}
	}
	t.Logf("%d codes read, %d differ", compared, differ)
}

// comparable reports whether a code means the same to ICU's table and to the profile's definition. ICU's windows-936
// reads what GBK leaves open as private use, and FF as a character of Windows alone; its ibm-1383 maps user-defined rows, has
// single bytes above 7F, and three characters as old tables do.
func comparable(p Profile, code string, r rune) bool {
	switch p {
	case GBK, CP936:
		return !private(r) && !(p == GBK && code == "\x80")
	case GB2312:
		old := code == "\xa1\xa4" || code == "\xa1\xaa" || code == "\xa3\xa7"
		return len(code) == 2 && inGB2312(uint16(code[0])<<8|uint16(code[1]), 0) && !old
	}
	return true
}

// toICU returns ICU's code of every scalar value, "" for none.
func toICU(t *testing.T, icu, charset string) map[rune]string {
	var lines [][]byte
	var all []rune
	for r := range scalars() {
		if r != '\n' {
			lines = append(lines, []byte(string(r)))
			all = append(all, r)
		}
	}
	written := map[rune]string{}
	for i, line := range uconv(t, icu, "utf-8", charset, lines) {
		if s := string(line); all[i] == '&' || !strings.HasPrefix(s, "&#x") {
			written[all[i]] = s
		}
	}
	return written
}

func compareEncoding(t *testing.T, p Profile, icu map[rune]string) {
	compared, differ := 0, 0
	for r := range scalars() {
		if r == '\n' || !p.four() && !comparable(p, icu[r], r) {
			continue
		}
		compared++
		got, err := p.AppendEncode(nil, []byte(string(r)))
		if err != nil {
			got = nil
		}
		if string(got) != icu[r] {
			if differ++; differ < 10 {
				t.Errorf("%U is written as %x, ICU has %x", r, got, icu[r])
			}
		}
	}
	t.Logf("%d scalar values written, %d differ", compared, differ)
}
