package han

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/qiongdev/qiong"
)

// progress shows on a terminal how far a file has been read. Elsewhere it is silent.
type progress struct {
	w     io.Writer // nil where nobody watches
	file  *file
	shown time.Time
}

func newProgress(c *qiong.Console, f *file) *progress {
	p := &progress{file: f, shown: time.Now()}
	if terminal, ok := c.Err.(*os.File); ok && term.IsTerminal(int(terminal.Fd())) {
		p.w = terminal
	}
	return p
}

// at shows that offset is reached, a few times a second.
func (p *progress) at(offset int64) {
	if p.w == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	share := ""
	if p.file.size > 0 {
		share = fmt.Sprintf(" %d%%", 100*offset/p.file.size)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s %.1f MB%s", p.file.name, float64(offset)/1e6, share)
}

// done takes the line away.
func (p *progress) done() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
