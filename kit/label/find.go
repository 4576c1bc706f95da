package label

import (
	"strings"
	"unicode/utf8"
)

// Match is a number recognized in a text.
type Match struct {
	Start, End int // in bytes
	Category   string
	Mask       Mask
}

// Find returns the first number at or after the byte from that names a person or an organization beyond doubt of shape
// and sum: identity numbers and residence permits, social credit codes, mobile numbers, bank cards of the ranges issued,
// vehicle plates. Full-width digits and letters count as what they look like, and single blanks and hyphens between
// groups of digits are looked through. A passport number is shape alone, and is not looked for.
//
// It takes time proportional to the text, and allocates nothing.
func Find(text string, from int) (Match, bool) {
	for i := from; i < len(text); {
		if wordByte[text[i]] == 0 && text[i] != 0xef {
			i++
			continue
		}
		w := wordAt(text, i)
		if w.end == i { // another rune that begins with EF
			i++
			continue
		}
		if m, ok := w.match(text); ok {
			return m, true
		}
		if w.digits == w.n {
			if m, ok := w.joined(text); ok {
				return m, true
			}
		}
		i = w.end
	}
	return Match{}, false
}

// AppendMasked appends text to dst with every number that [Find] finds under the mask of its category.
func AppendMasked(dst []byte, text string) []byte {
	last := 0
	for {
		m, ok := Find(text, last)
		if !ok {
			return append(dst, text[last:]...)
		}
		dst = append(dst, text[last:m.Start]...)
		dst = m.Mask.Append(dst, text[m.Start:m.End])
		last = m.End
	}
}

// wordByte is 1 for digits and 2 for letters.
var wordByte = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = 1
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[c] = 2
		}
	}
	return t
}()

// word is a longest run of digits and letters.
type word struct {
	start, end int
	n          int      // characters, of which the first len(buf) are in buf
	digits     int      // digits among them
	buf        [24]byte // as ASCII, letters as capitals
}

// next returns the character at i as an ASCII capital or digit, and its length; 0 where it is neither.
func next(text string, i int) (c byte, size int) {
	c = text[i]
	if wordByte[c] != 0 {
		if c >= 'a' {
			c -= 'a' - 'A'
		}
		return c, 1
	}
	if c != 0xef || i+2 >= len(text) { // U+FF10 to U+FF5A are EF BC 90 to EF BD 9A
		return 0, 0
	}
	r, _ := utf8.DecodeRuneInString(text[i:])
	if r < 0xff10 || r > 0xff5a || wordByte[byte(r-0xfee0)] == 0 {
		return 0, 0
	}
	c = byte(r - 0xfee0)
	if c >= 'a' {
		c -= 'a' - 'A'
	}
	return c, 3
}

func wordAt(text string, i int) (w word) {
	w.start, w.end = i, i
	for w.end < len(text) {
		c, size := next(text, w.end)
		if size == 0 {
			break
		}
		w.add(c)
		w.end += size
	}
	return w
}

func (w *word) add(c byte) {
	if w.n < len(w.buf) {
		w.buf[w.n] = c
	}
	w.n++
	if c <= '9' {
		w.digits++
	}
}

// match recognizes the word as a whole, or an identity number that letters are stuck to.
func (w *word) match(text string) (Match, bool) {
	if w.n < 5 {
		return Match{}, false
	}
	if w.n > 10 && w.n <= len(w.buf) {
		if m, ok := numberOf(w.buf[:w.n], w.digits == w.n); ok {
			m.Start, m.End = w.start, w.end
			return m, true
		}
	}
	if m, ok := w.plate(text); ok {
		return m, true
	}
	if w.digits >= 17 {
		return w.stuck(text)
	}
	return Match{}, false
}

