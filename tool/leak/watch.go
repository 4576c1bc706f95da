package leak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/leak"
	"github.com/qiongdev/qiong/tool/leak/trend"
)

const (
	leastEvery = 200 * time.Millisecond
	// mayMiss is how many looks in a row may fail before the service counts as gone.
	mayMiss = 3
)

// watcher looks at a service now and then.
type watcher struct {
	console *qiong.Console
	take    func(ctx context.Context, leaks bool) (*leak.Snapshot, error)
	// wait returns when it is time for the next look, and whether there is one.
	wait   func(ctx context.Context) bool
	series trend.Series
	slow   float64 // milliseconds that the slowest collection took
}

func watch(ctx context.Context, c *qiong.Console, address string) error {
	to, err := whereTo(c, address)
	if err != nil {
		return err
	}
	length, _ := c.Flags.GetDuration("for") // declared in leak.go, as are the others
	every, _ := c.Flags.GetDuration("every")
	if length < 0 || every < 0 {
		return errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("--for")
	}
	switch {
	case every == 0 && length == 0:
		every = 5 * time.Second
	case every == 0:
		every = length / 12
	}
	every = max(every, leastEvery)
	w := &watcher{console: c, take: to.take, wait: ticks(every, length)}
	r, err := w.run(ctx)
	if err != nil {
		return err
	}
	r.URL = to.shown
	folder, _ := c.Flags.GetString("stacks")
	if err := w.keep(r, folder); err != nil {
		return err
	}
	return conclude(c, r)
}

// ticks waits each period, for so long in all; for ever where length is 0.
func ticks(every, length time.Duration) func(context.Context) bool {
	began, next := time.Now(), time.Duration(0)
	return func(ctx context.Context) bool {
		if next += every; length > 0 && next > length {
			return false
		}
		timer := time.NewTimer(time.Until(began.Add(next)))
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// run watches until the time is over or ctx ends, and judges. The leak profile is taken before and after.
func (w *watcher) run(ctx context.Context) (*trend.Report, error) {
	profile, err := w.profile(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.look(ctx, false); err != nil {
		return nil, err
	}
	for missed := 0; w.wait(ctx); {
		switch err := w.look(ctx, false); {
		case err == nil:
			missed = 0
			w.progress()
		case ctx.Err() != nil:
		case errs.Is(err, errs.Unauthenticated) || errs.Is(err, errs.Forbidden) || missed+1 == mayMiss:
			return nil, err
		default:
			missed++
		}
	}
	w.progressDone()
	if profile { // also after Ctrl-C: it is the surest of all
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := w.look(ctx, true); err != nil {
			return nil, err
		}
	}
	r := w.series.Judge()
	r.Slowest = w.slow
	return r, nil
}

// profile takes the first leak profile, and reports whether there is one.
func (w *watcher) profile(ctx context.Context) (bool, error) {
	err := w.look(ctx, true)
	var e *errs.Error
	if errors.As(err, &e) && e.Code == "leak.no-profile" {
		_, err := fmt.Fprintln(w.console.Err, w.console.Say("此程序未带协程泄漏剖析（构建时设 GOEXPERIMENT=goroutineleakprofile），只按趋势判断", "the program has no goroutine-leak profile (build it with GOEXPERIMENT=goroutineleakprofile): judging by the trend alone"))
		return false, err
	}
	return err == nil, err
}

// look takes a snapshot in. Where the service is busy collecting, it waits as long as it is told.
func (w *watcher) look(ctx context.Context, leaks bool) error {
	for try := 0; ; try++ {
		s, err := w.take(ctx, leaks)
		if err == nil {
			w.slow = max(w.slow, s.Millis)
			w.series.Add(s)
			return nil
		}
		e := errs.As(err)
		if e.Kind != errs.TooMany || try == 3 {
			return err
		}
		timer := time.NewTimer(min(max(e.RetryAfter, time.Second), 10*time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (w *watcher) progress() {
	if w.console.Live && !w.console.JSON {
		n, grown := w.series.Now()
		fmt.Fprintf(w.console.Err, "\r\x1b[K"+w.console.Say("第 %d 次查看：%d 个协程，净增 %d", "look %d: %d goroutines, %+d since the first"), w.series.Looks(), n, grown)
	}
}

func (w *watcher) progressDone() {
	if w.console.Live && !w.console.JSON {
		fmt.Fprint(w.console.Err, "\r\x1b[K")
	}
}

// keep writes the stacks of labels whose requests leave more than five goroutines each, one file a label.
func (w *watcher) keep(r *trend.Report, folder string) error {
	for _, t := range r.Tasks {
		if !t.Keep {
			continue
		}
		name := filepath.Join(folder, fmt.Sprintf("qiong-leak-%s-%02d.txt", r.To.Format("20060102T150405.000"), len(r.Kept)+1))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = errors.Join(writeStacks(f, t, w.series.Stacks(t.Labels)), f.Close())
		}
		if err != nil {
			return errs.Wrap(err, errs.Invalid, "调用栈无法保存", "the stacks can't be kept").WithField("--stacks")
		}
		r.Kept = append(r.Kept, name)
	}
	return nil
}
