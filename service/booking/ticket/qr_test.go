package ticket

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"rsc.io/qr/coding"

	"github.com/qiongdev/qiong/kit/errs"
)

// readSVG returns the modules of a picture that SVG wrote, without its margin: what its path paints.
func readSVG(t *testing.T, svg []byte) [][]bool {
	t.Helper()
	var side int
	if _, err := fmt.Sscanf(string(svg), `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d`, &side); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	size := side - 2*quiet
	rows := make([][]bool, size)
	for y := range rows {
		rows[y] = make([]bool, size)
	}
	_, path, _ := strings.Cut(string(svg), `z"/><path d="`)
	path, _, _ = strings.Cut(path, `"`)
	for run := range strings.SplitSeq(strings.TrimSuffix(path, "z"), "z") {
		var x, y, width, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &width, &back); err != nil || width != back {
			t.Fatalf("a run %q: %v", run, err)
		}
		for i := range width {
			rows[y-quiet][x-quiet+i] = true
		}
	}
	return rows
}

// readQR reads the text of a QR code in alphanumeric mode, version 2 to 6, as ISO/IEC 18004 says, without correcting
// errors: from the format bits, the mask, the order of modules and, for the one version that has more, the blocks.
func readQR(t *testing.T, m [][]bool, blocks int) string {
	t.Helper()
	size := len(m)
	format := 0
	for x := range 6 {
		format = format<<1 | bit(m[8][x])
	}
	format = format<<2 | bit(m[8][7])<<1 | bit(m[8][8])
	mask := (format >> 3 & 0b111) ^ 0b101 // the first five of the format bits are level and mask, xored with 10101
	if level := format >> 6 & 0b11; level^0b10 != 0b00 {
		t.Fatalf("the level is %02b, want M", level^0b10)
	}
	masks := [8]func(y, x int) int{
		func(y, x int) int { return (y + x) % 2 },
		func(y, x int) int { return y % 2 },
		func(y, x int) int { return x % 3 },
		func(y, x int) int { return (y + x) % 3 },
		func(y, x int) int { return (y/2 + x/3) % 2 },
		func(y, x int) int { return y*x%2 + y*x%3 },
		func(y, x int) int { return (y*x%2 + y*x%3) % 2 },
		func(y, x int) int { return ((y+x)%2 + y*x%3) % 2 },
	}
	var bits []int
	up := true
	for right := size - 1; right > 0; right -= 2 {
		if right == 6 {
			right--
		}
		for i := range size {
			y := i
			if up {
				y = size - 1 - i
			}
			for _, x := range []int{right, right - 1} {
				if !fixed(size, y, x) {
					v := bit(m[y][x])
					if masks[mask](y, x) == 0 {
						v ^= 1
					}
					bits = append(bits, v)
				}
			}
		}
		up = !up
	}
	return alphanumeric(t, interleaved(bits, blocks))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fixed reports whether a module of versions 2 to 6 is a pattern and no data.
func fixed(size, y, x int) bool {
	finder := y < 9 && x < 9 || y < 9 && x >= size-8 || y >= size-8 && x < 9
	at := size - 7
	alignment := y >= at-2 && y <= at+2 && x >= at-2 && x <= at+2
	return finder || alignment || y == 6 || x == 6
}

// interleaved puts the codewords of blocks of one length one behind the other; those for errors end up at the end of each.
func interleaved(bits []int, blocks int) (data []int) {
	words := len(bits) / 8 / blocks
	for b := range blocks {
		for w := range words {
			at := (w*blocks + b) * 8
			data = append(data, bits[at:at+8]...)
		}
		if blocks == 4 {
			data = data[:len(data)-8*16] // version 6-M has 16 words for errors in each of its blocks
		}
	}
	return data
}

func alphanumeric(t *testing.T, bits []int) string {
	t.Helper()
	take := func(n int) (v int) {
		for _, b := range bits[:n] {
			v = v<<1 | b
		}
		bits = bits[n:]
		return v
	}
	if mode := take(4); mode != 0b0010 {
		t.Fatalf("the mode is %04b, want alphanumeric", mode)
	}
	var out strings.Builder
	for n := take(9); n > 0; n -= 2 {
		if n == 1 {
			out.WriteByte(alphabet[take(6)])
			break
		}
		pair := take(11)
		out.WriteByte(alphabet[pair/45])
		out.WriteByte(alphabet[pair%45])
	}
	return out.String()
}

// A reader that knows only the standard reads what was written, in a picture of version 6.
func TestQRIsRead(t *testing.T) {
	for i := range uint64(20) {
		code := signed(t, func(t *Ticket) { t.Booking = i })
		svg, err := SVG(code, "入园码")
		if err != nil {
			t.Fatal(err)
		}
		m := readSVG(t, svg)
		if len(m) != 41 {
			t.Fatalf("a code takes %d modules a side, want version 6", len(m))
		}
		if got := readQR(t, m, 4); got != code {
			t.Fatalf("it is read as %q, want %q", got, code)
		}
	}
	for _, text := range []string{"HELLO WORLD 0123456789 $%*+", "QIONG/BOOKING:1234567890 AB"} {
		svg, err := SVG(text, "")
		if err != nil {
			t.Fatal(err)
		}
		if m := readSVG(t, svg); readQR(t, m, 1) != text {
			t.Errorf("%q is not read", text)
		}
	}
}

// The mask is the one with the least penalty, by the rules of the standard as a second, slower program computes them.
func TestMaskIsTheEasiestToRead(t *testing.T) {
	code := signed(t, nil)
	c, err := modules(code)
	if err != nil {
		t.Fatal(err)
	}
	chosen := slowPenalty(c)
	for mask := range coding.Mask(8) {
		plan, err := coding.NewPlan(6, coding.M, mask)
		if err != nil {
			t.Fatal(err)
		}
		other, err := plan.Encode(coding.Alpha(code))
		if err != nil {
			t.Fatal(err)
		}
		if slow, fast := slowPenalty(other), penalty(other); slow != fast || slow < chosen {
			t.Errorf("mask %d: %d, computed %d, chosen %d", mask, slow, fast, chosen)
		}
	}
}

// slowPenalty computes the penalty on lines written as text.
func slowPenalty(c *coding.Code) (sum int) {
	dark := 0
	for i := range c.Size {
		var row, column strings.Builder
		for j := range c.Size {
			row.WriteByte("01"[bit(c.Black(j, i))])
			column.WriteByte("01"[bit(c.Black(i, j))])
			dark += bit(c.Black(j, i))
			if i > 0 && j > 0 {
				if n := bit(c.Black(j, i)) + bit(c.Black(j-1, i)) + bit(c.Black(j, i-1)) + bit(c.Black(j-1, i-1)); n == 0 || n == 4 {
					sum += 3
				}
			}
		}
		for _, line := range []string{row.String(), column.String()} {
			for _, run := range append(strings.Split(line, "0"), strings.Split(line, "1")...) {
				if len(run) >= 5 {
					sum += len(run) - 2
				}
			}
			for at := range line {
				if strings.HasPrefix(line[at:], "10111010000") || strings.HasPrefix(line[at:], "00001011101") {
					sum += 40
				}
			}
		}
	}
	percent := 100 * dark / (c.Size * c.Size)
	return sum + 10*(max(percent-50, 50-percent)/5)
}

func TestSVGRefuses(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "lower case": "abc", "Chinese": "票", "too long": strings.Repeat("A", 3392)} {
		if _, err := SVG(text, ""); !errs.Is(err, errs.Invalid) || errs.As(err).Code != "ticket.qr" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if svg, err := SVG(strings.Repeat("A", 3391), `<"&`); err != nil || !strings.Contains(string(svg), "&lt;&#34;&amp;") {
		t.Errorf("the longest: %v", err)
	}
}
