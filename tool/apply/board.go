package apply

import (
	"fmt"
	"strings"

	"github.com/qiongdev/qiong"
)

// Board shows the progress of a case: in place on a terminal, a line a change elsewhere.
type Board struct {
	c     *qiong.Console
	lines int               // on the terminal now
	shown map[string]string // step → what was said of it
}

// NewBoard returns an empty board on c.
func NewBoard(c *qiong.Console) *Board { return &Board{c: c, shown: map[string]string{}} }

// Show shows the case as it stands. With JSON it shows nothing: the program gets the end.
func (b *Board) Show(k *Case) {
	switch {
	case b.c.JSON:
	case b.c.Live:
		b.redraw(k)
	default:
		for _, s := range k.Steps {
			if text := b.line(s); s.Status != "waiting" && b.shown[s.Name] != text {
				b.shown[s.Name] = text
				fmt.Fprintln(b.c.Out, text)
			}
		}
	}
}

func (b *Board) redraw(k *Case) {
	var out strings.Builder
	if b.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.lines)
	}
	for _, s := range k.Steps {
		fmt.Fprintf(&out, "\x1b[2K%s\n", b.line(s))
	}
	b.lines = len(k.Steps)
	_, _ = fmt.Fprint(b.c.Out, out.String()) // a display, not an answer
}

// line is what is said of a step.
func (b *Board) line(s Step) string {
	sign, colour := "·", "2"
	switch {
	case s.Parked:
		sign, colour = "!", "33"
	case s.Status == "done" || s.Status == "skipped":
		sign, colour = "✓", "32"
	case s.Status == "refused":
		sign, colour = "✗", "31"
	case s.Status != "waiting":
		sign, colour = "…", "36"
	}
	text := fmt.Sprintf("  %s %s %s %s", sign, pad(s.Title, 24), pad(s.AgencyName, 30), s.StatusText)
	if d := s.Took(); d > 0 {
		text += fmt.Sprintf(" %.2f s", d.Seconds())
	}
	if s.Calls > 1 {
		text += fmt.Sprintf(" ×%d", s.Calls)
	}
	if b.c.Color {
		text = "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	return text
}

// pad fills text with blanks to a width in columns, of which a Han character takes two.
func pad(text string, width int) string {
	n := 0
	for _, r := range text {
		n++
		if r > 0x2e80 {
			n++
		}
	}
	return text + strings.Repeat(" ", max(width-n, 0))
}
