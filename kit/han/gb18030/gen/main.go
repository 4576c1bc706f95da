// Command gen writes two.bin: for each of the 23,940 two-byte codes of GB 18030, from 8140 to FEFE in order, the code point that
// GB 18030-2000 gives it, as two bytes, high byte first. What later editions changed is in edition.go.
//
// The assigned characters are those of the WHATWG Encoding Standard's index, which golang.org/x/text carries in its
// package simplifiedchinese. That index leaves out the private-use code points, and maps A3A0 to U+3000 for the sake of
// old web pages; both are filled in by the standard's own rules, which are arithmetic. The result is held to ICU, an
// independent source, by TestICU.
package main

import (
	"log"
	"os"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

func main() {
	log.SetFlags(0)
	var out []byte
	next := rune(0xE766) // of the codes that GBK left unassigned outside the user-defined areas
	for lead := 0x81; lead <= 0xFE; lead++ {
		for trail := 0x40; trail <= 0xFE; trail++ {
			if trail == 0x7F {
				continue
			}
			r := userDefined(lead, trail)
			if r == 0 {
				r = published(lead, trail)
				if !inGBK(lead, trail, r) {
					if r == utf8.RuneError {
						r = next
					}
					next++
				}
			}
			out = append(out, byte(r>>8), byte(r))
		}
	}
	if next != 0xE865 {
		log.Fatalf("the unassigned codes end before %U, want U+E865", next)
	}
	if err := os.WriteFile("two.bin", out, 0o644); err != nil {
		log.Fatal(err)
	}
}

// published returns what the published index says of a code, or utf8.RuneError.
func published(lead, trail int) rune {
	b, err := simplifiedchinese.GB18030.NewDecoder().Bytes([]byte{byte(lead), byte(trail)})
	if err != nil {
		log.Fatal(err)
	}
	r, size := utf8.DecodeRune(b)
	if size != len(b) {
		return utf8.RuneError
	}
	return r
}

// userDefined returns the private-use code point of a code in one of the three user-defined areas, or 0.
func userDefined(lead, trail int) rune {
	column := trail - 0x40
	if trail > 0x7F {
		column--
	}
	switch {
	case lead >= 0xAA && lead <= 0xAF && trail >= 0xA1:
		return rune(0xE000 + (lead-0xAA)*94 + trail - 0xA1)
	case lead >= 0xF8 && trail >= 0xA1:
		return rune(0xE234 + (lead-0xF8)*94 + trail - 0xA1)
	case lead >= 0xA1 && lead <= 0xA7 && trail <= 0xA0:
		return rune(0xE4C6 + (lead-0xA1)*96 + column)
	}
	return 0
}

// inGBK reports whether GBK had assigned a code: what is published and was not added by GB 18030 itself.
func inGBK(lead, trail int, r rune) bool {
	code := lead<<8 | trail
	added := code == 0xA2E3 || code == 0xA8BC || code == 0xA8BF || code >= 0xA989 && code <= 0xA995 || code >= 0xFE50
	return r != utf8.RuneError && !added
}