// numberOf recognizes a whole number.
func numberOf(b []byte, digits bool) (Match, bool) {
	s := view(b)
	switch n := len(s); {
	case n == 18 && isIDCard(s):
		return Match{Category: "id_card", Mask: Keep(3, 4)}, true
	case n == 18 && s[0] != '0' && strings.Trim(s, creditAlphabet) == "" && CreditCode(s) == nil:
		return Match{Category: "credit_code", Mask: Keep(2, 4)}, true
	case !digits:
	case n == 11 && isMobile(s), n == 13 && s[:2] == "86" && isMobile(s[2:]), n == 15 && s[:4] == "0086" && isMobile(s[4:]):
		return Match{Category: "phone", Mask: Keep(uint8(n-8), 4)}, true
	case issued(s) && luhn(s):
		return Match{Category: "bank_card", Mask: Keep(4, 4)}, true
	}
	return Match{}, false
}

func isMobile(s string) bool { return s[0] == '1' && s[1] >= '3' }

// issued reports whether a bank card may begin with these digits and be as long: UnionPay's 62, and the international
// ranges with 16 digits. Without it every tenth time in nanoseconds would be a card.
func issued(s string) bool {
	switch n := len(s); {
	case n >= 16 && n <= 19 && s[:2] == "62":
		return true
	case n != 16:
		return false
	}
	return s[0] == '4' || s[0] == '5' && s[1] >= '1' && s[1] <= '5' || s[:2] == "35"
}

// isIDCard is IDCard without an error to say why not.
func isIDCard(s string) bool {
	for i := range 17 {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s[0] != '0' && checkMod11(s[:17]) == s[17] && birthday(s[6:14])
}

// stuck finds an identity number among digits that letters precede or follow.
func (w *word) stuck(text string) (Match, bool) {
	for i := w.start; i < w.end; {
		run := word{start: i, end: i}
		for run.end < w.end && run.n < 18 {
			c, size := next(text, run.end)
			if c > '9' && (run.n != 17 || c != 'X') {
				break
			}
			run.add(c)
			run.end += size
		}
		more := false // digits that follow make it a longer number
		if run.end < w.end {
			c, _ := next(text, run.end)
			more = c <= '9'
		}
		if run.n == 18 && !more && isIDCard(view(run.buf[:18])) {
			return Match{run.start, run.end, "id_card", Keep(3, 4)}, true
		}
		for i = run.end; i < w.end; {
			c, size := next(text, i)
			if c > '9' == more { // past the rest of a longer number, or past letters
				break
			}
			i += size
		}
	}
	return Match{}, false
}

// plate recognizes the word as a plate by the province's character before it and what may stand after it.
func (w *word) plate(text string) (Match, bool) {
	if w.start < 3 || w.n > 7 || w.buf[0] <= '9' || !strings.Contains(provinces, text[w.start-3:w.start]) {
		return Match{}, false
	}
	end := w.end
	if w.n == 5 && end+3 <= len(text) {
		end += 3
	}
	var plate [12]byte
	s := append(plate[:0], text[w.start-3:w.start]...)
	s = append(s, w.buf[:w.n]...)
	s = append(s, text[w.end:end]...)
	if !isPlate(view(s)) {
		return Match{}, false
	}
	return Match{w.start - 3, end, "plate", Keep(2, 2)}, true
}

// joined recognizes a number that is written in groups of digits with single blanks or hyphens between them.
func (w *word) joined(text string) (Match, bool) {
	all, groups := *w, 1
	var best Match
	for ; groups < 7 && all.n < 19 && all.end+1 < len(text) && (text[all.end] == ' ' || text[all.end] == '-'); groups++ {
		group := wordAt(text, all.end+1)
		last := group.n > 0 && group.buf[min(group.n, len(group.buf))-1] == 'X' && group.digits == group.n-1
		if group.n == 0 || all.n+group.n > 19 || group.digits != group.n && !last {
			break
		}
		for _, c := range group.buf[:group.n] {
			all.add(c)
		}
		all.end = group.end
		if m, ok := numberOf(all.buf[:all.n], all.digits == all.n); ok {
			best = Match{w.start, all.end, m.Category, m.Mask}
		}
		if last {
			break
		}
	}
	return best, best.End > 0
}
