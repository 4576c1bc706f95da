package ticket

import (
	"fmt"
	"html"
	"strings"

	"rsc.io/qr/coding"

	"github.com/qiongdev/qiong/kit/errs"
)

// quiet is the white margin that a QR code must have, in modules (ISO/IEC 18004).
const quiet = 4

// SVG returns the QR code of an entry code as an SVG picture, black on white with its margin, that scales to any size.
// The title is what a screen reader says. A text of other characters than the alphanumeric mode's, or longer than the
// largest code holds, is refused with kind Invalid.
func SVG(code, title string) ([]byte, error) {
	picture, err := modules(code)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	side := picture.Size + 2*quiet
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges" role="img"><title>%s</title>`,
		side, side, html.EscapeString(title))
	fmt.Fprintf(&b, `<path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`, side, side)
	for y := range picture.Size {
		for x := 0; x < picture.Size; x++ {
			run := 0
			for x+run < picture.Size && picture.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return []byte(b.String()), nil
}

// modules returns the smallest QR code of level M for a text, with the mask that makes it easiest to read.
func modules(text string) (*coding.Code, error) {
	alpha := coding.Alpha(text)
	if text == "" || alpha.Check() != nil {
		return nil, errs.New(errs.Invalid, "二维码内容含不支持的字符", "the QR code cannot hold these characters").WithCode("ticket.qr")
	}
	v := coding.Version(coding.MinVersion)
	for alpha.Bits(v) > 8*v.DataBytes(coding.M) {
		if v++; v > coding.MaxVersion {
			return nil, errs.New(errs.Invalid, "内容过长，二维码放不下", "too long for a QR code").WithCode("ticket.qr")
		}
	}
	var best *coding.Code
	least := 0
	for mask := range coding.Mask(8) {
		plan, err := coding.NewPlan(v, coding.M, mask)
		if err != nil {
			return nil, errs.Wrap(err, errs.Internal, "无法生成二维码", "the QR code could not be made")
		}
		c, err := plan.Encode(alpha)
		if err != nil {
			return nil, errs.Wrap(err, errs.Internal, "无法生成二维码", "the QR code could not be made")
		}
		if p := penalty(c); best == nil || p < least {
			best, least = c, p
		}
	}
	return best, nil
}

// penalty is how hard a code is to read, by the four rules of ISO/IEC 18004 for choosing a mask.
func penalty(c *coding.Code) int {
	sum, dark := 0, 0
	across := func(x, y int) bool { return c.Black(x, y) }
	down := func(x, y int) bool { return c.Black(y, x) }
	for y := range c.Size {
		sum += linePenalty(c.Size, y, across) + linePenalty(c.Size, y, down)
		for x := range c.Size {
			if c.Black(x, y) {
				dark++
			}
			if x > 0 && y > 0 && c.Black(x, y) == c.Black(x-1, y) && c.Black(x, y) == c.Black(x, y-1) && c.Black(x, y) == c.Black(x-1, y-1) {
				sum += 3
			}
		}
	}
	deviation := 100*dark/(c.Size*c.Size) - 50
	return sum + 10*(max(deviation, -deviation)/5)
}

// linePenalty counts runs of one colour from five modules on, and what looks like a finder pattern with its margin.
func linePenalty(size, y int, black func(x, y int) bool) (sum int) {
	run, bits := 0, 0
	for x := range size {
		if x > 0 && black(x, y) == black(x-1, y) {
			run++
		} else {
			run = 1
		}
		if run == 5 {
			sum += 3
		} else if run > 5 {
			sum++
		}
		bits = bits << 1 & 0x7ff
		if black(x, y) {
			bits |= 1
		}
		if x >= 10 && (bits == 0b10111010000 || bits == 0b00001011101) {
			sum += 40
		}
	}
	return sum
}
