package lean

import (
	"os"
	"strings"
	"testing"
	"unicode"
)

// What was let go is little again at first, and the program goes on as it was.
func TestProgram(t *testing.T) {
	first, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Program()
	if err != nil || first == 0 || second >= first {
		t.Errorf("let go of %d, then of %d, %v", first, second, err)
	}
	if !unicode.Is(unicode.Han, '琼') || len(os.Environ()) == 0 {
		t.Error("a constant has changed")
	}
}

func TestParseMapping(t *testing.T) {
	m, ok := parseMapping("00400000-023d2000 r-xp 00000000 fe:00 1234                       /opt/a b/qiong")
	if !ok || m.from != 0x400000 || m.to != 0x23d2000 || m.writable || m.path != "/opt/a b/qiong" {
		t.Errorf("read %+v, %t", m, ok)
	}
	for _, line := range []string{"Rss:               26248 kB", "VmFlags: rd ex mr mw me sd", "", "7f8bcd090000-7f8bcd5d0000 rw-p 00000000 00:00 0 "} {
		if m, ok := parseMapping(line); ok && m.path != "" {
			t.Errorf("%q is a mapping: %+v", line, m)
		}
	}
	if m, ok := parseMapping("047fb000-04911000 rw-p 043fb000 fe:00 1234 " + strings.Repeat("x", 9)); !ok || !m.writable {
		t.Errorf("read %+v, %t", m, ok)
	}
}
