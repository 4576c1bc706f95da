package bench

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/qiongdev/qiong/tool/bench/agent"
	"github.com/qiongdev/qiong/tool/bench/load"
)

// progress shows on a terminal how a phase goes, until the function it returns is called. Elsewhere it is silent. watch
// is nil where agents do the work.
func (s *session) progress(name string, o agent.Order, watch *load.Watch) func() {
	terminal, ok := s.c.Err.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return func() {}
	}
	total := max(o.Closed, o.Schedule.Duration())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		began, tick := time.Now(), time.NewTicker(500*time.Millisecond)
		defer tick.Stop()
		last := int64(0)
		for {
			select {
			case <-stop:
				fmt.Fprint(terminal, "\r\x1b[K")
				return
			case <-tick.C:
			}
			fmt.Fprintf(terminal, "\r\x1b[K%s  %.0f/%.0f s", name, time.Since(began).Seconds(), total.Seconds())
			if watch != nil {
				done := watch.Done.Load()
				fmt.Fprintf(terminal, s.c.Say("  每秒 %d  应答 %d  错误 %d  未发 %d", "  %d a second  %d answered  %d errors  %d dropped"), (done-last)*2, done, watch.Failed.Load(), watch.Dropped.Load())
				last = done
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}
